package core

import (
	"context"
	"slices"

	"github.com/gridmux/gridmux/core/internal/wire"
)

// A peer may dial by several transports at once and go on, with READY, with the
// first by which it is answered (W60). An answer may be lost on its way, where a
// link lets one direction through. So its handshakes by different transports do
// not wait for each other: they share the turn of the Connection, and the first
// that is told READY wins (W63).

// newcomer is an inbound connection that has proved who it is from.
type newcomer struct {
	instance [wire.InstanceSize]byte
	rank     int                     // of the transport that it came by
	moves    bool                    // it is to take over from the session that there is
	cancel   context.CancelCauseFunc // ends its handshake
}

// guests are the inbound handshakes of one process that have the turn.
type guests struct {
	all []*newcomer // at least one; one for each transport at most
	won bool        // one was told READY
}

// enter waits until the newcomer has the turn. If it shares that of others, nothing
// is left to decide about it.
func (c *Connection) enter(ctx context.Context, n *newcomer) (shares bool, err error) {
	for {
		c.mu.Lock()
		if c.joinsLocked(n) {
			c.guests.all = append(c.guests.all, n)
			c.mu.Unlock()
			return true, nil
		}
		seated := c.seated.next()
		c.mu.Unlock()
		select {
		case c.turn <- struct{}{}:
			return false, nil
		case <-seated:
		case <-ctx.Done():
			return false, ctx.Err()
		}
	}
}

// joinsLocked reports whether a newcomer belongs to the guests that there are, and
// would be taken without a question if there were none. c.mu is held.
func (c *Connection) joinsLocked(n *newcomer) bool {
	g := c.guests
	if g == nil || g.won || g.all[0].instance != n.instance {
		return false
	}
	if slices.ContainsFunc(g.all, func(x *newcomer) bool { return x.rank == n.rank }) {
		return false
	}
	if s := c.incumbentLocked(); s != nil {
		return g.all[0].moves == n.moves && c.mayMoveLocked(s, n)
	}
	// None is left that they could have been about to take over from.
	return !c.leftLocked(n.instance)
}

// seat makes a newcomer who has the turn the first of the guests.
func (c *Connection) seat(n *newcomer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.guests = &guests{all: []*newcomer{n}}
	c.seated.happened()
}

// choose is called when a guest was told READY. It reports whether that is the one
// that has won, and ends the handshakes of the others.
func (c *Connection) choose(n *newcomer) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.guests.won {
		return false
	}
	c.guests.won = true
	for _, x := range c.guests.all {
		if x != n {
			x.cancel(errNotNeeded)
		}
	}
	return true
}

// rise takes a newcomer from the guests. The last one gives the turn back.
func (c *Connection) rise(n *newcomer) {
	c.mu.Lock()
	g := c.guests
	g.all = slices.DeleteFunc(g.all, func(x *newcomer) bool { return x == n })
	last := len(g.all) == 0
	if last {
		c.guests = nil
	}
	c.mu.Unlock()
	if last {
		c.yieldTurn()
	}
}
