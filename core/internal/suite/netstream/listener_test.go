package netstream_test

import (
	"context"
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/coretest"
	"github.com/gridmux/gridmux/core/internal/lab"
	"github.com/gridmux/gridmux/transport/inmem"
)

// readError returns what a Read that brings nothing fails with.
func readError(t *testing.T, c net.Conn) error {
	t.Helper()
	return lab.Wait(t, lab.Go(func() error {
		n, err := c.Read(make([]byte, 1))
		if n != 0 {
			t.Error("Read brought a byte, want an error")
		}
		return err
	}), "Read fails")
}

// TestBacklog expects 128 connections to wait until they are accepted, further
// ones to be refused as safe to repeat, and room again after each Accept.
func TestBacklog(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		const waiting, open = 128, 7
		// The refused give back their windows, or there is no room for the others.
		c := listen(t, l, 2, coretest.WithConfig(func(i int, cfg *core.Config) {
			if i == 1 {
				cfg.MaxStreamBuffers = (waiting + open) * 64 << 10
			}
		}))
		dial := func() net.Conn {
			conn := c.dial(0, 1)
			write(t, conn, "x")
			return conn
		}
		for range waiting {
			dial()
		}
		c.arrived(1, waiting)
		for range 2 * open {
			lab.WantFailure(t, "a connection too many", readError(t, c.dial(0, 1)), core.ErrOverloaded, core.OutcomeRefused)
		}
		var accepted []net.Conn
		for range open {
			accepted = append(accepted, c.accept(1))
			dial()
			c.arrived(1, waiting+len(accepted))
			lab.WantFailure(t, "one too many again", readError(t, c.dial(0, 1)), core.ErrOverloaded, core.OutcomeRefused)
		}
		for range waiting {
			accepted = append(accepted, c.accept(1))
		}
		for _, conn := range accepted {
			wantRead(t, conn, "x")
			conn.Close()
		}
	})
}

// TestBacklogOfTheGone expects connections whose caller has gone to take nobody's place
// among those that wait, and to come out of no Accept.
func TestBacklogOfTheGone(t *testing.T) {
	lab.InBubbles(t, func(t *testing.T, l *lab.Link) {
		c := listen(t, l, 2)
		first := c.dial(0, 1)
		write(t, first, "first")
		for range 2 * 128 {
			st, err := c.Conn(0, 1).OpenStream(t.Context(), service, nil)
			if err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			st.Close()
		}
		last := c.dial(0, 1)
		write(t, last, "last")
		synctest.Wait()
		for _, want := range []string{"first", "last"} {
			conn := c.accept(1)
			wantRead(t, conn, want)
			conn.Close()
		}
	})
}

// TestListenerClose expects Close to end the connections that wait and no others,
// to wake up Accept, and to let no more in.
func TestListenerClose(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		c := listen(t, l, 2)
		ln := c.listener(1)
		dialled, accepted := c.pair()
		waits := c.dial(0, 1)
		c.arrived(1, 2)
		if err := ln.Close(); err != nil {
			t.Errorf("Close returned %v", err)
		}
		remote := lab.WantRemote(t, "a connection that waited", readError(t, waits))
		lab.WantText(t, "a connection that waited", remote, "listener was closed")
		lab.WantFailure(t, "a connection after Close", readError(t, c.dial(0, 1)), core.ErrUnknownHandler, core.OutcomeRefused)
		wantClosed(t, ln)
		if err := ln.Close(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("a second Close returned %v, want net.ErrClosed", err)
		}
		write(t, dialled, "lives")
		wantRead(t, accepted, "lives")

		accepting := lab.Go(func() error { _, err := c.listener(0).Accept(); return err })
		c.listener(0).Close()
		if err := lab.Wait(t, accepting, "Close wakes Accept"); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Accept returned %v", err)
		}
	})
}

func wantClosed(t *testing.T, ln net.Listener) {
	t.Helper()
	conn, err := ln.Accept()
	if _, ok := errors.AsType[*net.OpError](err); conn != nil || !ok || !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept returned %v, %v, want a net.OpError that is net.ErrClosed", conn, err)
	}
}

