package core

import (
	"testing"
)

// TestOldSourcesBetweenOtherWrites has every second write be one without bulk,
// while there are always sources that have just got something to send. One that
// has been sending for longer, and one of low priority, get their turns all the
// same. Which write is theirs used to be counted over all writes, so that it could
// always be one without bulk.
func TestOldSourcesBetweenOtherWrites(t *testing.T) {
	m := newTestManager(t, nil)
	s, _ := newTestSession(m)
	defer s.finishTest()
	w := &s.w
	send := func(prio Priority) *bulkSend {
		return &bulkSend{
			kind: kindResponse, prio: prio, data: make([]byte, maxSmall+1), size: maxSmall + 1,
			may: true, granted: true, scheduled: true,
		}
	}
	old, low := send(PriorityNormal), send(PriorityLow)
	w.mu.Lock()
	w.bulk.putBack([]source{old}, nil)
	w.bulk.add(low)
	w.mu.Unlock()
	var served [2]int
	var fresh *bulkSend
	for write := range 64 {
		w.mu.Lock()
		w.settle()
		if write%2 == 0 {
			if fresh == nil {
				fresh = send(PriorityNormal)
				w.bulk.add(fresh)
			}
			w.turns = w.bulk.take(w.turns)
			w.unserved = len(w.turns) - 1 // one turn fills the write
			switch first := w.turns[0]; first {
			case source(old):
				served[0]++
				w.served = append(w.served, first)
			case source(low):
				served[1]++
				w.served = append(w.served, first)
			default:
				fresh = nil // all of it is sent
			}
		}
		w.mu.Unlock()
	}
	if served[0] < 8 || served[1] < 4 {
		t.Errorf("in 32 writes of bulk the old source had %d turns and the low one %d", served[0], served[1])
	}
	w.mu.Lock()
	w.bulk.close()
	w.turns = nil
	w.mu.Unlock()
}
