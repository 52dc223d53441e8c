package streams_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/coretest"
	"github.com/gridmux/gridmux/core/internal/lab"
)

// TestBreakInTheCallersLoop holds that a caller that leaves the loop over All
// ends its stream, as Close does.
func TestBreakInTheCallersLoop(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		ended := make(chan error, 1)
		c := l.Cluster(t, 2, rawForm.serve("floods", flood(ended), 1, 5))
		st := rawForm.mustOpen(t, c.Conn(0, 1), "floods", nil).(rawEnd)
		n := 0
		for msg, err := range st.All() {
			if err != nil || string(msg) != string(lab.Pattern(n, 1000+n%3*20_000)) {
				t.Fatalf("message %d has %d bytes, error %v", n, len(msg), err)
			}
			if n++; n == 7 {
				break
			}
		}
		lab.Wait(t, st.Done(), "the stream ends with the loop")
		_, err := st.recv()
		wantKinds(t, "receiving after the loop", err, net.ErrClosed)
		for _, err := range st.All() {
			wantKinds(t, "another loop", err, net.ErrClosed)
		}
		wantKinds(t, "the cause of the handler's context", lab.Wait(t, ended, "the handler ends"), context.Canceled)
	})
}

// TestBreakInTheHandlersLoop holds that a handler that leaves the loop over All
// stops reading and nothing else: it goes on sending, and so does its caller,
// whose messages are dropped however many and large they are.
func TestBreakInTheHandlersLoop(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		g := lab.NewGate(t, 1)
		c := l.Cluster(t, 2, lab.Configure(limited), coretest.WithHandlers(func(_ int, m *core.Manager) error {
			return m.HandleStreamFunc("enough", func(ctx context.Context, _ []byte, s *core.RawStream) error {
				n := 0
				for _, err := range s.All() {
					if err != nil {
						return err
					}
					if n++; n == 3 {
						break
					}
				}
				if _, err := g.Handle(ctx, nil); err != nil {
					return err
				}
				if ctx.Err() != nil {
					return fmt.Errorf("the context has ended with the loop: %w", context.Cause(ctx))
				}
				if _, err := s.Recv(nil); !errors.Is(err, net.ErrClosed) {
					return fmt.Errorf("Recv after the loop returned %w", err)
				}
				return s.Send([]byte("enough"))
			}, core.WithCapacity(2, 1))
		}))
		st := rawForm.mustOpen(t, c.Conn(0, 1), "enough", nil)
		for i := range 100 {
			size := i % 10 * 10_000
			if i%10 == 9 {
				size = largest // over the window too
			}
			if err := st.send(make([]byte, size)); err != nil {
				t.Fatalf("Send %d failed: %v: the handler that stopped reading holds nobody up", i, err)
			}
		}
		lab.Wait(t, g.Began, "the handler is behind its loop")
		g.Release()
		wantMessages(t, "a handler that stopped reading", st, "enough")
		wantEnd(t, "a handler that stopped reading", st)
	})
}

// TestLoopToTheEnd holds that the loop over All ends with a clean end, or brings
// the error once.
func TestLoopToTheEnd(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		c := l.Cluster(t, 2, rawForm.serve("two", func(_ context.Context, payload []byte, s end) error {
			err := errors.Join(s.send([]byte("1")), s.send(nil))
			if err == nil && len(payload) > 0 {
				return errNoDisk
			}
			return err
		}, 0, 1))
		for payload, want := range map[string]string{"": `["1" ""] []`, "fail": `["1" ""] [gridmux: two on node-1: no disk (code 1001)]`} {
			st := rawForm.mustOpen(t, c.Conn(0, 1), "two", []byte(payload)).(rawEnd)
			msgs, errs := []string{}, []error{}
			for msg, err := range st.All() {
				if err != nil {
					errs = append(errs, err)
					if msg != nil {
						t.Errorf("beside an error there is message %q", msg)
					}
					continue
				}
				msgs = append(msgs, string(msg))
			}
			if got := fmt.Sprintf("%q %v", msgs, errs); got != want {
				t.Errorf("payload %q: the loop brought %s, want %s", payload, got, want)
			}
		}
	})
}

// TestConcurrentSends has many goroutines send on one stream, on both sides:
// every message arrives once and whole, and those of one goroutine in their order.
func TestConcurrentSends(t *testing.T) {
	const senders = 8
	each := lab.Scale(30, 10, 300)
	sendAll := func(s end) error {
		errs := make([]error, senders)
		var wg sync.WaitGroup
		for n := range senders {
			wg.Go(func() {
				for i := range each {
					msg := lab.Pattern(n*each+i, 8+(n*each+i)%7*6000)
					binary.LittleEndian.PutUint32(msg, uint32(n))
					binary.LittleEndian.PutUint32(msg[4:], uint32(i))
					errs[n] = errors.Join(errs[n], s.send(msg))
				}
			})
		}
		wg.Wait()
		return errors.Join(errs...)
	}
	receive := func(s end) error {
		var next [senders]int
		for total := range senders * each {
			msg, err := s.recv()
			if err != nil {
				return fmt.Errorf("after %d messages: %w", total, err)
			}
			n, i := binary.LittleEndian.Uint32(msg), int(binary.LittleEndian.Uint32(msg[4:]))
			if n >= senders || next[n] != i {
				return fmt.Errorf("of sender %d came message %d, want %d", n, i, next[n])
			}
			want := lab.Pattern(int(n)*each+i, 8+(int(n)*each+i)%7*6000)
			if len(msg) != len(want) || string(msg[8:]) != string(want[8:]) {
				return fmt.Errorf("message %d of sender %d is damaged", i, n)
			}
			next[n]++
		}
		return nil
	}
	overLinks(t, func(t *testing.T, l *lab.Link, f form) {
		c := l.Cluster(t, 2, f.serve("many", func(_ context.Context, _ []byte, s end) error {
			sent := lab.Go(func() error { return sendAll(s) })
			return errors.Join(receive(s), <-sent)
		}, 4, 4))
		st := f.mustOpen(t, c.Conn(0, 1), "many", nil)
		sent := lab.Go(func() error {
			defer st.closeSend()
			return sendAll(st)
		})
		if err := receive(st); err != nil {
			t.Error(err)
		}
		if err := lab.Wait(t, sent, "all is sent"); err != nil {
			t.Error(err)
		}
		wantEnd(t, "behind all messages", st)
	})
}

