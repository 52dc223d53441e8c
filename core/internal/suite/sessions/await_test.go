package sessions_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/coretest"
	"github.com/gridmux/gridmux/core/internal/lab"
)

// TestWaitsCountWhoIsThere holds that WaitQuorum and WaitConnected return when all are
// connected at one time: they used to count a peer that had been there and was gone again.
func TestWaitsCountWhoIsThere(t *testing.T) {
	lab.InBubbles(t, func(t *testing.T, l *lab.Link) {
		c := l.Cluster(t, 3, coretest.Unstarted())
		c.Start(0)
		var waits []<-chan error
		for _, wait := range []func(ctx context.Context) error{
			c.Manager(0).WaitConnected,
			func(ctx context.Context) error { return c.Manager(0).WaitQuorum(ctx, 3) },
		} {
			waits = append(waits, lab.Go(func() error { return wait(t.Context()) }))
		}
		c.Start(1)
		time.Sleep(time.Minute)
		c.Stop(1)
		time.Sleep(time.Minute)
		c.Start(2)
		time.Sleep(time.Minute)
		for _, w := range waits {
			select {
			case err := <-w:
				t.Errorf("a wait returned %v, and one of three nodes is gone", err)
			default:
			}
		}
		c.Restart(1)
		for _, w := range waits {
			if err := lab.Wait(t, w, "it returns when all are there"); err != nil {
				t.Errorf("a wait returned %v", err)
			}
		}
	})
}

// TestQuorumOfOtherMembers holds that WaitQuorum counts those that are members by then:
// it used to wait for ever for who had been one, or to fail for it.
func TestQuorumOfOtherMembers(t *testing.T) {
	lab.InBubbles(t, func(t *testing.T, l *lab.Link) {
		for _, peers := range [][]int{{1, 2, 3}, {1, 3}} { // node 2 never comes
			c := l.Cluster(t, 4, coretest.Unstarted())
			c.SetPeers(0, 1, 2)
			c.Start(0)
			c.Start(3)
			done := lab.Go(func() error { return c.Manager(0).WaitQuorum(t.Context(), 3) })
			time.Sleep(time.Second)
			c.SetPeers(0, peers...)
			time.Sleep(time.Second)
			c.Start(1)
			if err := lab.Wait(t, done, "WaitQuorum returns when two of them are connected"); err != nil {
				t.Errorf("three nodes are connected, and WaitQuorum returned %v", err)
			}
			done = lab.Go(func() error { return c.Manager(0).WaitQuorum(t.Context(), len(peers)+1) })
			synctest.Wait()
			c.SetPeers(0, 3)
			if err := lab.Wait(t, done, "it returns when there are too few members"); len(peers) == 3 && !lab.Mentions(err, "4 nodes asked for, the cluster has 2") {
				t.Errorf("WaitQuorum returned %v when it could not come about any more", err)
			}
		}
	})
}

// TestWaitsEndWithTheManager holds that nobody waits for the peers of a node that is closed.
func TestWaitsEndWithTheManager(t *testing.T) {
	lab.InBubbles(t, func(t *testing.T, l *lab.Link) {
		c := l.Cluster(t, 2, coretest.Unstarted())
		c.Start(0)
		done := lab.Go(func() error { return c.Manager(0).WaitConnected(t.Context()) })
		synctest.Wait()
		c.Stop(0)
		if err := lab.Wait(t, done, "WaitConnected returns"); !errors.Is(err, core.ErrClosed) {
			t.Errorf("WaitConnected of a node that was closed returned %v", err)
		}
	})
}

