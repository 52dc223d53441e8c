package core

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gridmux/gridmux/core/internal/wire"
)

// kind is what a message is. Each has memory of its own, so that messages of one
// kind never wait for those of another: a caller that waits for a large answer
// gets it however many requests its own node has under way, and streams that
// nobody reads hold up no call.
type kind uint8

const (
	kindRequest  kind = iota // requests and payloads of streams: held until the handler has returned
	kindResponse             // held until it is whole
	kindInput                // messages over the window for the handler of a stream: held until it takes them
	kindOutput               // and those for its caller
	kinds
)

// isMessage reports whether it is one of messages of streams.
func (k kind) isMessage() bool { return k == kindInput || k == kindOutput }

// messageKind is that of the messages of streams that callers send, or else that
// handlers do. Were the two one kind, the messages for two handlers which each wait to
// be allowed to send could have all the memory that they wait for.
func messageKind(fromCaller bool) kind {
	if fromCaller {
		return kindInput
	}
	return kindOutput
}

const (
	// headSize is how much of a message may arrive before its receiver has
	// reserved memory for the whole of it (W45).
	headSize = 128 << 10
	// maxUngranted is how many messages of a kind a sender begins in a session
	// before memory is reserved for them, and maxUngrantedOnLane how many it begins
	// on each lane beside the first one, which has a call at a time (W46).
	maxUngranted       = 16
	maxUngrantedOnLane = 2
	// maxWaiting is how many a receiver puts up with. It may learn that one was
	// given up after the next has begun. A session with lanes may have
	// maxWaitingOnLanes more.
	maxWaiting        = 4 * maxUngranted
	maxWaitingOnLanes = maxLanes * maxUngrantedOnLane
	// grantPatience is how long requests wait for memory while none is given
	// back, and nothing arrives of what it is for. Handlers that hold it may wait
	// for calls of their own that wait here.
	grantPatience = 5 * time.Second
)

// budget is the memory that one peer may have for large messages of one kind.
// What is over it waits, oldest first.
type budget struct {
	limit    int64
	patience time.Duration // 0: messages wait as long as it takes

	mu        sync.Mutex
	held      int64
	waiting   []*assembly
	impatient *time.Timer
	moved     int64 // when a part arrived of what holds memory, manager's clock
}

// assembly is a message in parts on its way in. Its reader fills it; granting,
// and giving it up, may come from anywhere.
type assembly struct {
	s      *session
	id     wire.CallID
	budget *budget // nil: its memory was reserved before
	size   int
	how    packed // how it is compressed; its memory is reserved for what it becomes
	keep   bool   // the memory is the user's, or becomes it; else it is recycled
	base   int    // what stands in it before the message
	least  int    // what is reserved for it, however small it is

	// Of a request alone.
	start *callStart
	cell  *cell // that it is in until it is whole

	// mu is held for the copy of a part, so that a caller who gives up waits no
	// longer than that for its memory.
	mu  sync.Mutex
	mem *buffer // nil: given up

	// Guarded by budget.mu.
	granted bool
	dropped bool
	ready   func(ok bool) // set once the message is whole and waits for memory
}

// firstRoom is how much memory a message gets at its first part, once it is
// granted; before it gets no more than may arrive of it. It gets the rest when
// that is full: a peer that announces much and sends little costs little.
const firstRoom = 1 << 20

// room is how much memory the message gets at its first part.
func (a *assembly) room() int {
	if a.isGranted() {
		return min(a.size, firstRoom)
	}
	return min(a.size, headSize)
}

// assembleInto begins a response that is appended to the user's dst, at once if it
// is not compressed.
func assembleInto(s *session, id wire.CallID, size int, dst []byte, how packed) *assembly {
	a := &assembly{s: s, id: id, budget: &s.peer.memory[kindResponse], size: size, how: how}
	if how.codec == 0 {
		a.keep, a.base, a.mem = true, len(dst), &buffer{b: dst}
	}
	return a
}

// grow makes room for the whole message, or for its beginning if there is little
// of it. a.mu is held.
func (a *assembly) grow(need int) {
	old := a.mem
	if a.keep {
		size := a.size
		if first := a.room(); need <= first {
			size = first
		}
		a.mem = &buffer{b: append(make([]byte, 0, a.base+size), old.b...)}
		return
	}
	a.mem = getBuffer(a.size)
	a.mem.b = append(a.mem.b, old.b...)
	old.put()
}

// weight is how many bytes are reserved for the message: no more than there are in all,
// or a request with all that is held for it, or a catalogue (W54), might never fit.
func (a *assembly) weight() int {
	n := max(a.how.weight(a.size), a.least)
	if a.budget != nil { // or else the window of its stream has room for it
		n = int(min(int64(n), a.budget.limit))
	}
	return n
}

