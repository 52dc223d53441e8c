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
)

// TestDialContext expects the context and the time-out of Dial to end with the
// dialling: the connection, and the context of its handler, live on.
func TestDialContext(t *testing.T) {
	lab.InBubbles(t, func(t *testing.T, l *lab.Link) {
		contexts := make(chan context.Context, 1)
		c := l.Cluster(t, 2, streamOption("echo.bytes", func(ctx context.Context, payload []byte, s *core.RawStream) error {
			contexts <- ctx
			return copyBack(ctx, payload, s)
		}))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		conn, err := c.Conn(0, 1).Dial(ctx, "echo.bytes", core.WithTimeout(time.Second))
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := (<-contexts).Deadline(); ok {
			t.Error("the handler has the deadline of the dialling")
		}
		time.Sleep(time.Hour)
		cancel()
		synctest.Wait()
		write(t, conn, "still here")
		wantRead(t, conn, "still here")
		conn.Close()
	})
}

// TestDialEnds expects Dial to end with its context or its time-out, and to say
// why there is no connection.
func TestDialEnds(t *testing.T) {
	lab.InBubbles(t, func(t *testing.T, l *lab.Link) {
		c := listen(t, l, 2, coretest.Unstarted())
		c.Start(0)
		_, err := c.Conn(0, 1).Dial(t.Context(), service)
		lab.WantFailure(t, "without a connection", err, core.ErrDisconnected, core.OutcomeNotSent)

		began := time.Now()
		_, err = c.Conn(0, 1).Dial(t.Context(), service, core.WaitForConnection(), core.WithTimeout(time.Second))
		lab.WantFailure(t, "after its time-out", err, context.DeadlineExceeded, core.OutcomeNotSent)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = c.Conn(0, 1).Dial(ctx, service, core.WaitForConnection())
		lab.WantFailure(t, "after its context", err, context.DeadlineExceeded, core.OutcomeNotSent)
		if d := time.Since(began); d != 2*time.Second {
			t.Errorf("both took %v, want 2 s", d)
		}
		if _, err = c.Conn(0, 1).Dial(ctx, service); err == nil {
			t.Error("Dial with a context that has ended succeeded")
		}

		dialling := lab.Go(func() error {
			conn, err := c.Conn(0, 1).Dial(t.Context(), service, core.WaitForConnection())
			if err == nil {
				conn.Close()
			}
			return err
		})
		time.Sleep(time.Minute)
		c.Start(1)
		if err := lab.Wait(t, dialling, "Dial returns"); err != nil {
			t.Errorf("Dial returned %v when the peer was there", err)
		}
	})
}

// TestDialSlowPeer expects the time-out of opening a stream to hold also while
// the handlers of the peer are not known yet.
func TestDialSlowPeer(t *testing.T) {
	lab.Bubble(t, "inmem", func(t *testing.T) {
		c := lab.InmemLink().Cluster(t, 2, coretest.WithHandlers(func(i int, m *core.Manager) error {
			if i == 0 {
				return nil
			}
			return m.HandleStreamFunc("echo.bytes", copyBack) // other handlers than the caller's
		}), coretest.Unstarted())
		c.Memory().SetLatency(200 * time.Millisecond)
		c.Start(0)
		c.Start(1)
		if err := c.Conn(0, 1).WaitConnected(t.Context()); err != nil {
			t.Fatal(err)
		}
		for name, open := range map[string]func(...core.CallOption) error{
			"Dial": func(opts ...core.CallOption) error {
				_, err := c.Conn(0, 1).Dial(t.Context(), "echo.bytes", opts...)
				return err
			},
			"OpenStream": func(opts ...core.CallOption) error {
				_, err := c.Conn(0, 1).OpenStream(t.Context(), "echo.bytes", nil, opts...)
				return err
			},
		} {
			began := time.Now()
			err := open(core.WithTimeout(100 * time.Millisecond))
			lab.WantFailure(t, name, err, context.DeadlineExceeded, core.OutcomeNotSent)
			if d := time.Since(began); d != 100*time.Millisecond {
				t.Errorf("%s with a time-out of 100 ms took %v", name, d)
			}
		}
	})
}

