package sim_test

import (
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/coretest"
)

// prio draws a priority: mostly the normal one.
func (g *generator) prio() core.Priority {
	return pick(g.Rand, core.PriorityNormal, core.PriorityNormal, core.PriorityNormal, core.PriorityNormal, core.PriorityHigh, core.PriorityLow)
}

// messages draws how many messages a direction has, and how long they are.
func (g *generator) messages() (sizes []int) {
	n := pick(g.Rand, 0, 1, 1, 2, 3, 5, 10, 30, 60)
	class := g.IntN(10)
	for total := 0; len(sizes) < n; {
		size := g.messageSize(class)
		if total += size; total > g.p.volume() {
			break
		}
		sizes = append(sizes, size)
	}
	return sizes
}

// messageSize draws the length of a message of a class: small ones, or ones at
// a limit or over it.
func (g *generator) messageSize(class int) int {
	window := g.p.window()
	var size int
	switch class {
	case 0:
		size = g.IntN(4 << 10)
	case 1:
		size = window + g.IntN(3) - 1
	case 2:
		size = wholeUpTo + g.IntN(3) - 1
	case 3:
		size = 128<<10 + g.IntN(3) - 1
	case 4:
		size = g.IntN(300 << 10)
	case 5:
		size = g.IntN(2*window + 1)
	case 6:
		return g.messageSize(g.IntN(6))
	default:
		size = g.IntN(300) * g.IntN(4) / 3
	}
	return min(max(size, 0), g.p.limits.MaxMessage)
}

// lane draws a direction of a talk.
func (g *generator) lane() (l lane) {
	l.sizes = g.messages()
	l.half = g.IntN(2) == 0
	if g.IntN(6) == 0 {
		l.gap = g.breath(len(l.sizes))
	}
	if g.IntN(6) == 0 {
		l.pause = g.breath(len(l.sizes))
	}
	if len(l.sizes) > 1 && g.IntN(10) == 0 {
		l.stopAt = 1 + g.IntN(len(l.sizes))
		l.stopFor = g.between(time.Millisecond, longestJob)
		if g.IntN(2) == 0 {
			l.stopFor = -1
		}
	}
	if g.IntN(40) == 0 {
		l.sizes, l.over = append(l.sizes, g.p.limits.MaxMessage+1), true
	}
	return l
}

// hasten makes the sender of a direction say that it has sent everything while it
// sends the last message, which is a long one.
func (g *generator) hasten(l *lane) {
	if len(l.sizes) > 0 && !l.over {
		l.half, l.hasty = true, g.between(1, 2*g.p.latency)
		l.sizes[len(l.sizes)-1] = g.messageSize(3)
	}
}

// breath draws a pause that can be made n times.
func (g *generator) breath(n int) time.Duration {
	return g.between(time.Microsecond, longestJob/time.Duration(max(n, 1)))
}

// talk draws a stream to a node.
func (g *generator) talk(to int) *talkSpec {
	h := &talkHandlers[g.IntN(len(talkHandlers))]
	s := &talkSpec{to: to, handler: h.id, channels: g.IntN(3) == 0, prio: g.prio(), down: g.lane()}
	if g.IntN(4) == 0 {
		s.payload = g.size()
	}
	if h.takes {
		s.up = g.lane()
	}
	if len(s.up.sizes) > 0 && !h.channels && g.IntN(6) == 0 {
		s.dropAt = 1 + g.IntN(len(s.up.sizes))
	}
	if !h.gives && g.IntN(2) == 0 {
		s.down.sizes = nil
	}
	if h.channels {
		s.down.half = false // that form has no way to say so
	}
	if g.IntN(3) == 0 {
		s.order = order(g.IntN(int(numOrders)))
	}
	if !h.channels && g.IntN(4) == 0 {
		g.hasten(&s.down)
	}
	if !s.channels && g.IntN(4) == 0 {
		g.hasten(&s.up)
	}
	s.first = g.IntN(8) == 0
	s.finish = pick(g.Rand, finishWell, finishWell, finishWell, finishWell, finishWell, finishFail, finishFail, finishPanic, finishBlock)
	if g.IntN(5) == 0 {
		s.leave = pick(g.Rand, leaveClose, leaveClose, leaveBreak, leaveCancel, leaveForgets)
		s.leaveAt = g.IntN(len(s.down.sizes) + 1)
	}
	s.wait = g.IntN(4) == 0
	g.limitTalk(s)
	return s
}

// limitTalk draws how a talk is limited in time. One that may come to a
// standstill always is.
func (g *generator) limitTalk(s *talkSpec) {
	s.end = pick(g.Rand, endNever, endNever, endTimeout, endDeadline, endCancel)
	endless := s.up.over || s.down.over || s.up.stopFor < 0 || s.down.stopFor < 0 || s.finish == finishBlock || s.first || s.order != orderBoth || s.leave == leaveForgets
	if s.end == endNever && (endless || s.wait) {
		s.end = pick(g.Rand, endTimeout, endDeadline, endCancel)
	}
	if s.end != endNever {
		s.after = odd(g.between(max(g.p.latency/4, 1), max(4*time.Second, 8*g.p.latency)))
	}
}

func planTalk(g *generator, e *event) bool {
	g.target(e)
	e.talk = g.talk(e.b)
	return true
}

func doTalk(w *world, e *event) { w.converse(e.a, e.talk, 0) }

