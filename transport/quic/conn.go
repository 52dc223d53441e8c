package quic

import (
	"context"
	"errors"
	"sync"

	quicgo "github.com/quic-go/quic-go"

	"github.com/gridmux/gridmux/transport"
)

var _ transport.LaneConn = (*conn)(nil)

// A conn is a transport.LaneConn over a QUIC connection: its first lane, and what
// belongs to all lanes. It has no goroutine of its own until it is closed;
// quic-go has one per connection.
type conn struct {
	lane // the first

	// Immutable after newConn.
	qc     *quicgo.Conn
	socket *socket // nil if it is none of ours
	info   transport.Info
	life   context.Context //nolint:containedctx // It is the connection's own; ends with CloseWithError.
	expire context.CancelFunc
	gone   chan struct{} // closed when nothing is left of the connection

	mu    sync.Mutex
	lanes map[*lane]struct{} // guarded by mu; further ones that are open here
	ended bool               // guarded by mu; no lane is added any more
}

// newConn takes over the hold on sock.
func newConn(qc *quicgo.Conn, first *quicgo.Stream, sock *socket, peerName string) *conn {
	state := qc.ConnectionState().TLS
	c := &conn{
		qc:     qc,
		socket: sock,
		gone:   make(chan struct{}),
		info: transport.Info{
			Transport:  name,
			LocalAddr:  qc.LocalAddr(),
			RemoteAddr: qc.RemoteAddr(),
			TLS:        &state,
			PeerName:   peerName,
			Headroom:   headroom,
			MaxFrame:   maxFrame,
			Integrity:  true,
			Lanes:      true,
		},
	}
	c.life, c.expire = context.WithCancel(context.Background())
	c.init(c, first)
	first.SetPriority(urgent, true)
	return c
}

// OpenLane waits while 256 lanes that this end opened have not been closed by
// both ends.
func (c *conn) OpenLane(ctx context.Context) (transport.Conn, error) {
	return c.newLane(ctx, "open a lane", c.openStream)
}

func (c *conn) openStream(ctx context.Context) (*quicgo.Stream, error) {
	s, err := c.qc.OpenStream() // whether or not ctx has ended
	if _, ok := errors.AsType[*quicgo.StreamLimitReachedError](err); ok {
		return c.qc.OpenStreamSync(ctx)
	}
	return s, err
}

// AcceptLane returns a lane when its first frame, or a later lane, has arrived.
func (c *conn) AcceptLane(ctx context.Context) (transport.Conn, error) {
	return c.newLane(ctx, "accept a lane", c.qc.AcceptStream)
}

func (c *conn) newLane(
	ctx context.Context, doing string, get func(context.Context) (*quicgo.Stream, error),
) (transport.Conn, error) {
	if ctx == nil {
		return nil, errNilContext
	}
	// CloseWithError of either end lets the peer read on, so that quic-go knows of
	// no end yet. That of the peer stops the first lane.
	all, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(c.life, cancel)()
	defer context.AfterFunc(c.stream.Context(), cancel)()
	s, err := get(all)
	if cause := context.Cause(c.stream.Context()); cause != nil && (err == nil || ctx.Err() == nil) {
		err = cause
	}
	if err == nil {
		l := new(lane)
		l.init(c, s)
		if c.add(l) {
			return l, nil
		}
		l.abandon(0)
		return nil, errClosed
	}
	if s != nil {
		s.CancelRead(0)
		s.CancelWrite(0)
	}
	if ctx.Err() != nil && c.life.Err() == nil {
		return nil, context.Cause(ctx)
	}
	return nil, c.linkError(doing, err)
}

func (c *conn) add(l *lane) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return false
	}
	if c.lanes == nil {
		c.lanes = make(map[*lane]struct{})
	}
	c.lanes[l] = struct{}{}
	return true
}

func (c *conn) drop(l *lane) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.lanes, l)
}

// isShared reports whether lanes besides the first are open.
func (c *conn) isShared() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.lanes) > 0
}

// endLanes ends all lanes but the first.
func (c *conn) endLanes(code uint32) {
	c.mu.Lock()
	c.ended = true
	lanes := c.lanes
	c.lanes = nil
	c.mu.Unlock()
	for l := range lanes {
		l.abandon(code)
	}
}

// peerClosed is called when everything that the peer sent on l has been read.
func (c *conn) peerClosed(l *lane) {
	if l == &c.lane {
		// The peer waits for this, and forgets the connection.
		_ = c.qc.CloseWithError(0, "")
		return
	}
	l.stream.CancelRead(0)
}

// peerIsGone reports whether the peer has closed the connection, or it failed:
// the peer reads nothing any more.
func (c *conn) peerIsGone() bool {
	_, stopped := errors.AsType[*quicgo.StreamError](context.Cause(c.stream.Context()))
	return stopped || c.qc.Context().Err() != nil
}
