package sessions_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/coretest"
	"github.com/gridmux/gridmux/core/internal/lab"
)

func TestStart(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		c := l.Cluster(t, 2, coretest.Unstarted())
		m := c.Manager(0)
		if a := m.Addr(); a != "" {
			t.Errorf("before Start the address is %q, want none", a)
		}
		c.Start(0)
		if a := m.Addr(); a != c.Node(0).Addr {
			t.Errorf("the node listens on %q, want %q", a, c.Node(0).Addr)
		}
		lab.WantText(t, "a second Start", m.Start(t.Context()), "started already")
		lab.WantText(t, "Handle after Start", m.Handle("late", lab.Echo), "before Start", `"late"`)
		lab.WantText(t, "HandleAppend after Start", m.HandleAppend("late", lab.EchoAppend), "before Start")
		c.Start(1)
		c.WaitConnected()
		m.Close()
		if err := m.Start(t.Context()); !errors.Is(err, core.ErrClosed) {
			t.Errorf("Start after Close returned %v, want ErrClosed", err)
		}
	})
}

func TestStartFails(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		c := l.Cluster(t, 2, coretest.Unstarted())
		over, cancel := context.WithCancel(t.Context())
		cancel()
		m := c.Manager(0)
		if err := m.Start(over); !errors.Is(err, context.Canceled) {
			t.Errorf("Start with a context that is over returned %v", err)
		}
		if err := m.Start(t.Context()); !errors.Is(err, core.ErrClosed) {
			t.Errorf("Start after one that failed returned %v, want ErrClosed", err)
		}
		if _, err := c.Conn(0, 1).Request(t.Context(), "echo", nil); !errors.Is(err, core.ErrClosed) {
			t.Errorf("a call after a Start that failed returned %v, want ErrClosed", err)
		}
		if err := m.Close(); err != nil {
			t.Errorf("Close after a Start that failed returned %v", err)
		}
	})
}

// TestStartWithTooManyHandlers registers more handlers than the catalogue has room for.
// Start says so and closes the Manager, as with whatever else it fails of. It used to
// leave it as it was, neither started nor closed.
func TestStartWithTooManyHandlers(t *testing.T) {
	c := lab.InmemLink().Cluster(t, 1, coretest.Unstarted(), coretest.WithHandlers(func(_ int, m *core.Manager) (err error) {
		for i := range 1<<16 + 1 {
			err = errors.Join(err, m.Handle("disk", lab.Echo, core.WithRoute(strconv.Itoa(i))))
		}
		return err
	}))
	m := c.Manager(0)
	lab.WantText(t, "Start with too many handlers", m.Start(t.Context()), "catalogue", "65536", "register fewer")
	if err := m.Start(t.Context()); !errors.Is(err, core.ErrClosed) {
		t.Errorf("Start after one that failed returned %v, want ErrClosed", err)
	}
	if _, err := c.Conn(0, 0).Request(t.Context(), "disk", nil); !errors.Is(err, core.ErrClosed) {
		t.Errorf("a call after a Start that failed returned %v, want ErrClosed", err)
	}
}

func TestCloseBeforeStart(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		c := l.Cluster(t, 2, coretest.Unstarted())
		closeTwice(t, c.Manager(0))
		if err := c.Manager(0).Start(t.Context()); !errors.Is(err, core.ErrClosed) {
			t.Errorf("Start after Close returned %v, want ErrClosed", err)
		}
	})
}

func closeTwice(t *testing.T, m *core.Manager) {
	t.Helper()
	for range 2 {
		if err := lab.Wait(t, lab.Go(m.Close), "Close returns"); err != nil {
			t.Errorf("Close returned %v", err)
		}
	}
}

