package sessions_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/coretest"
	"github.com/gridmux/gridmux/core/internal/lab"
)

// TestWaitWhileAPeerIsReplaced holds that a call which waits for a peer goes through when
// the peer is taken out of the members and in again, and comes up then, and ends with its
// time-out when it does not: it used to look at the removed one for ever, on a whole
// processor.
func TestWaitWhileAPeerIsReplaced(t *testing.T) {
	lab.InBubbles(t, func(t *testing.T, l *lab.Link) {
		for form, call := range map[string]func(ctx context.Context, to *core.Connection) error{
			"a request": func(ctx context.Context, to *core.Connection) error {
				_, err := to.Request(ctx, "echo", nil, core.WaitForConnection(), core.WithTimeout(10*time.Second))
				return err
			},
			"a stream": func(ctx context.Context, to *core.Connection) error {
				st, err := to.OpenStream(ctx, "stream", nil, core.WaitForConnection(), core.WithTimeout(10*time.Second))
				if err == nil {
					err = st.Close()
				}
				return err
			},
		} {
			for _, comes := range []bool{true, false} {
				c := l.Cluster(t, 2, coretest.Unstarted(), coretest.WithHandlers(func(_ int, m *core.Manager) error {
					return m.HandleStreamFunc("stream", lab.EchoStream)
				}))
				c.Start(0)
				began := time.Now()
				done := lab.Go(func() error { return call(t.Context(), c.Conn(0, 1)) })
				synctest.Wait()
				c.SetPeers(0)
				c.SetPeers(0, 1)
				if comes {
					c.Start(1)
				}
				err := lab.Wait(t, done, "the call returns")
				switch after := time.Since(began); {
				case errors.Is(err, core.ErrUnknownPeer) && after == 0: // it has looked in between
				case comes && err != nil,
					!comes && (core.OutcomeOf(err) != core.OutcomeNotSent || after != 10*time.Second || errors.Is(err, core.ErrUnknownPeer)):
					t.Errorf("%s, the peer comes up %v: returned %v after %v", form, comes, err, after)
				}
			}
		}
	})
}

// TestStatesOfAPeerThatIsAddedAgain holds that OnState is told of one peer's changes one
// after the other, and of the last one last, also when it is slow and the peer is taken
// out of the members and in again.
func TestStatesOfAPeerThatIsAddedAgain(t *testing.T) {
	lab.InBubbles(t, func(t *testing.T, l *lab.Link) {
		var mu sync.Mutex
		var told []core.State
		running := 0
		c := l.Cluster(t, 2, coretest.WithConfig(func(i int, cfg *core.Config) {
			if i != 0 {
				return
			}
			cfg.OnState = func(s core.StateChange) {
				if s.Peer == cfg.Local.Name {
					return
				}
				mu.Lock()
				told = append(told, s.To)
				if running++; running > 1 {
					t.Error("two changes of one peer are told at once")
				}
				mu.Unlock()
				if s.To == core.StateClosed {
					time.Sleep(100 * time.Millisecond)
				}
				mu.Lock()
				running--
				mu.Unlock()
			}
		}))
		for range 5 {
			c.SetPeers(0)
			c.SetPeers(0, 1)
			time.Sleep(10 * time.Second)
		}
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		if state := c.Conn(0, 1).State(); state != core.StateConnected || told[len(told)-1] != state {
			t.Errorf("the peer is %v, and the states told are %v", state, told)
		}
		mu.Unlock()
		c.Stop(0)
		time.Sleep(time.Second) // of OnState, which nothing waits for
		mu.Lock()
	})
}

// TestStatesThatWaitAreBounded holds that an OnState which does not return has few changes
// waiting, also of a peer that is taken out of the members and in again.
func TestStatesThatWaitAreBounded(t *testing.T) {
	lab.InBubbles(t, func(t *testing.T, l *lab.Link) {
		book, g := new(lab.StateBook), lab.NewGate(t, 1)
		c := l.Cluster(t, 2, coretest.WithConfig(func(i int, cfg *core.Config) {
			if i == 0 {
				cfg.OnState = func(s core.StateChange) {
					<-g.Open
					book.Note(s)
				}
			}
		}))
		for range 200 {
			c.SetPeers(0)
			c.SetPeers(0, 1)
			c.WaitConnected()
		}
		g.Release()
		synctest.Wait()
		changes := book.Of(c.Node(1).Name)
		if n := len(changes); n > 70 || changes[n-1].To != core.StateConnected {
			t.Errorf("%d changes were kept, the last one to %v, want at most 70 and the present state", n, changes[n-1].To)
		}
	})
}

// TestWaitConnectedWhileAPeerIsTakenOut holds that a node waits for those that are members
// still: it used to fail when a peer that it waited for was removed.
func TestWaitConnectedWhileAPeerIsTakenOut(t *testing.T) {
	lab.InBubbles(t, func(t *testing.T, l *lab.Link) {
		c := l.Cluster(t, 3)
		c.Stop(2)
		synctest.Wait()
		done := lab.Go(func() error { return c.Manager(0).WaitConnected(t.Context()) })
		time.Sleep(time.Second)
		c.SetPeers(0, 1)
		if err := lab.Wait(t, done, "WaitConnected returns"); err != nil {
			t.Errorf("all members are connected, and WaitConnected returned %v", err)
		}
	})
}
