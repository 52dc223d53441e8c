package core

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gridmux/gridmux/core/internal/wire"
)

// keepAlive judges whether the peer lives: by anything that arrives, provoked
// by a ping when nothing does. It is one timer and no goroutine.
//
// A tick comes every Config.KeepAlive, or earlier where a ping runs out of time
// earlier. If nothing arrived since the last one a ping goes out, and if nothing
// arrives within Config.KeepAliveTimeout after it, the session ends: at most
// 2*KeepAlive + KeepAliveTimeout after the last sign of life.
//
// A tick that comes far too late says that this process itself did not run, as
// while it was stopped or its machine slept. Then nothing is known of the peer,
// whose answers may wait to be read, and it is asked again. A pause that begins
// and ends between two ticks goes unnoticed: one of up to KeepAlive and a second.
type keepAlive struct {
	reads atomic.Uint64 // transport frames
	due   atomic.Int64  // of the next tick, manager's clock; 0: not started
	woken atomic.Int64  // when a tick last came too late, manager's clock; 0: never
	slept atomic.Int64  // by how much, nanoseconds

	mu     sync.Mutex
	timer  *time.Timer
	seen   uint64
	lost   int64  // when the ping that is out counts as unanswered, manager's clock; 0: none is out
	writes uint64 // of the writer, when the ping was last looked at
	pinged uint64 // value of the last ping
	over   bool
}

const (
	// pauseAfter is how late a tick is if the process did not run. A busy
	// machine makes it late by less.
	pauseAfter = time.Second
	// catchUp is how long after that what is read may have waited all the time.
	catchUp = time.Second
)

// received notes a sign of life.
func (k *keepAlive) received() { k.reads.Add(1) }

func (k *keepAlive) start(s *session) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.over {
		first := s.m.cfg.KeepAlive
		if s.peer == s.m.local && s.side == 1 {
			// The two ends of the loopback begin at one time. In a simulation no
			// two timers may go off together.
			first--
		}
		k.due.Store(s.m.now() + int64(first))
		k.timer = time.AfterFunc(first, s.tick)
	}
}

func (k *keepAlive) stop() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.over = true
	if k.timer != nil {
		k.timer.Stop()
	}
}

// again sets the next tick. k.mu is held.
func (k *keepAlive) again(now int64, d time.Duration) {
	k.due.Store(addClock(now, d))
	k.timer.Reset(d)
}

// pingUnderWay reports whether the ping still waits to be written, behind what
// the link takes: the peer cannot answer it yet. keepAlive.mu is held.
func (s *session) pingUnderWay() bool {
	waits, writes := s.w.pingWaits()
	progress := writes != s.alive.writes
	s.alive.writes = writes
	return waits && progress
}

func (s *session) tick() {
	s.w.idle()
	s.lanes.tick()
	s.calls.trim()
	if s.peerCodecs.Load() != nil && !s.wished.Load() {
		s.learnHandlers() // the peer was overloaded when the session began
	}
	now := s.m.now()
	patience := s.dun(now)
	k := &s.alive
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.over {
		return
	}
	paused := k.notePause(now)
	switch reads := k.reads.Load(); {
	case reads != k.seen:
		k.seen, k.lost = reads, 0
	case k.lost == 0 || paused:
		_, k.writes = s.w.pingWaits()
		// A peer that sends other things may never answer one.
		s.forgetPing(k.pinged)
		k.pinged = s.ping().value
		k.lost = addClock(now, s.m.cfg.KeepAliveTimeout)
	case now < k.lost:
	case s.pingUnderWay():
		k.lost = addClock(now, s.m.cfg.KeepAliveTimeout)
	default:
		// Ended from a goroutine of its own since end stops this timer.
		go s.end(errUnanswered, wire.CodeTimeout)
		return
	}
	wait := min(s.m.cfg.KeepAlive, patience)
	if k.lost != 0 {
		wait = min(wait, time.Duration(k.lost-now))
	}
	k.again(now, wait)
}

// late is by how much the tick is late that is to come, if that says that the process
// did not run; otherwise 0.
func (k *keepAlive) late(now int64) int64 {
	if due := k.due.Load(); due != 0 && now-due >= int64(pauseAfter) {
		return now - due
	}
	return 0
}

// notePause reports whether the process has just woken from a pause.
func (k *keepAlive) notePause(now int64) bool {
	late := k.late(now)
	if late == 0 {
		return false
	}
	k.slept.Store(late)
	k.woken.Store(now)
	return true
}

// stale reports whether a request with the time-out d, which is read at now, may
// have waited for longer than that because this process did not run. The reader
// may be the first to notice.
func (k *keepAlive) stale(now int64, d time.Duration) bool {
	if late := k.late(now); late != 0 {
		return late >= int64(d)
	}
	woken := k.woken.Load()
	return woken != 0 && now-woken < int64(catchUp) && k.slept.Load() >= int64(d)
}

// probes are the pings whose answer somebody waits for. The values of pings rise
// in the order in which they are sent.
type probes struct {
	answered atomic.Uint64 // the highest value that was answered

	mu      sync.Mutex
	waiting []probe
}

type probe struct {
	value    uint64
	sent     int64 // manager's clock
	answered chan struct{}
}

// ping sends a ping. The answer to it, or to a later one, closes its channel, which
// stays open if the session ends. Who does not wait any more calls forgetPing.
func (s *session) ping() probe {
	p := probe{sent: s.m.now(), answered: make(chan struct{})}
	p.value = s.w.ping()
	s.probes.mu.Lock()
	defer s.probes.mu.Unlock()
	if s.probes.answered.Load() >= p.value {
		s.probeAnswered(p)
	} else {
		s.probes.waiting = append(s.probes.waiting, p)
	}
	return p
}

// forgetPing is called by who does not wait for the answer any more: a peer that
// answers no ping makes nothing grow.
func (s *session) forgetPing(value uint64) {
	s.probes.mu.Lock()
	defer s.probes.mu.Unlock()
	s.probes.waiting = slices.DeleteFunc(s.probes.waiting, func(p probe) bool { return p.value == value })
	if len(s.probes.waiting) == 0 {
		s.probes.waiting = nil
	}
}

func (s *session) probeAnswered(p probe) {
	s.peer.traffic.roundTrip.Store(s.m.now() - p.sent)
	close(p.answered)
}

// onPong is told of the answer to a ping.
func (s *session) onPong(value uint64) {
	if value > s.w.lastPing() {
		return // never sent
	}
	s.probes.mu.Lock()
	defer s.probes.mu.Unlock()
	s.probes.answered.Store(max(s.probes.answered.Load(), value))
	if s.pastFence() {
		s.signalRest()
	}
	s.probes.waiting = slices.DeleteFunc(s.probes.waiting, func(p probe) bool {
		if p.value > value {
			return false
		}
		s.probeAnswered(p)
		return true
	})
	if len(s.probes.waiting) == 0 {
		s.probes.waiting = nil // as many as there were at once may never be again
	}
}
