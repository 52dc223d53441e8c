package core

import (
	"slices"

	"github.com/gridmux/gridmux/core/internal/wire"
)

// maxUngrantedLow is how many messages of low priority, of a kind, have begun at most.
// They get few turns, so that others would wait for long if they had all the places.
const maxUngrantedLow = 8

// announce lets a message begin, or makes it wait until fewer messages of its
// kind wait for the peer's memory.
func (k *bulkClass) announce(b *bulkSend) {
	switch {
	case b.isGranted():
		b.allow()
	case k.mayBegin(b.kind, b.prio):
		k.begin(b)
	default:
		b.later = k.later[b.kind][b.prio].push(b)
	}
}

// mayBegin reports whether there is a place for a message to begin in (W46). Whenever
// one is free, nobody waits whom it would do for.
func (k *bulkClass) mayBegin(kd kind, prio Priority) bool {
	begun := k.begun[kd]
	switch {
	case k.lane: // has one call, of one priority
		return len(begun) < maxUngrantedOnLane
	case len(begun) >= maxUngranted:
		return false
	case prio != PriorityLow:
		return true
	}
	low := 0
	for _, b := range begun {
		if b.prio == PriorityLow {
			low++
		}
	}
	return low < maxUngrantedLow
}

func (k *bulkClass) begin(b *bulkSend) {
	b.allow()
	k.begun[b.kind] = append(k.begun[b.kind], b)
	k.waiting.Add(1)
}

// beginNext lets a message begin for which there is a place now, in the order in
// which priorities have their turns. It returns nil if there is none.
func (k *bulkClass) beginNext(kd kind) *bulkSend {
	first := firstInRound[k.begins%8]
	for _, prio := range [...]Priority{first, PriorityHigh, PriorityNormal, PriorityLow} {
		q := &k.later[kd][prio]
		if q.empty() || !k.mayBegin(kd, prio) {
			continue
		}
		k.begins++
		b := q.first.of
		k.leaveLater(b)
		k.begin(b)
		return b
	}
	return nil
}

func (k *bulkClass) leaveLater(b *bulkSend) {
	k.later[b.kind][b.prio].remove(b.later)
	b.later = nil
}

// forget ends the waiting of a message for the peer's memory, and lets the next
// begin.
func (k *bulkClass) forget(b *bulkSend) {
	if b.later != nil {
		k.leaveLater(b)
		return
	}
	i := slices.Index(k.begun[b.kind], b)
	if i < 0 {
		return
	}
	k.begun[b.kind] = slices.Delete(k.begun[b.kind], i, i+1)
	k.waiting.Add(-1)
	if next := k.beginNext(b.kind); next != nil {
		k.resume(next)
	}
}

// ungranted finds the oldest message of a call that waits for the peer's memory.
func (k *bulkClass) ungranted(id wire.CallID) *bulkSend {
	// A stream's payload comes before its messages.
	for kd := range k.begun {
		for _, b := range k.begun[kd] {
			if b.id == id {
				return b
			}
		}
	}
	return nil
}