// requestCost is what a request in parts takes besides its bytes and its metadata,
// with its place among those of its session.
const requestCost = 1 << 10

// leastOfRequest is what is held of a request with that much metadata as soon as it
// has begun, be it that no more than a byte of it ever arrives.
func (a *assembly) leastOfRequest(metadata int) int {
	return requestCost + metadata + bufferSize(min(a.size, maxSmall))
}

// letGo makes the reader not touch the memory any more.
func (a *assembly) letGo() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.mem = nil
}

// appendTo appends the message to dst, and recycles its memory. It is whole.
func (a *assembly) appendTo(dst []byte) []byte {
	if dst == nil {
		return slices.Clip(a.mem.b)
	}
	dst = append(dst, a.mem.b...)
	a.mem.put()
	return dst
}

// begin makes room for a message whose size was checked. It is for the reader.
// The peer is told when the memory is reserved; until then it sends no more than
// headSize.
func (s *session) begin(a *assembly) error {
	granted, err := a.budget.reserve(a)
	if err != nil {
		return err
	}
	if !a.keep {
		a.mu.Lock()
		a.mem = getBuffer(a.room())
		a.mu.Unlock()
	}
	if granted {
		s.w.grant(a.id)
	}
	return nil
}

// reserve takes memory for a message, or has the message wait for it, unless it
// was dropped already.
func (b *budget) reserve(a *assembly) (granted bool, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if a.dropped {
		return false, nil
	}
	if len(b.waiting) == 0 && b.held+int64(a.weight()) <= b.limit {
		b.held += int64(a.weight())
		a.granted = true
		return true, nil
	}
	mine, most := 0, maxWaiting
	for _, other := range b.waiting {
		if other.s.root == a.s.root {
			mine++
		}
	}
	if a.s.root.lanes.link != nil {
		most += maxWaitingOnLanes
	}
	if mine >= most {
		return false, fmt.Errorf("%w: %d", errManyUngranted, mine)
	}
	if b.waiting = append(b.waiting, a); len(b.waiting) == 1 {
		b.arm()
	}
	return false, nil
}

var errManyUngranted = errors.New("too many large messages were begun that wait for memory")

// try reserves memory for a message that is there already.
func (b *budget) try(n int) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.held+int64(n) > b.limit {
		return fmt.Errorf("%w: Config.MaxReassembly (%d bytes) is in use", ErrOverloaded, b.limit)
	}
	b.held += int64(n)
	return nil
}

// release gives memory back, which lets others in. No lock is held.
func (b *budget) release(n int64) {
	b.mu.Lock()
	b.held -= n
	in := b.admit(true)
	b.mu.Unlock()
	tellGranted(in)
}

// admit grants what fits. back says that memory was given back. b.mu is held.
func (b *budget) admit(back bool) (in []settled) {
	n := 0
	for ; n < len(b.waiting) && b.held+int64(b.waiting[n].weight()) <= b.limit; n++ {
		a := b.waiting[n]
		b.held += int64(a.weight())
		a.granted = true
		in = append(in, a.settle())
	}
	b.waiting = slices.Delete(b.waiting, 0, n)
	if back || len(b.waiting) == 0 {
		b.arm()
	}
	return in
}

// settled is a message about which was decided, and whom to tell besides the
// peer.
type settled struct {
	*assembly
	ready func(ok bool)
}

// settle takes ready, which is called once. budget.mu is held.
func (a *assembly) settle() settled {
	ready := a.ready
	a.ready = nil
	return settled{a, ready}
}

func tellGranted(in []settled) {
	for _, a := range in {
		a.s.w.grant(a.id)
		if a.ready != nil {
			a.ready(true)
		}
	}
}

// arm starts the patience of those who wait anew. b.mu is held.
func (b *budget) arm() {
	switch {
	case b.patience == 0:
	case len(b.waiting) == 0:
		if b.impatient != nil {
			b.impatient.Stop()
		}
	case b.impatient == nil:
		b.impatient = time.AfterFunc(b.patience, b.refuse)
	default:
		b.impatient.Reset(b.patience)
	}
}

// refuse turns away whoever waits, after nothing was given back for so long. A
// slow link that still carries what memory was reserved for is no reason.
func (b *budget) refuse() {
	b.mu.Lock()
	if len(b.waiting) == 0 {
		b.mu.Unlock()
		return
	}
	if since := time.Duration(b.waiting[0].s.m.now() - b.moved); b.moved != 0 && since < b.patience {
		b.impatient.Reset(b.patience - since)
		b.mu.Unlock()
		return
	}
	var out []settled
	for _, a := range b.waiting {
		a.dropped = true
		out = append(out, a.settle())
	}
	b.waiting = nil
	b.mu.Unlock()
	err := fmt.Errorf("%w: Config.MaxReassembly (%d bytes) is in use, and nothing was given back for %v",
		ErrOverloaded, b.limit, b.patience)
	for _, a := range out {
		// Not after its caller knows: no more of it comes to make the reader forget it.
		a.cell.partial.CompareAndSwap(a.assembly, nil)
		a.s.refuse(a.id, err)
		if a.ready != nil {
			a.ready(false)
		} else {
			a.s.release() // what has arrived of it counts as a call in progress
		}
	}
}

