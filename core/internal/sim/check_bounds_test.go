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

// carries enters the message that a handler was given, which no limit may be below,
// and returns what enters its end. Large ones count together, also those that were
// compressed (I8).
func (in *incarnation) carries(peer string, n int) (done func()) {
	l := &in.w.p.limits
	if l.MaxMessage > 0 && n > l.MaxMessage {
		in.w.violatef("I8", "%s was given a message of %d bytes by %s, the limit is %d", in.name, n, peer, l.MaxMessage)
	}
	if n <= 32<<10 {
		return func() {}
	}
	add := func(n int) int {
		in.mu.Lock()
		defer in.mu.Unlock()
		in.carried[peer] += n
		return in.carried[peer]
	}
	if sum := add(n); l.MaxReassembly > 0 && sum > l.MaxReassembly {
		in.w.violatef("I8", "handlers of %s hold %d bytes of large requests of %s, the limit is %d", in.name, sum, peer, l.MaxReassembly)
	}
	return func() { add(-n) }
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
func (w *world) checkGoroutines(lanes int) {
	w.mu.Lock()
	w.peak, w.peakTalks = max(w.peak, len(w.open)), max(w.peakTalks, len(w.openTalks))
	allowed := w.base + 16 + perLane*lanes + w.p.nodes*(perNode+w.p.nodes*perPair) + 4*w.peak + perTalk*w.peakTalks
	w.mu.Unlock()
	if n := runtime.NumGoroutine(); n > allowed {
		w.violatef("I8", "%d goroutines, %d are enough for what is going on", n, allowed)
	}
}

// checkLanes holds the number of lanes of a node to its bound, and that of the calls that it
// makes on all of them together, and returns the former: those of the current session
// with a peer, and of older ones that finish what they have.
func (w *world) checkLanes(in *incarnation, b *audit.Books) (all int) {
	with := map[string]int{}
	sessions := map[string]int{}
	calls := map[string]int{}
	for i := range b.Sessions {
		s := &b.Sessions[i]
		calls[s.Peer] += s.Pending
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
	for peer, n := range calls {
		if limit := w.p.limits.MaxCalls; limit > 0 && n > limit*max(sessions[peer], 1) {
			w.violatef("I8", "%s makes %d calls to %s over %d sessions, of %d each", in.name, n, peer, sessions[peer], limit)
		}
	}
	return all
}
