package core

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/gridmux/gridmux/core/internal/wire"
	"github.com/gridmux/gridmux/transport"
)

// maxLanes is how many lanes a peer may have open to us at once. A call for which
// there is none goes over the first lane, as all do where the link has no others.
const maxLanes = 64

// laneFrom is the size from which on a request has a lane of its own. What is
// smaller waits for, and is waited for by, the small calls of the first lane for no
// longer than by each other.
const laneFrom = 256 << 10

// lanes are the lanes of a session beside its first one, the root. Each is a
// session of its own, with calls, reader and writer, that shares with the root who
// the peer is and what was agreed, and ends with it. It has no keep-alive, is never
// current, and its end ends its calls alone. Whoever has opened a lane makes the
// calls on it, one at a time, so that nothing of another call is in its way; then
// it is kept for the next one.
type lanes struct {
	link  transport.LaneConn // nil: there are none
	limit int                // how many the peer takes
	calls atomic.Int32       // that this side makes, on all of them and the root

	mu        sync.Mutex
	all       []*session // in the order in which they were begun
	idle      []*session // opened here, without a call; LIFO
	own       int        // opened here, or about to be
	notice    uint64     // the last one that was given to the link
	announced uint64     // opened by the peer, by its word
	accepted  uint64     // of those
	accepting bool       // a goroutine accepts what was announced
	over      bool       // the root has ended
}

// lane is what a session has that is a lane.
type lane struct {
	own     bool   // opened here
	notice  uint64 // by which the peer is told of it
	resting bool   // it had no call at the last tick; guarded by the lanes.mu of the root
}

// useLanes makes the session open and accept lanes, if the peer does too.
func (s *session) useLanes(limit uint32) {
	if link, ok := s.tc.(transport.LaneConn); ok && s.tc.Info().Lanes && limit > 0 {
		s.lanes.link, s.lanes.limit = link, int(min(limit, maxLanes))
		s.calls.all = &s.lanes.calls
	}
}

// ownLanes is how many lanes the peer may open on a link.
func ownLanes(tc transport.Conn) uint32 {
	if _, ok := tc.(transport.LaneConn); ok && tc.Info().Lanes {
		return maxLanes
	}
	return 0
}

// newLane begins a lane, which was opened here if there is a notice of it. It returns
// nil, and closes tc, if the root has ended.
func (s *session) newLane(tc transport.Conn, notice uint64) *session {
	l := newSessionOf(s, tc)
	l.lane.own, l.lane.notice = notice != 0, notice
	ls := &s.lanes
	ls.mu.Lock()
	l.w.held = notice > ls.notice
	if ls.over || !s.m.addSession(l) {
		ls.mu.Unlock()
		_ = tc.CloseWithError(uint32(wire.CodeShutdown), errLaneRefused.Error())
		return nil
	}
	ls.all = append(ls.all, l)
	ls.mu.Unlock()
	go l.readLoop()
	return l
}

var (
	errLaneRefused = errors.New("the connection of the lane has ended")
	errLaneUnused  = errors.New("the lane was not used any more")
	errManyLanes   = errors.New("the peer has opened more lanes than it may")
)

// takeLane returns a lane for a call that lasts or is large, with no other call on
// it, or the session itself if there is none to be had without waiting.
func (s *session) takeLane() *session {
	ls := &s.lanes
	if ls.link == nil {
		return s
	}
	ls.mu.Lock()
	for n := len(ls.idle); n > 0; n-- {
		l := ls.idle[n-1]
		ls.idle = slices.Delete(ls.idle, n-1, n)
		if !l.takesCalls() {
			go l.end(errLaneUnused, wire.CodeNone)
			continue
		}
		l.lane.resting = false
		ls.mu.Unlock()
		return l
	}
	if ls.own >= ls.limit {
		ls.mu.Unlock()
		return s
	}
	ls.own++
	ls.mu.Unlock()
	if l := s.openLane(); l != nil {
		return l
	}
	ls.mu.Lock()
	ls.own--
	ls.mu.Unlock()
	return s
}

func (s *session) openLane() *session {
	// Ahead of the lane: a peer that says GOAWAY, and has its ping answered, knows
	// of all lanes that calls can come on (W91).
	notice, ok := s.w.announceLane(1)
	if !ok {
		return nil
	}
	now, cancel := context.WithCancel(context.Background())
	cancel()
	tc, err := s.lanes.link.OpenLane(now)
	if err != nil {
		_, _ = s.w.announceLane(-1)
		return nil
	}
	return s.newLane(tc, notice)
}

// told is called when the link has taken a notice of lanes, which may be used from
// then on. Before, the window of the connection might be full of what comes on lanes
// that the peer does not read yet, and leave no room for the notice.
func (ls *lanes) told(notice uint64) {
	ls.mu.Lock()
	ls.notice = notice
	var known []*session
	for _, l := range ls.all {
		if l.lane.own && l.lane.notice <= notice {
			known = append(known, l)
		}
	}
	ls.mu.Unlock()
	for _, l := range known {
		l.w.release()
	}
}

