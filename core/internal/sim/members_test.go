package sim_test

import (
	"fmt"
	"slices"
	"time"

	"github.com/gridmux/gridmux/core"
)

// What changes about who is a member, under whose name and at which address.
var (
	actAdd    = &action{name: "add", do: doAdd}
	actMove   = &action{name: "move", do: doMove}
	actNoTwin = &action{name: "no-twin", do: doNoTwin}
)

// peersOf is whom an incarnation is told to know: everybody but those that its
// node has removed.
func (n *node) peersOf() []core.Node {
	return slices.DeleteFunc(slices.Clone(n.w.all), func(p core.Node) bool { return n.removed[p.Name] })
}

// tellPeers gives a node that runs its peers anew.
func (n *node) tellPeers() {
	if n.run == nil {
		return
	}
	if err := n.run.m.SetPeers(n.peersOf()); err != nil {
		n.w.violatef("I13", "SetPeers of %s failed: %v", n.name, err)
	}
}

// planRemove draws a node that strikes another one off its list for some time.
func planRemove(g *generator, e *event) bool {
	g.pair(e)
	g.follow(e, g.between(time.Millisecond, 10*time.Second), actAdd)
	return true
}

func doRemove(w *world, e *event) { w.setMember(e.a, e.b, false) }

func doAdd(w *world, e *event) { w.setMember(e.a, e.b, true) }

func (w *world) setMember(of, other int, member bool) {
	n := w.nodes[of]
	if n.removed[nameOf(other)] == !member {
		return
	}
	if member {
		delete(n.removed, nameOf(other))
	} else {
		n.removed[nameOf(other)] = true
	}
	w.changePair(of, other, func(p *pair) { p.removed[keyOf(of, other).side(of)] = !member })
	n.tellPeers()
}

// planMove draws a node that comes back at another address.
func planMove(g *generator, e *event) bool {
	e.d = g.between(time.Millisecond, time.Second)
	g.follow(e, g.between(2*time.Second, 3*time.Second), actMove)
	return true
}

// doMove starts a node that is down at a new address, and tells the others.
func doMove(w *world, e *event) {
	n := w.nodes[e.a]
	if !n.down() {
		return
	}
	w.moves++
	w.all[e.a].Addr = fmt.Sprintf("%s.%d", n.name, w.moves)
	n.begin()
	for _, other := range w.nodes {
		if other != n {
			time.Sleep(70 * time.Nanosecond)
			other.tellPeers()
		}
	}
}

// planTwin draws a second process with the name of a node.
func planTwin(g *generator, e *event) bool {
	g.pair(e)
	e.call = g.spec(e.b)
	e.call.wait, e.call.end, e.call.after = true, endTimeout, odd(5*time.Second)
	g.follow(e, g.between(100*time.Millisecond, 15*time.Second), actNoTwin)
	return true
}

func doTwin(w *world, e *event) {
	n := w.nodes[e.a]
	if n.twin != nil {
		return
	}
	in, err := w.newIncarnation(nil, n.name, "twin-of-"+n.name, slices.Clone(w.all))
	if err == nil {
		n.twin = in
		err = in.m.Start(w.ctx)
	}
	if err != nil {
		w.violatef("I9", "a second %s cannot be started: %v", n.name, err)
		return
	}
	w.trace.addf("a second %s up", n.name)
	w.mu.Lock()
	for k, p := range w.pairs {
		if k.has(e.a) {
			// Where the two are not connected by now the second may be first.
			p.contested = p.contested || !w.settledSince(k.a, k.b, w.now())
			p.twin[k.side(e.a)] = true
		}
	}
	w.mu.Unlock()
	go func() { _ = w.perform(w.ctx, in, e.call, false) }()
}

func doNoTwin(w *world, e *event) { w.nodes[e.a].endTwin() }

func (n *node) endTwin() {
	if n.twin == nil {
		return
	}
	w, in := n.w, n.twin
	n.twin = nil
	in.dying.Store(true)
	w.background(func() {
		in.close()
		w.trace.addf("a second %s down", n.name)
	})
	w.mu.Lock()
	defer w.mu.Unlock()
	for k, p := range w.pairs {
		if k.has(n.index) {
			p.twin[k.side(n.index)] = false
			if p.contested && p.twin == [2]bool{} {
				// A link that went dead meanwhile may still have to be noticed.
				w.changeLocked(k, func(p *pair) { p.contested = false })
			}
		}
	}
}
