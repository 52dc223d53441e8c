package streams_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/coretest"
	"github.com/gridmux/gridmux/core/internal/lab"
)

// badError panics when somebody asks what it says.
type badError struct{ leave bool }

func (e *badError) Error() string {
	if e.leave {
		runtime.Goexit()
	}
	panic("secret")
}

// waysToPanic are the ends of handlers that do not return properly.
var waysToPanic = map[string]func() error{
	"an error":                           func() error { panic(errors.New("secret")) },
	"a string":                           func() error { panic("secret") },
	"nil":                                func() error { panic(nil) },
	"a nil dereference":                  func() error { var p *core.Node; return errors.New(p.Name) },
	"a value that panics when printed":   func() error { panic(&badError{}) },
	"runtime.Goexit":                     func() error { runtime.Goexit(); return nil },
	"an error whose Error method panics": func() error { return &badError{} },
	"an error whose Error method leaves": func() error { return &badError{leave: true} },
}

// TestPanics holds that a handler that panics, or leaves its goroutine, before
// and after it has sent something, ends its own stream and nothing else: what it
// sent arrives, then the error, never a clean end, and its place is free again
// (T22, F18, D33).
func TestPanics(t *testing.T) {
	overLinks(t, func(t *testing.T, l *lab.Link, f form) {
		book := new(lab.LogBook)
		g := lab.NewGate(t, 1)
		c := l.Cluster(t, 2, lab.Configure(func(cfg *core.Config) {
			cfg.Logger = book.Logger()
			cfg.MaxHandlers, cfg.MaxStreamBuffers = 3, 4*64<<10 // so that what is not given back is missed
		}), f.serve("panics", func(_ context.Context, payload []byte, s end) error {
			how, partial := strings.CutSuffix(string(payload), " after output")
			if partial {
				for i := range 10 {
					if err := s.send(fmt.Append(nil, i)); err != nil {
						t.Errorf("output before a panic: %v", err)
					}
				}
			}
			return waysToPanic[how]()
		}, 3, 3), f.serve("block", func(ctx context.Context, payload []byte, s end) error {
			resp, err := g.Handle(ctx, payload)
			return errors.Join(err, s.send(resp))
		}, 0, 1))
		for _, to := range []int{1, 0} {
			other := f.mustOpen(t, c.Conn(0, to), "block", []byte("unaffected"))
			lab.Wait(t, g.Began, "another stream is in progress")
			for how := range waysToPanic {
				for _, partial := range []bool{false, true} {
					for range 3 {
						payload := how
						if partial {
							payload += " after output"
						}
						st := f.mustOpen(t, c.Conn(0, to), "panics", []byte(payload))
						if partial {
							for i := range 10 {
								wantMessages(t, payload, st, fmt.Sprint(i))
							}
						}
						_, err := st.recv()
						remote := lab.WantRemote(t, payload, err)
						if remote.Code != core.CodePanic || core.OutcomeOf(err) != core.OutcomeRemote {
							t.Errorf("%s: got code %d and outcome %q, want those of a panic", payload, remote.Code, core.OutcomeOf(err))
						}
						wantKinds(t, payload, err)
						for _, secret := range []string{"secret", ".go:", "goroutine"} {
							if strings.Contains(fmt.Sprintf("%v %s", err, remote.Detail), secret) {
								t.Errorf("%s: the caller learns %q: %v", payload, secret, err)
							}
						}
					}
				}
			}
			lab.MustCall(t, c.Conn(0, to), "echo", nil)
			g.Open <- struct{}{}
			wantMessages(t, "a stream beside those that panicked", other, "unaffected")
			wantEnd(t, "a stream beside those that panicked", other)
		}
		for _, text := range []string{"panic_test.go", "secret", "runtime.Goexit", "node-0"} {
			if !strings.Contains(book.String(), text) {
				t.Errorf("the log of the node does not mention %q", text)
			}
		}
	})
}

// TestPanicsLeaveNoGoroutines has a hundred handlers panic and leave while their
// streams still carry messages both ways (D33).
func TestPanicsLeaveNoGoroutines(t *testing.T) {
	inBubbles(t, func(t *testing.T, f form) {
		c := lab.InmemLink().Cluster(t, 2, f.serve("panics", func(_ context.Context, payload []byte, s end) error {
			if err := s.send([]byte("x")); err != nil {
				t.Error(err)
			}
			if string(payload) == "leave" {
				runtime.Goexit()
			}
			panic("boom")
		}, 2, 2))
		lab.MustCall(t, c.Conn(0, 1), "echo", nil)
		before := goroutinesAtRest()
		for i := range 100 {
			payload := ""
			if i%2 == 0 {
				payload = "leave"
			}
			st := f.mustOpen(t, c.Conn(0, 1), "panics", []byte(payload))
			for st.send([]byte("y")) == nil {
			}
			st.close()
		}
		if after := goroutinesAtRest(); after > before+someGoroutines {
			t.Errorf("after 100 panics there are %d goroutines, before there were %d", after, before)
		}
	})
}

