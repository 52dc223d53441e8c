package inmem_test

import (
	"context"
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/transport"
	"github.com/gridmux/gridmux/transport/inmem"
)

func TestNode(t *testing.T) {
	n := inmem.NewNetwork()
	a := n.Node("a")
	if a != n.Node("a") {
		t.Error("the same name gives the same transport")
	}
	if a == n.Node("b") {
		t.Error("different names give different transports")
	}
	if inmem.NewNetwork().Node("a") == a {
		t.Error("networks are independent")
	}
}

func TestAddresses(t *testing.T) {
	n := inmem.NewNetwork()
	listen := func(node, addr, want string) transport.Listener {
		t.Helper()
		l, err := n.Node(node).Listen(t.Context(), addr)
		if err != nil {
			t.Fatal(err)
		}
		if got := l.Addr(); got.String() != want || got.Network() != "inmem" {
			t.Errorf("Listen(%q) of node %s bound %s %s, not %s", addr, node, got.Network(), got, want)
		}
		if !l.Info().Local {
			t.Error("the listener does not say that its connections are local")
		}
		return l
	}
	l := listen("a", "10.0.0.1:9000", "10.0.0.1:9000")
	listen("a", "", "a")
	listen("a", "", "a#2")
	listen("b", "", "b")
	if _, err := n.Node("b").Listen(t.Context(), "10.0.0.1:9000"); err == nil {
		t.Error("another node could listen on an address that is taken")
	}
	if _, err := inmem.NewNetwork().Node("b").Listen(t.Context(), "10.0.0.1:9000"); err != nil {
		t.Errorf("the address is taken in another network: %v", err)
	}

	dial := func(to transport.Peer, wantRemote string) {
		t.Helper()
		c, err := n.Node("b").Dial(t.Context(), to)
		if err != nil {
			t.Errorf("dialling %v: %v", to, err)
			return
		}
		if i := c.Info(); i.LocalAddr.String() != "b" || i.RemoteAddr.String() != wantRemote {
			t.Errorf("dialling %v connected %v to %v", to, i.LocalAddr, i.RemoteAddr)
		}
	}
	dial(transport.Peer{Name: "whoever", Addr: "10.0.0.1:9000"}, "10.0.0.1:9000")
	dial(transport.Peer{Name: "a"}, "a")
	accepted, err := l.Accept(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if i := accepted.Info(); i.LocalAddr.String() != "10.0.0.1:9000" || i.RemoteAddr.String() != "b" {
		t.Errorf("accepted a connection from %v to %v", i.RemoteAddr, i.LocalAddr)
	}
	dial(transport.Peer{Name: "b"}, "b") // a node can dial itself
}

func TestInfo(t *testing.T) {
	a, _ := pair(t, inmem.NewNetwork())
	i := a.Info()
	if i.Transport != "inmem" || !i.Local || !i.Integrity || i.TLS != nil || i.PeerName != "" || i.Headroom != 0 ||
		i.MaxFrame != 64<<20 {
		t.Errorf("Info is %+v", i)
	}
}

func TestDialErrors(t *testing.T) {
	_, err := inmem.NewNetwork().Node("a").Dial(t.Context(), transport.Peer{Name: "b", Addr: "x"})
	want := "inmem to b (x): dial: connection refused: nobody listens there"
	if err == nil || err.Error() != want {
		t.Errorf("error %v, not %s", err, want)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := inmem.NewNetwork().Node("a").Dial(ctx, transport.Peer{Addr: "x"}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, not that of the context", err)
	}
	if _, err := inmem.NewNetwork().Node("a").Listen(ctx, "x"); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, not that of the context", err)
	}
}

// TestBacklog shows that a listener whose connections nobody accepts makes
// further dials wait, and that they end with the listener.
func TestBacklog(t *testing.T) {
	inBubble(t, func(b *lab) {
		var conns []transport.Conn
		for range 128 {
			c, err := b.Node("a").Dial(b.Context(), transport.Peer{Addr: "b"})
			if err != nil {
				b.Fatal(err)
			}
			conns = append(conns, c)
		}
		first, second := b.startDial(b.Context(), "a", "b"), b.startDial(b.Context(), "a", "b")
		b.until(time.Minute)
		b.stillPending(first, "a dial to a listener with a full backlog")
		if _, err := b.listener.Accept(b.Context()); err != nil {
			b.Fatal(err)
		}
		select {
		case o := <-first.c:
			if o.err != nil {
				b.Errorf("a dial with room in the backlog gave %v", o)
			}
			first = second
		case o := <-second.c:
			if o.err != nil {
				b.Errorf("a dial with room in the backlog gave %v", o)
			}
		}
		b.stillPending(first, "a second dial when there is room for one")
		if err := b.listener.Close(); err != nil {
			b.Error(err)
		}
		if o := b.ends(first, time.Minute, "a dial that waits"); o.err == nil {
			b.Error("a dial succeeded after the listener had been closed")
		}
		for _, c := range conns[1:] {
			var ce *transport.CloseError
			if _, err := c.ReadFrame(1); !errors.As(err, &ce) {
				b.Errorf("a connection that nobody accepted ended with %v", err)
			}
		}
	})
}

// TestBuffer holds the bound on what is under way, in bytes and for frames
// without any.
func TestBuffer(t *testing.T) {
	for _, c := range []struct {
		name         string
		frame, taken int
	}{
		{"small", 36, 100}, {"empty", 0, 156}, {"just fits", 10_000 - 64, 1}, {"larger than the buffer", 1 << 20, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(b *lab) {
				near, far := b.connect()
				written := 0
				blocked := b.start(func() (string, error) {
					for {
						if err := near.WriteFrames([][]byte{make([]byte, c.frame)}); err != nil {
							return "", err
						}
						written++
					}
				})
				b.stillPending(blocked, "a writer whose peer does not read")
				if written != c.taken {
					b.Errorf("%d frames of %d bytes are under way, not %d", written, c.frame, c.taken)
				}
				for range c.taken {
					if f, err := far.ReadFrame(1 << 20); err != nil || len(f) != c.frame {
						b.Fatalf("read %d bytes and error %v", len(f), err)
					}
				}
				synctest.Wait()
				// It is left alone until half of the buffer is free, also where it has
				// written meanwhile.
				if least := c.taken + (c.taken+1)/2; written < least || written > 2*c.taken {
					b.Errorf("after reading, %d frames were written, not %d to %d", written, least, 2*c.taken)
				}
				if err := near.CloseWithError(0, ""); err != nil {
					b.Error(err)
				}
				if o := b.ends(blocked, 0, "the writer"); !errors.Is(o.err, net.ErrClosed) {
					b.Errorf("the writer ended with %v", o)
				}
			}, inmem.WithBuffer(10_000))
		})
	}
}

