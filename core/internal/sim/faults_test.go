package sim_test

import (
	"time"

	"github.com/gridmux/gridmux/core/coretest"
	"github.com/gridmux/gridmux/transport/inmem"
)

// faults is what happens to nodes and links.
var faults = []*action{
	{name: "cut", pair: true, weight: 3, plan: planMoment, do: doCut},
	{name: "flap", pair: true, weight: 1, plan: planFlap, do: doCut},
	{name: "partition", pair: true, weight: 3, plan: planSpell, do: doPartition},
	{name: "partition-one-way", pair: true, weight: 3, plan: planSpell, do: doPartitionOneWay},
	{name: "stall", pair: true, weight: 3, plan: planSpell, do: doStall},
	{name: "isolate", weight: 1, plan: planIsolate, do: doPartition},
	{name: "latency", pair: true, weight: 2, plan: planLatency, do: doConditions},
	{name: "conditions", pair: true, weight: 2, plan: planConditions, do: doConditions},
	{name: "cut-after", pair: true, weight: 2, plan: planBytes, do: doCutAfter},
	{name: "stall-after", pair: true, weight: 2, plan: planBytes, do: doStallAfter},
	{name: "corrupt", pair: true, weight: 2, plan: planBytes, do: doCorrupt},
	{name: "refuse-dials", pair: true, weight: 1, plan: planSpell, do: doRefuseDials},
	{name: "slow-accept", weight: 1, plan: planSlowAccept, do: doSlowAccept},
	{name: "crash", weight: 3, plan: planAbsence, do: doCrash},
	{name: "close", weight: 2, plan: planAbsence, do: doClose},
	{name: "shutdown", weight: 2, plan: planAbsence, do: doShutdown},
	{name: "busy-shutdown", weight: 2, plan: planBusyShutdown, do: doBurst},
	{name: "close-inside", weight: 1, plan: planCloseInside, do: doCloseInside},
	{name: "remove", weight: 2, plan: planRemove, do: doRemove},
	{name: "move", weight: 1, plan: planMove, do: doShutdown},
	{name: "twin", weight: 2, plan: planTwin, do: doTwin},
	{name: "rogue", weight: 6, rare: true, plan: planRogue, do: doRogue},
}

// What follows on faults.
var (
	actHeal  = &action{name: "heal", do: doHeal}
	actStop  = &action{name: "shutdown", do: doShutdown}
	actStart = &action{name: "start", do: func(w *world, e *event) { w.nodes[e.a].begin() }}
)

// endFaults ends all that is in force.
func (w *world) endFaults() {
	for k := range w.pairs {
		w.restore(k.a, k.b)
	}
	w.net.HealAll()
	for _, n := range w.nodes {
		n.endTwin()
		w.acceptDelay(n.index, 0)
		for other := range w.nodes {
			w.setMember(n.index, other, true)
		}
	}
}

// restore ends every fault between two nodes.
func (w *world) restore(a, b int) {
	w.net.Heal(nameOf(a), nameOf(b))
	for _, path := range [][2]int{{a, b}, {b, a}} {
		w.net.SetPathConditions(nameOf(path[0]), nameOf(path[1]), w.p.conditions(path[0], path[1]))
		w.net.AllowDials(nameOf(path[0]), nameOf(path[1]))
	}
	w.mend(a, b)
}

func planMoment(g *generator, e *event) bool {
	g.pair(e)
	return true
}

func doCut(w *world, e *event) {
	w.net.Cut(nameOf(e.a), nameOf(e.b))
	w.jolt(e.a, e.b)
}

// planFlap draws a link that is cut again and again.
func planFlap(g *generator, e *event) bool {
	g.pair(e)
	gap := g.between(g.p.latency, time.Second)
	for i := range 3 + g.IntN(10) {
		g.follow(e, time.Duration(i+1)*gap+time.Duration(g.IntN(1000)), e.act)
	}
	return true
}

// planSpell draws a fault between two nodes that is over after some time, short
// or long compared with what it takes to notice.
func planSpell(g *generator, e *event) bool {
	g.pair(e)
	g.follow(e, g.between(g.p.latency, 15*time.Second), actHeal)
	return true
}

// planIsolate draws a node that is cut off from all others, one by one.
func planIsolate(g *generator, e *event) bool {
	d := g.between(10*time.Millisecond, 15*time.Second)
	first := true
	for b := range g.p.nodes {
		if b == e.a {
			continue
		}
		one := e
		if !first {
			one = g.follow(e, time.Duration(1+g.IntN(1e6)), e.act)
		}
		one.b, first = b, false
		g.follow(one, d, actHeal)
	}
	return true
}

func doPartition(w *world, e *event) {
	w.net.Partition(nameOf(e.a), nameOf(e.b))
	w.harm(e.a, e.b)
}

func doPartitionOneWay(w *world, e *event) {
	w.net.PartitionOneWay(nameOf(e.a), nameOf(e.b))
	w.harm(e.a, e.b)
}

// doStall makes the connections that exist go dead. The network is well, so it
// is over when that was noticed, or one of the nodes starts anew.
func doStall(w *world, e *event) {
	w.net.Stall(nameOf(e.a), nameOf(e.b))
	w.goesDead(e.a, e.b)
}

// goesDead notes that the connections of two nodes may be dead, and nobody knows.
func (w *world) goesDead(a, b int) {
	l := w.p.limits
	noticed := w.now() + 2*l.KeepAlive + 2*l.KeepAliveTimeout + w.p.prompt()
	w.changePair(a, b, func(p *pair) { p.stalled, p.linkSince = max(p.stalled, noticed), w.now() })
}

