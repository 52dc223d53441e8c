package core

// pace bounds how much bulk is under way: given to the link and not yet
// acknowledged by the peer's reader (W44). What is in the link's buffers cannot be
// overtaken, so this, and no option of a socket, decides how long a small call
// waits beside bulk.
//
// The window follows the time that an acknowledgement takes. As long as that is
// about the shortest that was seen, nothing queues and the window grows, as far
// as a long link needs it to; when it is longer, the window only makes a queue,
// and shrinks. All of it is guarded by writer.mu.
type pace struct {
	window  uint64
	sent    uint64 // bytes of bulk given to the link
	acked   uint64 // of which the peer has told
	probe   uint64 // what sent was when the time began to be taken; 0: it is not
	begun   int64  // when that was, manager's clock
	full    bool   // the window was what limited the sending then
	fastest int64  // shortest time that was seen lately, nanoseconds; 0: none
	since   int64  // when fastest began to be looked for, manager's clock
}

const (
	firstPace = 128 << 10
	minPace   = 2 * maxSmall
	maxPace   = 4 << 20
	// ackEvery is how many bytes of bulk a receiver acknowledges together, at
	// most.
	ackEvery = maxSmall
	// flatWithin is how much longer than the fastest a round trip may always be.
	// Below it lies the noise of scheduling.
	flatWithin = 200_000
	// forgetAfter is how long the fastest round trip counts. The link may have
	// changed since.
	forgetAfter = 10_000_000_000
)

// room is how many bytes may be sent; what cannot be sent to good effect is 0.
func (p *pace) room() int {
	under := p.sent - p.acked
	if under+ackEvery > p.window {
		return 0
	}
	return int(p.window - under)
}

// wrote notes that n bytes were given to the link.
func (p *pace) wrote(n int, now int64) {
	p.sent += uint64(n)
	if p.probe == 0 {
		p.probe, p.begun, p.full = p.sent, now, p.room() == 0
	}
}

// ack notes that the peer has read total bytes. It reports false if that cannot
// be.
func (p *pace) ack(total uint64, now int64) bool {
	if total > p.sent || total < p.acked {
		return false
	}
	p.acked = total
	// The last bytes are acknowledged together with those that follow them.
	if p.probe == 0 || total+ackEvery <= p.probe {
		return true
	}
	p.probe = 0
	p.adapt(max(now-p.begun, 1), now)
	return true
}

// adapt sets the window after a round trip that took so long.
func (p *pace) adapt(took, now int64) {
	if p.fastest == 0 || took < p.fastest || now-p.since > forgetAfter {
		p.fastest, p.since = took, now
	}
	switch {
	case took > p.fastest+max(p.fastest/4, flatWithin):
		p.window = max(p.window/2, minPace)
	case p.full:
		p.window = min(p.window+max(p.window/4, maxSmall), maxPace)
	}
}
