package core

import (
	"math"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/gridmux/gridmux/core/internal/wire"
)

// slot is the place of one call that this side makes. Slots are kept by their
// session and used again, and when it is at rest few are; a call is named by slot
// and generation.
//
// Whoever completes a call, be it the reader with an answer, the caller that
// gives up, the timer or the end of the session, claims the slot first; the
// others find it claimed and leave it alone. The claimer fills in the result
// and sends the token. The caller receives the token before the slot goes back,
// whoever claimed it, so no token ever reaches a later call.
type slot struct {
	token chan struct{} // capacity 1
	index uint32

	// Guarded by callTable.mu.
	generation uint32
	partial    *assembly // a response in parts
	pending    bool
	catalogue  bool // the response is one
	overdue    bool // deadline is set by tooLate

	gone    bool    // the call ended before its request was queued; guarded by writer.mu
	outcome Outcome // written as resp is

	// late is the generation of the call whose request the writer left out,
	// because its time was over before it could be written.
	late atomic.Uint32

	// Written by the caller before the slot is pending, and deadline by tooLate while it
	// is; read by its claimer.
	deadline int64 // of the time-out option, in the manager's clock; 0: none
	dst      []byte
	stream   *RawStream // if the call is one

	// Written by the claimer, read by the caller after the token.
	resp   []byte
	answer packedAnswer // in place of resp
	err    error

	// Where the request is on its way out. Guarded by writer.mu.
	sent outPosition
	bulk *bulkSend // set for a request over maxSmall, once it is queued
}

func (sl *slot) id(side uint8) wire.CallID {
	return wire.MakeCallID(sl.generation, sl.index, side)
}

// callTable holds the calls that this side makes in a session.
type callTable struct {
	mu      sync.Mutex
	slots   []*slot
	free    []*slot  // LIFO, so that few slots stay in use and warm
	retired int      // slots whose generations are used up
	past    []uint32 // by slot, also those that trim let go: the last generation before it
	limit   int      // slots that the peer lets us use
	side    uint8    // of the ids
	ended   error    // set when the session is over

	all *atomic.Int32 // calls on all lanes together, as many as slots; nil: there are no lanes
}

// get opens a new call: it returns a slot, pending under a new generation. st is
// set if it is a stream, which then learns its id.
func (t *callTable) get(dst []byte, deadline int64, st *RawStream) (*slot, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ended != nil {
		return nil, t.ended
	}
	if t.all != nil && int(t.all.Add(1)) > t.limit {
		t.leave()
		return nil, ErrOverloaded
	}
	if len(t.free) == 0 && !t.grow() {
		t.leave()
		return nil, ErrOverloaded
	}
	sl := t.free[len(t.free)-1]
	t.free = t.free[:len(t.free)-1]
	sl.dst, sl.deadline, sl.stream, sl.overdue = dst, deadline, st, false
	sl.generation++
	if st != nil {
		st.slot, st.id = sl, sl.id(t.side)
	}
	sl.pending = true
	return sl, nil
}

// grow makes another slot free, if the peer lets us use more. t.mu is held.
func (t *callTable) grow() bool {
	for len(t.slots) < t.limit {
		i := uint32(len(t.slots))
		sl := &slot{index: i, token: make(chan struct{}, 1), generation: t.latest(i)}
		t.slots = append(t.slots, sl)
		if t.giveBack(sl) {
			return true
		}
	}
	return false
}

// giveBack makes a slot free, unless it is retired, since its generations are used
// up. t.mu is held.
func (t *callTable) giveBack(sl *slot) bool {
	if sl.generation == math.MaxUint32 {
		t.retired++
		return false
	}
	t.free = append(t.free, sl)
	return true
}

// latest is the last generation of a slot, 0 if it was never used. t.mu is held.
func (t *callTable) latest(index uint32) uint32 {
	switch i := int64(index); {
	case i < int64(len(t.slots)):
		return t.slots[i].generation
	case i < int64(len(t.past)):
		return t.past[i]
	default:
		return 0
	}
}

// keptSlots is how many slots a table keeps that is at rest.
const keptSlots = 64

// trim lets go of what a peak of calls has left, if none is in progress. Only the
// generations stay: no id is used twice.
func (t *callTable) trim() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.slots) <= keptSlots || t.inUse() > 0 {
		return
	}
	past := make([]uint32, max(len(t.slots), len(t.past)))
	copy(past, t.past)
	for i, sl := range t.slots {
		past[i] = sl.generation
	}
	t.past, t.slots, t.free, t.retired = past, slices.Clone(t.slots[:keptSlots]), nil, 0
	for _, sl := range slices.Backward(t.slots) {
		t.giveBack(sl)
	}
}

// expectCatalogue notes that the response to a call is a catalogue, before its
// request is queued. A peer that answers all the same is held to Config.MaxMessage.
func (t *callTable) expectCatalogue(sl *slot) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if sl.pending { // or who has claimed it reads it
		sl.catalogue = true
	}
}