// TestReturnDuringSend has a handler return while goroutines that it began are
// inside Send: one that waits for credit, and one in the middle of a large
// message. What Send returned no error for arrives before the end, and nothing
// else does (F18, I5).
func TestReturnDuringSend(t *testing.T) {
	lab.InBubbles(t, func(t *testing.T, l *lab.Link) {
		sent := make(chan error, 1)
		c := l.Cluster(t, 2, lab.Configure(limited), coretest.WithHandlers(func(_ int, m *core.Manager) error {
			return m.HandleStreamFunc("hasty", func(_ context.Context, payload []byte, s *core.RawStream) error {
				if err := s.Send([]byte("first")); err != nil {
					return err
				}
				size := 1
				if string(payload) == "large" {
					size = largest
				}
				go func() { sent <- s.Send(make([]byte, size)) }()
				synctest.Wait() // it is inside Send
				return nil
			}, core.WithCapacity(0, 2))
		}), coretest.WithHandlers(func(_ int, m *core.Manager) error {
			return m.HandleStreamFunc("narrow", func(_ context.Context, _ []byte, s *core.RawStream) error {
				if err := s.Send([]byte("first")); err != nil {
					return err
				}
				go func() { sent <- s.Send([]byte("too late")) }()
				synctest.Wait() // it waits for credit
				return nil
			}, core.WithCapacity(0, 1))
		}))
		for h, payload := range map[core.HandlerID]string{"narrow": "", "hasty": "large"} {
			st := rawForm.mustOpen(t, c.Conn(0, 1), h, []byte(payload))
			wantErr := h == "narrow"
			if wantErr {
				wantKinds(t, "a Send that waits while its handler returns", lab.Wait(t, sent, "Send returns with the handler"), net.ErrClosed)
			}
			wantMessages(t, string(h), st, "first")
			var got []int
			for {
				msg, err := st.recv()
				if err == io.EOF {
					break
				}
				if err != nil {
					t.Fatalf("%s: %v", h, err)
				}
				got = append(got, len(msg))
			}
			if wantErr {
				if len(got) != 0 {
					t.Errorf("a message whose Send failed arrived: %v", got)
				}
				continue
			}
			err := lab.Wait(t, sent, "Send returns")
			if (err == nil) != (len(got) == 1) || len(got) > 1 {
				t.Errorf("Send returned %v, and %v bytes arrived before a clean end", err, got)
			}
		}
	})
}

// TestUseAfterReturn uses both ends of a stream after its handler has returned,
// on the serving side too, and while other streams are open in its place: it
// fails, and touches nothing else (F18).
func TestUseAfterReturn(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		kept := make(chan *core.RawStream, 1)
		keptChannels := make(chan chan<- []byte, 1)
		c := l.Cluster(t, 2, coretest.WithHandlers(func(_ int, m *core.Manager) error {
			return m.HandleStreamFunc("kept", func(_ context.Context, _ []byte, s *core.RawStream) error {
				kept <- s
				return nil
			})
		}), channels("kept channels", 1, 2, func(_ context.Context, _ []byte, _ <-chan []byte, out chan<- []byte) error {
			keptChannels <- out
			return nil
		}), rawForm.serve("back", echo, 1, 1), lab.Configure(func(cfg *core.Config) { cfg.MaxCalls = 1 }))
		for _, to := range []int{1, 0} {
			caller := rawForm.mustOpen(t, c.Conn(0, to), "kept", nil).(rawEnd)
			served := lab.Wait(t, kept, "the handler begins")
			wantEnd(t, "a handler that kept its stream", caller)
			chans := mustNew(t.Context(), t, c.Conn(0, to), "kept channels")
			out := lab.Wait(t, keptChannels, "the handler begins")
			if err := chans.Results(func([]byte) error { return nil }); err != nil {
				t.Errorf("a handler that kept its channel: %v", err)
			}
			// In the same slot.
			next := rawForm.mustOpen(t, c.Conn(0, to), "back", nil)
			for range 10 {
				select {
				case out <- []byte("ghost"):
				default:
				}
				lab.Wait(t, served.Done(), "Done is closed")
				for side, st := range map[string]*core.RawStream{"serving": served, "calling": caller.RawStream} {
					wantKinds(t, side+": Send after the return", st.Send([]byte("ghost")), net.ErrClosed)
					if side == "serving" {
						_, err := st.Recv(nil)
						wantKinds(t, side+": Recv after the return", err, net.ErrClosed)
						for _, err := range st.All() {
							wantKinds(t, side+": All after the return", err, net.ErrClosed)
						}
					}
					for what, err := range map[string]error{"CloseSend": st.CloseSend(), "Close": st.Close(), "Err": st.Err()} {
						if err != nil {
							t.Errorf("%s: %s returned %v after a clean end", side, what, err)
						}
					}
				}
				if err := next.send([]byte("x")); err != nil {
					t.Fatalf("the next stream in the slot: %v", err)
				}
				wantMessages(t, "the next stream in the slot", next, "x")
			}
			next.closeSend()
			wantEnd(t, "the next stream in the slot", next)
		}
	})
}
