package inmem

import (
	"errors"
	"time"

	"github.com/gridmux/gridmux/transport/internal/linkmodel"
)

var errCorrupted = errors.New("inmem: a frame was corrupted")

// A model is what happens to a link that is not left alone. A link has one from
// the first time that the network disturbs it, which many never do.
type model struct {
	from       *conn // the end that sends
	dir        linkmodel.Direction
	conditions linkmodel.Conditions
	plan       *linkmodel.Plan // of the path; nil if there never was one
	fates      []frameFate     // kept for the next use

	// In a network with a seed.
	instants *instants
	slot     time.Duration
}

type frameFate struct {
	linkmodel.Fate
	linkmodel.Verdict

	corrupted bool
}

// newModel makes the model of the link on which from sends. number tells its
// connection from the others between the two nodes.
func newModel(from *conn, number uint64) *model {
	n, to := from.both.net, from.peer.node
	m := &model{
		from: from,
		dir:  linkmodel.NewDirection(linkmodel.NewKey(n.seed, number, "link", from.node.name, to.name)),
	}
	if n.instants != nil {
		m.instants, m.slot = n.instants, slot(from.node, to, number%connSlots)
	}
	return m
}

// idle reports whether the model leaves alone what is sent.
func (m *model) idle() bool {
	return m == nil || m.instants == nil && m.conditions.Perfect() && !m.plan.Armed()
}

// judge draws the fates of the n frames of p that begin with first, and damages
// those that are to be damaged. It reports false if nobody will read them.
func (m *model) judge(now time.Time, p *pipe, first *buffer, n int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.readErr != nil { // the frames may be gone
		return false
	}
	m.fates = m.fates[:0]
	for b := first; n > 0; b, n = b.next, n-1 {
		f := frameFate{
			Fate:    m.dir.Next(&m.conditions, now, len(b.data)),
			Verdict: m.plan.Frame(len(b.data)),
		}
		f.corrupted = m.damage(b.data, f.Fate.Flip) || f.corrupted
		f.corrupted = m.damage(b.data, f.Verdict.Flip) || f.corrupted
		m.fates = append(m.fates, f)
	}
	return true
}

// damage flips a bit, if it is one, and reports whether the link notices.
func (m *model) damage(data []byte, bit int) bool {
	if bit < 0 {
		return false
	}
	data[bit/8] ^= 1 << (bit % 8)
	return !m.from.both.net.plain
}

// apply puts the frames that were judged on the link.
func (m *model) apply(l *link, now time.Time, p *pipe) {
	together := 0 // frames that travel as one
	var sent time.Time
	flush := func() {
		if together > 0 {
			l.add(arrival{pipe: p, frames: together}, now, sent.Add(m.fates[0].Delay))
			together = 0
		}
	}
	for i := range m.fates {
		f := &m.fates[i]
		at := f.Sent.Add(f.Delay)
		if f.corrupted || f.Before == linkmodel.Cut {
			flush()
			m.breakOff(l, now, at, f.corrupted)
			return
		}
		if f.Before == linkmodel.Stall {
			flush()
			l.add(arrival{}, now, at)
		}
		if m.conditions.Split {
			l.add(arrival{pipe: p, frames: 1}, now, at)
		} else {
			together++
			sent = f.Sent
		}
		switch f.After {
		case linkmodel.Nothing:
		case linkmodel.Stall:
			flush()
			l.add(arrival{}, now, at)
		case linkmodel.Cut:
			flush()
			m.breakOff(l, now, at, false)
			return
		}
	}
	flush()
}

// breakOff ends the connection at both ends when what is under way has arrived,
// and loses what is sent from now on.
func (m *model) breakOff(l *link, now, at time.Time, corrupted bool) {
	near, far, why := m.from, m.from.peer, errReset
	if corrupted {
		why = errCorrupted
	}
	l.add(arrival{call: func() { far.end(why) }}, now, at)
	l.add(arrival{call: func() { near.end(errReset) }}, now, at)
	l.lost = true
}
