package inmem

import (
	"errors"
	"sync"

	"github.com/gridmux/gridmux/transport"
)

// A connection is both ends of one connection. It is made as one object,
// because a large cluster in one process has tens of thousands of them.
type connection struct {
	net   *Network
	age   uint64 // counts the connections of the network
	ends  [2]conn
	links [2]link // links[i] carries what ends[i] sends
	first [2]pipe // the first lane
}

// A conn is one end of a connection, and its first lane.
type conn struct {
	lane
	both *connection
	node *Transport
	peer *conn
	out  *link
	info transport.Info
	gone bool // closed or crashed; guarded by net.mu

	mu sync.Mutex // after link.mu, before pipe.mu and queue.mu; never held while waiting

	// Guarded by mu.
	closed bool
	err    error // why the connection has ended, as far as this end knows
	more   *laneSet
}

// A lane is one end of a pipe each way.
type lane struct {
	conn    *conn
	peer    *lane
	in, out *pipe
	pair    *lanePair // nil for the first lane
	closed  bool      // guarded by conn.mu; unused for the first lane
}

var (
	_ transport.Conn     = (*lane)(nil)
	_ transport.LaneConn = (*conn)(nil)
)

// connect makes a connection from node t to l and registers it. It is called
// with n.mu held, and returns the end of t.
func (n *Network) connect(t *Transport, l *listener) *conn {
	n.connections++
	c := &connection{net: n, age: n.connections}
	near, far := &c.ends[0], &c.ends[1]
	near.node, far.node = t, l.node
	nearAddr := Addr(t.name)
	for i := range c.ends {
		end, peer := &c.ends[i], &c.ends[1-i]
		end.both, end.peer, end.out = c, peer, &c.links[i]
		c.first[i].init(end.out, n.buffer)
		end.lane = lane{conn: end, peer: &peer.lane, in: &c.first[1-i], out: &c.first[i]}
		end.info = transport.Info{
			Transport: "inmem",
			LocalAddr: nearAddr, RemoteAddr: l.addr,
			MaxFrame:  maxFrame,
			Integrity: !n.plain,
			Local:     true,
			Lanes:     n.lanes,
		}
	}
	far.info.LocalAddr, far.info.RemoteAddr = l.addr, nearAddr
	c.prepare()
	t.conns[c] = struct{}{}
	l.node.conns[c] = struct{}{}
	return near
}

// prepare sets up the links. It is called with net.mu held.
func (c *connection) prepare() {
	n := c.net
	var number uint64
	if n.instants != nil {
		a, b := c.ends[0].node.name, c.ends[1].node.name
		pair := path{min(a, b), max(a, b)}
		n.pairs[pair]++
		number = n.pairs[pair]
	}
	for i := range c.ends {
		c.links[i].direct.Store(true)
		if n.instants != nil {
			c.links[i].model = newModel(&c.ends[i], number)
		}
		n.configure(&c.ends[i])
	}
}

// leave unregisters the connection when both ends are gone.
func (c *conn) leave() {
	n := c.both.net
	n.mu.Lock()
	defer n.mu.Unlock()
	c.leaveLocked()
}

func (c *conn) leaveLocked() {
	c.gone = true
	if c.peer.gone {
		delete(c.node.conns, c.both)
		delete(c.peer.node.conns, c.both)
	}
}

func (l *lane) ReadFrame(limit int) ([]byte, error) { return l.in.read(limit) }

func (l *lane) WriteFrames(frames [][]byte) error { return l.out.write(frames) }

func (l *lane) Info() transport.Info { return l.conn.info }

// CloseWithError ends the connection with all its lanes.
func (c *conn) CloseWithError(code uint32, reason string) error {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return nil
	}
	c.closed = true
	c.endLocked(errClosed, (*lane).abort)
	c.mu.Unlock()

	if c.both.net.abrupt {
		c.out.drop()
		c.out.carryCall(c.peer.reset)
	} else {
		e := &transport.CloseError{Code: code, Reason: transport.CutReason(reason)}
		c.out.carryCall(func() { c.peer.end(e) })
	}
	c.leave()
	return nil
}

// end ends the connection at this end after a close by the other, which leaves
// what has arrived to be read.
func (c *conn) end(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.endLocked(err, (*lane).finish)
}

// reset ends the connection at this end abruptly.
func (c *conn) reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.endLocked(errReset, (*lane).abort)
}

func (c *conn) endLocked(err error, each func(*lane, error)) {
	if c.err == nil || errors.Is(err, errClosed) {
		c.err = err
	}
	each(&c.lane, err)
	if c.more != nil {
		for _, l := range c.more.lanes {
			each(l, err)
		}
		c.more.end(c.err)
	}
}

// finish ends the lane at this end, leaving what has arrived to be read.
func (l *lane) finish(err error) {
	l.in.endRead(err)
	l.out.endWrite(err)
}

// abort ends the lane at this end at once. Whoever learns of it by reading cannot
// write any more.
func (l *lane) abort(err error) {
	l.out.endWrite(err)
	l.in.abortRead(err)
}