// add appends a part, and reports whether the message is whole. It is for the
// reader.
func (a *assembly) add(part []byte) (whole bool, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.mem == nil {
		return false, nil
	}
	have := len(a.mem.b) - a.base
	if len(part) > a.size-have {
		return false, fmt.Errorf("%w: more than the %d bytes announced on call %v", wire.ErrMalformed, a.size, a.id)
	}
	need := have + len(part)
	if may := a.proceed(); need > headSize && !may {
		return false, fmt.Errorf("%w: over %d bytes of a message on call %v before it was granted", wire.ErrMalformed, headSize, a.id)
	}
	if a.base+need > cap(a.mem.b) {
		a.grow(need)
	}
	a.mem.b = append(a.mem.b, part...)
	return need == a.size, nil
}

func (a *assembly) isGranted() bool {
	if a.budget == nil {
		return true
	}
	a.budget.mu.Lock()
	defer a.budget.mu.Unlock()
	return a.granted
}

// proceed reports whether more than headSize of the message may arrive, and notes
// that something does. It is for the reader.
func (a *assembly) proceed() bool {
	if a.budget == nil {
		return true
	}
	a.budget.mu.Lock()
	defer a.budget.mu.Unlock()
	if a.granted {
		a.budget.moved = a.s.clock()
	}
	return a.granted || a.dropped
}

// fate is what is known of a message that is whole.
type fate uint8

const (
	fateWaits fate = iota // memory for it is not reserved yet
	fateGranted
	fateDropped
)

// whenGranted returns what is known of a message that is whole. If it waits,
// ready is called, on any goroutine, with true when memory is reserved for it, or
// with false when it was refused. After drop it is not called any more.
func (a *assembly) whenGranted(ready func(ok bool)) fate {
	if a.budget == nil {
		return fateGranted
	}
	a.budget.mu.Lock()
	defer a.budget.mu.Unlock()
	switch {
	case a.dropped:
		return fateDropped
	case a.granted:
		return fateGranted
	}
	a.ready = ready
	return fateWaits
}

// drop gives the message up, and its memory back. It reports whether it was
// given up before. No lock is held.
func (a *assembly) drop() (before bool) {
	b := a.budget
	if b == nil {
		return true
	}
	b.mu.Lock()
	if before = a.dropped; before {
		b.mu.Unlock()
		return true
	}
	a.dropped, a.ready = true, nil
	if a.granted {
		b.held -= int64(a.weight())
	} else if i := slices.Index(b.waiting, a); i >= 0 {
		b.waiting = slices.Delete(b.waiting, i, i+1)
	}
	in := b.admit(a.granted)
	b.mu.Unlock()
	tellGranted(in)
	return false
}

// turnAway gives up a message that is whole, if it waits for memory still. Whoever
// waits for it is told.
func (a *assembly) turnAway() {
	b := a.budget
	b.mu.Lock()
	i := slices.Index(b.waiting, a)
	if i < 0 {
		b.mu.Unlock()
		return
	}
	a.dropped = true
	b.waiting = slices.Delete(b.waiting, i, i+1)
	out, in := a.settle(), b.admit(false)
	b.mu.Unlock()
	tellGranted(in)
	if out.ready != nil {
		out.ready(false)
	}
}

// windows is the memory for the windows of the streams with one peer. A window
// is reserved whole when its stream is opened, so no stream that nobody reads
// takes anything from another.
type windows struct {
	limit int64 // for each end of the streams that is this node's
	ends  int64 // how many are: 2 for the local node, which is both
	held  atomic.Int64
}

// reserve takes the first window of a stream.
func (w *windows) reserve(n int) error {
	if !w.take(n, w.ends*w.limit) {
		return fmt.Errorf("%w: Config.MaxStreamBuffers (%d bytes) is taken by the windows of the streams with this peer",
			ErrOverloaded, w.limit)
	}
	return nil
}

// grow takes n more for a stream that is read quickly. Half of the memory is
// left for streams to come.
func (w *windows) grow(n int) bool {
	return w.take(n, w.ends*w.limit/2)
}

func (w *windows) take(n int, limit int64) bool {
	for {
		held := w.held.Load()
		if held+int64(n) > limit {
			return false
		}
		if w.held.CompareAndSwap(held, held+int64(n)) {
			return true
		}
	}
}

func (w *windows) release(n int) { w.held.Add(-int64(n)) }