// planTalks draws many talks of a kind at nearly the same time.
func planTalks(g *generator, e *event) bool {
	planTalk(g, e)
	e.n = 2 + g.IntN(30)
	e.d = 2 * g.between(time.Nanosecond, g.p.latency/2)
	shorten := func(l *lane) { l.sizes = l.sizes[:min(len(l.sizes), 1+60/e.n)] }
	shorten(&e.talk.up)
	shorten(&e.talk.down)
	e.talk.payload = min(e.talk.payload, 300)
	if e.talk.total() > 16<<10 {
		e.n = 3
	}
	if !g.p.loose {
		e.talk.wait = false
	}
	return true
}

func (s *talkSpec) total() (n int) {
	for _, size := range s.up.sizes {
		n += size
	}
	for _, size := range s.down.sizes {
		n += size
	}
	return n
}

// spread makes the pauses of a direction longer, so that those of talks that are
// alike do not end in the same instant.
func (l *lane) spread(d time.Duration) {
	for _, pause := range []*time.Duration{&l.gap, &l.pause, &l.stopFor, &l.hasty} {
		if *pause > 0 {
			*pause += d
		}
	}
}

// doTalks holds the talks. Their times differ a little.
func doTalks(w *world, e *event) {
	later := time.Duration(0)
	for i := range time.Duration(e.n) {
		spec := *e.talk
		if spec.end != endNever {
			spec.after += i * 2002
		}
		spec.up.spread(i * 1008)
		spec.down.spread(i * 3006)
		w.converse(e.a, &spec, later)
		later += e.d
	}
}

// planTransfer draws a talk with much to carry one way.
func planTransfer(g *generator, e *event) bool {
	g.pair(e)
	h := &talkHandlers[1+g.IntN(3)+len(talkHandlers)/2*g.IntN(2)]
	s := &talkSpec{to: e.b, handler: h.id, channels: g.IntN(2) == 0, prio: g.prio()}
	l := lane{half: true}
	class := pick(g.Rand, 2, 3, 4, 0)
	for total := 0; ; {
		size := g.messageSize(class)
		if total += size + 200; total > 2*g.p.volume() {
			break
		}
		l.sizes = append(l.sizes, size)
	}
	switch {
	case h.takes && h.gives:
		s.up, s.down = l, l
	case h.takes:
		s.up = l
	default:
		s.down = l
	}
	if h.channels {
		s.down.half = false
	}
	e.talk = s
	return true
}

// planStopped draws a talk whose readers stop for ever, so that as much piles up
// as may, until its time is over.
func planStopped(g *generator, e *event) bool {
	planTalk(g, e)
	s := e.talk
	s.payload, s.leave = min(s.payload, 300), leaveNever
	for _, l := range []*lane{&s.up, &s.down} {
		if len(l.sizes) == 0 {
			continue
		}
		l.stopAt, l.stopFor = 1+g.IntN(len(l.sizes)), -1
	}
	g.limitTalk(s)
	return true
}

// planTalkStorm draws talks that all end about when they are opened.
func planTalkStorm(g *generator, e *event) bool {
	planTalks(g, e)
	s := e.talk
	s.leave, s.leaveAt = pick(g.Rand, leaveNever, leaveClose, leaveCancel), 0
	s.end, s.after = endCancel, odd(g.between(1, 3*g.p.latency))
	return true
}

// planTalkRace draws a talk whose time ends about when its answer arrives.
func planTalkRace(g *generator, e *event) bool {
	g.pair(e)
	h := &talkHandlers[g.IntN(len(talkHandlers))]
	s := &talkSpec{to: e.b, handler: h.id, channels: g.IntN(3) == 0}
	if h.takes {
		s.up = lane{sizes: []int{g.IntN(300), g.messageSize(6)}, half: true}
	}
	if h.gives {
		s.down.sizes = []int{g.IntN(300), g.messageSize(6)}
	}
	s.end = pick(g.Rand, endTimeout, endDeadline, endCancel)
	e.d = pick[time.Duration](g.Rand, -1, 1, -1, 1, -1000, 1000, -20_000, 0)
	if e.d == 0 && !g.p.loose {
		e.d = 1
	}
	e.talk = s
	return true
}

// doTalkRace holds the talk without a limit first, to see how long it takes.
func doTalkRace(w *world, e *event) {
	in := w.nodes[e.a].run
	if in == nil {
		return
	}
	go func() {
		plain := *e.talk
		plain.end, plain.after = endCancel, odd(5*time.Second)
		began := w.now()
		_ = w.talk(w.ctx, in, &plain)
		took := w.now() - began
		if took+e.d <= 0 || took > time.Second {
			return
		}
		time.Sleep(time.Millisecond + time.Duration(2*e.index)*time.Nanosecond)
		spec := *e.talk
		spec.after = took + e.d
		_ = w.talk(w.ctx, in, &spec)
	}()
}

// planTalkNobody draws a stream to a handler that does not serve streams, or that
// no node has.
func planTalkNobody(g *generator, e *event) bool {
	planTalk(g, e)
	e.talk.handler = pick(g.Rand, hNobody, hAppend)
	e.talk.up = lane{}
	return true
}

// planCrowd draws large requests that have to wait for memory, since handlers
// keep it for some time.
func planCrowd(g *generator, e *event) bool {
	planBurst(g, e)
	e.n = 2 + g.IntN(5)
	e.call.handler = pick(g.Rand, hAppend, hHandle)
	e.call.job = coretest.Job{Request: g.p.limits.MaxMessage/2 + g.IntN(g.p.limits.MaxMessage/2), Response: g.IntN(300)}
	if g.p.limits.MaxMessage > 200<<10 {
		e.n = 2
	}
	if g.IntN(2) == 0 {
		e.call.job.Mode, e.call.job.For = coretest.Slow, g.between(time.Millisecond, longestJob)
	}
	return true
}
