package core

// pace bounds how much bulk is under way: given to the link and not yet
// acknowledged by the peer's reader (W44). What is in the link's buffers cannot be
// overtaken, so this, and no option of a socket, decides how long a small call
// waits beside bulk.
//
// A MARK behind every part of a window (part) asks for an acknowledgement. The window
// follows the time that one takes. As long as that is about what a fragment takes
// that is alone on its way, nothing queues and the window grows, as far as a long
// link needs it to: to twice as much each time at first, later by a quarter, from the
// second time on. When it is longer, the window only makes a queue, and shrinks by as
// much as the queue is too long. All of it is
// guarded by writer.mu.
type pace struct {
	window  uint64
	sent    uint64 // bytes of bulk given to the link
	acked   uint64 // of which the peer has told
	marked  uint64 // of which it was asked to tell
	timed   uint64 // whose acknowledgement is timed; 0: none
	begun   int64  // when the last of those were sent, manager's clock
	full    bool   // the window was full then
	settled bool   // an acknowledgement was late, once: from then on the window grows slowly
	prompt  bool   // the last one that filled it was acknowledged in time
	took    int64  // time that the last one took, nanoseconds; 0: none was seen
	fastest int64  // shortest time that was seen since it was measured, nanoseconds
	since   int64  // when it was measured, manager's clock
	known   bool   // it was, lately: else the next fragment goes out alone
	passed  bool   // small frames were sent since the last bulk
	passing int64  // when they were sent last, as bulk was
	flat    int64  // flatAlone or flatLane
}

const (
	firstPace = 128 << 10
	minPace   = 2 * maxSmall
	maxPace   = 4 << 20
	// cachedPace is the most that a window grows to on a link that is not long:
	// more than that leaves the caches of the processors on its way.
	cachedPace = 512 << 10
	// headsOfPart is what heads add to a fragment, or to as much of messages of 256
	// bytes: two of either have their place in the smallest window, and one that is
	// alone does not fill it.
	headsOfPart = 2 << 10
	// flatAlone is how much longer than the fastest a round trip may always be:
	// below it lies the noise of scheduling, and a window that keeps the
	// processors at both ends busy. Where small frames want to get by it is
	// flatBeside.
	flatAlone  = 200_000
	flatBeside = 47_000
	// flatLane is that of a lane beside the first one. Small calls do not wait
	// behind it at the sender, and links with lanes encrypt and acknowledge every
	// packet by themselves, which takes longer.
	flatLane = 1_000_000
	// ackEvery is about how far apart acknowledgements are, in nanoseconds, and acksPerTrip
	// how many there are at most in a round trip. Each costs both ends a write and a
	// read. What one allows goes out at once, so the more they are the less queues on a
	// link where a window is on its way for long.
	ackEvery    = 50_000
	acksPerTrip = 16
	// besideFor is how long small frames are expected to be followed by others.
	besideFor = 20_000_000
	// forgetAfter is how long the fastest round trip counts. The link may have
	// changed since. That is seen only without a queue, which costs a round trip.
	forgetAfter = 10_000_000_000
)

// isFull reports whether nothing more is to be sent until some of it is
// acknowledged. What goes on then is worth a write.
func (p *pace) isFull() bool {
	under := p.sent - p.acked
	if !p.known {
		return under >= maxSmall
	}
	return under+min(max(min(p.window/4, p.part()), maxSmall), fragmentsPerWrite*maxSmall) > p.window+headsOfPart
}

// part is how many bytes are acknowledged together.
func (p *pace) part() uint64 {
	return p.window * ackEvery / uint64(min(max(p.took, ackEvery), acksPerTrip*ackEvery))
}

// room is how many bytes may be sent.
func (p *pace) room() int {
	switch {
	case p.known && !p.isFull():
		return max(int(p.window)-int(p.sent-p.acked), maxSmall)
	case !p.isFull():
		return maxSmall - int(p.sent-p.acked)
	case p.marked <= p.acked: // no acknowledgement is to come
		return maxSmall
	default:
		return 0
	}
}

// quota is how many bytes of at most n the next write may have: no more than a part,
// and than half a window, so that one half is on its way while the other is
// acknowledged.
func (p *pace) quota(n int) int {
	return min(n, p.room(), int(min(p.window/2, max(p.part(), maxSmall))))
}

// wrote notes that n bytes are given to the link. mark is set if a MARK has to
// follow them.
func (p *pace) wrote(n int, now int64) (mark bool) {
	alone := p.sent-p.acked < maxSmall
	p.sent += uint64(n)
	if p.passed {
		p.passed, p.passing = false, now
	}
	full := p.isFull()
	// Messages seldom fill a part to the byte: the mark stands behind the write that
	// comes nearest.
	if !full && (!p.known || p.sent-p.marked+uint64(n)/2 < p.part()) {
		return false
	}
	p.marked = p.sent
	if !p.known && !alone {
		return true // what was under way is to be acknowledged first
	}
	// What fills the window tells most.
	if p.timed == 0 || full && !p.full {
		p.timed, p.begun, p.full = p.sent, now, full
	}
	return true
}

// ack notes that the peer has read total bytes. It reports false if that cannot
// be.
func (p *pace) ack(total uint64, now int64) bool {
	if total > p.sent || total < p.acked {
		return false
	}
	p.acked = total
	if p.timed == 0 || total < p.timed {
		return true
	}
	p.timed = 0
	p.adapt(max(now-p.begun, 1), now)
	return true
}

// adapt sets the window after a round trip that took so long.
func (p *pace) adapt(took, now int64) {
	p.took = took
	switch {
	case !p.known:
		p.fastest, p.since, p.known = took, now, true
		return
	case now-p.since > forgetAfter:
		p.known = false
		return
	}
	p.fastest = min(p.fastest, took)
	flat := p.flat
	if now-p.passing < besideFor {
		flat = flatBeside
	}
	switch limit := p.fastest + max(p.fastest/8, flat); {
	case took > limit:
		over := float64(took-limit) / float64(took)
		p.window = max(p.window-uint64(min(over, 0.5)*float64(p.window)), minPace)
		p.prompt, p.settled = false, true
	case p.full && p.settled && !p.prompt:
		p.prompt = true
	case p.full:
		step := max(p.window/4, maxSmall)
		if !p.settled {
			step = p.window
		}
		most := uint64(maxPace)
		if took > p.fastest+p.fastest/8 {
			most = max(p.window, cachedPace)
		}
		p.window = min(p.window+step, most)
	}
}
