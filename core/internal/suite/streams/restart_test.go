package streams_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/coretest"
	"github.com/gridmux/gridmux/core/internal/lab"
)

// TestWaitForConnection opens a stream before there is a connection. With the
// option it waits, as long as its context and time-out let it; without it fails.
func TestWaitForConnection(t *testing.T) {
	inBubbles(t, func(t *testing.T, f form) {
		c := lab.InmemLink().Cluster(t, 2, coretest.Unstarted(), f.serve("back", echo, 1, 1))
		c.Start(0)
		_, err := f.open(t.Context(), c.Conn(0, 1), "back", nil)
		wantKinds(t, "without the option", err, core.ErrDisconnected)
		wantCallError(t, "without the option", err, "back", core.OutcomeNotSent)
		began := time.Now()
		_, err = f.open(t.Context(), c.Conn(0, 1), "back", nil, core.WaitForConnection(), core.WithTimeout(time.Minute))
		wantKinds(t, "with a time-out", err, core.ErrDisconnected, context.DeadlineExceeded)
		wantCallError(t, "with a time-out", err, "back", core.OutcomeNotSent)
		if d := time.Since(began); d != time.Minute {
			t.Errorf("the wait took %v, want a minute", d)
		}
		ctx, cancel := context.WithCancel(t.Context())
		waiting := lab.Go(func() error {
			_, err := f.open(ctx, c.Conn(0, 1), "back", nil, core.WaitForConnection())
			return err
		})
		synctest.Wait()
		cancel()
		wantKinds(t, "with a context that ends", lab.Wait(t, waiting, "it ends"), core.ErrDisconnected, context.Canceled)

		patient := lab.Go(func() error {
			st, err := f.open(t.Context(), c.Conn(0, 1), "back", []byte("x"), core.WaitForConnection())
			if err != nil {
				return err
			}
			if err := st.send([]byte("x")); err != nil {
				return err
			}
			msg, err := st.recv()
			st.closeSend()
			_, last := st.recv()
			if string(msg) != "x" || last != io.EOF {
				return fmt.Errorf("got %q, %w, then %w", msg, err, last)
			}
			return nil
		})
		time.Sleep(time.Hour)
		c.Start(1)
		if err := lab.Wait(t, patient, "a patient stream is opened"); err != nil {
			t.Error(err)
		}
	})
}

// TestSetPeersDuringStreams takes a peer out, and gives it back, while streams
// with it run: they go on to their own end, and new ones are told apart.
func TestSetPeersDuringStreams(t *testing.T) {
	overLinks(t, func(t *testing.T, l *lab.Link, f form) {
		c := l.Cluster(t, 2, lab.Impatient(), f.serve("back", echo, 1, 1))
		var all []calling
		live := func(when string) {
			t.Helper()
			for i, st := range all {
				if err := st.send(fmt.Append(nil, i)); err != nil {
					t.Fatalf("%s: stream %d: %v", when, i, err)
				}
			}
			for i, st := range all {
				wantMessages(t, fmt.Sprintf("%s: stream %d", when, i), st, fmt.Sprint(i))
			}
		}
		all = append(all, f.mustOpen(t, c.Conn(0, 1), "back", nil), f.mustOpen(t, c.Conn(1, 0), "back", nil))
		live("before")
		removed := c.Conn(0, 1)
		c.SetPeers(0)
		live("after the peer was taken out")
		_, err := f.open(t.Context(), removed, "back", nil)
		wantKinds(t, "a stream to a peer that was taken out", err, core.ErrUnknownPeer)
		wantCallError(t, "a stream to a peer that was taken out", err, "back", core.OutcomeNotSent)
		c.SetPeers(0, 1)
		all = append(all, f.mustOpen(t, c.Conn(0, 1), "back", nil, core.WaitForConnection()), f.mustOpen(t, c.Conn(1, 0), "back", nil, core.WaitForConnection()))
		live("after it was given back")
		for _, st := range all {
			st.closeSend()
			wantEnd(t, "a stream that outlived its peer's removal", st)
		}
	})
}

