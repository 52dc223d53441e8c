package core

import (
	"slices"
	"testing"
)

// TestPrioritiesOfWhatBegins has more large messages than may begin. Those of low
// priority leave places to others, which begin ahead of them, and get their turns all
// the same while there are always others that wait (W46).
func TestPrioritiesOfWhatBegins(t *testing.T) {
	var k bulkClass
	announce := func(prio Priority) *bulkSend {
		b := &bulkSend{kind: kindRequest, prio: prio, data: make([]byte, maxSmall+1), size: maxSmall + 1}
		k.announce(b)
		return b
	}
	begun := func(b *bulkSend) bool { return slices.Contains(k.begun[kindRequest], b) }
	var low []*bulkSend
	for range 3 * maxUngranted {
		low = append(low, announce(PriorityLow))
	}
	for i, b := range low {
		if begun(b) != (i < maxUngrantedLow) || b.may != begun(b) {
			t.Fatalf("message %d of low priority has begun: %v", i, begun(b))
		}
	}
	for range maxUngranted - maxUngrantedLow {
		if b := announce(PriorityNormal); !begun(b) {
			t.Fatal("a message of normal priority waits for those of low priority")
		}
	}
	normal, high := announce(PriorityNormal), announce(PriorityHigh)
	if begun(normal) || begun(high) {
		t.Fatalf("%d messages have begun, want %d", len(k.begun[kindRequest]), maxUngranted)
	}
	k.forget(low[0])
	if !begun(high) {
		t.Error("a message of high priority waits for one of normal priority")
	}
	k.forget(normal)
	k.forget(low[maxUngrantedLow]) // neither has begun
	for range 8 {
		announce(PriorityHigh)
		announce(PriorityNormal)
		k.forget(k.begun[kindRequest][0])
	}
	if !begun(low[maxUngrantedLow+1]) {
		t.Error("a message of low priority never begins beside others")
	}
	if n := len(k.begun[kindRequest]); n != maxUngranted || int(k.waiting.Load()) != n {
		t.Errorf("%d messages have begun, %d are counted, want %d", n, k.waiting.Load(), maxUngranted)
	}
	k.close()
	k.forget(low[len(low)-1])
	for prio := range k.later[kindRequest] {
		if !k.later[kindRequest][prio].empty() {
			t.Error("something waits to begin in a session that is over")
		}
	}
}
