package inmem

import (
	"context"
	"slices"
	"sync/atomic"

	"github.com/gridmux/gridmux/transport"
)

// maxLanes is how many lanes opened by one end of a connection may be open.
const maxLanes = 256

// A laneSet is what a connection has beside its first lane. It is made at the
// first use, so that a connection without lanes does not pay for them.
type laneSet struct {
	lanes    []*lane       // open at this end, oldest first; guarded by conn.mu
	accepted *queue[*lane] // opened by the peer, for AcceptLane
	slots    chan struct{} // one taken per lane that this end opened
	ended    chan struct{} // closed when the connection ends
}

// laneSet is called with mu held.
func (c *conn) laneSet() *laneSet {
	if c.more == nil {
		c.more = &laneSet{
			accepted: newQueue[*lane](),
			slots:    make(chan struct{}, maxLanes),
			ended:    make(chan struct{}),
		}
		if c.err != nil {
			c.more.end(c.err)
		}
	}
	return c.more
}

// end is called with conn.mu held.
func (s *laneSet) end(err error) {
	s.accepted.end(err)
	select {
	case <-s.ended:
	default:
		close(s.ended)
	}
}

func (c *conn) lockedLaneSet() *laneSet {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.laneSet()
}

// OpenLane waits while 256 lanes that this end opened have not been closed by
// both ends.
func (c *conn) OpenLane(ctx context.Context) (transport.Conn, error) {
	if ctx == nil {
		return nil, errNilContext
	}
	set := c.lockedLaneSet()
	select {
	case set.slots <- struct{}{}:
	default:
		select {
		case set.slots <- struct{}{}:
		case <-set.ended:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	c.mu.Lock()
	if c.err != nil {
		defer c.mu.Unlock()
		return nil, c.err
	}
	near, far := newLane(c, set.slots)
	set.lanes = append(set.lanes, near)
	c.mu.Unlock()
	c.out.carryCall(func() { far.conn.add(far) })
	return near, nil
}

// AcceptLane returns a lane when the news of it has arrived, which may be
// before its first frame.
func (c *conn) AcceptLane(ctx context.Context) (transport.Conn, error) {
	l, err := c.lockedLaneSet().accepted.take(ctx)
	if err != nil {
		return nil, err
	}
	return l, nil
}

// A lanePair is both ends of a lane.
type lanePair struct {
	ends  [2]lane
	pipes [2]pipe
	open  atomic.Int32  // ends that are not closed
	slots chan struct{} // of the end that opened the lane; the last to close frees one
}

// newLane makes a lane that c opens.
func newLane(c *conn, slots chan struct{}) (near, far *lane) {
	p := &lanePair{slots: slots}
	p.open.Store(2)
	for i, end := range [2]*conn{c, c.peer} {
		p.pipes[i].init(end.out, c.both.net.buffer)
		p.ends[i] = lane{
			conn: end,
			peer: &p.ends[1-i],
			in:   &p.pipes[1-i],
			out:  &p.pipes[i],
			pair: p,
		}
	}
	return &p.ends[0], &p.ends[1]
}

// add gives the connection a lane that the peer opened.
func (c *conn) add(l *lane) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		set := c.laneSet()
		set.lanes = append(set.lanes, l)
		set.accepted.put(l)
	}
}

// CloseWithError ends this lane alone.
func (l *lane) CloseWithError(code uint32, reason string) error {
	c := l.conn
	c.mu.Lock()
	if l.closed {
		c.mu.Unlock()
		return nil
	}
	l.closed = true
	if i := slices.Index(c.more.lanes, l); i >= 0 {
		c.more.lanes = slices.Delete(c.more.lanes, i, i+1)
	}
	l.abort(errClosed)
	c.mu.Unlock()

	e := &transport.CloseError{Code: code, Reason: transport.CutReason(reason)}
	c.out.carryCall(func() { l.peer.finish(e) })
	if l.pair.open.Add(-1) == 0 {
		<-l.pair.slots
	}
	return nil
}
