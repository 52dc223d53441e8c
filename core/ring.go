package core

import (
	"slices"
	"sync/atomic"

	"github.com/gridmux/gridmux/core/internal/wire"
)

// source is what takes turns in the bulk class: a large message or a stream.
// Whoever gives it something to send marks it as scheduled and hands it to the
// writer; it stays scheduled until a turn of it ends with nothing more to send.
type source interface {
	// fill appends frames, of about quota bytes. It returns how many of them
	// count for the pace, and whether the source stays scheduled.
	fill(b *batch, l layout, now int64, quota int) (paced int, more bool)
	// rouse marks the source as scheduled. It reports false if it is already,
	// or has nothing to send.
	rouse() bool
	// level is the priority of its turns.
	level() Priority
	// takeBack gives up the call that the source would open, if it has not
	// begun to.
	takeBack() (wire.CallID, bool)
}

// bulkClass is what the writer sends in turns, one fragment or as much of a
// stream at a time. Guarded by writer.mu.
//
// A source that has just got something to send goes before those that have been
// sending for longer, so that one which sends little and seldom does not wait
// for those that send much.
type bulkClass struct {
	levels [priorities]ring
	rounds uint64 // of turns that were taken
	pace   pace
	lane   bool                               // beside the first one
	begun  [kinds][]*bulkSend                 // of which the peer has not said yet that it has memory
	later  [kinds][priorities]fifo[*bulkSend] // that begin after those
	begins uint64                             // choices between those

	waiting atomic.Int32 // how many messages have begun so; also read without the lock
}

// ring holds the sources of one priority.
type ring struct {
	fresh, old []source // next turn first
}

// turnsPerWrite bounds how many sources one write serves.
const turnsPerWrite = 64

func (k *bulkClass) add(src source) {
	r := &k.levels[src.level()]
	r.fresh = append(r.fresh, src)
}

func (k *bulkClass) empty() bool {
	for i := range k.levels {
		if len(k.levels[i].fresh)+len(k.levels[i].old) > 0 {
			return false
		}
	}
	return true
}

// ready reports whether something can be sent.
func (k *bulkClass) ready() bool { return !k.empty() && k.pace.room() > 0 }

// firstInRound is the priority that goes first in each of eight rounds, before the
// others from the highest to the lowest. Nothing starves, though a round may serve one
// source alone.
var firstInRound = [8]Priority{
	PriorityHigh, PriorityHigh, PriorityHigh, PriorityNormal, PriorityHigh, PriorityHigh, PriorityNormal, PriorityLow,
}

// take moves the sources that are next to turns: those of the priority whose round
// it is, then the others from the highest to the lowest. In every second round an
// old source goes before the fresh ones.
func (k *bulkClass) take(turns []source) []source {
	if k.empty() {
		return turns
	}
	round := k.rounds
	k.rounds++
	turns = k.levels[firstInRound[round%8]].take(turns, round)
	for _, level := range [priorities]Priority{PriorityHigh, PriorityNormal, PriorityLow} {
		turns = k.levels[level].take(turns, round)
	}
	return turns
}

func (r *ring) take(turns []source, round uint64) []source {
	if (round^round>>3)%2 == 1 { // not always the same in the rounds of a priority
		turns = takeFrom(&r.old, turns, 1)
	}
	turns = takeFrom(&r.fresh, turns, turnsPerWrite)
	return takeFrom(&r.old, turns, turnsPerWrite)
}

func takeFrom(q *[]source, turns []source, n int) []source {
	n = min(n, len(*q), turnsPerWrite-len(turns))
	turns = append(turns, (*q)[:n]...)
	*q = slices.Delete(*q, 0, n)
	return turns
}

// putBack returns turns to the ring: those that were not served are next.
func (k *bulkClass) putBack(served, unserved []source) {
	for _, src := range served {
		r := &k.levels[src.level()]
		r.old = append(r.old, src)
	}
	for _, src := range slices.Backward(unserved) {
		r := &k.levels[src.level()]
		r.old = slices.Insert(r.old, 0, src)
	}
}

func (k *bulkClass) remove(src source) {
	r := &k.levels[src.level()]
	for _, q := range []*[]source{&r.fresh, &r.old} {
		if i := slices.Index(*q, src); i >= 0 {
			*q = slices.Delete(*q, i, i+1)
			return
		}
	}
}

// resume schedules the message again after something that it waited for.
func (k *bulkClass) resume(b *bulkSend) {
	if src := b.source(); src.rouse() {
		k.add(src)
	}
}

// schedule puts a source into the ring that was marked as scheduled.
func (w *writer) schedule(src source) {
	w.mu.Lock()
	if w.closed {
		w.mu.Unlock()
		return
	}
	w.bulk.add(src)
	w.kick(true)
}

// unschedule forgets a stream that is over: while the link takes nothing, others
// may come and go without end. scheduled says that it may stand in the ring.
func (w *writer) unschedule(st *RawStream, scheduled bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if scheduled {
		w.bulk.remove(st)
	}
	if st.owedMessages != 0 || st.owedBytes != 0 {
		st.owedMessages, st.owedBytes = 0, 0
		if i := slices.Index(w.credits, st); i >= 0 {
			w.credits = slices.Delete(w.credits, i, i+1)
		}
	}
}