// TestDialNobody expects the first Read to tell that there is no such handler, or
// that it serves no streams.
func TestDialNobody(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		c := listen(t, l, 2)
		for _, id := range []core.HandlerID{"nobody", "echo"} {
			conn, err := c.Conn(0, 1).Dial(t.Context(), id)
			if err != nil {
				t.Fatal(err)
			}
			lab.WantFailure(t, string(id), readError(t, conn), core.ErrUnknownHandler, core.OutcomeRefused)
			conn.Close()
		}
		_, err := c.Manager(0).Connection("elsewhere").Dial(t.Context(), service)
		lab.WantFailure(t, "an unknown node", err, core.ErrUnknownPeer, core.OutcomeNotSent)
	})
}

// TestDialSelf expects a node to reach its own Listener.
func TestDialSelf(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		c := listen(t, l, 2)
		conn := c.dial(0, 0)
		write(t, conn, "myself")
		accepted := c.accept(0)
		wantRead(t, accepted, "myself")
		if accepted.RemoteAddr().String() != "node-0" {
			t.Errorf("the connection comes from %v", accepted.RemoteAddr())
		}
		accepted.Close()
		wantEOF(t, conn)
	})
}

// TestMisuse expects what was not made by a Manager to fail and not to panic.
func TestMisuse(t *testing.T) {
	var none *core.RawStream
	for name, st := range map[string]*core.RawStream{"nil": none, "zero": new(core.RawStream)} {
		conn := st.Conn()
		_, readErr := conn.Read(make([]byte, 1))
		_, writeErr := conn.Write([]byte("x"))
		for what, err := range map[string]error{
			"Read": readErr, "Write": writeErr, "Close": conn.Close(), "SetDeadline": conn.SetDeadline(time.Now()),
			"CloseWrite": conn.(interface{ CloseWrite() error }).CloseWrite(),
		} {
			if !errors.Is(err, core.ErrNotStarted) {
				t.Errorf("%s RawStream: %s returned %v, want ErrNotStarted", name, what, err)
			}
		}
		if conn.LocalAddr().String() != "" || conn.RemoteAddr().String() != "" {
			t.Errorf("%s RawStream: addresses %v and %v", name, conn.LocalAddr(), conn.RemoteAddr())
		}
	}
	var route core.Route
	var noConnection *core.Connection
	dials := map[string]func(ctx context.Context) (net.Conn, error){
		"a zero Route":         func(ctx context.Context) (net.Conn, error) { return route.Dial(ctx, service) },
		"a nil Connection":     func(ctx context.Context) (net.Conn, error) { return noConnection.Dial(ctx, service) },
		"an unstarted Manager": func(ctx context.Context) (net.Conn, error) { return unstarted(t).Connection("a").Dial(ctx, service) },
	}
	for name, dial := range dials {
		if conn, err := dial(t.Context()); conn != nil || !errors.Is(err, core.ErrNotStarted) {
			t.Errorf("Dial of %s returned %v, %v, want ErrNotStarted", name, conn, err)
		}
	}
	if conn, err := unstarted(t).Connection("a").Dial(nil, service); conn != nil || err == nil { //nolint:staticcheck // misuse is the point
		t.Errorf("Dial without a context returned %v, %v", conn, err)
	}
	for name, m := range map[string]*core.Manager{"nil": nil, "zero": new(core.Manager)} {
		if ln, err := m.Listener(service); ln != nil || !errors.Is(err, core.ErrNotStarted) {
			t.Errorf("Listener of a %s Manager returned %v, %v, want ErrNotStarted", name, ln, err)
		}
	}
}
