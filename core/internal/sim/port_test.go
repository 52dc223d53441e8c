package sim_test

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/gridmux/gridmux/transport"
)

// port is the transport of one incarnation. When the process that it stands for
// has died it carries nothing more: whoever comes next has one of its own.
type port struct {
	transport.Transport
	w    *world
	name string
	dead atomic.Bool
}

var errDead = errors.New("the process has died")

func (p *port) Dial(ctx context.Context, to transport.Peer) (transport.Conn, error) {
	if p.dead.Load() {
		return nil, errDead
	}
	c, err := p.Transport.Dial(ctx, to)
	return p.tap(c, err)
}

func (p *port) Listen(ctx context.Context, addr string) (transport.Listener, error) {
	if p.dead.Load() {
		return nil, errDead
	}
	ln, err := p.Transport.Listen(ctx, addr)
	if err != nil || !p.w.verbose {
		return ln, err
	}
	return tappedListener{ln, p}, nil
}

// tap notes what a connection carries, if anybody wants to see it.
func (p *port) tap(c transport.Conn, err error) (transport.Conn, error) {
	if err != nil || !p.w.verbose {
		return c, err
	}
	tapped := tappedConn{c, p}
	if lanes, ok := c.(transport.LaneConn); ok {
		return tappedLanes{tapped, lanes}, nil
	}
	return tapped, nil
}

type tappedListener struct {
	transport.Listener
	p *port
}

func (l tappedListener) Accept(ctx context.Context) (transport.Conn, error) {
	c, err := l.Listener.Accept(ctx)
	return l.p.tap(c, err)
}

type tappedConn struct {
	transport.Conn
	p *port
}

// FrameBuffered is of transport.BufferedConn.
func (c tappedConn) FrameBuffered() bool {
	b, ok := c.Conn.(transport.BufferedConn)
	return ok && b.FrameBuffered()
}

// tappedLanes is a tappedConn that has lanes.
type tappedLanes struct {
	tappedConn
	lanes transport.LaneConn
}

func (c tappedLanes) OpenLane(ctx context.Context) (transport.Conn, error) {
	l, err := c.lanes.OpenLane(ctx)
	return c.p.tap(l, err)
}

func (c tappedLanes) AcceptLane(ctx context.Context) (transport.Conn, error) {
	l, err := c.lanes.AcceptLane(ctx)
	return c.p.tap(l, err)
}

func (c tappedConn) notef(format string, args ...any) {
	info := c.Conn.Info()
	c.p.w.trace.notef("%s-%s: "+format, append([]any{info.LocalAddr, info.RemoteAddr}, args...)...)
}

func (c tappedConn) ReadFrame(limit int) ([]byte, error) {
	b, err := c.Conn.ReadFrame(limit)
	if err != nil {
		c.notef("read fails: %v", err)
	} else {
		c.notef("read %s", framesOf(b))
	}
	return b, err
}

func (c tappedConn) WriteFrames(frames [][]byte) error {
	for _, b := range frames {
		c.notef("write %s", framesOf(b))
	}
	err := c.Conn.WriteFrames(frames)
	if err != nil {
		c.notef("write fails: %v", err)
	}
	return err
}

func (c tappedConn) CloseWithError(code uint32, reason string) error {
	c.notef("close with %d %q", code, reason)
	return c.Conn.CloseWithError(code, reason)
}
