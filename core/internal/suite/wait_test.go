package suite_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/coretest"
	"github.com/gridmux/gridmux/core/internal/lab"
)

func TestWaitConnected(t *testing.T) {
	lab.InBubbles(t, func(t *testing.T, l *lab.Link) {
		c := l.Cluster(t, 4, coretest.Unstarted())
		m := c.Manager(0)
		for name, err := range map[string]error{
			"Manager.WaitConnected":    m.WaitConnected(t.Context()),
			"Manager.WaitQuorum":       m.WaitQuorum(t.Context(), 2),
			"Connection.WaitConnected": c.Conn(0, 1).WaitConnected(t.Context()),
		} {
			if !errors.Is(err, core.ErrNotStarted) {
				t.Errorf("%s before Start returned %v, want ErrNotStarted", name, err)
			}
			lab.WantText(t, name+" before Start", err, "Start")
		}
		c.Start(0)
		c.Start(1)
		began := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		err := m.WaitConnected(ctx)
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != 10*time.Second {
			t.Errorf("after %v waiting for nodes that are not there returned %v, want the end of the context after 10s", time.Since(began), err)
		}
		lab.WantText(t, "waiting for nodes that are not there", err, `"node-2"`, `"node-3"`, "10s")
		if errors.Is(err, core.ErrDisconnected) || err == nil || lab.Mentions(err, `"node-1"`) {
			t.Errorf("the error %v names a node that is connected", err)
		}
		canceled, cancelNow := context.WithCancel(t.Context())
		cancelNow()
		if err := m.WaitConnected(canceled); !errors.Is(err, context.Canceled) {
			t.Errorf("waiting with a context that is over returned %v", err)
		}
		if err := c.Conn(0, 1).WaitConnected(canceled); err != nil {
			t.Errorf("a connection that is there was not seen because the context is over: %v", err)
		}
		lab.WantText(t, "waiting for one node", c.Conn(0, 2).WaitConnected(canceled), `"node-2"`, "10s")

		// All waiters see the connection at the moment that it is there.
		waits := []<-chan error{
			lab.Go(func() error { return m.WaitConnected(t.Context()) }),
			lab.Go(func() error { return m.WaitQuorum(t.Context(), 4) }),
			lab.Go(func() error { return c.Conn(0, 3).WaitConnected(t.Context()) }),
		}
		c.Start(2)
		time.Sleep(10 * time.Second)
		select {
		case err := <-waits[0]:
			t.Errorf("WaitConnected returned %v although a node is missing", err)
		default:
		}
		c.Start(3)
		for _, w := range waits {
			if err := lab.Wait(t, w, "a wait ends when all are there"); err != nil {
				t.Errorf("a wait returned %v although all are there", err)
			}
		}
	})
}

// TestWhyAPeerIsAway holds that Stats and WaitConnected say why there is no
// connection, and that Stats does not while there is one.
func TestWhyAPeerIsAway(t *testing.T) {
	lab.InBubbles(t, func(t *testing.T, l *lab.Link) {
		c := l.Cluster(t, 2)
		for _, p := range c.Manager(0).Stats().Peers {
			if p.Down != nil {
				t.Errorf("%s is connected and %v", p.Peer, p.Down)
			}
		}
		c.Manager(1).Close()
		lab.Until(t, "the loss is known", func() bool { return c.Conn(0, 1).State() != core.StateConnected })
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		err := c.Manager(0).WaitConnected(ctx)
		down := c.Manager(0).Stats().Peers[0].Down
		if !errors.Is(down, core.ErrDisconnected) {
			t.Errorf("Stats: %v, want %v", down, core.ErrDisconnected)
		}
		lab.WantText(t, "Stats", down, "attempt")
		lab.WantText(t, "WaitConnected", err, "attempt", `"node-1"`)
	})
}