// TestNewPeerIsNeverIdle makes calls while peers come and go: those are told anything but
// that the Manager was not started, as they used to be in the moment in between.
func TestNewPeerIsNeverIdle(t *testing.T) {
	c := lab.InmemLink().Cluster(t, 3)
	over := make(chan struct{})
	go func() {
		defer close(over)
		for range 2000 {
			c.SetPeers(0, 1)
			c.SetPeers(0, 2)
		}
	}()
	for {
		select {
		case <-over:
			return
		default:
		}
		_, err := c.Conn(0, 1).Request(t.Context(), "echo", nil)
		if errors.Is(err, core.ErrNotStarted) {
			t.Errorf("a call returned %v", err)
			<-over
			return
		}
	}
}

// TestToldOfWhoIsThere holds that OnState is told of a new peer when it is to be found.
func TestToldOfWhoIsThere(t *testing.T) {
	var m atomic.Pointer[core.Manager]
	var told, unknown atomic.Int32
	c := lab.InmemLink().Cluster(t, 3, coretest.WithConfig(func(i int, cfg *core.Config) {
		if i == 0 {
			cfg.OnState = func(s core.StateChange) {
				// It may be removed again, but was there.
				if m := m.Load(); m != nil && s.To == core.StateConnecting && s.From == core.StateIdle {
					told.Add(1)
					if m.Connection(s.Peer).State() == core.StateIdle {
						unknown.Add(1)
					}
				}
			}
		}
	}))
	m.Store(c.Manager(0))
	peers := []core.Node{c.Node(1), c.Node(2)}
	for i := range int32(200) {
		peers = append(peers, core.Node{Name: fmt.Sprintf("more-%d", i), Addr: fmt.Sprintf("more-%d", i)})
		if err := c.Manager(0).SetPeers(peers); err != nil {
			t.Fatal(err)
		}
		lab.Until(t, "OnState is told of the peer", func() bool { return told.Load() > i })
	}
	if n := unknown.Load(); n > 0 {
		t.Errorf("of 200 peers %d were told of before the Manager knew them", n)
	}
}

// TestTrafficBeginsAnew holds that what was counted for a peer is forgotten when it was
// removed, and is added again when nothing of it was in progress any more.
func TestTrafficBeginsAnew(t *testing.T) {
	lab.InBubbles(t, func(t *testing.T, l *lab.Link) {
		c := l.Cluster(t, 2)
		lab.MustCall(t, c.Conn(0, 1), "echo", make([]byte, 1<<20))
		c.SetPeers(0)
		time.Sleep(time.Minute)
		c.SetPeers(0, 1)
		c.WaitConnected()
		if s := c.Manager(0).Stats().Peers[0]; s.Sent > 10_000 || s.Received > 10_000 {
			t.Errorf("%d bytes were sent and %d received, says Stats of a peer that was added a moment ago", s.Sent, s.Received)
		}
	})
}

// TestStreamsOfAPeerThatIsAddedAgain holds that Stats lists the streams from before, as it
// counts their handlers.
func TestStreamsOfAPeerThatIsAddedAgain(t *testing.T) {
	lab.InBubbles(t, func(t *testing.T, l *lab.Link) {
		g := lab.NewGate(t, 1)
		c := l.Cluster(t, 2, coretest.WithHandlers(func(_ int, m *core.Manager) error {
			return m.HandleStreamFunc("stream", func(ctx context.Context, payload []byte, _ *core.RawStream) error {
				_, err := g.Handle(ctx, payload)
				return err
			})
		}))
		st, err := c.Conn(0, 1).OpenStream(t.Context(), "stream", nil)
		if err != nil {
			t.Fatal(err)
		}
		lab.Wait(t, g.Began, "the handler begins")
		c.SetPeers(1)
		time.Sleep(time.Second)
		c.SetPeers(1, 0)
		c.WaitConnected()
		if s := c.Manager(1).Stats().Peers[0]; s.Handlers != 1 || len(s.Streams) != 1 {
			t.Errorf("Stats counts %d handlers, and lists the streams %+v", s.Handlers, s.Streams)
		}
		g.Release()
		if _, err := st.Recv(nil); err == nil || !lab.Mentions(err, "EOF") {
			t.Errorf("the stream ended with %v", err)
		}
	})
}
