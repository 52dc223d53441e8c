package sim_test

import "time"

// pairKey names two nodes, the lower index first.
type pairKey struct{ a, b int }

func keyOf(a, b int) pairKey { return pairKey{min(a, b), max(a, b)} }

// side returns which of the two a node is.
func (k pairKey) side(node int) int {
	if node == k.b {
		return 1
	}
	return 0
}

func (k pairKey) has(node int) bool { return node == k.a || node == k.b }

// pair is what the simulation has done to two nodes and the links between them,
// from which follows what they owe each other. It is guarded by world.mu.
type pair struct {
	since     time.Duration // the last change for the worse or the better
	linkSince time.Duration // the last one of the links
	progress  time.Duration // when something was last completed between the two

	faults int           // of the links, in force
	lag    time.Duration // how much longer they last for what was sent under them

	stalled time.Duration // until when connections may be dead without anybody's knowing

	// By node, the one with the lower index first.
	up         [2]bool
	slowAccept [2]bool
	refused    [2]bool // its dials to the other one are
	removed    [2]bool // it does not count the other one among its peers
	twin       [2]bool // another process claims its name
	contested  bool    // and may have won it, because the two were not connected
}

// well reports whether the two must be able to reach each other. One of them can
// do without dialling.
func (p *pair) well() bool {
	none := [2]bool{}
	return p.faults == 0 && p.up == [2]bool{true, true} && p.slowAccept == none && p.removed == none &&
		p.refused != [2]bool{true, true} && !p.contested
}

// changePair changes what is known of a pair.
func (w *world) changePair(a, b int, change func(p *pair)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.changeLocked(keyOf(a, b), change)
}

// changeNode changes what is known of all pairs of a node.
func (w *world) changeNode(node int, change func(p *pair, side int)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for k := range w.pairs {
		if k.has(node) {
			w.changeLocked(k, func(p *pair) { change(p, k.side(node)) })
		}
	}
}

func (w *world) changeLocked(k pairKey, change func(p *pair)) {
	p := w.pairs[k]
	change(p)
	p.since = max(w.now(), p.linkSince, p.stalled)
	if p.twin != [2]bool{} {
		p.contested = true
	}
}

// harm notes that a fault between two nodes begins, mend that all are over, and
// jolt that there was one of a moment.
func (w *world) harm(a, b int) {
	w.changePair(a, b, func(p *pair) { p.faults, p.linkSince = p.faults+1, w.now() })
}
func (w *world) jolt(a, b int) { w.changePair(a, b, func(p *pair) { p.linkSince = w.now() }) }

func (w *world) mend(a, b int) {
	w.changePair(a, b, func(p *pair) {
		p.faults, p.refused = 0, [2]bool{}
		p.linkSince = max(p.linkSince, w.now()+p.lag)
		p.lag = 0
	})
}

// settled reports whether two nodes have been well for so long by now that they
// must be connected, and stay so (I10, I11).
func (w *world) settled(a, b int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.settledSince(a, b, w.now())
}

// settledSince reports whether two nodes are well and were settled at the given
// instant. w.mu is held.
func (w *world) settledSince(a, b int, at time.Duration) bool {
	if w.stopped || a < 0 || b < 0 {
		return false
	}
	if a == b {
		return true
	}
	p := w.pairs[keyOf(a, b)]
	return p.well() && at-p.since >= w.p.healTime()
}

// linksWellSince reports whether nothing has happened to the links between two
// nodes since the given instant. w.mu is held.
func (w *world) linksWellSince(a, b int, at time.Duration) bool {
	if a < 0 || b < 0 {
		return false
	}
	p := w.pairs[keyOf(a, b)]
	return a == b || p != nil && p.faults == 0 && p.linkSince <= at
}
