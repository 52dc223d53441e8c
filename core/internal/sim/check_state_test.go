package sim_test

import (
	"slices"
	"time"

	"github.com/gridmux/gridmux/core"
)

// stateChanged is the OnState of an incarnation. It holds that changes follow on
// each other (I13) and that nothing happens to a connection between nodes that
// are well (I11).
func (in *incarnation) stateChanged(change core.StateChange) {
	w := in.w
	w.trace.addf("%s sees %s: %v -> %v", in.name, change.Peer, change.From, change.To)
	if change.Err != nil {
		w.trace.notef("%s lost %s: %v", in.name, change.Peer, change.Err)
	}
	in.mu.Lock()
	last := in.states[change.Peer]
	in.states[change.Peer] = change.To
	connected := in.connected[change.Peer]
	if change.To == core.StateConnected {
		in.connected[change.Peer] = w.now()
	}
	in.mu.Unlock()
	if last == core.StateClosed && change.From == core.StateIdle {
		last = core.StateIdle // it was removed and is a peer again
	}
	if change.From != last || change.From == change.To {
		w.violatef("I13", "%s was told that %s went from %v to %v, after it was %v", in.name, change.Peer, change.From, change.To, last)
	}
	in.checkLife(change, connected)
	if at := change.At.Sub(w.start); at > w.now() {
		w.violatef("I13", "%s was told of a change of %s that is to be at %v", in.name, change.Peer, at)
	}
	if to := w.indexOf(change.Peer); in.node != nil && to >= 0 && to != in.node.index && w.settled(in.node.index, to) {
		w.violatef("I11", "%s was told that %s went from %v to %v (%v), although both and their link are well",
			in.name, change.Peer, change.From, change.To, change.Err)
	}
}

// checkLife holds that a session which came about when all was well is lost only
// if that changes (I11, F11): of two connections that two nodes make at once
// neither may be taken up and then dropped.
func (in *incarnation) checkLife(change core.StateChange, connected time.Duration) {
	w, to := in.w, in.w.indexOf(change.Peer)
	if in.node == nil || to < 0 || to == in.node.index || change.To != core.StateConnecting || change.From != core.StateConnected {
		return
	}
	w.mu.Lock()
	p := w.pairs[keyOf(in.node.index, to)]
	// What happened before may take a latency to be known, at either end.
	lost := p.well() && !w.stopped && p.since+2*w.p.maxLatency() < connected
	w.mu.Unlock()
	if lost {
		w.violatef("I11", "%s lost %s, connected since %v, although all was well since %v: %v",
			in.name, change.Peer, connected, p.since, change.Err)
	}
}

// indexOf returns the number of the node that has the name, -1 if none has.
func (w *world) indexOf(name string) int {
	return slices.IndexFunc(w.nodes, func(n *node) bool { return n.name == name })
}

// checkStates looks at the states while everybody is at rest: what OnState was
// told last is what State says (I13), and nodes that have been well for long
// enough are connected (I10).
func (w *world) checkStates() {
	for _, n := range w.nodes {
		in := n.run
		if in == nil {
			continue
		}
		for _, peer := range w.all {
			if peer.Name == n.name || n.removed[peer.Name] {
				continue
			}
			state := in.m.Connection(peer.Name).State()
			in.mu.Lock()
			told := in.states[peer.Name]
			in.mu.Unlock()
			if state != told {
				w.violatef("I13", "the state of %s at %s is %v, OnState was told of %v", peer.Name, n.name, state, told)
			}
			if to := w.indexOf(peer.Name); to >= 0 && state != core.StateConnected && w.settled(n.index, to) {
				w.violatef("I10", "%s and %s have been well for %v and are not connected: %s sees %v",
					n.name, peer.Name, w.p.healTime(), n.name, state)
			}
		}
	}
}
