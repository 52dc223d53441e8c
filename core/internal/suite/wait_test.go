package suite_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/coretest"
)

func TestWaitConnected(t *testing.T) {
	inBubbles(t, func(t *testing.T, l *link) {
		c := l.cluster(t, 4, coretest.Unstarted())
		m := c.Manager(0)
		for name, err := range map[string]error{
			"Manager.WaitConnected":    m.WaitConnected(t.Context()),
			"Manager.WaitQuorum":       m.WaitQuorum(t.Context(), 2),
			"Connection.WaitConnected": c.Conn(0, 1).WaitConnected(t.Context()),
		} {
			if !errors.Is(err, core.ErrNotStarted) {
				t.Errorf("%s before Start returned %v, want ErrNotStarted", name, err)
			}
			wantText(t, name+" before Start", err, "Start")
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
		wantText(t, "waiting for nodes that are not there", err, `"node-2"`, `"node-3"`, "10s")
		if errors.Is(err, core.ErrDisconnected) || err == nil || containsText(err, `"node-1"`) {
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
		wantText(t, "waiting for one node", c.Conn(0, 2).WaitConnected(canceled), `"node-2"`, "10s")

		// All waiters see the connection at the moment that it is there.
		waits := []<-chan error{
			start(func() error { return m.WaitConnected(t.Context()) }),
			start(func() error { return m.WaitQuorum(t.Context(), 4) }),
			start(func() error { return c.Conn(0, 3).WaitConnected(t.Context()) }),
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
			if err := wait(t, w, "a wait ends when all are there"); err != nil {
				t.Errorf("a wait returned %v although all are there", err)
			}
		}
	})
}

func containsText(err error, text string) bool {
	fake := &quietTB{}
	wantText(fake, "", err, text)
	return !fake.failed
}

// quietTB remembers only that it failed.
type quietTB struct {
	testing.TB
	failed bool
}

func (q *quietTB) Helper()               {}
func (q *quietTB) Errorf(string, ...any) { q.failed = true }

func TestWaitQuorum(t *testing.T) {
	inBubbles(t, func(t *testing.T, l *link) {
		c := l.cluster(t, 5, coretest.Unstarted())
		m := c.Manager(0)
		c.Start(0)
		for _, n := range []int{-1, 0, 1} {
			if err := m.WaitQuorum(t.Context(), n); err != nil {
				t.Errorf("a quorum of %d, which the local node makes by itself, returned %v", n, err)
			}
		}
		three := start(func() error { return m.WaitQuorum(t.Context(), 3) })
		c.Start(1)
		time.Sleep(10 * time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := m.WaitQuorum(ctx, 2); err != nil {
			t.Errorf("a quorum of two that is there returned %v", err)
		}
		err := m.WaitQuorum(ctx, 3)
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a quorum that is not there returned %v", err)
		}
		wantText(t, "a quorum that is not there", err, `"node-2"`, `"node-3"`, `"node-4"`, "11s")
		c.Start(4)
		if err := wait(t, three, "the quorum is there"); err != nil {
			t.Errorf("waiting for a quorum returned %v when it was there", err)
		}
		wantText(t, "more nodes than there are", m.WaitQuorum(t.Context(), 6), "6", "5")

		blocked := start(func() error { return m.WaitQuorum(t.Context(), 5) })
		one := start(func() error { return c.Conn(0, 2).WaitConnected(t.Context()) })
		synctest.Wait()
		c.Stop(0)
		for _, w := range []<-chan error{blocked, one} {
			if err := wait(t, w, "Close ends a wait"); !errors.Is(err, core.ErrClosed) {
				t.Errorf("a wait that Close ended returned %v, want ErrClosed", err)
			}
		}
		for name, err := range map[string]error{
			"WaitConnected":            m.WaitConnected(t.Context()),
			"WaitQuorum":               m.WaitQuorum(t.Context(), 3),
			"WaitQuorum of one":        m.WaitQuorum(t.Context(), 1),
			"Connection.WaitConnected": c.Conn(0, 1).WaitConnected(t.Context()),
			"of the local node":        c.Conn(0, 0).WaitConnected(t.Context()),
		} {
			if !errors.Is(err, core.ErrClosed) {
				t.Errorf("%s after Close returned %v, want ErrClosed", name, err)
			}
		}
	})
}

// TestWaitAlone holds that a node without peers waits for nobody.
func TestWaitAlone(t *testing.T) {
	overLinks(t, func(t *testing.T, l *link) {
		c := l.cluster(t, 1)
		if err := errors.Join(c.Manager(0).WaitConnected(t.Context()), c.Manager(0).WaitQuorum(t.Context(), 1)); err != nil {
			t.Errorf("a node without peers waits in vain: %v", err)
		}
		if resp := mustCall(t, c.Conn(0, 0), "echo", []byte("alone")); string(resp) != "alone" {
			t.Errorf("a node without peers got %q from itself", resp)
		}
		c.Stop(0)
		if err := c.Manager(0).WaitConnected(t.Context()); !errors.Is(err, core.ErrClosed) {
			t.Errorf("waiting on a closed node without peers returned %v, want ErrClosed", err)
		}
	})
}