// TestSecondReceiver holds that a second goroutine that receives gets an error at
// once, on either side, and the first one its message.
func TestSecondReceiver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		served := make(chan *core.RawStream)
		c := lab.InmemLink().Cluster(t, 2, coretest.WithHandlers(func(_ int, m *core.Manager) error {
			return m.HandleStreamFunc("both", func(ctx context.Context, _ []byte, s *core.RawStream) error {
				served <- s
				<-ctx.Done()
				return nil
			})
		}))
		calling := rawForm.mustOpen(t, c.Conn(0, 1), "both", nil).(rawEnd).RawStream
		serving := lab.Wait(t, served, "the handler begins")
		for side, ends := range map[string][2]*core.RawStream{"calling": {calling, serving}, "serving": {serving, calling}} {
			s, other := ends[0], ends[1]
			first := lab.Go(func() string { msg, err := s.Recv(nil); return fmt.Sprintf("%s %v", msg, err) })
			synctest.Wait()
			got, err := s.Recv([]byte("kept"))
			lab.WantText(t, side+": a second receiver", err, "only one may")
			if string(got) != "kept" {
				t.Errorf("%s: beside the error dst is %q", side, got)
			}
			if err := other.Send([]byte("x")); err != nil {
				t.Error(err)
			}
			if got := lab.Wait(t, first, "the first one receives"); got != "x <nil>" {
				t.Errorf("%s: beside a second receiver the first one got %q", side, got)
			}
		}
		calling.Close()
	})
}

// TestRecvAppends holds that Recv appends to what it was given, in place if there
// is room, returns it as it was on failure, and tells an empty message from the
// end.
func TestRecvAppends(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		c := l.Cluster(t, 2, rawForm.serve("back", echo, 4, 4))
		st := rawForm.mustOpen(t, c.Conn(0, 1), "back", nil).(rawEnd)
		dst := append(make([]byte, 0, 2<<20), "so far "...)
		for i, size := range []int{5, 0, 40_000, 1 << 20} {
			msg := lab.Pattern(i, size)
			if err := st.Send(msg); err != nil {
				t.Fatal(err)
			}
			got, err := st.Recv(dst)
			if err != nil || &got[0] != &dst[0] || string(got) != string(dst)+string(msg) {
				t.Errorf("a message of %d bytes behind what was there: got %d bytes, in place: %v, error %v", size, len(got), &got[0] == &dst[0], err)
			}
		}
		if err := st.Send(nil); err != nil {
			t.Fatal(err)
		}
		if got, err := st.Recv(nil); err != nil || got == nil || len(got) != 0 {
			t.Errorf("an empty message is %#v, %v, want an empty slice that is not nil", got, err)
		}
		st.CloseSend()
		for range 3 {
			if got, err := st.Recv(dst); err != io.EOF || string(got) != "so far " {
				t.Errorf("at the end Recv returned %q, %v", got, err)
			}
		}
	})
}

// TestCloseOfTheHandler holds that Close on the serving side ends the messages of
// the handler, drops those of the caller, and leaves the stream open until the
// handler returns.
func TestCloseOfTheHandler(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		g := lab.NewGate(t, 1)
		c := l.Cluster(t, 2, coretest.WithHandlers(func(_ int, m *core.Manager) error {
			return m.HandleStreamFunc("closes", func(ctx context.Context, _ []byte, s *core.RawStream) error {
				if err := errors.Join(s.Send([]byte("last")), s.Close(), s.Close()); err != nil {
					return err
				}
				_, recvErr := s.Recv(nil)
				if sendErr := s.Send(nil); !errors.Is(recvErr, net.ErrClosed) || !errors.Is(sendErr, net.ErrClosed) {
					return fmt.Errorf("after Close: Recv returned %w, Send %w", recvErr, sendErr)
				}
				if _, err := g.Handle(ctx, nil); err != nil || ctx.Err() != nil {
					return fmt.Errorf("%w %w", err, ctx.Err())
				}
				return errNoDisk
			}, core.WithCapacity(2, 2))
		}))
		st := rawForm.mustOpen(t, c.Conn(0, 1), "closes", nil).(rawEnd)
		lab.Wait(t, g.Began, "the handler has closed its end")
		wantMessages(t, "a handler that closed its end", st, "last")
		wantEnd(t, "a handler that closed its end", st)
		for range 100 {
			if err := st.Send(make([]byte, 10_000)); err != nil {
				t.Fatalf("Send failed: %v", err)
			}
		}
		select {
		case <-st.Done():
			t.Error("the stream has ended before its handler returned")
		default:
		}
		g.Release()
		lab.Wait(t, st.Done(), "the stream ends with its handler")
		wantKinds(t, "the end of the stream", st.Err(), errNoDisk)
	})
}