// TestNoCrossTalk opens streams between nodes that are restarted and whose links
// are cut at random moments. Every stream carries its own name in all of its
// messages, both ways: none gets those of another, none is served twice, and none
// ends cleanly before its end (D30, I3, I4, I5).
func TestNoCrossTalk(t *testing.T) {
	inBubbles(t, func(t *testing.T, f form) {
		var mu sync.Mutex
		served := map[uint64]int{}
		const messages = 20
		message := func(id uint64, i int) []byte {
			msg := bytes.Repeat(binary.LittleEndian.AppendUint64(nil, id), 1+i*i*20)
			return binary.LittleEndian.AppendUint32(msg, uint32(i))
		}
		check := func(id uint64, i int, msg []byte) {
			if !bytes.Equal(msg, message(id, i)) {
				t.Errorf("message %d of stream %d is %d bytes of another", i, id, len(msg))
			}
		}
		c := lab.InmemLink().Cluster(t, 2, f.serve("named", func(_ context.Context, payload []byte, s end) error {
			id := binary.LittleEndian.Uint64(payload)
			mu.Lock()
			served[id]++
			mu.Unlock()
			for i := range messages {
				msg, err := s.recv()
				if err != nil {
					return err
				}
				check(id, i, msg)
				if err := s.send(message(id, i)); err != nil {
					return err
				}
			}
			return nil
		}, 2, 2))
		c.Memory().SetLatency(time.Millisecond)
		random := rand.New(rand.NewPCG(30, 0))
		stop := make(chan struct{})
		var callers sync.WaitGroup
		var clean, lost int
		for n := range 8 {
			callers.Go(func() {
				for k := 0; ; k++ {
					select {
					case <-stop:
						return
					default:
					}
					id := uint64(n)<<32 | uint64(k)
					st, err := f.open(t.Context(), c.Conn(0, 1), "named", binary.LittleEndian.AppendUint64(nil, id), core.WaitForConnection())
					if err != nil {
						t.Errorf("opening stream %d failed: %v", id, err)
						return
					}
					go func() {
						for i := range messages {
							if st.send(message(id, i)) != nil {
								return
							}
						}
					}()
					i := 0
					for {
						msg, err := st.recv()
						if err != nil {
							mu.Lock()
							if err == io.EOF {
								clean++
							} else {
								lost++
							}
							if ran := served[id]; ran > 1 || ran == 1 && core.OutcomeOf(err) == core.OutcomeNotSent || err == io.EOF && (ran != 1 || i != messages) {
								t.Errorf("stream %d ended with %v after %d messages, and was served %d times", id, err, i, ran)
							}
							if err != io.EOF && !errors.Is(err, core.ErrDisconnected) && !errors.Is(err, core.ErrDraining) {
								t.Errorf("stream %d ended with %v", id, err)
							}
							mu.Unlock()
							break
						}
						check(id, i, msg)
						i++
					}
				}
			})
		}
		for i := range lab.Scale(60, 20, 600) {
			time.Sleep(time.Duration(random.Int64N(int64(300 * time.Millisecond))))
			if i%3 == 0 {
				c.Restart(1)
			} else {
				c.Cut(0, 1)
			}
		}
		close(stop)
		callers.Wait()
		if clean < 10 || lost < 10 {
			t.Errorf("%d streams were clean and %d were lost: the breaks are not spread over their lives", clean, lost)
		}
	})
}

// TestNothingRunsAfterTheHeal opens streams to a peer that does not read, until
// they fail by their time-outs. Once it reads again, none of those runs of which
// nothing was sent, and the next stream works (D31).
func TestNothingRunsAfterTheHeal(t *testing.T) {
	inBubbles(t, func(t *testing.T, f form) {
		var mu sync.Mutex
		ran := map[string]bool{}
		c := lab.InmemLink().Cluster(t, 2, lab.Configure(func(cfg *core.Config) {
			cfg.KeepAlive, cfg.KeepAliveTimeout = time.Hour, time.Hour // the link lives
			cfg.MaxStreamBuffers = 1 << 30
		}), f.serve("counted", func(_ context.Context, payload []byte, _ end) error {
			mu.Lock()
			defer mu.Unlock()
			ran[string(payload[:4])] = true
			return nil
		}, 1, 1))
		c.Stall(0, 1)
		const opened = 600
		failed := make(chan error, opened)
		name := func(i int) string { return fmt.Sprintf("%04d", i) }
		outcomes := make([]core.Outcome, opened)
		var wg sync.WaitGroup
		for i := range opened {
			wg.Go(func() {
				payload := append([]byte(name(i)), make([]byte, 20_000)...)
				st, err := f.open(t.Context(), c.Conn(0, 1), "counted", payload, core.WithTimeout(4*time.Second))
				if err == nil {
					_, err = st.recv()
				}
				if !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("a stream to a peer that does not read failed with %v", err)
				}
				outcomes[i] = core.OutcomeOf(err)
				failed <- err
			})
		}
		wg.Wait()
		notSent := 0
		for _, o := range outcomes {
			if o == core.OutcomeNotSent {
				notSent++
			}
		}
		if notSent < opened/20 {
			t.Errorf("of %d streams %d were not sent, want more of them: the link takes little", opened, notSent)
		}
		c.Memory().HealAll()
		wantEnd(t, "the stream after the heal", f.mustOpen(t, c.Conn(0, 1), "counted", []byte("last")))
		time.Sleep(time.Minute)
		for i, o := range outcomes {
			if ran[name(i)] && o == core.OutcomeNotSent {
				t.Errorf("stream %d, of which nothing was sent, ran after the heal", i)
			}
		}
		if !ran["last"] {
			t.Error("the stream after the heal did not run")
		}
	})
}
