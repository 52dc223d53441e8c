package sim_test

import (
	"time"

	"github.com/gridmux/gridmux/transport/inmem"
)

// faults is what happens to nodes and links.
var faults = []*action{
	{name: "cut", weight: 3, plan: planMoment, do: doCut},
	{name: "flap", weight: 1, plan: planFlap, do: doCut},
	{name: "partition", weight: 3, plan: planSpell, do: doPartition},
	{name: "partition-one-way", weight: 3, plan: planSpell, do: doPartitionOneWay},
	{name: "stall", weight: 3, plan: planSpell, do: doStall},
	{name: "isolate", weight: 1, plan: planIsolate, do: doPartition},
	{name: "latency", weight: 2, plan: planLatency, do: doLatency},
	{name: "crash", weight: 3, plan: planAbsence, do: doCrash},
	{name: "close", weight: 2, plan: planAbsence, do: doClose},
	{name: "shutdown", weight: 2, plan: planAbsence, do: doShutdown},
}

// What follows on faults.
var (
	actHeal  = &action{name: "heal", do: doHeal}
	actStart = &action{name: "start", do: func(w *world, e *event) { w.nodes[e.a].begin() }}
)

func newNetwork(p *profile) *inmem.Network {
	n := inmem.NewNetwork(inmem.WithBuffer(p.buffer), inmem.WithSeed(p.seed))
	for a, row := range p.paths {
		for b, d := range row {
			n.SetPathLatency(nameOf(a), nameOf(b), d)
		}
	}
	return n
}

// endFaults ends all that is in force.
func (w *world) endFaults() {
	w.net.HealAll()
	for k := range w.pairs {
		w.mend(k.a, k.b)
		w.restoreLatency(k.a, k.b)
	}
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

func doStall(w *world, e *event) {
	w.net.Stall(nameOf(e.a), nameOf(e.b))
	w.harm(e.a, e.b)
}

func doHeal(w *world, e *event) {
	w.net.Heal(nameOf(e.a), nameOf(e.b))
	w.mend(e.a, e.b)
	w.restoreLatency(e.a, e.b)
}

// planLatency draws a link that becomes slow for some time.
func planLatency(g *generator, e *event) bool {
	g.pair(e)
	e.d = g.between(g.p.latency, 2*time.Second)
	g.follow(e, g.between(10*time.Millisecond, 10*time.Second), actHeal)
	return true
}

func doLatency(w *world, e *event) {
	w.net.SetPathLatency(nameOf(e.a), nameOf(e.b), e.d)
	w.harm(e.a, e.b)
}

func (w *world) restoreLatency(a, b int) {
	w.net.SetPathLatency(nameOf(a), nameOf(b), w.p.paths[a][b])
	w.net.SetPathLatency(nameOf(b), nameOf(a), w.p.paths[b][a])
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
