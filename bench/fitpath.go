package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

const (
	// stretch is how many times as long as usual a run over a slow path may take, if no flag says how long.
	stretch = 4
	// longestTrip is how long what a load has under way may take to get through a path: what takes longer tells
	// nothing that its size and the speed of the path do not.
	longestTrip = 40 * time.Second
	// tripsCounted is how many times that a window is long, for some calls to end in it.
	tripsCounted = 3
	// chunk is how many bytes of a stream may arrive at once: what transports put together, and windows let through.
	// A window of streams is long enough for chunksCounted of them.
	chunk         = 32 << 10
	chunksCounted = 4
	// smallestBulk is what large requests have at least, over however slow a path.
	smallestBulk = 16 << 10
	// bulkShare is how many times as much time as another line small calls beside large ones may have.
	bulkShare = 4
)

// slot is the time of one window over a path: the times of plan, and how long it takes what is under way at the end
// to get through.
type slot struct {
	warmUp, window, drain time.Duration
}

func (s slot) takes() time.Duration { return s.warmUp + s.window + s.drain }

// leftOut is a load that is not measured.
type leftOut struct {
	Table string `json:"table"` // as that of a cell, or the name of a workload
	Title string `json:"title"`
	Why   string `json:"why"` // as the end of a sentence
}

// trip is how long it takes calls of a size, by so many callers, to get through the path and back.
func (s pathSpeed) trip(callers, size int) time.Duration {
	one := float64(size + frameOverhead)
	there, back := takes(one, s.there), takes(one, s.back)
	return s.rtt + time.Duration(callers)*max(there, back) + min(there, back)
}

// timeout is the deadline of a call: longer than callTimeout where the path takes long for it.
func (s pathSpeed) timeout(callers, size int) time.Duration {
	return max(callTimeout, min(3*s.trip(callers, size), longestLatency))
}

// need is the least time that a window of a load takes, to say something, and how much of it is one trip.
func (s pathSpeed) need(l *load) (slot, time.Duration) {
	if l.table == streams {
		return s.needOfStreams(l)
	}
	trip := s.trip(l.atOnce, l.size)
	if l.bulk > 0 {
		trip = s.trip(bulkCallers, l.bulk)
	}
	return slot{trip, tripsCounted * trip, trip}, trip
}

// needOfStreams is that of streams: until each has had a step, for some steps of each, and until what their windows
// have let through has arrived.
func (s pathSpeed) needOfStreams(l *load) (slot, time.Duration) {
	n := float64(l.atOnce)
	step, window := n*float64(l.each*(l.size+frameOverhead/10)), n*float64(max(defaultStreamWindow, l.size))
	there, back := s.there, s.back
	if l.name == streamFromB {
		there = 0
	}
	if l.name == streamToB {
		back = 0
	}
	steps := takes(step, there) + takes(step, back)
	chunks := chunksCounted * max(takes(chunk, there), takes(chunk, back))
	trip := s.rtt + takes(window, there) + takes(window, back)
	return slot{2*s.rtt + steps, max(tripsCounted*s.rtt, tripsCounted*steps, chunks), trip}, trip
}

// bulk is how large the requests are that small ones are beside: as large as the path can carry in the time that
// there is for each line.
func (o *options) bulk() int {
	if o.remote == nil || !o.remote.speed.known() {
		return bulkSize
	}
	lines := len(o.tables)*4 + len(o.callers) + len(o.sizes) // about
	// No more of it for a longer run, which would measure something else.
	each := bulkShare * min(o.most(), stretch*defaultDuration) / time.Duration(lines*len(o.kinds)*minRounds)
	size := bulkSize
	for size > smallestBulk {
		if s, _ := o.remote.speed.need(&load{table: mixed, atOnce: 1, bulk: size}); s.takes() <= each {
			break
		}
		size /= 2
	}
	return size
}

// most is how long all windows together may take.
func (o *options) most() time.Duration {
	if o.exactly {
		return o.duration
	}
	return stretch * o.duration
}

