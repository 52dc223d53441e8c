package sim_test

import (
	"time"

	"github.com/gridmux/gridmux/core/coretest"
)

// longestJob bounds how long a handler sleeps.
const longestJob = 3 * time.Second

// operations is what users do: calls and streams of every kind.
var operations = []*action{
	{name: "call", pair: true, weight: 10, plan: planCall, do: doCall},
	{name: "fan-out", weight: 1, plan: planCall, do: doFanOut},
	{name: "burst", pair: true, weight: 1, plan: planBurst, do: doBurst},
	{name: "flood", pair: true, weight: 1, plan: planFlood, do: doBurst},
	{name: "cancel-storm", pair: true, weight: 1, plan: planStorm, do: doBurst},
	{name: "nested", weight: 2, plan: planNested, do: doCall},
	{name: "large", pair: true, weight: 2, plan: planLarge, do: doCall},
	{name: "edge-of-limit", pair: true, weight: 1, plan: planEdge, do: doCall},
	{name: "close-race", pair: true, weight: 2, plan: planRace, do: doRace},
	{name: "nobody", pair: true, weight: 1, plan: planNobody, do: doCall},
	{name: "probe", pair: true, weight: 2, plan: planProbe, do: doCall},
	{name: "crowd", pair: true, weight: 1, plan: planCrowd, do: doBurst},
	{name: "stream", pair: true, weight: 12, plan: planTalk, do: doTalk},
	{name: "streams", pair: true, weight: 1, plan: planTalks, do: doTalks},
	{name: "stream-transfer", pair: true, weight: 1, plan: planTransfer, do: doTalk},
	{name: "stream-stopped", pair: true, weight: 1, plan: planStopped, do: doTalk},
	{name: "stream-storm", pair: true, weight: 1, plan: planTalkStorm, do: doTalks},
	{name: "stream-race", pair: true, weight: 2, plan: planTalkRace, do: doTalkRace},
	{name: "stream-nobody", pair: true, weight: 1, plan: planTalkNobody, do: doTalk},
}

// size draws the size of a message: mostly small, now and then in parts.
func (g *generator) size() int {
	switch g.IntN(12) {
	case 0:
		return g.IntN(min(g.p.limits.MaxMessage, 150<<10))
	case 1, 2:
		return g.IntN(8 << 10)
	case 3:
		return 0
	default:
		return g.IntN(300)
	}
}

// spec draws a call to a node.
func (g *generator) spec(to int) *callSpec {
	c := &callSpec{to: to, handler: hAppend, job: coretest.Job{Request: g.size(), Response: g.size()}}
	switch g.IntN(10) {
	case 0:
		c.job.Mode, c.job.For = coretest.Slow, g.between(100*time.Microsecond, longestJob)
	case 1, 2:
		c.job.Mode = coretest.Block
	case 3:
		c.job.Mode = coretest.Fail
	case 4:
		c.job.Mode = pick(g.Rand, coretest.Fail, coretest.Panic)
	}
	c.handler = pick(g.Rand, hAppend, hAppend, hHandle, hInline, hLimited)
	if c.handler == hInline && (c.job.Mode == coretest.Slow || c.job.Mode == coretest.Block) {
		c.handler = hHandle
	}
	c.wait = g.IntN(3) == 0
	c.prio = g.prio()
	g.limit(c)
	return c
}

// limit draws how a call is limited in time. One that blocks always is, and so
// is one that waits for a connection.
func (g *generator) limit(c *callSpec) {
	c.end = endKind(g.IntN(4))
	if c.end == endNever && (c.job.Mode == coretest.Block || c.wait) {
		c.end = pick(g.Rand, endTimeout, endDeadline, endCancel)
	}
	if c.end != endNever {
		c.after = odd(g.between(max(g.p.latency/4, 1), max(4*time.Second, 8*g.p.latency)))
	}
}

// odd makes a duration odd. Gaps between calls are even, so that one never ends
// in the instant in which another begins, and what travels in whole microseconds
// never ends when the news of it arrives.
func odd(d time.Duration) time.Duration { return d | 1 }

// target draws whom a call goes to: seldom the node itself.
func (g *generator) target(e *event) {
	if g.IntN(12) == 0 && !g.p.apart {
		e.b = e.a
		return
	}
	g.pair(e)
}

func planCall(g *generator, e *event) bool {
	g.target(e)
	e.call = g.spec(e.b)
	return true
}

func doCall(w *world, e *event) { w.issue(e.a, e.call, 0) }

// doFanOut calls all nodes.
func doFanOut(w *world, e *event) {
	for i := range w.nodes {
		spec := *e.call
		spec.to = i
		w.issue(e.a, &spec, time.Duration(i)*100)
	}
}

