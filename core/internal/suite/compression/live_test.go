package compression_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/compress"
	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/coretest"
	"github.com/gridmux/gridmux/core/internal/lab"
	"github.com/gridmux/gridmux/transport"
	"github.com/gridmux/gridmux/transport/inmem"
)

// load makes calls and streams between all nodes until it is stopped, and repeats
// what was not done.
type load struct {
	stop  context.CancelFunc
	wg    sync.WaitGroup
	mu    sync.Mutex
	done  int
	fails []error
}

// between loads the connections that conn returns, of n nodes.
func between(t *testing.T, n int, conn func(from, to int) *core.Connection) *load {
	ctx, stop := context.WithCancel(t.Context())
	l := &load{stop: stop}
	messages := [][]byte{text(1, 300), text(2, 3000), text(3, 30_000), text(4, 150_000)}
	for from := range n {
		for to := range n {
			if from == to {
				continue
			}
			l.wg.Go(func() {
				for i := 0; ctx.Err() == nil; i++ {
					p := messages[i%len(messages)]
					l.try(func() error {
						got, err := conn(from, to).Request(t.Context(), "append", p, core.WaitForConnection())
						if err == nil && !bytes.Equal(got, p) {
							err = fmt.Errorf("%w: a call of %d bytes returned %d others", errWrong, len(p), len(got))
						}
						return err
					})
					l.try(func() error {
						return exchange(t.Context(), conn(from, to), "stream", [][]byte{p, p}, core.WaitForConnection())
					})
					time.Sleep(200 * time.Millisecond)
				}
			})
		}
	}
	return l
}

var errWrong = errors.New("wrong answer")

func (l *load) try(do func() error) {
	for {
		err := do()
		switch out := core.OutcomeOf(err); {
		case err != nil && (out == core.OutcomeNotSent || out == core.OutcomeRefused):
			time.Sleep(20 * time.Millisecond)
			continue
		case err != nil:
			l.mu.Lock()
			l.fails = append(l.fails, err)
			l.mu.Unlock()
		}
		l.mu.Lock()
		l.done++
		l.mu.Unlock()
		return
	}
}

func (l *load) end(t *testing.T) {
	t.Helper()
	l.stop()
	l.wg.Wait()
	if len(l.fails) > 0 || l.done < 100 {
		t.Errorf("of %d calls and streams %d failed, the first with %v", l.done, len(l.fails), append(l.fails, nil)[0])
	}
}

// TestSwitchUnderLoad restarts the nodes of a cluster one by one, each with other
// compression than before: it is switched on, to another codec, to another dictionary,
// and off again. No call and no stream fails, and what is common is used.
func TestSwitchUnderLoad(t *testing.T) {
	old, young := dictionary(t, 1), dictionary(t, 5000)
	generations := []core.Compressor{
		nil, compress.S2(), compress.Zstd(compress.WithDictionary(old)), compress.Zstd(compress.WithDictionary(young, old)), compress.S2(), nil,
	}
	lab.InBubbles(t, func(t *testing.T, l *lab.Link) {
		var mu sync.Mutex
		var current [3]core.Compressor
		c := l.Cluster(t, 3, coretest.WithHandlers(func(i int, m *core.Manager) error {
			mu.Lock()
			defer mu.Unlock()
			if current[i] == nil {
				return register(m)
			}
			return register(m, core.WithCompression(current[i]))
		}))
		work := between(t, 3, c.Conn)
		for _, g := range generations {
			for i := range 3 {
				mu.Lock()
				current[i] = g
				mu.Unlock()
				if err := c.Manager(i).Shutdown(t.Context()); err != nil {
					t.Fatal(err)
				}
				c.Restart(i)
				c.WaitConnected()
				time.Sleep(500 * time.Millisecond)
			}
			got := countsOf(c.Manager(0), "append")
			if on := g != nil; on != (got.requestsOut > 0) || on != (got.responsesOut > 0) {
				t.Errorf("with %v on all nodes one of them has %+v", g, got)
			}
		}
		work.end(t)
	})
}

