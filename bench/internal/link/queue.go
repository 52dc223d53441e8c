package link

import (
	"container/heap"
	"time"
)

// A packet is one on its way.
type packet struct {
	octets    []byte // in a buffer that is used again
	kind      packetKind
	mtu       int           // that it meets on the way
	due       time.Duration // when it arrives
	reordered bool
}

// A queue holds the packets of one direction until they are due. Those that keep
// their order are due in the order in which they come, so only the reordered
// ones need to be sorted. The zero queue is empty.
type queue struct {
	ring  []*packet // of a length that is a power of two
	first int       // in ring
	count int       // in ring
	held  held
}

func (q *queue) len() int { return q.count + len(q.held) }

func (q *queue) push(p *packet) {
	if p.reordered {
		heap.Push(&q.held, p)
		return
	}
	if q.count == len(q.ring) {
		q.grow()
	}
	q.ring[(q.first+q.count)&(len(q.ring)-1)] = p
	q.count++
}

func (q *queue) grow() {
	ring := make([]*packet, max(2*len(q.ring), 64))
	n := copy(ring, q.ring[q.first:])
	copy(ring[n:], q.ring[:q.first])
	q.ring, q.first = ring, 0
}

// next returns when the next packet is due, and whether there is one.
func (q *queue) next() (time.Duration, bool) {
	switch inOrder := q.count > 0; {
	case q.heldFirst():
		return q.held[0].due, true
	case inOrder:
		return q.ring[q.first].due, true
	default:
		return 0, false
	}
}

// pop removes the next packet and returns it if it is due at now, else nil.
func (q *queue) pop(now time.Duration) *packet {
	due, ok := q.next()
	if !ok || due > now {
		return nil
	}
	if q.heldFirst() {
		return heap.Pop(&q.held).(*packet) //nolint:errcheck,forcetypeassert // it holds nothing else
	}
	p := q.ring[q.first]
	q.ring[q.first] = nil
	q.first = (q.first + 1) & (len(q.ring) - 1)
	q.count--
	return p
}

// heldFirst reports whether the next packet is a reordered one.
func (q *queue) heldFirst() bool {
	return len(q.held) > 0 && (q.count == 0 || q.held[0].due < q.ring[q.first].due)
}

// held implements heap.Interface.
type held []*packet

func (h *held) Len() int           { return len(*h) }
func (h *held) Less(i, j int) bool { return (*h)[i].due < (*h)[j].due }
func (h *held) Swap(i, j int)      { (*h)[i], (*h)[j] = (*h)[j], (*h)[i] }
func (h *held) Push(p any)         { *h = append(*h, p.(*packet)) } //nolint:errcheck,forcetypeassert // of push alone
func (h *held) Pop() any {
	old := *h
	p := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return p
}