// TestListenerOfClosedManager expects Accept to end with the Manager, whether or
// not that was started, and connections to end too.
func TestListenerOfClosedManager(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		c := listen(t, l, 2)
		dialled, accepted := c.pair()
		c.dial(0, 1) // waits
		accepting := lab.Go(func() error { _, err := c.listener(0).Accept(); return err })
		for i := range 2 {
			if err := c.Manager(i).Close(); err != nil {
				t.Fatal(err)
			}
			wantClosed(t, c.listener(i))
		}
		if err := lab.Wait(t, accepting, "Close of the Manager wakes Accept"); !errors.Is(err, core.ErrClosed) {
			t.Errorf("Accept returned %v, want core.ErrClosed", err)
		}
		for _, conn := range []net.Conn{dialled, accepted} {
			if err := readError(t, conn); !errors.Is(err, core.ErrDisconnected) {
				t.Errorf("Read returned %v, want ErrDisconnected", err)
			}
		}
	})
	m := unstarted(t)
	ln, err := m.Listener(service)
	if err != nil {
		t.Fatal(err)
	}
	accepting := lab.Go(func() error { _, err := ln.Accept(); return err })
	m.Close()
	if err := lab.Wait(t, accepting, "Close of a Manager that was never started wakes Accept"); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept returned %v", err)
	}
}

// unstarted makes a Manager that is not started.
func unstarted(t *testing.T) *core.Manager {
	t.Helper()
	m, err := core.NewManager(core.Config{
		Local: core.Node{Name: "a", Addr: "a"}, Transport: inmem.NewNetwork().Node("a"), AllowInsecure: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

// TestListenerOptions expects options of handlers to hold for a Listener, and
// what makes no sense to be refused at registration.
func TestListenerOptions(t *testing.T) {
	t.Run("refused", func(t *testing.T) {
		for name, opts := range map[string][]core.HandlerOption{
			"no input": {core.WithCapacity(0, 5)},
			"inline":   {core.WithInline()},
			"nil":      {nil},
		} {
			if ln, err := unstarted(t).Listener(service, opts...); ln != nil || err == nil {
				t.Errorf("%s: Listener returned %v, %v, want an error", name, ln, err)
			}
		}
		m := unstarted(t)
		if ln, err := m.Listener(""); ln != nil || err == nil {
			t.Errorf("without an id Listener returned %v, %v", ln, err)
		}
		if _, err := m.Listener(service); err != nil {
			t.Error(err)
		}
		if ln, err := m.Listener(service); ln != nil || err == nil {
			t.Errorf("a second Listener with the same id: %v, %v", ln, err)
		}
		if err := m.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		if ln, err := m.Listener("late"); ln != nil || err == nil {
			t.Errorf("after Start Listener returned %v, %v", ln, err)
		}
	})
	t.Run("held", func(t *testing.T) {
		lab.InBubbles(t, func(t *testing.T, l *lab.Link) {
			var ln net.Listener
			c := l.Cluster(t, 2, coretest.WithHandlers(func(_ int, m *core.Manager) (err error) {
				ln, err = m.Listener(service, core.WithRoute("west"), core.WithConcurrency(1), core.WithTimeout(time.Hour), core.WithCapacity(1, 1))
				return err
			}))
			dial := func() net.Conn {
				conn, err := c.Conn(0, 1).Route("west").Dial(t.Context(), service)
				if err != nil {
					t.Fatal(err)
				}
				return conn
			}
			first := dial()
			accepted, err := ln.Accept()
			if err != nil {
				t.Fatal(err)
			}
			lab.WantFailure(t, "a second connection", readError(t, dial()), core.ErrOverloaded, core.OutcomeRefused)
			accepted.Close()
			wantEOF(t, first)
			second := dial()
			if accepted, err = ln.Accept(); err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			if _, err := second.Read(make([]byte, 1)); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Hour {
				t.Errorf("after %v: %v, want the end of WithTimeout", time.Since(began), err)
			}
			if err := readError(t, accepted); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("the serving side read %v", err)
			}
			accepted.Close()
			if ln.Addr().Network() != "gridmux" || ln.Addr().String() != "node-1" {
				t.Errorf("the address is %s %s", ln.Addr().Network(), ln.Addr())
			}
		})
	})
}

// TestPlaceOfConnection expects a connection to count as a running handler until
// it is closed on the serving side, not until the caller is done, and to give its
// place back before the caller sees the end.
func TestPlaceOfConnection(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		c := listen(t, l, 2, lab.Configure(func(cfg *core.Config) { cfg.MaxHandlers = 1 }))
		for range lab.Scale(200, 50, 2000) {
			dialled, accepted := c.pair()
			if err := dialled.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
				t.Fatal(err)
			}
			wantEOF(t, accepted)
			lab.WantFailure(t, "while one is open", readError(t, c.dial(0, 1)), core.ErrOverloaded, core.OutcomeRefused)
			accepted.Close()
			wantEOF(t, dialled)
		}
	})
}
