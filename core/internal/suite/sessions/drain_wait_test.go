package sessions_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/internal/lab"
)

// TestWaitersOfADrainingNode has everything that can wait for a connection do so when the
// node begins to drain, a handler too. It makes no connection any more, so all are told at
// once; they used to wait for Close, and Shutdown for the handler (F19).
func TestWaitersOfADrainingNode(t *testing.T) {
	lab.InBubbles(t, func(t *testing.T, l *lab.Link) {
		var known atomic.Pointer[lab.Cluster]
		waits := func(ctx context.Context) error {
			_, err := known.Load().Conn(0, 2).Request(ctx, "echo", nil, core.WaitForConnection())
			return err
		}
		inHandler := make(chan error, 1)
		g := lab.NewGate(t, 1)
		c := l.Cluster(t, 3, lab.Handle("gate", g.Handle), lab.Handle("waits", func(ctx context.Context, _ []byte) ([]byte, error) {
			inHandler <- waits(ctx)
			return nil, nil
		}))
		known.Store(c)
		c.Stop(2)
		time.Sleep(time.Second)
		m, gone := c.Manager(0), c.Conn(0, 2)
		busy, calls := lab.GoCall(t.Context(), c.Conn(1, 0), "gate", nil), lab.GoCall(t.Context(), c.Conn(1, 0), "waits", nil)
		lab.Wait(t, g.Began, "a handler begins")
		ends := map[string]<-chan error{
			"a call of a handler that waits": inHandler,
			"a call that waits":              lab.Go(func() error { return waits(t.Context()) }),
			"a stream that waits": lab.Go(func() error {
				_, err := gone.OpenStream(t.Context(), "echo", nil, core.WaitForConnection())
				return err
			}),
			"Connection.WaitConnected": lab.Go(func() error { return gone.WaitConnected(t.Context()) }),
			"Manager.WaitConnected":    lab.Go(func() error { return m.WaitConnected(t.Context()) }),
			"Manager.WaitQuorum":       lab.Go(func() error { return m.WaitQuorum(t.Context(), 3) }),
		}
		time.Sleep(time.Second)
		began := time.Now()
		done := lab.Go(func() error { return m.Shutdown(t.Context()) })
		for what, end := range ends {
			if err := lab.Wait(t, end, what+" ends"); !errors.Is(err, core.ErrDraining) {
				t.Errorf("%s when the node drains returned %v, want ErrDraining", what, err)
			}
		}
		if err := waits(t.Context()); core.OutcomeOf(err) != core.OutcomeNotSent || !errors.Is(err, core.ErrDraining) {
			t.Errorf("a call of a node that drains returned %v", err)
		}
		if d := time.Since(began); d > 100*time.Millisecond {
			t.Errorf("all were told after %v", d)
		}
		g.Release()
		for _, r := range []<-chan lab.Reply{busy, calls} {
			if r := lab.Wait(t, r, "a call ends"); r.Err != nil {
				t.Error(r.Err)
			}
		}
		if err := lab.Wait(t, done, "Shutdown returns"); err != nil {
			t.Errorf("Shutdown returned %v", err)
		}
	})
}

// TestLinkLostDuringADrain cuts the link that a handler's calls go over while its node
// drains: it is not made again, and they fail at once, as not sent.
func TestLinkLostDuringADrain(t *testing.T) {
	lab.InBubbles(t, func(t *testing.T, l *lab.Link) {
		var known atomic.Pointer[lab.Cluster]
		before, after := make(chan error, 1), make(chan error, 1)
		cut := make(chan struct{})
		c := l.Cluster(t, 3, lab.Handle("relay", func(ctx context.Context, req []byte) ([]byte, error) {
			call := func(opts ...core.CallOption) error {
				_, err := known.Load().Conn(0, 2).Request(ctx, "echo", req, opts...)
				return err
			}
			<-core.Draining(ctx)
			before <- call()
			<-cut
			after <- errors.Join(call(), call(core.WaitForConnection()))
			return nil, nil
		}))
		known.Store(c)
		call := lab.GoCall(t.Context(), c.Conn(1, 0), "relay", []byte("x"))
		synctest.Wait()
		done := lab.Go(func() error { return c.Manager(0).Shutdown(t.Context()) })
		if err := lab.Wait(t, before, "a handler calls"); err != nil {
			t.Errorf("a call of a handler while its node drains returned %v", err)
		}
		c.Cut(0, 2)
		time.Sleep(10 * time.Second)
		close(cut)
		err := lab.Wait(t, after, "a handler calls over a link that was lost")
		for _, err := range err.(interface{ Unwrap() []error }).Unwrap() {
			lab.WantFailure(t, "a call over a link that was lost in a drain", err, core.ErrDraining, core.OutcomeNotSent)
			if !errors.Is(err, core.ErrDisconnected) {
				t.Errorf("%v does not match ErrDisconnected", err)
			}
		}
		if r := lab.Wait(t, call, "the handler returns"); r.Err != nil {
			t.Error(r.Err)
		}
		if err := lab.Wait(t, done, "Shutdown returns"); err != nil {
			t.Errorf("Shutdown returned %v", err)
		}
	})
}