// planBurst draws many calls at nearly the same time.
func planBurst(g *generator, e *event) bool {
	planCall(g, e)
	e.n = 2 + g.IntN(30)
	e.d = 2 * g.between(time.Nanosecond, g.p.latency/2)
	if e.call.job.Request+e.call.job.Response > 16<<10 {
		e.n = 3
	}
	if !g.p.loose {
		// They would all go on in the same instant, and only some get a place.
		e.call.wait = false
	}
	return true
}

// doBurst makes the calls. Their times differ a little, so that those which
// arrive together do not also end together.
func doBurst(w *world, e *event) {
	later := time.Duration(0)
	for i := range time.Duration(e.n) {
		spec := *e.call
		if spec.job.Mode == coretest.Slow {
			spec.job.For += i * 1008
		}
		if spec.end != endNever {
			spec.after += i * 2002
		}
		w.issue(e.a, &spec, later)
		later += e.d
	}
}

// planFlood draws many calls of a size that fills buffers and queues, some with
// less time than it takes.
func planFlood(g *generator, e *event) bool {
	planBurst(g, e)
	e.n = 10 + g.IntN(40)
	e.call.job = coretest.Job{Request: g.IntN(34 << 10), Response: g.IntN(1000)}
	if g.IntN(3) == 0 {
		e.call.job.Request, e.call.job.Response = e.call.job.Response, e.call.job.Request
	}
	return true
}

// planStorm draws calls of which all are cancelled about when they arrive.
func planStorm(g *generator, e *event) bool {
	planBurst(g, e)
	e.call.job = coretest.Job{Mode: pick(g.Rand, coretest.Block, coretest.Echo), Request: g.size()}
	if e.call.handler == hInline {
		e.call.handler = hHandle
	}
	e.call.end, e.call.after = endCancel, odd(g.between(1, 3*g.p.latency))
	return true
}

// planNested draws a call whose handler calls back, or on to a third node, and
// that one perhaps on again.
func planNested(g *generator, e *event) bool {
	planCall(g, e)
	spec, at := e.call, e.b
	for range 1 + g.IntN(2) {
		if spec.handler == hInline {
			spec.handler = hAppend
		}
		at = pick(g.Rand, e.a, g.other(at))
		spec.nested = g.spec(at)
		spec = spec.nested
	}
	if spec.handler == hInline {
		spec.handler = hAppend
	}
	return true
}

// planLarge draws a call with messages in several parts.
func planLarge(g *generator, e *event) bool {
	planCall(g, e)
	e.call.job.Request = g.IntN(g.p.limits.MaxMessage)
	e.call.job.Response = g.IntN(g.p.limits.MaxMessage)
	if e.call.handler == hInline {
		e.call.handler = hAppend
	}
	return true
}

// planEdge draws a call whose messages are at a limit, or just over it.
func planEdge(g *generator, e *event) bool {
	planCall(g, e)
	edge := func() int { return pick(g.Rand, 0, 1, 32<<10, g.p.limits.MaxMessage) + g.IntN(3) - 1 }
	e.call.job.Request, e.call.job.Response = max(edge(), 0), max(edge(), 0)
	return true
}

// planRace draws a call whose time ends about when its response arrives.
func planRace(g *generator, e *event) bool {
	g.pair(e)
	e.call = &callSpec{to: e.b, handler: pick(g.Rand, hAppend, hHandle, hInline), job: coretest.Job{Request: g.IntN(300), Response: g.IntN(300)}}
	e.call.end = pick(g.Rand, endTimeout, endDeadline, endCancel)
	e.d = pick[time.Duration](g.Rand, -1, 1, -1, 1, -1000, 1000, 0)
	if e.d == 0 && !g.p.loose {
		e.d = 1
	}
	return true
}

// doRace makes the call without a limit first, to see how long it takes.
func doRace(w *world, e *event) {
	in := w.nodes[e.a].run
	if in == nil {
		return
	}
	go func() {
		plain := *e.call
		plain.end, plain.after = endCancel, 5*time.Second
		began := w.now()
		_ = w.perform(w.ctx, in, &plain, false)
		took := w.now() - began
		if took+e.d <= 0 || took > time.Second {
			return
		}
		time.Sleep(time.Millisecond + time.Duration(2*e.index)*time.Nanosecond)
		spec := *e.call
		spec.after = took + e.d
		_ = w.perform(w.ctx, in, &spec, false)
	}()
}

func planNobody(g *generator, e *event) bool {
	planCall(g, e)
	e.call.handler = hNobody
	return true
}

// planProbe draws a call that has to succeed where the link is well.
func planProbe(g *generator, e *event) bool {
	g.pair(e)
	e.call = &callSpec{to: e.b, handler: hAppend}
	return true
}