// TestCloseFromHandlers has handlers close the node that they run on, others
// wait for it, and strangers close it at the same time (F35).
func TestCloseFromHandlers(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		for _, opts := range [][]core.HandlerOption{nil, {core.WithInline()}} {
			for _, to := range []int{1, 0} {
				var c *lab.Cluster
				g := lab.NewGate(t, 1)
				closed := make(chan error, 10)
				inside := make(chan error, 10)
				shut := lab.Handle("close", func(ctx context.Context, _ []byte) ([]byte, error) {
					closed <- c.Manager(to).Close()
					closed <- c.Manager(to).Close()
					<-ctx.Done()
					inside <- ctx.Err()
					return nil, nil
				}, opts...)
				c = l.Cluster(t, 2, shut, lab.Handle("block", g.Handle))
				blocked := lab.GoCall(t.Context(), c.Conn(0, to), "block", nil)
				lab.Wait(t, g.Began, "a handler that blocks begins")
				calling := lab.GoCall(t.Context(), c.Conn(0, to), "close", nil)
				for range 2 {
					if err := lab.Wait(t, closed, "Close returns inside a handler"); err != nil {
						t.Errorf("Close inside a handler returned %v", err)
					}
				}
				if err := lab.Wait(t, inside, "the handler's context ends"); err != context.Canceled {
					t.Errorf("the context of the handler that closes ended with %v", err)
				}
				for _, called := range []<-chan lab.Reply{calling, blocked} {
					r := lab.Wait(t, called, "a call to a node that is closed returns")
					lab.WantFailure(t, "a call to a node that is closed", r.Err, core.ErrDisconnected, core.OutcomeMaybeRun)
				}
				closeTwice(t, c.Manager(to))
				g.Release()
			}
		}
	})
}

// TestCloseFromManySides closes a busy node from many goroutines at once (F35,
// D24).
func TestCloseFromManySides(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		for range lab.Scale(10, 3, 100) {
			c := l.Cluster(t, 3)
			var load, closers sync.WaitGroup
			for from := range 3 {
				for i := range 5 {
					load.Go(func() {
						for {
							job := coretest.Job{Request: i * lab.PartSize / 2, Response: i * lab.PartSize / 2}
							err := c.Ledger.Call(t.Context(), c.Conn(from, (from+i)%3), "busy", coretest.LedgerAppend, job)
							if errors.Is(err, core.ErrClosed) || errors.Is(err, core.ErrDisconnected) {
								return
							}
							if err != nil {
								t.Errorf("a call while nodes are closed returned %v", err)
								return
							}
						}
					})
				}
			}
			lab.MustCall(t, c.Conn(0, 1), "echo", nil)
			for i := range 9 {
				closers.Go(func() {
					if err := c.Manager(i % 3).Close(); err != nil {
						t.Errorf("Close returned %v", err)
					}
				})
			}
			closers.Wait()
			load.Wait()
			c.CheckLedger()
		}
	})
}

// TestCloseDoesNotWaitForThePeer closes a node whose peer does not read, and one
// that is dialling (F35).
func TestCloseDoesNotWaitForThePeer(t *testing.T) {
	lab.InBubbles(t, func(t *testing.T, l *lab.Link) {
		c := l.Cluster(t, 2)
		c.Silence(0, 1)
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				_, err := c.Conn(0, 1).Request(t.Context(), "echo", make([]byte, 10_000))
				if !errors.Is(err, core.ErrDisconnected) {
					t.Errorf("a call on a node that is closed returned %v, want ErrDisconnected", err)
				}
			})
		}
		synctest.Wait()
		began := time.Now()
		closeTwice(t, c.Manager(0))
		if d := time.Since(began); d > time.Second {
			t.Errorf("Close took %v while the peer does not read, want at most the second that a transport may take", d)
		}
		wg.Wait()
	})
	synctest.Test(t, func(t *testing.T) {
		watched, watch := watchDials(2)
		for _, w := range watched {
			w.block = true
		}
		c := lab.InmemLink().Cluster(t, 2, watch, coretest.Unstarted())
		c.Start(0)
		c.Start(1)
		time.Sleep(time.Second)
		began := time.Now()
		closeTwice(t, c.Manager(0))
		closeTwice(t, c.Manager(1))
		if d := time.Since(began); d > 0 {
			t.Errorf("Close of a node that is dialling took %v", d)
		}
	})
}

