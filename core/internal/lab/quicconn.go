package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"

	"github.com/gridmux/gridmux/transport"
)

// quicNode is the transport of a node. QUIC has nothing that ends a connection at
// once on both sides, as a reset of TCP does; so connections are cut, and stalled,
// where the frames go in and out.
type quicNode struct {
	transport.Transport
	net  *QUICNetwork
	name string
}

func (n *quicNode) Dial(ctx context.Context, to transport.Peer) (transport.Conn, error) {
	c, err := n.Transport.Dial(ctx, to)
	if err != nil {
		return nil, err
	}
	return n.add(c, true)
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
	return l.node.add(c, false)
}

// add tells the network of an end of a connection.
func (n *quicNode) add(c transport.Conn, dialled bool) (transport.Conn, error) {
	lanes, ok := c.(transport.LaneConn)
	if !ok {
		return nil, fmt.Errorf("a connection over QUIC is a %T, which has no lanes", c)
	}
	end := &quicConn{
		LaneConn: lanes, net: n.net, at: n.name, peer: c.Info().PeerName, dialled: dialled,
		broken: make(chan struct{}), stalled: make(chan struct{}), closed: make(chan struct{}),
	}
	n.net.mu.Lock()
	defer n.net.mu.Unlock()
	n.net.conns[end] = struct{}{}
	return end, nil
}

var errCut = errors.New("the link was cut")

// quicConn is one end of a connection.
type quicConn struct {
	transport.LaneConn
	net             *QUICNetwork
	at, peer        string
	dialled         bool
	cut, stall, end sync.Once
	broken          chan struct{} // closed by cut
	stalled         chan struct{} // closed by stall
	closed          chan struct{} // closed by CloseWithError
}

func (c *quicConn) ReadFrame(limit int) ([]byte, error) {
	b, err := c.LaneConn.ReadFrame(limit)
	c.net.order.Add(1)
	c.pass()
	return b, c.whole(err)
}

func (c *quicConn) WriteFrames(frames [][]byte) error {
	c.net.order.Add(1)
	return c.whole(c.LaneConn.WriteFrames(frames))
}

func (c *quicConn) CloseWithError(code uint32, reason string) error {
	c.end.Do(func() {
		close(c.closed)
		c.net.mu.Lock()
		delete(c.net.conns, c)
		c.net.mu.Unlock()
	})
	return c.LaneConn.CloseWithError(code, reason)
}

// FrameBuffered is of transport.BufferedConn.
func (c *quicConn) FrameBuffered() bool { return buffered(c.LaneConn) }

func buffered(c transport.Conn) bool {
	b, ok := c.(transport.BufferedConn)
	return ok && b.FrameBuffered()
}

func (c *quicConn) OpenLane(ctx context.Context) (transport.Conn, error) {
	return c.lane(c.LaneConn.OpenLane(ctx))
}

func (c *quicConn) AcceptLane(ctx context.Context) (transport.Conn, error) {
	return c.lane(c.LaneConn.AcceptLane(ctx))
}

func (c *quicConn) lane(l transport.Conn, err error) (transport.Conn, error) {
	if err != nil {
		return nil, c.whole(err)
	}
	return &quicLane{l, c}, nil
}

// pass holds what has arrived on a link that was stalled.
func (c *quicConn) pass() {
	select {
	case <-c.stalled:
		select {
		case <-c.closed:
		case <-c.broken:
		}
	default:
	}
}

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

// quicLane is one end of a further lane.
type quicLane struct {
	transport.Conn
	of *quicConn
}

func (l *quicLane) ReadFrame(limit int) ([]byte, error) {
	b, err := l.Conn.ReadFrame(limit)
	l.of.net.order.Add(1)
	l.of.pass()
	return b, l.of.whole(err)
}

func (l *quicLane) WriteFrames(frames [][]byte) error {
	l.of.net.order.Add(1)
	return l.of.whole(l.Conn.WriteFrames(frames))
}

func (l *quicLane) FrameBuffered() bool { return buffered(l.Conn) }
