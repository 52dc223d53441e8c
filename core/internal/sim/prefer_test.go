package sim_test

import (
	"cmp"
	"slices"
	"time"

	"github.com/gridmux/gridmux/transport/inmem"
)

// In some seeds nodes have two transports, over two networks. What goes wrong
// between two nodes then goes wrong on both. Beside that the preferred one alone is
// blocked and broken between two nodes, which may cost them the connection, and
// works again, which may cost them nothing: they move to it while calls go on.

// headStart is how long a transport that has worked is waited for.
const headStart = 2 * time.Second

var (
	actBlock   = &action{name: "block-preferred", do: doBlock}
	actBreak   = &action{name: "cut-preferred", do: doBreak}
	actUnblock = &action{name: "unblock-preferred", do: doUnblock}
)

// drawTransports gives nodes of some seeds a second transport, and time to move to
// it, from a source of its own, which shifts no other.
func (p *profile) drawTransports() {
	r := stream(p.seed, 4)
	if r.IntN(4) >= p.over.quarters || p.apart {
		return // what a witness takes has to be the same twice
	}
	p.prefers = make([]bool, p.nodes)
	for i := range p.prefers {
		p.prefers[i] = r.IntN(5) != 0
	}
	p.length = between(r, 40*time.Second, 2*time.Minute)
}

// newPreferred makes the network of the preferred transport, every link of which is
// well.
func newPreferred(p *profile) network {
	q := *p
	q.seed += 1 << 32
	q.over = cmp.Or(p.over.preferred, p.over)
	return newNetwork(&q)
}

// bothNetworks has what goes wrong between two places go wrong in both networks.
type bothNetworks struct {
	network // of the transport that all nodes have

	better network
}

func (n *bothNetworks) each(do func(n network)) {
	do(n.network)
	do(n.better)
}

func (n *bothNetworks) close()             { n.each(network.close) }
func (n *bothNetworks) HealAll()           { n.each(network.HealAll) }
func (n *bothNetworks) Cut(a, b string)    { n.each(func(n network) { n.Cut(a, b) }) }
func (n *bothNetworks) Heal(a, b string)   { n.each(func(n network) { n.Heal(a, b) }) }
func (n *bothNetworks) Crash(where string) { n.each(func(n network) { n.Crash(where) }) }

func (n *bothNetworks) Partition(a, b string) { n.each(func(n network) { n.Partition(a, b) }) }

func (n *bothNetworks) PartitionOneWay(from, to string) {
	n.each(func(n network) { n.PartitionOneWay(from, to) })
}

func (n *bothNetworks) Stall(from, to string) { n.each(func(n network) { n.Stall(from, to) }) }

func (n *bothNetworks) SetPathConditions(from, to string, c inmem.Conditions) {
	n.each(func(n network) { n.SetPathConditions(from, to, c) })
}

func (n *bothNetworks) CutAfter(from, to string, k int) {
	n.each(func(n network) { n.CutAfter(from, to, k) })
}

func (n *bothNetworks) StallAfter(from, to string, k int) {
	n.each(func(n network) { n.StallAfter(from, to, k) })
}

func (n *bothNetworks) CorruptNext(from, to string, k int) {
	n.each(func(n network) { n.CorruptNext(from, to, k) })
}

func (n *bothNetworks) RefuseDials(from, to string) {
	n.each(func(n network) { n.RefuseDials(from, to) })
}

func (n *bothNetworks) AllowDials(from, to string) {
	n.each(func(n network) { n.AllowDials(from, to) })
}

func (n *bothNetworks) SetAcceptDelay(where string, d time.Duration) {
	n.each(func(n network) { n.SetAcceptDelay(where, d) })
}

// prefers reports whether an incarnation of a node, or who claims its name, has a
// second transport.
func (w *world) prefers(n *node, name string) bool {
	i := w.indexOf(name)
	if n != nil {
		i = n.index
	}
	return w.better != nil && i >= 0 && w.p.prefers[i]
}

// drawBlocks adds what happens to the preferred transport alone. Half of it is
// there from the start, so that nodes meet without it.
func (g *generator) drawBlocks() {
	if g.p.prefers == nil || !slices.Contains(g.p.prefers, true) {
		return
	}
	for a := range g.p.nodes {
		for b := range a {
			if g.IntN(2) == 0 {
				e := g.event(actBlock, g.within(time.Millisecond))
				e.a, e.b, e.n = a, b, g.IntN(3)
				g.add(e)
				g.follow(e, g.between(time.Second, g.p.length), actUnblock)
			}
		}
	}
	for range g.IntN(12) {
		e := g.event(actBreak, g.within(g.p.length))
		g.pair(e)
		if g.IntN(3) > 0 {
			e.act = actBlock
			e.n = g.IntN(3)
			g.follow(e, g.between(g.p.latency, time.Minute), actUnblock)
		}
		g.add(e)
	}
}

// doBlock lets nothing through by the preferred transport, or nothing one way. A
// connection by it goes dead without a word.
func doBlock(w *world, e *event) {
	if e.n == 0 {
		w.better.PartitionOneWay(nameOf(e.a), nameOf(e.b))
	} else {
		w.better.Partition(nameOf(e.a), nameOf(e.b))
	}
	w.goesDead(e.a, e.b)
}

func doBreak(w *world, e *event) {
	w.better.Cut(nameOf(e.a), nameOf(e.b))
	w.jolt(e.a, e.b)
}

// doUnblock changes nothing about what two nodes owe each other, unless something
// else is wrong between them, which goes on.
func doUnblock(w *world, e *event) {
	w.mu.Lock()
	faults := w.pairs[keyOf(e.a, e.b)].faults
	w.mu.Unlock()
	if faults == 0 {
		w.better.Heal(nameOf(e.a), nameOf(e.b))
	}
}