// TestShutdown drains a node with calls of every kind in progress: those end
// well, new ones are refused, and nothing is lost (F19).
func TestShutdown(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		var c *lab.Cluster
		g := lab.NewGate(t, 10)
		c = l.Cluster(t, 2, lab.Handle("block", g.Handle), lab.Handle("nested", func(ctx context.Context, req []byte) ([]byte, error) {
			if _, err := g.Handle(ctx, req); err != nil {
				return nil, err
			}
			// A running handler may still call, with its own context.
			ctx, cancel := context.WithCancel(ctx)
			defer cancel()
			return c.Conn(1, 0).Request(ctx, "echo", req)
		}))
		big := lab.Pattern(1, 1<<20)
		small := lab.GoCall(t.Context(), c.Conn(0, 1), "block", []byte("small"))
		large := lab.GoCall(t.Context(), c.Conn(0, 1), "block", big)
		nested := lab.GoCall(t.Context(), c.Conn(0, 1), "nested", []byte("nested"))
		self := lab.GoCall(t.Context(), c.Conn(1, 1), "block", []byte("self"))
		outgoing := lab.GoCall(t.Context(), c.Conn(1, 0), "block", []byte("outgoing"))
		for range 5 {
			lab.Wait(t, g.Began, "a handler begins")
		}
		var done []<-chan error
		for range 3 {
			done = append(done, lab.Go(func() error { return c.Manager(1).Shutdown(t.Context()) }))
		}
		lab.Until(t, "the peer learns of the drain", func() bool {
			_, err := c.Conn(0, 1).Request(t.Context(), "echo", nil)
			if err != nil && !errors.Is(err, core.ErrDraining) {
				t.Fatalf("a call to a node that drains returned %v, want ErrDraining", err)
			}
			return core.OutcomeOf(err) == core.OutcomeNotSent
		})
		for _, to := range []int{0, 1} {
			_, err := c.Conn(1, to).Request(t.Context(), "echo", nil)
			lab.WantFailure(t, "a new call of a node that drains", err, core.ErrDraining, core.OutcomeNotSent)
		}
		select {
		case err := <-done[0]:
			t.Errorf("Shutdown returned %v while calls are in progress", err)
		default:
		}
		g.Release()
		for _, call := range []struct {
			r    <-chan lab.Reply
			want []byte
		}{
			{small, []byte("small")},
			{large, big},
			{nested, []byte("nested")},
			{self, []byte("self")},
			{outgoing, []byte("outgoing")},
		} {
			if r := lab.Wait(t, call.r, "a call that was in progress ends"); r.Err != nil || !bytes.Equal(r.Resp, call.want) {
				t.Errorf("the call of %.10q that was in progress returned %d bytes, %v", call.want, len(r.Resp), r.Err)
			}
		}
		for _, d := range done {
			if err := lab.Wait(t, d, "Shutdown returns when all is done"); err != nil {
				t.Errorf("Shutdown returned %v", err)
			}
		}
		if s := c.Conn(1, 0).State(); s != core.StateClosed {
			t.Errorf("after Shutdown the state is %v, want closed", s)
		}
		if err := c.Manager(1).Shutdown(t.Context()); err != nil {
			t.Errorf("Shutdown after Shutdown returned %v", err)
		}
		closeTwice(t, c.Manager(1))
	})
}

