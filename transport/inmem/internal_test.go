package inmem

import (
	"errors"
	"net"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

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

// TestDirectAgain shows that links go back to the path without locks and clocks
// when what has disturbed them is over, and that links which nothing has
// disturbed keep neither a model nor a timer.
func TestDirectAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := NewNetwork()
		a, b := connectNodes(t, n)
		n.CutAfter("c", "b", 1)
		n.SetPathConditions("a", "c", Conditions{Latency: 1})
		n.SetConditions(Conditions{Split: true})
		if l := a.out; !l.direct.Load() || l.model != nil || l.timer != nil {
			t.Errorf("a link that nothing has disturbed is %+v", l)
		}
		carry := func() {
			t.Helper()
			if err := a.WriteFrames([][]byte{{1}, {2}}); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if _, err := b.ReadFrame(1); err != nil {
					t.Fatal(err)
				}
			}
		}
		n.SetConditions(Conditions{Latency: 5, Jitter: 5, Bandwidth: 1 << 30, Merge: 5})
		carry()
		n.SetConditions(Conditions{})
		n.CorruptNext("a", "b", 100)
		n.StallAfter("a", "b", 10)
		carry()
		if a.out.direct.Load() {
			t.Error("a link for which something is planned is direct")
		}
		n.Heal("a", "b")
		n.Stall("a", "b")
		n.Heal("a", "b")
		carry()
		if l := a.out; !l.direct.Load() || len(l.transit) > 0 {
			t.Error("a link that is well again is not direct")
		}
	})
}

// TestInstantsAreDistinct shows that sources with one slot avoid each other, and
// that an instant has the residue of its slot otherwise.
func TestInstantsAreDistinct(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, now := newInstants(), time.Now()
		seen := make(map[time.Duration]bool)
		for i := range 5 {
			at := s.reserve(now, now.Add(100*time.Microsecond), 7)
			d := at.Sub(now)
			if i == 0 && at.UnixNano()%int64(cycle) != 7 || seen[d] || d < 100*time.Microsecond || d > 100*time.Microsecond+cycle+5 {
				t.Errorf("instant %d is after %v; the ones before: %v", i, d, seen)
			}
			seen[d] = true
		}
		if at := s.reserve(now, now.Add(-time.Hour), 9); at.UnixNano()%int64(cycle) != 9 || at.Sub(now) > cycle {
			t.Errorf("an instant for what is overdue is after %v", at.Sub(now))
		}
	})
}

// TestInstantsForget shows that what a network remembers of instants does not
// grow with the time that it runs.
func TestInstantsForget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newInstants()
		for range 100_000 {
			s.reserve(time.Now(), time.Now(), 7)
			time.Sleep(time.Microsecond)
		}
		if len(s.taken) > 2*minTakenToTrim {
			t.Errorf("%d instants are remembered", len(s.taken))
		}
	})
}

// TestWrittenAfterTheReaderSawTheClose shows that nothing is sent any more once
// ReadFrame has told of CloseWithError on the same side.
func TestWrittenAfterTheReaderSawTheClose(t *testing.T) {
	n := NewNetwork()
	l, err := n.Node("b").Listen(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for range 2000 {
		a, err := n.Node("a").Dial(t.Context(), transport.Peer{Addr: "b"})
		if err != nil {
			t.Fatal(err)
		}
		b, err := l.Accept(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		wrote := make(chan error, 1)
		go func() {
			_, _ = a.ReadFrame(1)
			wrote <- a.WriteFrames([][]byte{nil})
		}()
		runtime.Gosched()
		_ = a.CloseWithError(1, "enough")
		if err := <-wrote; !errors.Is(err, net.ErrClosed) {
			t.Fatalf("a frame was sent behind the close: %v", err)
		}
		_ = b.CloseWithError(0, "")
	}
}
