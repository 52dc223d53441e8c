package sim_test

import (
	"runtime"

	"github.com/gridmux/gridmux/core/internal/audit"
)

// enter and leave count the handlers that run, and hold them to the limits (I8).
// Those that a peer left running when it was struck off the list count against it
// when it is put on it again.
func (in *incarnation) enter(peer string, limited bool) {
	in.mu.Lock()
	in.running[peer]++
	in.total++
	if limited {
		in.limited++
	}
	byPeer, total, limitedNow := in.running[peer], in.total, in.limited
	in.mu.Unlock()
	switch l := in.w.p.limits; {
	case l.MaxHandlers > 0 && byPeer > l.MaxHandlers:
		in.w.violatef("I8", "%s runs %d handlers for %s, the limit is %d", in.name, byPeer, peer, l.MaxHandlers)
	case l.MaxHandlersTotal > 0 && total > l.MaxHandlersTotal:
		in.w.violatef("I8", "%s runs %d handlers, the limit is %d", in.name, total, l.MaxHandlersTotal)
	case limited && limitedNow > limitedTo:
		in.w.violatef("I8", "%s runs %d instances of a handler, its limit is %d", in.name, limitedNow, limitedTo)
	}
}

func (in *incarnation) leave(peer string, limited bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.running[peer]--
	in.total--
	if limited {
		in.limited--
	}
}

const (
	// perPair is how many goroutines two nodes may need for each other: readers
	// and writers of a session and of one that it replaces, attempts to connect,
	// handshakes, and who tells of it.
	perPair = 24
	perNode = 8
	// perTalk is how many goroutines a stream may need: its caller and who sends
	// for it, its handler and who receives for that, four in the form of
	// channels, and a worker that is kept for the next one.
	perTalk = 10
	// perLane is how many goroutines an end of a lane may need: a reader and a writer.
	perLane = 2
	// maxLanes is how many lanes a node may have open to each other one, and how many
	// each of those may have to it.
	maxLanes = 64
)

// checkGoroutines holds the number of goroutines to what is going on (I8). For a
// call there may be its caller, its wait for a connection, its handler, and the
// worker that is kept for the next one.
func (w *world) checkGoroutines() {
	w.mu.Lock()
	w.peak, w.peakTalks = max(w.peak, len(w.open)), max(w.peakTalks, len(w.openTalks))
	allowed := w.base + 16 + w.p.nodes*(perNode+w.p.nodes*perPair) + 4*w.peak + perTalk*w.peakTalks
	w.mu.Unlock()
	for _, n := range w.nodes {
		for _, in := range []*incarnation{n.run, n.twin} {
			if in != nil {
				allowed += perLane * w.countLanes(in)
			}
		}
	}
	if n := runtime.NumGoroutine(); n > allowed {
		w.violatef("I8", "%d goroutines, %d are enough for what is going on", n, allowed)
	}
}

// countLanes returns how many lanes a node has, and holds their number to its bound:
// those of the current session with a peer, and of older ones that finish what they
// have.
func (w *world) countLanes(in *incarnation) (all int) {
	b := audit.Of(in.m)
	with := map[string]int{}
	sessions := map[string]int{}
	for i := range b.Sessions {
		s := &b.Sessions[i]
		if s.Lane {
			with[s.Peer]++
			all++
		} else {
			sessions[s.Peer]++
		}
	}
	for peer, n := range with {
		if n > 2*maxLanes*max(sessions[peer], 1) {
			w.violatef("I8", "%s has %d lanes with %s over %d sessions", in.name, n, peer, sessions[peer])
		}
	}
	return all
}
