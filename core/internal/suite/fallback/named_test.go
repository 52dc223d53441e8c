package fallback_test

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/gridmux/gridmux/transport"
)

// named gives a transport of a node another name, in what its connections and
// errors tell, and keeps a tally of them.
type named struct {
	transport.Transport

	name string
	node int
	*tally
}

// tally counts the dials and connections of one name, for both nodes.
type tally struct {
	mu     sync.Mutex
	dials  [2][]time.Time
	open   [2]int
	onDial func(node int) // called before a dial, if it is not nil

	// What listeners promise, if it is not nil. Then links are not local either.
	promise *transport.ListenerInfo
}

// since returns when a node has dialled since then, relative to it.
func (y *tally) since(node int, when time.Time) (at []time.Duration) {
	y.mu.Lock()
	defer y.mu.Unlock()
	for _, d := range y.dials[node] {
		if !d.Before(when) {
			at = append(at, d.Sub(when))
		}
	}
	return at
}

// opened returns how many connections a node has.
func (y *tally) opened(node int) int {
	y.mu.Lock()
	defer y.mu.Unlock()
	return y.open[node]
}

// whenDialled sets onDial.
func (y *tally) whenDialled(f func(node int)) {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.onDial = f
}

func (n named) Dial(ctx context.Context, to transport.Peer) (transport.Conn, error) {
	n.mu.Lock()
	n.dials[n.node] = append(n.dials[n.node], time.Now())
	onDial := n.onDial
	n.mu.Unlock()
	if onDial != nil {
		onDial(n.node)
	}
	tc, err := n.Transport.Dial(ctx, to)
	if d, ok := errors.AsType[*transport.DialError](err); ok {
		d.Transport = n.name
	}
	if err != nil {
		return nil, err
	}
	return n.wrap(tc), nil
}

func (n named) wrap(tc transport.Conn) transport.Conn {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.open[n.node]++
	c := &namedConn{Conn: tc, n: n}
	if lanes, ok := tc.(transport.LaneConn); ok {
		return namedLanes{c, lanes}
	}
	return c
}

// namedLanes is a connection that has lanes.
type namedLanes struct {
	*namedConn

	lanes transport.LaneConn
}

func (c namedLanes) OpenLane(ctx context.Context) (transport.Conn, error) {
	return c.lanes.OpenLane(ctx)
}

func (c namedLanes) AcceptLane(ctx context.Context) (transport.Conn, error) {
	return c.lanes.AcceptLane(ctx)
}

func (n named) Listen(ctx context.Context, addr string) (transport.Listener, error) {
	ln, err := n.Transport.Listen(ctx, addr)
	if err != nil {
		return nil, err
	}
	return namedListener{ln, n}, nil
}

type namedListener struct {
	transport.Listener

	n named
}

func (l namedListener) Accept(ctx context.Context) (transport.Conn, error) {
	tc, err := l.Listener.Accept(ctx)
	if err != nil {
		return nil, err
	}
	return l.n.wrap(tc), nil
}

func (l namedListener) Info() transport.ListenerInfo {
	if l.n.promise != nil {
		return *l.n.promise
	}
	return l.Listener.Info()
}

type namedConn struct {
	transport.Conn

	n      named
	closed sync.Once
}

func (c *namedConn) CloseWithError(code uint32, reason string) error {
	c.closed.Do(func() {
		c.n.mu.Lock()
		defer c.n.mu.Unlock()
		c.n.open[c.n.node]--
	})
	return c.Conn.CloseWithError(code, reason)
}

func (c *namedConn) Info() transport.Info {
	info := c.Conn.Info()
	info.Transport = c.n.name
	info.Local = info.Local && c.n.promise == nil
	return info
}
