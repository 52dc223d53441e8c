package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"testing"

	"github.com/gridmux/gridmux/internal/packetnet"
	"github.com/gridmux/gridmux/transport"
	"github.com/gridmux/gridmux/transport/devtls"
	"github.com/gridmux/gridmux/transport/quic"
)

// quicNetwork connects nodes by QUIC, over UDP or over a simulated network of
// datagrams. QUIC has nothing that ends a connection at once on both sides as a
// reset of TCP does; so cut and stall are done where the frames go in and out.
type quicNetwork struct {
	t      testing.TB
	memory *packetnet.Network // nil: UDP on the loopback device

	mu    sync.Mutex
	addrs map[string]string         // by name of the node; guarded by mu
	socks map[string]net.PacketConn // the same, of memory; guarded by mu
	conns []*quicConn               // both ends of all ever made; guarded by mu
}

func newQUICNetwork(t testing.TB, memory bool) *quicNetwork {
	q := &quicNetwork{t: t, addrs: map[string]string{}, socks: map[string]net.PacketConn{}}
	if memory {
		packetnet.CatchUp()
		q.memory = packetnet.New(packetnet.Conditions{}, 1)
	}
	return q
}

func (q *quicNetwork) node(_ int, name string) (transport.Transport, string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	opts := quic.Options{TLS: devtls.Config(name)}
	if q.memory != nil {
		if q.addrs[name] == "" {
			n := len(q.addrs) + 1
			q.addrs[name] = fmt.Sprintf("10.0.%d.%d:7000", n/250, n%250+1)
		}
		if old := q.socks[name]; old != nil {
			old.Close()
		}
		sock, err := q.memory.Listen(q.addrs[name])
		if err != nil {
			q.t.Fatalf("a socket for %s: %v", name, err)
		}
		q.t.Cleanup(func() { sock.Close() })
		q.socks[name], opts.PacketConn, opts.Resolve = sock, sock, literal
	} else if q.addrs[name] == "" {
		sock, err := new(net.ListenConfig).ListenPacket(q.t.Context(), "udp", "127.0.0.1:0")
		if err != nil {
			q.t.Fatalf("a port for %s: %v", name, err)
		}
		q.addrs[name] = sock.LocalAddr().String()
		sock.Close()
	}
	return &quicNode{quic.New(opts), q, name}, q.addrs[name]
}

// literal resolves addresses that need no resolver, which there is none of in a
// bubble.
func literal(_ context.Context, addr string) ([]netip.AddrPort, error) {
	a, err := netip.ParseAddrPort(addr)
	return []netip.AddrPort{a}, err
}

func (q *quicNetwork) cut(a, b string) {
	for _, c := range q.ends(func(c *quicConn) bool { return c.at == a && c.peer == b || c.at == b && c.peer == a }) {
		c.cut.Do(func() { close(c.broken) })
	}
	for _, c := range q.ends(func(c *quicConn) bool { return c.at == a && c.peer == b || c.at == b && c.peer == a }) {
		_ = c.Conn.CloseWithError(0, "")
	}
}

func (q *quicNetwork) stall(from, to string) {
	for _, c := range q.ends(func(c *quicConn) bool { return c.at == to && c.peer == from }) {
		c.stall.Do(func() { close(c.stalled) })
	}
}

func (q *quicNetwork) ends(which func(*quicConn) bool) (found []*quicConn) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, c := range q.conns {
		if which(c) {
			found = append(found, c)
		}
	}
	return found
}

// add tells the network of an end of a connection.
func (q *quicNetwork) add(c transport.Conn, at, peer string) transport.Conn {
	end := &quicConn{
		Conn: c, at: at, peer: peer,
		broken: make(chan struct{}), stalled: make(chan struct{}), closed: make(chan struct{}),
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.conns = append(q.conns, end)
	return end
}

// quicNode is the transport of a node.
type quicNode struct {
	transport.Transport
	net  *quicNetwork
	name string
}

func (n *quicNode) Dial(ctx context.Context, to transport.Peer) (transport.Conn, error) {
	c, err := n.Transport.Dial(ctx, to)
	if err != nil {
		return nil, err
	}
	return n.net.add(c, n.name, c.Info().PeerName), nil
}

func (n *quicNode) Listen(ctx context.Context, addr string) (transport.Listener, error) {
	l, err := n.Transport.Listen(ctx, addr)
	if err != nil {
		return nil, err
	}
	return &quicListener{l, n}, nil
}

type quicListener struct {
	transport.Listener
	node *quicNode
}

func (l *quicListener) Accept(ctx context.Context) (transport.Conn, error) {
	c, err := l.Listener.Accept(ctx)
	if err != nil {
		return nil, err
	}
	return l.node.net.add(c, l.node.name, c.Info().PeerName), nil
}

var errCut = errors.New("the link was cut")

// quicConn is one end of a connection.
type quicConn struct {
	transport.Conn
	at, peer        string
	cut, stall, end sync.Once
	broken          chan struct{} // closed by cut
	stalled         chan struct{} // closed by stall
	closed          chan struct{} // closed by CloseWithError
}

func (c *quicConn) ReadFrame(limit int) ([]byte, error) {
	b, err := c.Conn.ReadFrame(limit)
	select {
	case <-c.stalled:
		select {
		case <-c.closed:
		case <-c.broken:
		}
	default:
	}
	return b, c.whole(err)
}

func (c *quicConn) WriteFrames(frames [][]byte) error { return c.whole(c.Conn.WriteFrames(frames)) }

// whole returns the error of a method as it is on a link that was cut, or not.
func (c *quicConn) whole(err error) error {
	select {
	case <-c.closed:
		return fmt.Errorf("quic: %w", net.ErrClosed)
	default:
	}
	select {
	case <-c.broken:
		return errCut
	default:
	}
	return err
}

func (c *quicConn) CloseWithError(code uint32, reason string) error {
	c.end.Do(func() { close(c.closed) })
	return c.Conn.CloseWithError(code, reason)
}

// FrameBuffered is of transport.BufferedConn.
func (c *quicConn) FrameBuffered() bool {
	b, ok := c.Conn.(transport.BufferedConn)
	return ok && b.FrameBuffered()
}
