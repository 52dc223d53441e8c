package suite_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/coretest"
	"github.com/gridmux/gridmux/core/internal/lab"
	"github.com/gridmux/gridmux/transport"
)

// TestPing has a node ping its peers, over every link, and itself; a peer that is
// gone or silent fails it in time, and by name.
func TestPing(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		c := l.Cluster(t, 2)
		for to := range 2 {
			if took, err := c.Conn(0, to).Ping(t.Context()); err != nil || took < 0 {
				t.Errorf("ping of node %d: %v, %v", to, took, err)
			}
		}
		_, err := c.Manager(0).Connection("nobody").Ping(t.Context())
		lab.WantText(t, "a ping of an unknown node", err, `gridmux: ping "nobody": `, core.ErrUnknownPeer.Error())
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := c.Conn(0, 1).Ping(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("a ping whose context has ended returned %v", err)
		}
		if err := c.Manager(1).Close(); err != nil {
			t.Fatal(err)
		}
		lab.Until(t, "the other node is noticed to be gone", func() bool { return c.Conn(0, 1).State() != core.StateConnected })
		_, err = c.Conn(0, 1).Ping(t.Context())
		lab.WantText(t, "a ping of a closed node", err, `ping "node-1": `, core.ErrDisconnected.Error())
	})
}

// TestPingTellsTheRoundTrip expects a ping, of the user and of the keep-alive, to
// take as long as the link does both ways, and Stats to tell it.
func TestPingTellsTheRoundTrip(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := lab.InmemLink().Cluster(t, 2)
		roundTrip := func() time.Duration { return c.Manager(0).Stats().Peers[0].RoundTrip }
		if got := roundTrip(); got != 0 {
			t.Errorf("the round trip before any ping is %v", got)
		}
		c.Memory().SetLatency(7 * time.Millisecond)
		took, err := c.Conn(0, 1).Ping(t.Context())
		if err != nil || took != 14*time.Millisecond || roundTrip() != took {
			t.Errorf("the ping took %v (%v), and Stats says %v; want 14 ms", took, err, roundTrip())
		}
		c.Memory().SetLatency(30 * time.Millisecond)
		time.Sleep(time.Minute) // of silence, but for the keep-alive
		if got := roundTrip(); got != 60*time.Millisecond {
			t.Errorf("after pings of the keep-alive Stats says %v, want 60 ms", got)
		}

		c.Silence(0, 1)
		began := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := c.Conn(0, 1).Ping(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Second {
			t.Errorf("a ping with a second to live ended after %v with %v", time.Since(began), err)
		}
		if _, err := c.Conn(0, 1).Ping(t.Context()); !errors.Is(err, core.ErrDisconnected) {
			t.Errorf("a ping of a silent node ended with %v", err)
		}
		if time.Since(began) > time.Minute {
			t.Errorf("it took %v to notice that the node is silent", time.Since(began))
		}
	})
}

// meter counts the bytes of transport frames of a node.
type meter struct {
	transport.Transport

	sent, received atomic.Int64
}

func (m *meter) Dial(ctx context.Context, to transport.Peer) (transport.Conn, error) {
	tc, err := m.Transport.Dial(ctx, to)
	if err != nil {
		return nil, err
	}
	return meteredConn{tc, m}, nil
}

func (m *meter) Listen(ctx context.Context, addr string) (transport.Listener, error) {
	ln, err := m.Transport.Listen(ctx, addr)
	return meteredListener{ln, m}, err
}

type meteredListener struct {
	transport.Listener

	m *meter
}

func (l meteredListener) Accept(ctx context.Context) (transport.Conn, error) {
	tc, err := l.Listener.Accept(ctx)
	if err != nil {
		return nil, err
	}
	return meteredConn{tc, l.m}, nil
}

type meteredConn struct {
	transport.Conn

	m *meter
}

func (c meteredConn) ReadFrame(limit int) ([]byte, error) {
	b, err := c.Conn.ReadFrame(limit)
	c.m.received.Add(int64(len(b)))
	return b, err
}

func (c meteredConn) WriteFrames(frames [][]byte) error {
	for _, f := range frames {
		c.m.sent.Add(int64(len(f) - c.Info().Headroom))
	}
	return c.Conn.WriteFrames(frames)
}

// TestStatsCountBytes holds the bytes that Stats tells of against what went over
// the links, across a reconnection: they are the same, at both ends (D29).
func TestStatsCountBytes(t *testing.T) {
	lab.InBubbles(t, func(t *testing.T, l *lab.Link) {
		var meters [2]*meter
		c := l.Cluster(t, 2, coretest.WithConfig(func(i int, cfg *core.Config) {
			meters[i] = &meter{Transport: cfg.Transport}
			cfg.Transport = meters[i]
		}))
		stats := func(i int) core.PeerStats { return c.Manager(i).Stats().Peers[0] }
		greeted := func() (bytes int64) { // by handshakes, which Stats leaves out
			synctest.Wait()
			return meters[0].sent.Load() - stats(0).Sent
		}
		talk := func() {
			for size := range 20 {
				lab.MustCall(t, c.Conn(0, 1), "echo", make([]byte, size*5_000))
				lab.MustCall(t, c.Conn(1, 0), "echo", make([]byte, size))
			}
		}
		handshakes := greeted()
		talk()
		if more := greeted(); more != handshakes {
			t.Errorf("calls have sent %d bytes that Stats does not count", more-handshakes)
		}
		for i := range 2 {
			own, other := stats(i), stats(1-i)
			if own.Sent < 20_000 || own.Sent != other.Received {
				t.Errorf("node %d has sent %d bytes, and the other has received %d", i, own.Sent, other.Received)
			}
			if own.State != core.StateConnected || own.Since.IsZero() || own.Since.After(time.Now()) {
				t.Errorf("node %d says that it is %v since %v", i, own.State, own.Since)
			}
		}
		before := stats(0)
		c.Cut(0, 1)
		synctest.Wait()
		for i := range 2 {
			if err := c.Conn(i, 1-i).WaitConnected(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if after := stats(0); after.Sent < before.Sent || after.Received < before.Received {
			t.Errorf("a reconnection has taken the counts from %d and %d to %d and %d", before.Sent, before.Received, after.Sent, after.Received)
		}
		handshakes = greeted()
		talk()
		if more := greeted(); more != handshakes {
			t.Errorf("calls after a reconnection have sent %d bytes that Stats does not count", more-handshakes)
		}
	})
}

// TestLocal expects a node to know its name, also where that is its address.
func TestLocal(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		c := l.Cluster(t, 2)
		if got := c.Manager(1).Local(); got != c.Node(1) {
			t.Errorf("Local is %v, want %v", got, c.Node(1))
		}
		if name := c.Manager(1).Local().Name; c.Manager(1).Connection(name) != c.Conn(1, 1) {
			t.Errorf("the connection to %q is not the loopback", name)
		}
	})
}
