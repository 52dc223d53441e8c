package sim_test

import "time"

// pairKey names two nodes, the lower index first.
type pairKey struct{ a, b int }

func keyOf(a, b int) pairKey { return pairKey{min(a, b), max(a, b)} }

// pair is what the simulation has done to two nodes and the links between them,
// from which follows what they owe each other. It is guarded by world.mu.
type pair struct {
	faults int           // in force
	since  time.Duration // the last change for the worse or the better
	// Of the two nodes, the one with the lower index first.
	up         [2]bool
	slowAccept [2]bool

	progress time.Duration // when something was last completed between the two
}

// setUp notes that a node has started or begins to stop.
func (w *world) setUp(i int, up bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for k, p := range w.pairs {
		switch i {
		case k.a:
			p.up[0] = up
		case k.b:
			p.up[1] = up
		default:
			continue
		}
		p.since = w.now()
	}
}

// harm notes that a fault between two nodes begins, mend that all are over, and
// jolt that there was one of a moment.
func (w *world) harm(a, b int) { w.changePair(a, b, func(p *pair) { p.faults++ }) }
func (w *world) mend(a, b int) { w.changePair(a, b, func(p *pair) { p.faults = 0 }) }
func (w *world) jolt(a, b int) { w.changePair(a, b, func(*pair) {}) }

func (w *world) changePair(a, b int, change func(p *pair)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	p := w.pairs[keyOf(a, b)]
	change(p)
	p.since = w.now()
}

// wellSince returns since when two nodes and everything between them have been
// well, and false if they are not.
func (w *world) wellSince(a, b int) (time.Duration, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.wellSinceLocked(a, b)
}

func (w *world) wellSinceLocked(a, b int) (time.Duration, bool) {
	if a == b {
		return 0, true
	}
	p := w.pairs[keyOf(a, b)]
	return p.since, p.faults == 0 && p.up == [2]bool{true, true} && p.slowAccept == [2]bool{}
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
	since, well := w.wellSinceLocked(a, b)
	return well && !w.stopped && (a == b || at-since >= w.p.healTime())
}
