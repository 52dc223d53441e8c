package link

import (
	"math/rand/v2"
	"testing"
	"time"
)

// TestQueueOrder expects packets to come out in the order of their times, those of
// the same time that keep their order as they came, none before its time, and all
// of them, over many turns of the ring.
func TestQueueOrder(t *testing.T) {
	t.Parallel()
	draw := rand.New(rand.NewPCG(1, 2))
	var q queue
	var now, last, lastInOrder time.Duration
	pushed, popped, number := 0, 0, 0
	for step := range 20000 {
		now += time.Duration(draw.IntN(3))
		// In waves, so that the ring grows, runs empty and wraps.
		for range draw.IntN(3 + step/1000%5) {
			p := &packet{due: max(now, lastInOrder), mtu: number}
			number++
			if draw.IntN(10) == 0 {
				p.reordered = true
				p.due += time.Duration(draw.IntN(50))
			} else {
				lastInOrder = p.due
			}
			q.push(p)
			pushed++
		}
		before := -1
		for p := q.pop(now); p != nil; p = q.pop(now) {
			popped++
			if p.due > now || p.due < last {
				t.Fatalf("a packet due at %d came at %d, after one of %d", p.due, now, last)
			}
			if !p.reordered {
				if p.mtu < before {
					t.Fatalf("packet %d came after %d", p.mtu, before)
				}
				before = p.mtu
			}
			last = p.due
		}
		if due, ok := q.next(); ok && due <= now {
			t.Fatalf("at %d, a packet of %d was left", now, due)
		}
		if got := q.len(); got != pushed-popped {
			t.Fatalf("%d packets are in the queue, not %d", got, pushed-popped)
		}
	}
	for q.pop(now+time.Hour) != nil {
		popped++
	}
	if _, ok := q.next(); ok || popped != pushed || pushed < 10000 {
		t.Errorf("%d of %d packets came out", popped, pushed)
	}
}