// put takes a slot back whose call is over.
func (t *callTable) put(sl *slot) {
	sl.dst, sl.resp, sl.err, sl.stream = nil, nil, nil, nil
	sl.sent, sl.bulk, sl.gone, sl.catalogue = outPosition{}, nil, false, false
	t.mu.Lock()
	t.giveBack(sl)
	t.mu.Unlock()
	t.leave()
}

// leave ends the accounting of a call beside those on other lanes.
func (t *callTable) leave() {
	if t.all != nil {
		t.all.Add(-1)
	}
}

// claim claims the slot if its call is still pending.
func (t *callTable) claim(sl *slot) bool {
	t.mu.Lock()
	won := sl.pending
	sl.pending = false
	t.mu.Unlock()
	return won
}

// take claims a pending call by its id, which came from the peer. It returns
// nil if the call is over or never was.
func (t *callTable) take(id wire.CallID) *slot {
	t.mu.Lock()
	defer t.mu.Unlock()
	sl := t.lookup(id)
	if sl != nil {
		sl.pending = false
	}
	return sl
}

// takeWhole is take for an answer in one frame. It reports incomplete, and
// claims nothing, if the call has part of another answer already.
func (t *callTable) takeWhole(id wire.CallID) (sl *slot, incomplete bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if sl = t.lookup(id); sl == nil {
		return nil, false
	}
	if sl.partial != nil {
		return nil, true
	}
	sl.pending = false
	return sl, false
}

// lookup finds a pending call by its id. t.mu is held.
func (t *callTable) lookup(id wire.CallID) *slot {
	if int64(id.Slot()) >= int64(len(t.slots)) {
		return nil
	}
	sl := t.slots[id.Slot()]
	if !sl.pending || sl.generation != id.Generation() {
		return nil
	}
	return sl
}

// opened reports whether a call with the id was ever opened.
func (t *callTable) opened(id wire.CallID) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return id.Generation() != 0 && id.Generation() <= t.latest(id.Slot())
}

// streams returns the streams that this side has open.
func (t *callTable) streams() (all []*RawStream) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, sl := range t.slots {
		if sl.pending && sl.stream != nil {
			all = append(all, sl.stream)
		}
	}
	return all
}

// pending is how many calls wait for an answer.
func (t *callTable) pending() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.inUse()
}

// inUse is pending for who holds t.mu.
func (t *callTable) inUse() int { return len(t.slots) - len(t.free) - t.retired }

// setPartial attaches the memory of a response in parts to a pending call. It
// reports whether the call is still pending.
func (t *callTable) setPartial(id wire.CallID, a *assembly) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	sl := t.lookup(id)
	if sl == nil {
		return false
	}
	sl.partial = a
	return true
}

// tooLate notes that the request of a call was not written, and makes end its
// deadline unless it has an earlier one. It reports whether it did.
func (t *callTable) tooLate(id wire.CallID, end int64) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if int64(id.Slot()) >= int64(len(t.slots)) || t.latest(id.Slot()) != id.Generation() {
		return false
	}
	sl := t.slots[id.Slot()]
	// Whether or not it is pending: who gives it up right now asks too.
	sl.late.Store(sl.generation)
	if !sl.pending || sl.deadline != 0 && sl.deadline <= end {
		return false
	}
	sl.deadline, sl.overdue = end, true
	return true
}

// inProgress is what the reader needs to know of a pending call.
type inProgress struct {
	partial   *assembly
	stream    *RawStream
	dst       []byte
	catalogue bool
}

func (t *callTable) peek(id wire.CallID) (c inProgress, pending bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	sl := t.lookup(id)
	if sl == nil {
		return inProgress{}, false
	}
	return inProgress{sl.partial, sl.stream, sl.dst, sl.catalogue}, true
}

// takePartial detaches it from a claimed call.
func (t *callTable) takePartial(sl *slot) *assembly {
	t.mu.Lock()
	defer t.mu.Unlock()
	a := sl.partial
	sl.partial = nil
	return a
}

// expired claims the calls whose deadline is not after now and returns them
// with the earliest deadline of the others, 0 if there is none, and how many slots
// it has looked at.
func (t *callTable) expired(now int64) (over []*slot, next int64, looked int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, sl := range t.slots {
		switch {
		case !sl.pending || sl.deadline == 0:
		case sl.deadline <= now:
			sl.pending = false
			over = append(over, sl)
		case next == 0 || sl.deadline < next:
			next = sl.deadline
		}
	}
	return over, next, len(t.slots)
}

// end refuses further calls with err and claims all that are pending.
func (t *callTable) end(err error) (over []*slot) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ended = err
	for _, sl := range t.slots {
		if sl.pending {
			sl.pending = false
			over = append(over, sl)
		}
	}
	return over
}
