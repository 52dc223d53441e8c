package core

import (
	"testing"
	"testing/synctest"

	"github.com/gridmux/gridmux/core/internal/wire"
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

// counted is a source that has so much to send, a part per turn.
type counted struct {
	part, left int
	prio       Priority
	turns      int
}

func (c *counted) fill(b *batch, l layout, _ int64, _ int) (paced int, more bool) {
	n := min(c.part, c.left)
	b.room(l, n)
	b.buf = append(b.buf, make([]byte, n)...)
	c.left -= n
	c.turns++
	return n, c.left > 0
}
func (c *counted) rouse() bool                   { return true }
func (c *counted) level() Priority               { return c.prio }
func (c *counted) takeBack() (wire.CallID, bool) { return 0, false }

// TestFurtherTurnsWaitForFirstOnes has more sources to serve than a write takes,
// and large ones among them: what is left of a write used to go to the large ones,
// ahead of small ones that had no turn yet.
func TestFurtherTurnsWaitForFirstOnes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := newTestSession(newTestManager(t, nil))
		defer s.finishTest()
		w := &s.w
		w.mu.Lock()
		defer w.mu.Unlock()
		w.bulk.pace = pace{window: 1 << 20, known: true, fastest: 1}
		large := &counted{part: maxSmall, left: 100 << 20}
		w.bulk.add(large)
		small := make([]*counted, 2*turnsPerWrite)
		for i := range small {
			small[i] = &counted{part: 100, left: 100}
			w.bulk.add(small[i])
		}
		for writes := 1; w.bulk.levels[PriorityNormal].fresh != nil && small[len(small)-1].turns == 0; writes++ {
			w.take()
			w.mu.Unlock()
			w.seal()
			w.mu.Lock()
			w.settle()
			if large.turns > writes && small[len(small)-1].turns == 0 {
				t.Fatalf("after %d writes the large source had %d turns, and others none", writes, large.turns)
			}
			w.bulk.pace.acked = w.bulk.pace.sent
		}
	})
}