// TestMove holds that a pair which moves to a better transport in the middle of
// compressed calls and streams loses none, and goes on compressing.
func TestMove(t *testing.T) {
	lab.Bubble(t, "", func(t *testing.T) {
		better, worse := inmem.NewNetwork(inmem.WithLanes()), inmem.NewNetwork()
		better.SetLatency(10 * time.Millisecond)
		worse.SetLatency(10 * time.Millisecond)
		nodes := []core.Node{{Name: "a", Addr: "a"}, {Name: "b", Addr: "b"}}
		better.RefuseDials("a", "b")
		better.RefuseDials("b", "a")
		var managers [2]*core.Manager
		for i := range managers {
			m, err := core.NewManager(core.Config{
				Local: nodes[i], Peers: nodes, Transport: transport.Fallback(better.Node(nodes[i].Name), worse.Node(nodes[i].Name)),
			})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { m.Close() })
			// Handlers of one node alone: the other learns of them in each session.
			err = m.Handle("echo", lab.Echo)
			if i == 1 {
				err = errors.Join(err, register(m, core.WithCompression(compress.Zstd())))
			} else {
				err = errors.Join(err, register(m, core.WithResponseCompression(compress.Zstd())))
			}
			if err = errors.Join(err, m.Start(t.Context())); err != nil {
				t.Fatal(err)
			}
			managers[i] = m
		}
		work := between(t, 2, func(from, to int) *core.Connection { return managers[from].Connection(nodes[to].Name) })
		time.Sleep(2 * time.Second)
		transports := func() (all [2]time.Time) {
			for i, m := range managers {
				all[i] = m.Stats().Peers[0].Since
			}
			return all
		}
		since := transports()
		better.AllowDials("a", "b")
		better.AllowDials("b", "a")
		time.Sleep(90 * time.Second)
		if passed := managers[0].Stats().Peers[0].Passed; passed != nil {
			t.Errorf("they have not moved: %v", passed)
		}
		if transports() != since {
			t.Error("the connection was lost on the way")
		}
		before := [2]counts{countsOf(managers[0], "append"), countsOf(managers[1], "append")}
		time.Sleep(time.Second)
		after := [2]counts{countsOf(managers[0], "append"), countsOf(managers[1], "append")}
		if after[0].requestsOut <= before[0].requestsOut || after[1].responsesOut <= before[1].responsesOut {
			t.Errorf("after the move nothing is compressed any more: %+v, then %+v", before, after)
		}
		work.end(t)
	})
}

// TestCutsInTheMiddle holds that calls and streams whose link is cut at any moment of
// a compressed transfer end with an error, or whole, and that the next ones work.
func TestCutsInTheMiddle(t *testing.T) {
	lab.Bubble(t, "", func(t *testing.T) {
		c := lab.InmemLink().Cluster(t, 2, handlers(core.WithCompression(compress.S2())))
		a, b := c.Node(0).Name, c.Node(1).Name
		p := text(1, 400_000)
		for i := range lab.Scale(150, 40, 500) {
			c.Network().CutAfter(a, b, 100+i*700)
			got, err := c.Conn(0, 1).Request(t.Context(), "append", p, core.WaitForConnection())
			if err == nil && !bytes.Equal(got, p) {
				t.Fatal("a call returned other bytes than it sent")
			}
			c.Network().CutAfter(b, a, 100+i*700)
			if err := exchange(t.Context(), c.Conn(0, 1), "stream", [][]byte{p, p}, core.WaitForConnection()); err != nil && errors.Is(err, errWrong) {
				t.Fatal(err)
			}
			c.Network().Cut(a, b)
			c.WaitConnected()
		}
		wantEcho(t, c.Conn(0, 1), "append", p)
		wantNothingHeld(t, c)
	})
}

// wantNothingHeld holds that no memory is reserved any more.
func wantNothingHeld(t *testing.T, c *lab.Cluster) {
	t.Helper()
	synctest.Wait()
	for i := range c.Len() {
		for _, p := range c.Manager(i).Stats().Peers {
			if p.Held != 0 || p.Waiting != 0 {
				t.Errorf("node %d holds %d bytes for %s, and %d messages wait", i, p.Held, p.Peer, p.Waiting)
			}
		}
	}
}

// TestCancelInTheMiddle holds that calls and streams which are cancelled while
// compressed messages are under way return at once, and leave nothing behind.
func TestCancelInTheMiddle(t *testing.T) {
	lab.InBubbles(t, func(t *testing.T, l *lab.Link) {
		c := l.Cluster(t, 2, handlers(core.WithCompression(compress.Zstd())))
		wantsAreKnown(t, c, 0, 1, "append")
		if m := c.Memory(); m != nil {
			m.SetConditions(inmem.Conditions{Bandwidth: 1 << 20})
		}
		p := text(1, 1<<20)
		var wg sync.WaitGroup
		for i := range lab.Scale(60, 20, 200) {
			d := time.Duration(i) * 3 * time.Millisecond
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), d)
				defer cancel()
				began := time.Now()
				got, err := c.Conn(0, 1).Request(ctx, "append", p)
				if took := time.Since(began); took > d || err == nil && !bytes.Equal(got, p) {
					t.Errorf("a call with %v returned %d bytes, %v, after %v", d, len(got), err, took)
				}
				if err := exchange(ctx, c.Conn(0, 1), "stream", [][]byte{p, p}); err == nil && ctx.Err() != nil {
					t.Error("a stream ended cleanly after its time")
				}
			})
		}
		wg.Wait()
		wantEcho(t, c.Conn(0, 1), "append", p)
		time.Sleep(time.Second)
		wantNothingHeld(t, c)
	})
}