// laneAtRest is told that a lane which was opened here has no call any more. After
// GOAWAY it has no other: its end tells the peer that the answer has come (W93).
func (s *session) laneAtRest(l *session) {
	if s.goaway.Load() || !l.takesCalls() {
		go l.end(errLaneUnused, wire.CodeNone)
		return
	}
	ls := &s.lanes
	ls.mu.Lock()
	if !l.ending.Load() && !slices.Contains(ls.idle, l) {
		ls.idle = append(ls.idle, l)
	}
	ls.mu.Unlock()
	if s.goaway.Load() {
		s.closeIdleLanes()
	}
}

// closeIdleLanes closes the lanes without calls, after GOAWAY.
func (s *session) closeIdleLanes() {
	ls := &s.lanes
	ls.mu.Lock()
	idle := ls.idle
	ls.idle = nil
	ls.mu.Unlock()
	for _, l := range idle {
		go l.end(errLaneUnused, wire.CodeNone)
	}
}

// laneEnded is told that a lane is over.
func (s *session) laneEnded(l *session) {
	ls := &s.lanes
	ls.mu.Lock()
	ls.all = slices.DeleteFunc(ls.all, func(x *session) bool { return x == l })
	ls.idle = slices.DeleteFunc(ls.idle, func(x *session) bool { return x == l })
	if l.lane.own {
		ls.own--
	}
	ls.mu.Unlock()
	s.signalRest()
}

// count returns how many lanes live of those that one side has opened.
func (ls *lanes) count(own bool) (n int) {
	for _, l := range ls.each() {
		if l.lane.own == own {
			n++
		}
	}
	return n
}

// each returns the lanes that live.
func (ls *lanes) each() []*session {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	return slices.Clone(ls.all)
}

// opened is each, and how many are missing that the peer has announced.
func (ls *lanes) opened() (all []*session, missing int) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	return slices.Clone(ls.all), int(max(ls.announced, ls.accepted) - ls.accepted)
}

// end is each at the end of the root: no other lane begins.
func (ls *lanes) end() []*session {
	ls.mu.Lock()
	ls.over = true
	ls.mu.Unlock()
	return ls.each()
}

// tick closes the lanes that had no call since the last tick.
func (ls *lanes) tick() {
	ls.mu.Lock()
	var unused []*session
	for _, l := range ls.idle {
		if l.lane.resting {
			unused = append(unused, l)
		}
		l.lane.resting = true
	}
	ls.idle = slices.DeleteFunc(ls.idle, func(l *session) bool { return slices.Contains(unused, l) })
	ls.mu.Unlock()
	for _, l := range ls.each() {
		l.w.idle()
	}
	for _, l := range unused {
		// In the order of calls and lanes, which a transport may take a moment for.
		go l.end(errLaneUnused, wire.CodeNone)
	}
}

// onLanes is told how many lanes the peer has opened.
func (s *session) onLanes(f *wire.Frame) error {
	n, err := wire.ParseLanes(f)
	if err != nil {
		return err
	}
	ls := &s.lanes
	if ls.link == nil {
		return fmt.Errorf("%w: %v where there are none", wire.ErrMalformed, f.Type)
	}
	ls.mu.Lock()
	defer ls.mu.Unlock()
	// What was taken back may have been told already.
	if n+maxLanes < ls.announced || n > ls.accepted+2*maxLanes {
		return fmt.Errorf("%w: %d lanes after %d, of which %d are there", wire.ErrMalformed, n, ls.announced, ls.accepted)
	}
	ls.announced = n
	if !ls.accepting && ls.accepted < n {
		ls.accepting = s.m.spawn(s.acceptLanes)
	}
	if s.leaving.Load() || s.m.draining.Load() {
		s.signalRest()
	}
	return nil
}

// acceptLanes accepts the lanes that were announced. It runs only while some are
// missing, so that a peer that opens none costs no goroutine.
func (s *session) acceptLanes() {
	ls := &s.lanes
	for {
		ls.mu.Lock()
		if ls.accepting = ls.accepted < ls.announced && !ls.over; !ls.accepting {
			ls.mu.Unlock()
			s.signalRest()
			return
		}
		ls.mu.Unlock()
		tc, err := ls.link.AcceptLane(context.Background())
		if err != nil {
			return // the link has ended, and the reader finds out why
		}
		l := s.newLane(tc, 0)
		if ls.count(false) > 2*maxLanes { // those that were closed may be here still
			s.end(errManyLanes, wire.CodeProtocol)
			return
		}
		// Before it counts as accepted, and so as one without calls.
		if said := s.said.Load(); l != nil && said != nil {
			l.fenceOff(*said)
		}
		ls.mu.Lock()
		ls.accepted++
		ls.mu.Unlock()
	}
}

// quietLanes reports whether no call is in progress on a lane, or on its way on one
// that has not come in yet. Those that the peer has opened it closes when it has the
// answer to the last call: until then the answer may be on its way.
func (s *session) quietLanes() bool {
	ls := &s.lanes
	ls.mu.Lock()
	defer ls.mu.Unlock()
	return ls.accepted >= ls.announced &&
		!slices.ContainsFunc(ls.all, func(l *session) bool { return !l.lane.own || l.busy.Load() != 0 })
}

// takesCalls reports whether nothing is known that speaks against another call on a lane.
func (s *session) takesCalls() bool {
	return !s.goaway.Load() && !s.ending.Load() && s.last.Load() == nil
}
