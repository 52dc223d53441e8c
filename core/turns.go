package core

import (
	"slices"

	"github.com/gridmux/gridmux/core/internal/wire"
)

// fillTurns gives the sources their turns, as far as the quota lets it: one each,
// and then, unless others wait for their first, more to those that have more.
func (w *writer) fillTurns(l layout, now int64) {
	w.part.reset(keepBatch)
	total, n := 0, 0
	for ; n < len(w.turns) && w.quota > 0; n++ {
		total += w.turn(w.turns[n], l, now)
	}
	w.unserved = len(w.turns) - n
	for left := 0; w.alone && len(w.served) > 0 && w.quota >= maxSmall/2 && w.quota != left; {
		left = w.quota
		src := w.served[0]
		w.served = slices.Delete(w.served, 0, 1)
		total += w.turn(src, l, now)
	}
	if total == 0 {
		return
	}
	w.mu.Lock()
	mark := w.bulk.pace.wrote(total, now)
	w.mu.Unlock()
	if mark {
		w.part.room(l, wire.HeaderSize)
		w.part.buf = wire.AppendMark(w.part.buf)
	}
}

// turn gives a source its turn, and returns how many bytes of it count for the
// pace.
func (w *writer) turn(src source, l layout, now int64) (paced int) {
	before := len(w.part.buf)
	paced, more := src.fill(&w.part, l, now, min(w.quota, maxSmall))
	w.quota -= len(w.part.buf) - before
	if more {
		w.served = append(w.served, src)
	}
	return paced
}
