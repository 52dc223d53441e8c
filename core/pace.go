package core

// pace bounds how much bulk is under way: given to the link and not yet
// acknowledged by the peer's reader (W44). What is in the link's buffers cannot be
// overtaken, so this, and no option of a socket, decides how long a small call
// waits beside bulk.
//
// The window follows the time that an acknowledgement takes. As long as that is
// about what a fragment takes that is alone on its way, nothing queues and the
// window grows, as far as a long link needs it to; when it is longer, the window
// only makes a queue, and shrinks; in between it stays. All of it is guarded by
// writer.mu.
type pace struct {
	window  uint64
	sent    uint64 // bytes of bulk given to the link
	acked   uint64 // of which the peer has told
	probe   uint64 // the byte whose acknowledgement is timed; 0: none
	begun   int64  // when it was sent, manager's clock
	full    bool   // the window was full then
	burst   uint64 // what sent was at burstAt
	burstAt int64  // when the writes began that count as one
	fastest int64  // shortest time that was seen since it was measured, nanoseconds
	since   int64  // when it was measured, manager's clock
	known   bool   // it was, lately: else the next fragment goes out alone
}

const (
	firstPace = 128 << 10
	minPace   = 2 * maxSmall
	maxPace   = 4 << 20
	// ackEvery is how many bytes of bulk a receiver acknowledges together, at
	// most.
	ackEvery = maxSmall
	// ackAt is how many it waits for: fewer than a write of maxSmall has, whose
	// headers do not count, since else every second one would be acknowledged.
	ackAt = ackEvery * 3 / 4
	// headsOfPart is more than what the heads of a fragment add to it.
	headsOfPart = 64
	// flatWithin is how much longer than the fastest a round trip may always be.
	// Below it lies the noise of scheduling.
	flatWithin = 200_000
	// forgetAfter is how long the fastest round trip counts. The link may have
	// changed since. That is seen only without a queue, which costs a round trip.
	forgetAfter = 10_000_000_000
)

// room is how many bytes may be sent; what cannot be sent to good effect is 0.
func (p *pace) room() int {
	under := p.sent - p.acked
	switch {
	case !p.known && under < ackEvery:
		return maxSmall
	case !p.known || under+ackEvery > p.window:
		return 0
	}
	return int(p.window - under)
}

// wrote notes that n bytes were given to the link.
func (p *pace) wrote(n int, now int64) {
	if now-p.burstAt > flatWithin {
		p.burst, p.burstAt = p.sent, now
	}
	p.sent += uint64(n)
	// Up to ackAt bytes stay without an acknowledgement until more is sent. So
	// what is timed is the byte before them, and all that were sent with it.
	if p.sent-p.burst < ackAt {
		return
	}
	// What fills the window tells most. One fragment, whatever heads it has, does
	// not fill it.
	if full := p.sent-p.acked+ackEvery > p.window+headsOfPart; p.probe == 0 || full && !p.full {
		p.probe, p.begun, p.full = p.sent-ackAt+1, p.burstAt, full
	}
}

// ack notes that the peer has read total bytes. It reports false if that cannot
// be.
func (p *pace) ack(total uint64, now int64) bool {
	if total > p.sent || total < p.acked {
		return false
	}
	p.acked = total
	if p.probe == 0 || total < p.probe {
		return true
	}
	p.probe = 0
	p.adapt(max(now-p.begun, 1), now)
	return true
}

// adapt sets the window after a round trip that took so long.
func (p *pace) adapt(took, now int64) {
	switch {
	case !p.known:
		p.fastest, p.since, p.known = took, now, true
		return
	case now-p.since > forgetAfter:
		p.known = false
		return
	}
	p.fastest = min(p.fastest, took)
	switch {
	case took > p.fastest+max(p.fastest/4, flatWithin):
		p.window = max(p.window/2, minPace)
	case p.full && took <= p.fastest+max(p.fastest/8, flatWithin):
		p.window = min(p.window+max(p.window/4, maxSmall), maxPace)
	}
}