// scheduleOpen is schedule for a stream that is to be opened. It reports false if
// none is any more.
func (w *writer) scheduleOpen(src source) (ok bool) {
	w.mu.Lock()
	if w.shut != 0 {
		w.mu.Unlock()
		return false
	}
	if w.closed {
		w.mu.Unlock()
		return true // the end of the session ends the stream
	}
	w.bulk.add(src)
	w.kick(true)
	return true
}

// sendLarge queues a message in parts. What it holds is released when its last
// part has been copied or the session ends.
func (w *writer) sendLarge(b *bulkSend) {
	w.mu.Lock()
	if w.closed || b.over() {
		w.mu.Unlock()
		b.finish()
		return
	}
	w.bulk.announce(b)
	w.bulk.resume(b)
	w.kick(true)
}

// announce queues a large message of a stream, which has to be put into the ring
// if tell is set. It reports false if the message would open the stream, and none
// is opened any more.
func (w *writer) announce(b *bulkSend, tell bool) (ok bool) {
	w.mu.Lock()
	if b.open && w.shut != 0 {
		w.mu.Unlock()
		return false
	}
	if w.closed {
		w.mu.Unlock()
		return true // the end of the session ends the stream
	}
	if !b.over() { // else nobody would forget it any more
		w.bulk.announce(b)
	}
	if tell {
		w.bulk.add(b.stream)
	} else {
		// A turn that was under way may have ended before the message could
		// begin.
		w.bulk.resume(b)
	}
	w.kick(true)
	return true
}

// forget ends the waiting of a message that is given up.
func (w *writer) forget(b *bulkSend) {
	w.mu.Lock()
	w.bulk.forget(b)
	w.unlock()
}

// granted is told that the peer has memory for the oldest message of a call that
// waited for it. It reports false if none did.
func (w *writer) granted(id wire.CallID) bool {
	w.mu.Lock()
	b := w.bulk.ungranted(id)
	if b == nil || !b.hasBegun() {
		w.mu.Unlock()
		return false
	}
	b.grant()
	w.bulk.forget(b)
	w.bulk.resume(b)
	w.unlock()
	return true
}

// acked is told how much bulk the peer has read in all. It reports false if that
// cannot be.
func (w *writer) acked(total uint64, now int64) bool {
	w.mu.Lock()
	before := w.bulk.pace.acked
	ok := w.bulk.pace.ack(total, now)
	w.unlock()
	if ok {
		w.s.peer.bulk.Add(total - before)
	}
	return ok
}

// unlock releases mu after something that may let bulk go on.
func (w *writer) unlock() {
	if w.bulk.ready() {
		w.kick(true)
		return
	}
	w.mu.Unlock()
}

// discard ends the sending of a large message, so that what is given up takes no
// place in the ring. It reports whether nothing of it was taken for sending. The
// caller calls finish once w.mu, which is held, is not any more.
func (w *writer) discard(b *bulkSend) (unsent bool) {
	unsent = b.drop()
	if b.stream == nil {
		w.bulk.remove(b)
	}
	w.bulk.forget(b)
	return unsent
}

// giveUp ends the sending of the answer to a call that is over: of b if it is large,
// or else whoever waits for room with it looks again.
func (w *writer) giveUp(call *callContext) {
	b := call.response.Load()
	w.mu.Lock()
	w.room.lookAgain(call)
	if b == nil {
		w.mu.Unlock()
		return
	}
	w.discard(b)
	w.unlock()
	b.finish()
}

// forgetCall ends the waiting of messages of a call that is over, all of which
// were sent, for the peer's memory.
func (w *writer) forgetCall(id wire.CallID) {
	if w.bulk.waiting.Load() == 0 {
		return // the reader asks for every call
	}
	w.mu.Lock()
	for b := w.bulk.ungranted(id); b != nil; b = w.bulk.ungranted(id) {
		w.bulk.forget(b)
	}
	w.unlock()
}

// recall takes back the calls of which nothing was given to the link, of those
// whose turn has come too, and appends their ids.
func (k *bulkClass) recall(turns []source, ids []wire.CallID) []wire.CallID {
	all := slices.Clone(turns)
	for i := range k.levels {
		all = append(append(all, k.levels[i].fresh...), k.levels[i].old...)
	}
	for prio := range priorities {
		for b := range k.later[kindRequest][prio].all() {
			all = append(all, b.source())
		}
	}
	for _, src := range all {
		if id, ok := src.takeBack(); ok {
			ids = append(ids, id)
		}
	}
	return ids
}

// close empties the class, and returns the messages that hold something.
func (k *bulkClass) close() (held []*bulkSend) {
	for i := range k.levels {
		for _, q := range [][]source{k.levels[i].fresh, k.levels[i].old} {
			for _, src := range q {
				if b, ok := src.(*bulkSend); ok {
					held = append(held, b)
				}
			}
		}
		k.levels[i] = ring{}
	}
	for kd := range k.begun {
		held = append(held, k.begun[kd]...)
		for prio := range priorities {
			for b := range k.later[kd][prio].all() {
				b.later = nil
				held = append(held, b)
			}
		}
		k.begun[kd], k.later[kd] = nil, [priorities]fifo[*bulkSend]{}
	}
	k.waiting.Store(0)
	return held
}
