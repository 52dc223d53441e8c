package faulty

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/gridmux/gridmux/transport"
	"github.com/gridmux/gridmux/transport/internal/linkmodel"
)

// What a connection that is cut is closed with below. A peer that is wrapped too
// takes it for the abrupt end that it stands for.
const (
	cutCode   = transport.MaxCode
	cutReason = "faulty: connection cut"
)

// A link is a connection with all its lanes.
type link struct {
	t      *Transport
	way    string // "dial" or "accept"
	number uint64 // among those made in the same way

	// over ends when the connection does at this side. Links without lanes have
	// neither.
	over context.Context //nolint:containedctx // It is what ends the waits of OpenLane and AcceptLane.
	end  context.CancelFunc

	mu sync.Mutex // after Transport.mu; never held while waiting

	// Guarded by mu.
	conditions [2]linkmodel.Conditions
	held       [2]bool
	broken     error   // why the link was cut
	conns      []*conn // the connection itself and then its lanes
}

// add makes a conn of the link: the connection itself, or the lane called lane.
func (l *link) add(inner transport.Conn, lane string) *conn {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := &conn{link: l, inner: inner, info: inner.Info(), first: len(l.conns) == 0}
	if l.t.plain {
		c.info.Integrity = false
	}
	c.change.L = &l.mu
	if !c.first { // a lane that came up while its connection ended
		c.closed, c.gone = l.conns[0].closed, l.conns[0].gone
	}
	for d, name := range [2]string{"out", "in"} {
		key := linkmodel.NewKey(l.t.seed, l.number, l.way, name, lane)
		c.flows[d] = flow{conn: c, dir: Direction(d), draws: linkmodel.NewDirection(key)}
	}
	l.conns = append(l.conns, c)
	return c
}

// wake makes everybody who waits look again. It is called with mu held.
func (l *link) wake() {
	for _, c := range l.conns {
		c.change.Broadcast()
	}
}

// hold is called with mu held.
func (l *link) hold(d Direction) {
	l.held[d] = true
	l.wake()
}

// release is called with mu held.
func (l *link) release() {
	l.held = [2]bool{}
	for _, c := range l.conns {
		for i := range c.flows {
			c.flows[i].release()
		}
	}
	l.wake()
}

// cut ends the link at both ends. Frames that have arrived are lost if it is
// abrupt.
func (l *link) cut(why error, abrupt bool) {
	l.mu.Lock()
	if l.broken != nil || l.conns[0].gone {
		l.mu.Unlock()
		return
	}
	l.broken = why
	for _, c := range l.conns {
		if abrupt {
			c.ready = nil
		}
	}
	l.mu.Unlock()
	_ = l.conns[0].finish(cutCode, cutReason)
}

// leave forgets c, which is gone; with the connection itself all of the link.
func (l *link) leave(c *conn) {
	if !c.first {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.conns = slices.DeleteFunc(l.conns, func(other *conn) bool { return other == c })
		return
	}
	if l.end != nil {
		l.end()
	}
	l.t.mu.Lock()
	defer l.t.mu.Unlock()
	l.t.links = slices.DeleteFunc(l.t.links, func(other *link) bool { return other == l })
}

// translate turns the close that stands for a cut into what it stands for.
func translate(err error) error {
	if e, ok := errors.AsType[*transport.CloseError](err); ok && e.Code == cutCode && e.Reason == cutReason {
		return errReset
	}
	return err
}
