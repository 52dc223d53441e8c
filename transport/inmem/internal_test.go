package inmem

import (
	"testing"
	"testing/synctest"

	"github.com/gridmux/gridmux/transport"
)

func connectNodes(t *testing.T, n *Network) (a, b *conn) {
	t.Helper()
	l, err := n.Node("b").Listen(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	near, err := n.Node("a").Dial(t.Context(), transport.Peer{Addr: "b"})
	if err != nil {
		t.Fatal(err)
	}
	far, err := l.Accept(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return near.(*conn), far.(*conn)
}

// TestIdleHoldsNothing shows that a connection that has been busy, and on which
// both ends wait for frames, holds no buffer.
func TestIdleHoldsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := connectNodes(t, NewNetwork())
		for _, c := range []*conn{a, b} {
			go func() {
				for {
					if _, err := c.ReadFrame(maxFrame); err != nil {
						return
					}
				}
			}()
		}
		for range 100 {
			for _, c := range []*conn{a, b} {
				if err := c.WriteFrames([][]byte{make([]byte, 1000), make([]byte, 70000)}); err != nil {
					t.Fatal(err)
				}
			}
		}
		synctest.Wait()
		for _, p := range []*pipe{a.in, b.in} {
			if p.lent != nil || p.head != nil || p.size != 0 || p.arrived != 0 {
				t.Errorf("an idle pipe holds something: lent %v, head %v, size %d, %d frames", p.lent, p.head, p.size, p.arrived)
			}
		}
		_ = a.CloseWithError(0, "")
		_ = b.CloseWithError(0, "")
	})
}

// TestNetworkForgets shows that a network does not grow with the connections
// that it has had.
func TestNetworkForgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := NewNetwork()
		for i := range 60 {
			a, b := connectNodes(t, n)
			switch i % 6 {
			case 1:
				n.Cut("a", "b")
			case 2:
				n.Crash("a")
			case 3:
				n.Crash("b")
				n.Crash("a")
			case 4:
				n.Partition("a", "b")
			case 5:
				if _, err := a.OpenLane(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			_ = a.CloseWithError(0, "")
			_ = b.CloseWithError(0, "")
			n.HealAll()
		}
		if a, b := len(n.nodes["a"].conns), len(n.nodes["b"].conns); a+b+len(n.listeners) > 0 {
			t.Errorf("%d and %d connections and %d listeners are left", a, b, len(n.listeners))
		}
	})
}

// TestFarLaneAfterEnd opens a lane whose news arrives after the other end has
// closed.
func TestFarLaneAfterEnd(t *testing.T) {
	a, b := connectNodes(t, NewNetwork())
	_ = b.CloseWithError(1, "")
	near, far := newLane(a, make(chan struct{}, 1))
	b.add(far)
	if b.more != nil {
		t.Error("an ended connection took a lane")
	}
	_ = near
}