func doHeal(w *world, e *event) { w.restore(e.a, e.b) }

// planLatency draws a direction that becomes slow for some time.
func planLatency(g *generator, e *event) bool {
	planSpell(g, e)
	e.link = g.p.conditions(e.a, e.b)
	e.link.Latency = g.between(g.p.latency, 2*time.Second)
	return true
}

// planConditions draws a direction that becomes bad in other ways.
func planConditions(g *generator, e *event) bool {
	planSpell(g, e)
	c := g.p.conditions(e.a, e.b)
	switch g.IntN(4) {
	case 0:
		c.Jitter = g.between(g.p.latency, 500*time.Millisecond)
	case 1:
		c.Tail, c.TailLatency = 0.3*g.Float64(), g.between(g.p.latency/10, 100*time.Millisecond)
	case 2:
		c.Bandwidth = 32 << 10 << g.IntN(8)
	default:
		c.Merge = g.between(g.p.latency, 300*time.Millisecond)
	}
	c.Split = g.IntN(2) == 0
	if g.IntN(4) == 0 && !g.p.plain {
		c.Corrupt = 0.05 * g.Float64()
	}
	e.link = c
	return true
}

func doConditions(w *world, e *event) {
	w.net.SetPathConditions(nameOf(e.a), nameOf(e.b), e.link)
	w.harm(e.a, e.b)
	w.changePair(e.a, e.b, func(p *pair) { p.lag = max(p.lag, w.p.over.lag(&e.link)) })
}

// lagOf is how long a frame may take under conditions: so long does it last
// until nothing is left of what was sent under them.
func lagOf(c *inmem.Conditions) time.Duration {
	d := c.Latency + c.Jitter + 100*c.TailLatency + c.Merge
	if c.Bandwidth > 0 {
		d += time.Second * 128 << 10 / time.Duration(c.Bandwidth)
	}
	return d
}

// planBytes draws a fault that happens at a given byte, soon enough for many of
// them to fall into a handshake or the middle of a message.
func planBytes(g *generator, e *event) bool {
	planSpell(g, e)
	e.n = 1 + g.IntN(1<<g.IntN(18))
	return true
}

func doCutAfter(w *world, e *event) {
	w.net.CutAfter(nameOf(e.a), nameOf(e.b), e.n)
	w.harm(e.a, e.b)
}

func doStallAfter(w *world, e *event) {
	w.net.StallAfter(nameOf(e.a), nameOf(e.b), e.n)
	w.harm(e.a, e.b)
}

func doCorrupt(w *world, e *event) {
	w.net.CorruptNext(nameOf(e.a), nameOf(e.b), e.n)
	w.harm(e.a, e.b)
}

// doRefuseDials puts a node behind a firewall. The other one has to dial then.
func doRefuseDials(w *world, e *event) {
	w.net.RefuseDials(nameOf(e.a), nameOf(e.b))
	w.changePair(e.a, e.b, func(p *pair) { p.refused[keyOf(e.a, e.b).side(e.a)] = true })
}

// planSlowAccept draws a node whose listener is slow for some time.
func planSlowAccept(g *generator, e *event) bool {
	e.d = g.between(g.p.latency, 3*time.Second)
	g.follow(e, g.between(10*time.Millisecond, 10*time.Second), actAccept)
	return true
}

var actAccept = &action{name: "accept", do: func(w *world, e *event) { w.acceptDelay(e.a, 0) }}

func doSlowAccept(w *world, e *event) { w.acceptDelay(e.a, e.d) }

// acceptDelay sets how slow a node is to accept.
func (w *world) acceptDelay(node int, d time.Duration) {
	w.net.SetAcceptDelay(nameOf(node), d)
	w.changeNode(node, func(p *pair, side int) { p.slowAccept[side] = d > 0 })
}

// planAbsence draws a node that goes down and comes back.
func planAbsence(g *generator, e *event) bool {
	e.d = g.between(time.Millisecond, 5*time.Second) // for a shutdown: the grace
	g.follow(e, g.between(time.Millisecond, 10*time.Second), actStart)
	return true
}

func doCrash(w *world, e *event) { w.nodes[e.a].end("crashed", (*incarnation).kill) }

func doClose(w *world, e *event) { w.nodes[e.a].end("closed", (*incarnation).close) }

func doShutdown(w *world, e *event) {
	w.nodes[e.a].end("shut down", func(in *incarnation) { in.shutdown(e.d) })
}

// planBusyShutdown draws a node that is shut down while more is on the way to it
// than fits into the buffers.
func planBusyShutdown(g *generator, e *event) bool {
	planFlood(g, e)
	g.pair(e)
	job := coretest.Job{Request: 5<<10 + g.IntN(25<<10)}
	e.call = &callSpec{to: e.b, handler: pick(g.Rand, hAppend, hHandle, hInline), job: job}
	stop := g.follow(e, g.between(g.p.latency/10+1, 10*g.p.latency), actStop)
	stop.a, stop.b, stop.call, stop.d = e.b, -1, nil, 5*time.Second
	g.follow(stop, g.between(time.Second, 6*time.Second), actStart)
	return true
}

func planCloseInside(g *generator, e *event) bool {
	planAbsence(g, e)
	g.target(e)
	return true
}

func doCloseInside(w *world, e *event) {
	caller := w.nodes[e.b].run
	if caller == nil {
		return
	}
	w.nodes[e.a].end("closed inside a handler", func(in *incarnation) { in.closeInside(caller) })
}