// TestLaneLimit shows that OpenLane waits for one of 256 lanes to be closed by
// both ends.
func TestLaneLimit(t *testing.T) {
	inBubble(t, func(b *lab) {
		near, far := b.connect()
		var lanes []transport.Conn
		for range 256 {
			l, err := near.(transport.LaneConn).OpenLane(b.Context())
			if err != nil {
				b.Fatal(err)
			}
			lanes = append(lanes, l)
		}
		ctx, cancel := context.WithTimeout(b.Context(), time.Second)
		defer cancel()
		if _, err := near.(transport.LaneConn).OpenLane(ctx); !errors.Is(err, context.DeadlineExceeded) {
			b.Errorf("one lane too many gave error %v", err)
		}
		b.at(time.Second, "the end of the context")
		open := func() *pending {
			return b.start(func() (string, error) {
				_, err := near.(transport.LaneConn).OpenLane(b.Context())
				return "", err
			})
		}
		opening := open()
		_ = lanes[7].CloseWithError(0, "")
		b.stillPending(opening, "OpenLane when one end of a lane has been closed")
		for range 8 {
			l, err := far.(transport.LaneConn).AcceptLane(b.Context())
			if err != nil {
				b.Fatal(err)
			}
			lanes = append(lanes, l)
		}
		_ = lanes[len(lanes)-1].CloseWithError(0, "")
		if o := b.ends(opening, time.Second, "OpenLane"); o.err != nil {
			b.Errorf("OpenLane with room gave %v", o)
		}
		opening = open()
		b.stillPending(opening, "OpenLane without room")
		_ = near.CloseWithError(0, "")
		if o := b.ends(opening, time.Second, "OpenLane"); !errors.Is(o.err, net.ErrClosed) {
			b.Errorf("OpenLane on a closed connection gave %v", o)
		}
	})
}