// TestDrain holds that Shutdown lets compressed calls and streams finish.
func TestDrain(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		g := lab.NewGate(t, 1)
		p := text(1, 300_000)
		c := l.Cluster(t, 2, lab.Handle("gate", g.Handle, core.WithCompression(compress.S2())), handlers(core.WithCompression(compress.S2())))
		wantsAreKnown(t, c, 0, 1, "append")
		st, err := c.Conn(0, 1).OpenStream(t.Context(), "stream", p)
		if err != nil {
			t.Fatal(err)
		}
		call := lab.GoCall(t.Context(), c.Conn(0, 1), "gate", p)
		lab.Wait(t, g.Began, "the handler begins")
		drained := lab.Go(func() error { return c.Manager(1).Shutdown(t.Context()) })
		for range 3 {
			if err := st.Send(p); err != nil {
				t.Errorf("a message while the other node drains: %v", err)
			}
		}
		if err := st.CloseSend(); err != nil {
			t.Error(err)
		}
		for range 4 {
			if got, err := st.Recv(nil); err != nil || !bytes.Equal(got, p) {
				t.Errorf("received %d bytes, %v", len(got), err)
			}
		}
		if _, err := st.Recv(nil); !errors.Is(err, io.EOF) {
			t.Errorf("the stream ended with %v", err)
		}
		g.Release()
		if got := lab.Wait(t, call, "the call returns"); got.Err != nil || !bytes.Equal(got.Resp, p) {
			t.Errorf("the call returned %d bytes, %v", len(got.Resp), got.Err)
		}
		if err := lab.Wait(t, drained, "the node has drained"); err != nil {
			t.Error(err)
		}
	})
}

// TestBytesOfAStream holds that a stream whose messages are compressed is read as
// bytes by a net.Conn: in pieces of all sizes, mixed with Recv, and with credit that
// comes back.
func TestBytesOfAStream(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		var total atomic.Int64
		c := l.Cluster(t, 2, coretest.WithHandlers(func(_ int, m *core.Manager) error {
			return m.HandleStreamFunc("bytes", func(_ context.Context, _ []byte, s *core.RawStream) error {
				// Messages over the window and below it, some that are compressed.
				for i, n := range []int{100, 5000, 70_000, 30_000, 1, 200_000, 0, 600} {
					p := text(uint64(i), n)
					if i == 3 {
						p = noise(3, n)
					}
					if err := s.Send(p); err != nil {
						return err
					}
				}
				b, err := io.ReadAll(s.Conn())
				total.Store(int64(len(b)))
				return err
			}, core.WithCompression(compress.Zstd()), core.WithCapacity(4, 4))
		}), lab.Configure(func(cfg *core.Config) { cfg.StreamWindow = 64 << 10 }))
		var want []byte
		for i, n := range []int{100, 5000, 70_000, 30_000, 1, 200_000, 0, 600} {
			if i == 3 {
				want = append(want, noise(3, n)...)
			} else {
				want = append(want, text(uint64(i), n)...)
			}
		}
		for _, piece := range []int{1, 7, 1000, 4096, 100_000} {
			st, err := c.Conn(0, 1).OpenStream(t.Context(), "bytes", nil)
			if err != nil {
				t.Fatal(err)
			}
			nc := st.Conn()
			sent := lab.Go(func() error {
				_, err := nc.Write(want)
				return errors.Join(err, st.CloseSend())
			})
			var got []byte
			for {
				b := make([]byte, piece)
				n, err := nc.Read(b)
				got = append(got, b[:n]...)
				if err == nil && piece > 1 {
					if b, err = st.Recv(nil); err == nil {
						got = append(got, b...)
					}
				}
				if err != nil {
					if !errors.Is(err, io.EOF) {
						t.Fatalf("pieces of %d: %v after %d bytes", piece, err, len(got))
					}
					break
				}
			}
			if !bytes.Equal(got, want) {
				t.Errorf("pieces of %d: read %d bytes, other than the %d that were sent", piece, len(got), len(want))
			}
			if err := lab.Wait(t, sent, "all is written"); err != nil || total.Load() != int64(len(want)) {
				t.Errorf("written: %v, %d bytes arrived", err, total.Load())
			}
			st.Close()
		}
	})
}
