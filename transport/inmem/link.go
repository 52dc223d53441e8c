package inmem

import (
	"sync"
	"sync/atomic"
	"time"
)

// A link carries everything that one end of a connection sends, on all lanes:
// frames, lanes being opened, the end. What it is given arrives in that order.
// This is where the network's condition takes effect; as long as there is
// nothing to it, frames do not pass through here at all.
type link struct {
	// direct: what is sent arrives at once. Writers look at it without mu.
	direct atomic.Bool

	mu sync.Mutex // before conn.mu, pipe.mu and queue.mu

	// Guarded by mu.
	latency time.Duration
	held    bool
	transit []arrival // oldest first
	timer   *time.Timer
}

// An arrival is something under way: frames of a pipe, or else a call to make
// at the other end.
type arrival struct {
	at     time.Time
	pipe   *pipe
	frames int
	call   func()
}

func (l *link) init(latency time.Duration) {
	l.latency = latency
	l.direct.Store(latency == 0)
}

// carryFrames takes n frames that have been added to the queue of p.
func (l *link) carryFrames(p *pipe, n int) {
	l.carry(arrival{pipe: p, frames: n})
}

// carryCall makes call at the other end when all sent before has arrived there.
// It is called with mu held.
func (l *link) carryCall(call func()) {
	l.carry(arrival{call: call})
}

func (l *link) carry(a arrival) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.direct.Load() {
		a.arrive()
		return
	}
	a.at = time.Now().Add(l.latency)
	if n := len(l.transit); n > 0 {
		last := &l.transit[n-1]
		if a.at.Before(last.at) { // latency has been lowered
			a.at = last.at
		}
		if a.pipe != nil && a.pipe == last.pipe && a.at.Equal(last.at) {
			last.frames += a.frames
			return
		}
	}
	l.transit = append(l.transit, a)
	l.deliver()
}

func (a *arrival) arrive() {
	if a.pipe != nil {
		a.pipe.arrive(a.frames)
	} else {
		a.call()
	}
}

// deliver hands over what is due and sets the timer for the rest.
func (l *link) deliver() {
	if !l.held && len(l.transit) > 0 {
		now := time.Now()
		for len(l.transit) > 0 && !l.transit[0].at.After(now) {
			l.transit[0].arrive()
			l.transit[0] = arrival{}
			l.transit = l.transit[1:]
		}
		if len(l.transit) == 0 {
			l.transit = nil
		} else if d := l.transit[0].at.Sub(now); l.timer == nil {
			l.timer = time.AfterFunc(d, l.tick)
		} else {
			l.timer.Reset(d)
		}
	}
	l.direct.Store(!l.held && l.latency == 0 && len(l.transit) == 0)
}

func (l *link) tick() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.deliver()
}

func (l *link) setLatency(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.latency = d
	l.deliver()
}

// hold keeps back all that has not arrived, until release.
func (l *link) hold() {
	l.mu.Lock()
	defer l.mu.Unlock()
	// What is due by now has arrived, whether or not the timer has run.
	l.deliver()
	l.held = true
	l.direct.Store(false)
}

func (l *link) release() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.held = false
	l.deliver()
}

// drop loses everything under way.
func (l *link) drop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.transit = nil
	if l.timer != nil {
		l.timer.Stop()
	}
	l.deliver()
}
