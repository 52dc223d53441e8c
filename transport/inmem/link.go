package inmem

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gridmux/gridmux/transport/internal/linkmodel"
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
	held    bool
	lost    bool      // nothing more is carried
	cut     bool      // what is under way cannot be held
	model   *model    // nil while nothing has disturbed the link
	transit []arrival // oldest first
	timer   *time.Timer
}

// An arrival is something under way: frames of a pipe, or a call to make at the
// other end, or else the beginning of a stall.
type arrival struct {
	at     time.Time
	pipe   *pipe
	frames int
	call   func()
}

func (a *arrival) arrive() {
	if a.pipe != nil {
		a.pipe.arrive(a.frames)
	} else {
		a.call()
	}
}

func (a *arrival) stalls() bool { return a.pipe == nil && a.call == nil }

// carryFrames takes the n frames that begin with first and have been added to
// the queue of p.
func (l *link) carryFrames(p *pipe, first *buffer, n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch m := l.model; {
	case l.lost:
	case l.direct.Load():
		p.arrive(n)
	default:
		now := time.Now()
		if m.idle() {
			l.add(arrival{pipe: p, frames: n}, now, now)
		} else if m.judge(now, p, first, n) {
			m.apply(l, now, p)
		}
		l.deliver()
	}
}

// carryCall makes call at the other end when all sent before has arrived there.
// It is called with mu held.
func (l *link) carryCall(call func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch m := l.model; {
	case l.lost:
	case l.direct.Load():
		call()
	default:
		now := time.Now()
		at := now
		if !m.idle() {
			f := m.dir.Next(&m.conditions, now, 0)
			at = f.Sent.Add(f.Delay)
		}
		l.add(arrival{call: call}, now, at)
		l.deliver()
	}
}

// add puts a on the link, to arrive at the given time or, where the order or
// the model asks for it, later.
func (l *link) add(a arrival, now, at time.Time) {
	var last *arrival
	if n := len(l.transit); n > 0 {
		last = &l.transit[n-1]
	}
	if last != nil && at.Before(last.at) {
		at = last.at
	}
	if m := l.model; m != nil && !a.stalls() {
		merge := m.conditions.Merge
		switch {
		case merge > 0 && last != nil && at.Equal(last.at) && !last.stalls():
		case m.instants != nil:
			if at = at.Add(merge); last != nil && !at.After(last.at) {
				at = last.at.Add(1)
			}
			at = m.instants.reserve(now, at, m.slot)
		default:
			at = at.Add(merge)
		}
	}
	a.at = at
	if last != nil && a.pipe != nil && a.pipe == last.pipe && at.Equal(last.at) {
		last.frames += a.frames
		return
	}
	l.transit = append(l.transit, a)
}

// deliver hands over what is due and sets the timer for the rest.
func (l *link) deliver() {
	if !l.held && len(l.transit) > 0 {
		now := time.Now()
		for !l.held && len(l.transit) > 0 && !l.transit[0].at.After(now) {
			a := l.transit[0]
			l.transit[0] = arrival{}
			l.transit = l.transit[1:]
			if a.stalls() {
				l.held = true
			} else {
				a.arrive()
			}
		}
		if len(l.transit) == 0 {
			l.transit = nil
		} else if d := l.transit[0].at.Sub(now); l.held {
			// Nothing is due before release.
		} else if l.timer == nil {
			l.timer = time.AfterFunc(d, l.tick)
		} else {
			l.timer.Reset(d)
		}
	}
	l.direct.Store(!l.held && !l.lost && len(l.transit) == 0 && l.model.idle())
}

func (l *link) tick() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.deliver()
}

// configure sets what holds for what is sent from now on.
func (l *link) configure(c linkmodel.Conditions, plan *linkmodel.Plan, newModel func() *model) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.model == nil {
		if c.Perfect() && !plan.Armed() {
			return
		}
		l.model = newModel()
	}
	l.model.conditions, l.model.plan = c, plan
	l.deliver()
}

// hold keeps back all that has not arrived, until release.
func (l *link) hold() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cut {
		return
	}
	// What is due by now has arrived, whether or not the timer has run.
	l.deliver()
	l.held = true
	l.direct.Store(false)
}

func (l *link) release() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.held = false
	l.transit = slices.DeleteFunc(l.transit, func(a arrival) bool { return a.stalls() })
	l.stagger()
	l.deliver()
}

// stagger gives what ought to have arrived by now instants of its own, in a
// network where nothing else may arrive at the same one.
func (l *link) stagger() {
	m := l.model
	if m == nil || m.instants == nil {
		return
	}
	now := time.Now()
	before := now
	for i := range l.transit {
		a := &l.transit[i]
		if !a.at.After(before) {
			a.at = m.instants.reserve(now, before.Add(1), m.slot)
		}
		before = a.at
	}
}

// drop loses everything under way.
func (l *link) drop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dropLocked()
	l.lost = false
	l.deliver()
}

func (l *link) dropLocked() {
	l.transit = nil
	if l.timer != nil {
		l.timer.Stop()
	}
}

// sever loses everything under way and everything sent from now on, and makes
// call at the other end at once, even if the link is held.
func (l *link) sever(call func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dropLocked()
	l.held, l.cut, l.lost = false, true, true
	if m := l.model; m != nil && m.instants != nil {
		now := time.Now()
		l.transit = append(l.transit, arrival{call: call, at: m.instants.reserve(now, now, m.slot)})
	} else {
		call()
	}
	l.deliver()
}
