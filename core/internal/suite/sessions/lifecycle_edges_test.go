package sessions_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/coretest"
	"github.com/gridmux/gridmux/core/internal/lab"
	"github.com/gridmux/gridmux/transport"
	"github.com/gridmux/gridmux/transport/inmem"
)

// slowListen is a transport whose Listen takes until it is let go.
type slowListen struct {
	transport.Transport
	entered, leave chan struct{}
}

func (s slowListen) Listen(ctx context.Context, addr string) (transport.Listener, error) {
	close(s.entered)
	<-s.leave
	return s.Transport.Listen(ctx, addr)
}

// TestEndDuringStart ends a Manager while its Start is still binding. The end
// does not wait for that, Start says what happened, and the address is free
// (F35).
func TestEndDuringStart(t *testing.T) {
	for name, end := range map[string]func(*core.Manager) error{
		"Close":    (*core.Manager).Close,
		"Shutdown": func(m *core.Manager) error { return m.Shutdown(t.Context()) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				network := inmem.NewNetwork()
				slow := slowListen{network.Node("a"), make(chan struct{}), make(chan struct{})}
				m, err := core.NewManager(core.Config{
					Local: core.Node{Addr: "a"}, Peers: []core.Node{{Addr: "b"}}, Transport: slow,
				})
				if err != nil {
					t.Fatal(err)
				}
				began := time.Now()
				starting := lab.Go(func() error { return m.Start(t.Context()) })
				lab.Wait(t, slow.entered, "Start begins to bind")
				lab.WantText(t, "a second Start meanwhile", m.Start(t.Context()), "started already")
				lab.WantText(t, "Handle meanwhile", m.Handle("late", lab.Echo), "before Start")
				if _, err := m.Connection("a").Request(t.Context(), "x", nil); !errors.Is(err, core.ErrNotStarted) {
					t.Errorf("a call before Start is through returned %v, want ErrNotStarted", err)
				}
				if err := lab.Wait(t, lab.Go(func() error { return end(m) }), name+" returns"); err != nil {
					t.Errorf("%s during Start returned %v", name, err)
				}
				close(slow.leave)
				if err := lab.Wait(t, starting, "Start returns"); !errors.Is(err, core.ErrClosed) {
					t.Errorf("Start of a Manager that was closed meanwhile returned %v, want ErrClosed", err)
				}
				if d := time.Since(began); d > 0 {
					t.Errorf("all that took %v", d)
				}
				if s := m.Connection("b").State(); s != core.StateClosed {
					t.Errorf("the state of a peer is %v, want closed", s)
				}
				ln, err := network.Node("other").Listen(t.Context(), "a")
				if err != nil {
					t.Fatalf("the address is not free: %v", err)
				}
				ln.Close()
			})
		})
	}
}

// TestRunningHandlersCallTheirOwnNode holds that while a node drains, a handler
// that runs on it can still call it, as it can still call others. Everybody else
// is refused (F19).
func TestRunningHandlersCallTheirOwnNode(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		var c *lab.Cluster
		g := lab.NewGate(t, 1)
		c = l.Cluster(t, 2, lab.Handle("nested", func(ctx context.Context, req []byte) ([]byte, error) {
			if _, err := g.Handle(ctx, req); err != nil {
				return nil, err
			}
			return c.Conn(1, 1).Request(ctx, "deeper", req)
		}), lab.Handle("deeper", func(ctx context.Context, req []byte) ([]byte, error) {
			return c.Conn(1, 1).Request(ctx, "echo", req)
		}))
		nested := lab.GoCall(t.Context(), c.Conn(0, 1), "nested", []byte("nested"))
		lab.Wait(t, g.Began, "the handler begins")
		done := lab.Go(func() error { return c.Manager(1).Shutdown(t.Context()) })
		lab.Until(t, "the node drains", func() bool {
			_, err := c.Conn(1, 1).Request(t.Context(), "echo", nil)
			return errors.Is(err, core.ErrDraining) && core.OutcomeOf(err) == core.OutcomeNotSent
		})
		g.Release()
		if r := lab.Wait(t, nested, "the call ends"); r.Err != nil || string(r.Resp) != "nested" {
			t.Errorf("a handler that calls its own node while that drains: the call returned %q, %v", r.Resp, r.Err)
		}
		if err := lab.Wait(t, done, "Shutdown returns"); err != nil {
			t.Errorf("Shutdown returned %v", err)
		}
	})
}

// TestCloseBreaksShutdown closes a node that drains: the drain ends at once, and
// the call that it waited for says that it may have run (F35).
func TestCloseBreaksShutdown(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		g := lab.NewGate(t, 1)
		c := l.Cluster(t, 2, lab.Handle("block", g.HandleContext))
		called := lab.GoCall(t.Context(), c.Conn(0, 1), "block", nil)
		lab.Wait(t, g.Began, "the handler begins")
		done := lab.Go(func() error { return c.Manager(1).Shutdown(t.Context()) })
		lab.Until(t, "the node drains", func() bool {
			_, err := c.Conn(1, 0).Request(t.Context(), "echo", nil)
			return errors.Is(err, core.ErrDraining)
		})
		closeTwice(t, c.Manager(1))
		lab.Wait(t, done, "Shutdown returns when the node is closed")
		r := lab.Wait(t, called, "the call ends")
		lab.WantFailure(t, "a call that the drain would have waited for", r.Err, core.ErrDisconnected, core.OutcomeMaybeRun)
	})
}

// TestCloseWhileTheSocketIsFull closes a node whose peer has stopped reading a
// real socket, with calls of every size in progress (F35).
func TestCloseWhileTheSocketIsFull(t *testing.T) {
	lab.OverSockets(t, func(t *testing.T, l *lab.Link) {
		g := lab.NewGate(t, 1)
		c := l.Cluster(t, 2, coretest.WithHandlers(func(_ int, m *core.Manager) error {
			return m.Handle("stuck", g.Handle, core.WithInline())
		}))
		stuck := lab.GoCall(t.Context(), c.Conn(0, 1), "stuck", nil)
		lab.Wait(t, g.Began, "an inline handler holds the reader of the peer")
		var calls []<-chan lab.Reply
		for _, size := range []int{10, 30_000, 8 << 20, 100, 16 << 20} {
			calls = append(calls, lab.GoCall(t.Context(), c.Conn(0, 1), "echo", make([]byte, size)))
		}
		// Until the socket takes no more there is no telling what was sent.
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		_, _ = c.Conn(0, 1).Request(ctx, "echo", make([]byte, 8<<20))
		began := time.Now()
		if err := lab.Wait(t, lab.Go(c.Manager(0).Close), "Close returns"); err != nil {
			t.Errorf("Close returned %v", err)
		}
		if d := time.Since(began); d > 2*time.Second {
			t.Errorf("Close took %v while the peer does not read, want about the second that the link may take", d)
		}
		for _, call := range append(calls, stuck) {
			r := lab.Wait(t, call, "a call ends with its node")
			if !errors.Is(r.Err, core.ErrDisconnected) || core.OutcomeOf(r.Err) > core.OutcomeNotSent {
				t.Errorf("a call on a node that is closed returned outcome %v of %v", core.OutcomeOf(r.Err), r.Err)
			}
		}
	})
}
