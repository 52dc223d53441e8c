package link

import (
	"math/rand/v2"
	"time"
)

// leastHold is the longest delay of a reordered packet on a short link. It is
// what a sender that has several packets under way at a high rate notices.
const leastHold = time.Millisecond

// A fate is what becomes of a packet.
type fate uint8

const (
	delivered fate = iota
	reordered      // delivered, and others may overtake it
	lost
	overflowed
	blocked
)

// A model decides the fate of the packets of one direction. It keeps no packets
// and looks at no clock. It is not safe for concurrent use.
//
// What is random about packet n depends on the seed, the direction and n alone,
// so that changed conditions, or a packet that is dropped for another reason,
// leave the fate of the others alone.
type model struct {
	key     uint64
	packets uint64        // so far
	free    time.Duration // when the line has sent what it was given
	last    time.Duration // when the last packet arrives that keeps its order
}

func newModel(seed uint64, d Direction) model {
	return model{key: rand.NewPCG(seed, uint64(d)).Uint64()}
}

// next returns the fate of the next packet, of size octets, which was sent at
// now, and when it arrives. now must not go back.
func (m *model) next(c *Conditions, now time.Duration, size int, block bool) (fate, time.Duration) {
	var source rand.PCG
	source.Seed(m.key, m.packets)
	m.packets++
	draw := rand.New(&source)
	loss, jitter, reorder, hold := draw.Float64(), draw.Float64(), draw.Float64(), draw.Float64()

	if block {
		return blocked, 0
	}
	sent := now
	if c.Rate > 0 {
		start := max(now, m.free)
		if start-now > c.queue() {
			return overflowed, 0
		}
		m.free = start + c.transmission(size)
		sent = m.free
	}
	if loss < c.Loss {
		return lost, 0
	}
	arrives := sent + c.RTT/2 + time.Duration((jitter-0.5)*float64(c.Jitter))
	if reorder < c.Reorder {
		// Not m.last: those that follow do not wait for it.
		return reordered, max(arrives, m.last) + time.Duration(hold*float64(max(c.RTT/4, leastHold)))
	}
	m.last = max(m.last, arrives)
	return delivered, m.last
}