// TestShutdownInTime ends a drain by its context, and holds that both nodes are told
// what they waited for (F19).
func TestShutdownInTime(t *testing.T) {
	lab.InBubbles(t, func(t *testing.T, l *lab.Link) {
		g := lab.NewGate(t, 3)
		c := l.Cluster(t, 2, lab.Handle("block", g.HandleContext), lab.Handle("stay", g.Handle))
		_, err := c.Conn(0, 1).Request(t.Context(), "stay", nil, core.WithTimeout(time.Second))
		lab.WantFailure(t, "a call that is given up", err, context.DeadlineExceeded, core.OutcomeMaybeRun)
		lab.Wait(t, g.Began, "its handler has begun")
		called := lab.GoCall(t.Context(), c.Conn(0, 1), "block", nil)
		inside := lab.Wait(t, g.Began, "the handler begins")
		began := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		err = c.Manager(1).Shutdown(ctx)
		if d := time.Since(began); d != time.Minute || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Shutdown returned %v after %v, want the end of its context after 1m", err, d)
		}
		if want := `in progress (handler "block", handler "stay"): `; !lab.Mentions(err, want) {
			t.Errorf("Shutdown of the handler's node returned %v, want %q in it", err, want)
		}
		lab.Wait(t, inside.Done(), "the handler's context ends")
		r := lab.Wait(t, called, "the call ends")
		lab.WantFailure(t, "a call that the drain did not wait for", r.Err, core.ErrDisconnected, core.OutcomeMaybeRun)

		c = l.Cluster(t, 2, lab.Handle("block", g.HandleContext))
		lab.GoCall(t.Context(), c.Conn(0, 1), "block", nil)
		lab.GoCall(t.Context(), c.Conn(0, 1), "block", nil)
		synctest.Wait()
		ctx, cancel = context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err = c.Manager(0).Shutdown(ctx)
		if want := fmt.Sprintf("in progress (2 × call to %q): ", c.Node(1).Name); !lab.Mentions(err, want) {
			t.Errorf("Shutdown of the caller's node returned %v, want %q in it", err, want)
		}

		// With nothing in progress it takes no time.
		c = l.Cluster(t, 1)
		began = time.Now()
		if err := c.Manager(0).Shutdown(t.Context()); err != nil || time.Since(began) > 0 {
			t.Errorf("Shutdown of an idle node returned %v after %v", err, time.Since(began))
		}
	})
}

// TestShutdownBeforeStart holds that there is nothing to drain.
func TestShutdownBeforeStart(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		c := l.Cluster(t, 2, coretest.Unstarted())
		if err := lab.Wait(t, lab.Go(func() error { return c.Manager(0).Shutdown(t.Context()) }), "Shutdown before Start returns"); err != nil {
			t.Errorf("Shutdown before Start returned %v", err)
		}
		if err := c.Manager(0).Start(t.Context()); !errors.Is(err, core.ErrClosed) {
			t.Errorf("Start after Shutdown returned %v, want ErrClosed", err)
		}
	})
}

// TestShutdownUnderLoad drains nodes one after the other under load. Nobody who
// was told that a call did not run, or ran, was told wrong, and no call that
// was accepted is lost (F19).
func TestShutdownUnderLoad(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		for range lab.Scale(5, 2, 50) {
			c := l.Cluster(t, 3)
			var load sync.WaitGroup
			for from := range 3 {
				for i := range 5 {
					load.Go(func() {
						for n := 0; ; n++ {
							job := coretest.Job{Request: n % 4 * lab.PartSize / 3, Response: n % 3 * lab.PartSize / 2}
							err := c.Ledger.Call(t.Context(), c.Conn(from, (from+1+i%2)%3), "busy", coretest.LedgerAppend, job)
							switch {
							case errors.Is(err, core.ErrClosed):
								return
							case errors.Is(err, core.ErrDraining), errors.Is(err, core.ErrDisconnected) && !lab.Mentions(err, "the Manager was closed"),
								// What the peer had not read when it closed.
								lab.Mentions(err, "closed by the peer with code 30"):
								time.Sleep(100 * time.Microsecond)
							case err != nil:
								t.Errorf("a call while nodes drain returned %v", err)
								return
							}
						}
					})
				}
			}
			for i := range 3 {
				lab.MustCall(t, c.Conn(2, 2), "echo", nil)
				if err := lab.Wait(t, lab.Go(func() error { return c.Manager(i).Shutdown(t.Context()) }), "Shutdown under load returns"); err != nil {
					t.Errorf("Shutdown under load returned %v", err)
				}
			}
			load.Wait()
			c.CheckLedger()
		}
	})
}
