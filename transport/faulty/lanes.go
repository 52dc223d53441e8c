package faulty

import (
	"context"
	"fmt"

	"github.com/gridmux/gridmux/transport"
)

// A laneConn is a conn whose link below has lanes.
type laneConn struct {
	*conn

	inner transport.LaneConn

	// Guarded by link.mu.
	opened, taken int // lanes so far
}

var _ transport.LaneConn = (*laneConn)(nil)

// OpenLane opens a lane below. The news of it is not delayed, its frames are.
func (c *laneConn) OpenLane(ctx context.Context) (transport.Conn, error) {
	return c.lane(ctx, c.inner.OpenLane, "opened", &c.opened)
}

// AcceptLane accepts a lane below.
func (c *laneConn) AcceptLane(ctx context.Context) (transport.Conn, error) {
	return c.lane(ctx, c.inner.AcceptLane, "accepted", &c.taken)
}

func (c *laneConn) lane(
	ctx context.Context, get func(context.Context) (transport.Conn, error), way string, counter *int,
) (transport.Conn, error) {
	if ctx == nil {
		return nil, errNilContext
	}
	if err := c.lockedFailure(); err != nil {
		return nil, err
	}
	both, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(c.link.over, cancel)()
	inner, err := get(both)
	if failure := c.lockedFailure(); failure != nil {
		if err == nil {
			_ = inner.CloseWithError(0, "")
		}
		return nil, failure
	}
	if err != nil {
		return nil, translate(err)
	}
	c.link.mu.Lock()
	*counter++
	name := fmt.Sprint(way, *counter)
	c.link.mu.Unlock()
	return c.link.add(inner, name), nil
}

func (c *laneConn) lockedFailure() error {
	c.link.mu.Lock()
	defer c.link.mu.Unlock()
	return c.failure()
}
