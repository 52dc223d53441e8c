package core

import (
	"errors"
	"math"
	"time"

	"github.com/gridmux/gridmux/core/internal/wire"
)

// debt is what a session that this side is about to end waits for and its peer alone can
// bring. Handlers, and calls of this node, may take as long as they like; a peer that says
// no more than that it lives must not.
type debt struct {
	fence    bool // it has not answered the ping behind GOAWAY
	requests int  // of which it has not sent all
	answers  int  // that are on their way, which it does not take
	lanes    int  // that it has opened, by its word, and not closed, or not brought
}

// debt returns what the peer owes to a session. alone is false if something else is
// waited for too.
func (s *session) debt() (d debt, alone bool) {
	alone = true
	d.fence = !s.fenced()
	lanes, missing := s.lanes.opened()
	d.lanes = missing
	for _, l := range append(lanes, s) {
		if l.isLane() && !l.lane.own {
			d.lanes++
		}
		busy := int(l.busy.Load()) // first: what ends meanwhile is found no more, and not taken for the peer's
		for _, chunk := range l.in.used() {
			for i := range chunk.cells() {
				busy -= d.addCall(&chunk[i])
			}
		}
		waiting := l.w.answersInLine()
		d.answers += waiting
		busy -= waiting
		alone = alone && busy <= 0
	}
	return d, alone
}

// addCall adds what the peer owes to a call that it has made, and returns how many calls
// wait for that: 0 or 1.
func (d *debt) addCall(c *cell) int {
	if a := c.partial.Load(); a != nil && a.isGranted() { // else it waits for memory of ours
		d.requests++
		return 1
	}
	if ctx := c.ctx.Load(); ctx != nil && ctx.answered() {
		d.answers++
		return 1
	}
	return 0
}

// parts is how much there is of it.
func (d *debt) parts() int {
	n := d.requests + d.answers + d.lanes
	if d.fence {
		n++
	}
	return n
}

// err is why a session ends whose peer owes that.
func (d *debt) err() error {
	switch {
	case d.requests > 0:
		return errHalfRequest
	case d.answers > 0:
		return errUntakenAnswer
	case d.fence:
		return errUnanswered
	case d.lanes > 0:
		return errOpenLanes
	default:
		return errUnread
	}
}

var (
	errHalfRequest   = errors.New("the peer does not send the rest of a request, and the local node wants to go")
	errUntakenAnswer = errors.New("the peer does not take an answer, and the local node wants to go")
	errOpenLanes     = errors.New("the peer keeps lanes open without calls, and the local node wants to go")
	errUnread        = errors.New("the peer does not say that it has read the last answers, and the local node wants to go")
)

// debtor is what is known of a peer that owes. It belongs to the tick of the keep-alive.
type debtor struct {
	parts int    // of its debt, the fewest so far
	since int64  // when it has last done anything, manager's clock; 0: nothing is owed, or something else is waited for too
	bulk  uint64 // usage.bulk at the last tick
	small smallProgress
}

// smallProgress is what has come of small frames, and of pings, on one lane.
type smallProgress struct {
	writes  uint64 // that are over, the last time that something waited for one
	refused uint64 // requests
}

// moved reports whether the peer has done anything since the last tick. What it provokes
// itself, by requests that are refused, is no reason to wait for it.
func (s *session) moved() bool {
	bulk := s.peer.bulk.Load()
	moved := bulk > s.debtor.bulk
	s.debtor.bulk = bulk
	lanes, _ := s.lanes.opened()
	for _, l := range append(lanes, s) {
		now, seen := smallProgress{refused: l.in.refused.Load()}, &l.debtor.small
		if writes, waits := l.w.progress(); waits {
			moved = moved || writes > seen.writes && now.refused == seen.refused
			now.writes = writes
		}
		*seen = smallProgress{max(now.writes, seen.writes), now.refused}
	}
	return moved
}

// dun ends the session if this side wants to, and waits for nothing but its peer, which
// does nothing about it for KeepAlive + KeepAliveTimeout from one tick on. That is as long
// as the keep-alive would wait for any sign of life. It returns how long it is patient
// still.
func (s *session) dun(now int64) time.Duration {
	b := &s.debtor
	if s.fence.Load() == 0 {
		return math.MaxInt64
	}
	moved := s.moved()
	d, alone := s.debt() // before quiet, which may ask for something more to be written
	switch parts := d.parts(); {
	case !alone, s.quiet():
		b.since = 0
		return math.MaxInt64
	case b.since == 0:
		b.parts, b.since = parts, now
	case moved, parts < b.parts, s.alive.late(now) != 0:
		b.parts, b.since = min(parts, b.parts), now
	}
	patience := s.m.cfg.KeepAlive + s.m.cfg.KeepAliveTimeout
	if waited := time.Duration(now - b.since); waited < patience {
		return patience - waited
	}
	// From a goroutine of its own since end stops the timer that this is called by.
	go s.end(d.err(), wire.CodeTimeout)
	return math.MaxInt64
}