// fitToPath leaves out what takes longer over the path than there is time for, those that take the longest first,
// and gives each of the others a slot, and all of them as many rounds as there is time for.
func (m *measurement) fitToPath() {
	speed := m.remote.speed
	if !speed.known() {
		return
	}
	all := time.Duration(0)
	var fits []load
	for i := range m.loads {
		l := &m.loads[i]
		var trip time.Duration
		if l.slot, trip = speed.need(l); trip > longestTrip {
			m.leaveOut(l, fmt.Sprintf("what is under way takes %v, and the most is %v", rough(trip), longestTrip))
			continue
		}
		all += l.slot.takes()
		fits = append(fits, *l)
	}
	// The time that minRounds of all of them would take, for who wants that, and a tenth more: the next look at the
	// path will find something a bit different.
	enough := (m.together(minRounds, all)*11/10 + 10*time.Second).Truncate(10 * time.Second)
	for sum := all; m.together(minRounds, sum) > m.options.most(); {
		i := dearest(fits)
		sum -= fits[i].slot.takes()
		m.leaveOut(&fits[i], fmt.Sprintf("each window takes %v", rough(fits[i].slot.takes())))
		m.enough = enough
		fits = slices.Delete(fits, i, i+1)
	}
	m.loads = fits
	m.share()
}

// dearest is which of some loads takes the longest.
func dearest(of []load) (at int) {
	for i := range of {
		if of[i].slot.takes() > of[at].slot.takes() {
			at = i
		}
	}
	return at
}

func (m *measurement) leaveOut(l *load, why string) {
	m.leftOut = append(m.leftOut, leftOut{l.table.String(), l.title, why})
}

// together is how long so many rounds take over all transports, in each of which all loads take so long.
func (m *measurement) together(rounds int, loads time.Duration) time.Duration {
	return time.Duration(rounds*len(m.kinds)) * loads
}

// share makes the most of the time: usualRounds if there is enough for them, and the windows of what takes the
// least as long as all have the same.
func (m *measurement) share() {
	if len(m.loads) == 0 {
		return
	}
	sum := m.slots()
	total := max(m.duration, m.together(minRounds, sum))
	m.plan = newPlan(total, len(m.loads)*len(m.kinds))
	for m.rounds > minRounds && m.together(m.rounds, sum) > total {
		m.rounds -= 2
	}
	each := total / m.together(m.rounds, 1) // of all loads together
	level := level(m.loads, each)
	for i := range m.loads {
		s := &m.loads[i].slot
		if s.takes() < level {
			s.warmUp = max(s.warmUp, (level-s.drain)/5)
			s.window = level - s.drain - s.warmUp
		}
		s.warmUp, s.window = s.warmUp.Round(time.Millisecond), max(s.window.Round(time.Millisecond), time.Millisecond)
	}
	level = level.Round(time.Millisecond)
	m.warmUp, m.window = level/5, level-level/5
	m.duration = total
}

// level is how long the slots are of all loads that can do with less, if together they take so long.
func level(of []load, all time.Duration) time.Duration {
	needs := make([]time.Duration, len(of))
	for i := range of {
		needs[i] = of[i].slot.takes()
	}
	slices.SortFunc(needs, func(a, b time.Duration) int { return cmp.Compare(b, a) })
	for i, need := range needs {
		if equal := all / time.Duration(len(needs)-i); need <= equal {
			return equal
		}
		all -= need
	}
	return needs[len(needs)-1]
}

// rough is a time with as many digits as an estimate has.
func rough(d time.Duration) time.Duration {
	if d >= time.Second {
		return d.Round(100 * time.Millisecond)
	}
	return d.Round(10 * time.Millisecond)
}

// plain is a time without units of which there are none, as in 2m for 2m0s.
func plain(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// aboutLeftOut says what is not measured, and why, or nothing.
func (r *report) aboutLeftOut() string {
	if len(r.LeftOut) == 0 {
		return ""
	}
	var all []string
	for _, l := range r.LeftOut {
		all = append(all, fmt.Sprintf("%s (%s)", l.Title, l.Why))
	}
	s := "Left out over this path: " + strings.Join(all, "; ") + "."
	if r.Enough > 0 {
		s += fmt.Sprintf(" With -duration %v there is time for all that takes no more than %v.", plain(r.Enough), longestTrip)
	}
	return s
}

// slots is how long one window of each load takes.
func (m *measurement) slots() (all time.Duration) {
	for i := range m.loads {
		all += m.loads[i].slot.takes()
	}
	return all
}
