package core

import (
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/gridmux/gridmux/core/internal/wire"
)

// outbox holds what one end of a stream sends and the writer has not taken yet,
// as frames: OPEN on the calling side, messages, then END or the answer. A large
// message stays with who sends it and goes out in parts.
type outbox struct {
	// Guarded by RawStream.mu.
	buf       *buffer   // frames
	large     *bulkSend // behind them
	tail      *buffer   // frames behind that
	deadline  int64     // for OPEN, manager's clock; 0: none
	dropped   *bulkSend // a large message that was, maybe in the middle
	messages  int       // credit
	bytes     int
	capacity  int   // messages never exceed it
	window    int   // of the peer: a message never costs more
	waiting   int32 // users that wait
	turns     sendTurns
	since     int64
	release   func() // called when everything is taken, after the answer
	opened    bool   // OPEN was taken by the writer, or is not ours to send
	scheduled bool   // the stream stands in the ring, or has its turn
	ended     bool   // END, or the answer, is queued
	answered  bool   // the answer is queued, or was sent
	cut       bool   // nothing more is sent
	parts     bool   // some message was large
	unlisted  bool   // the peer has no such handler, and is about to say so
	expired   bool   // the time to wait is over
	cond      sync.Cond

	// Of the writer's goroutine.
	taken *buffer
	off   int
}

// maxQueued is how many bytes of one stream wait to be written before Send
// waits: as many as the largest buffer that is recycled holds.
const maxQueued = 64 << 10

// fits reports whether a frame with n bytes can be queued. RawStream.mu is held.
func (o *outbox) fits(n int) bool { return o.buf == nil || len(o.buf.b)+wire.HeaderSize+n <= maxQueued }

func (o *outbox) init(st *RawStream, capacity, window int) {
	o.cond.L = &st.mu
	o.messages, o.capacity, o.bytes, o.window = capacity, capacity, window, window
}

// wakeUp makes users look again. RawStream.mu is held.
func (o *outbox) wakeUp() {
	if o.waiting > 0 {
		o.cond.Broadcast()
	}
}

// room makes room for n more bytes of frames.
func room(b *buffer, n int) *buffer {
	switch {
	case b == nil:
		return getBuffer(n)
	case cap(b.b)-len(b.b) >= n:
		return b
	}
	next := getBuffer(max(2*cap(b.b), len(b.b)+n))
	next.b = append(next.b, b.b...)
	b.put()
	return next
}

// idle reports whether everything was taken. RawStream.mu is held.
func (o *outbox) idle() bool { return o.buf == nil && o.large == nil && !o.scheduled }

// schedule marks the stream as scheduled, and reports whether the writer has to
// be told. RawStream.mu is held.
func (o *outbox) schedule() bool {
	tell := !o.scheduled
	o.scheduled = true
	return tell
}

// checkSize refuses a message that the peer does not take.
func (st *RawStream) checkSize(p []byte) error {
	if len(p) <= st.s.maxSend {
		return nil
	}
	return st.callError(fmt.Errorf("%w: message of %d bytes, limit %d; raise Config.MaxMessage on both nodes",
		ErrMessageTooLarge, len(p), st.s.maxSend))
}

// send is Send.
func (st *RawStream) send(p []byte) error {
	if err := st.checkSize(p); err != nil {
		return err
	}
	if st.pack != nil {
		return st.sendPacked(p)
	}
	return st.sendAs(p, packed{})
}

// sendAs sends a message that is as it is sent.
func (st *RawStream) sendAs(p []byte, how packed) error {
	o := &st.out
	n := how.weight(len(p))
	cost := how.cost(len(how.body(p)), o.window)
	large := n > maxSmall || n > o.window
	st.mu.Lock()
	st.awaitTurn(large)
	for {
		if st.ending() {
			st.waitOut()
			continue
		}
		if err := st.sendError(); err != nil {
			st.leaveTurn(large, false)
			st.mu.Unlock()
			return err
		}
		if o.turns.may(large) && o.messages > 0 && o.bytes >= cost && o.large == nil && (large || o.fits(len(p))) {
			break
		}
		st.waitOut()
	}
	st.leaveTurn(large, true)
	o.messages--
	o.bytes -= cost
	if large {
		b := &bulkSend{id: st.id, kind: messageKind(!st.serving()), prio: st.prio, stream: st}
		b.carry(p, how, o.window)
		return st.sendLarge(b)
	}
	o.buf = room(o.buf, wire.HeaderSize+len(p))
	at := len(o.buf.b)
	o.buf.b = wire.AppendData(o.buf.b, st.id, p)
	how.mark(o.buf.b, at)
	st.countOut(n)
	tell := o.schedule()
	st.mu.Unlock()
	if tell {
		st.s.w.schedule(st)
	}
	return nil
}

// sendLarge waits until the last part of a message is on its way. st.mu is held,
// and released.
func (st *RawStream) sendLarge(b *bulkSend) error {
	o := &st.out
	o.large, o.parts = b, true
	tell := o.schedule()
	st.mu.Unlock()
	if !st.s.w.announce(b, tell) {
		st.giveUp(st.s.whyShut(), wire.CodeCanceled)
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	// A payload whose time was over before it could be written ends the stream: its
	// context or tooLate is about to.
	for o.large == b || (o.cut || b.open && !b.sent()) && !st.over {
		st.waitOut()
	}
	if b.sent() {
		st.countOut(b.how.weight(b.size))
		return nil
	}
	if err := st.sendError(); err != nil {
		return err
	}
	return st.callError(ErrDisconnected)
}

// ending reports whether the stream is about to be over: nobody would look after
// a message that came in between, and why it ends is not known yet. st.mu is held.
func (st *RawStream) ending() bool { return (st.out.cut || st.out.answered) && !st.over }

// waitOut waits for a change. st.mu is held.
func (st *RawStream) waitOut() {
	o := &st.out
	if o.waiting == 0 {
		o.since = st.s.m.now()
	}
	o.waiting++
	o.cond.Wait()
	o.waiting--
}

// sendError is why nothing can be sent. st.mu is held.
func (st *RawStream) sendError() error {
	o := &st.out
	switch {
	case st.over && st.err != nil:
		return st.err
	case st.over:
		return st.callError(errReturned)
	case o.ended:
		return st.callError(errInputClosed)
	case o.capacity == 0 && !o.unlisted:
		return st.callError(errNoInput)
	case o.expired:
		return os.ErrDeadlineExceeded
	}
	return nil
}

// closeSend is CloseSend.
func (st *RawStream) closeSend() {
	st.mu.Lock()
	if st.out.ended || st.over {
		st.mu.Unlock()
		return
	}
	st.out.ended = true
	st.out.wakeUp()
	shared := st.takeShared()
	tell := st.appendLast(wire.HeaderSize, func(dst []byte) []byte { return wire.AppendEnd(dst, st.id) })
	st.mu.Unlock()
	closeWindow(shared)
	if tell {
		st.s.w.schedule(st)
	}
}

// appendLast queues a frame behind everything else. st.mu is held.
func (st *RawStream) appendLast(n int, frame func(dst []byte) []byte) (tell bool) {
	o := &st.out
	if o.large != nil {
		o.tail = room(o.tail, n)
		o.tail.b = frame(o.tail.b)
		return false
	}
	o.buf = room(o.buf, n)
	o.buf.b = frame(o.buf.b)
	return o.schedule()
}

// cutOut ends the sending: what the writer has not taken is dropped. It reports
// whether nothing of the call was sent.
func (st *RawStream) cutOut() (unsent bool) {
	o := &st.out
	st.mu.Lock()
	b := o.large
	if b != nil {
		// When Send returns, its memory is not read any more. The turn that took
		// the first part of OPEN may be under way still.
		if unsent := b.drop(); b.open {
			o.opened = !unsent
		}
	}
	unsent = !o.opened
	o.cut = true
	if o.buf != nil {
		o.buf.put()
	}
	if o.tail != nil {
		o.tail.put()
	}
	o.buf, o.tail, o.large = nil, nil, nil
	release, scheduled := o.release, o.scheduled
	o.release = nil
	o.wakeUp()
	st.mu.Unlock()
	if b != nil {
		st.s.w.forget(b)
	}
	st.s.w.unschedule(st, scheduled)
	if release != nil {
		release()
	}
	return unsent
}

// opening reports whether a part of OPEN was not taken by the writer yet.
func (st *RawStream) opening() bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	o := &st.out
	return !o.opened || o.large != nil && o.large.open
}

// sentLarge reports whether some message was large.
func (st *RawStream) sentLarge() bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.out.parts
}

// onCredit takes credit from the peer. It reports false if it is more than there
// can be.
func (st *RawStream) onCredit(messages, bytes uint32) bool {
	o := &st.out
	st.mu.Lock()
	defer st.mu.Unlock()
	if int64(messages) > int64(o.capacity-o.messages) || int64(bytes) > int64(wire.MaxWindow-o.bytes) {
		return st.over || o.ended
	}
	o.messages += int(messages)
	o.bytes += int(bytes)
	o.wakeUp()
	return true
}

func (st *RawStream) level() Priority { return st.prio }

func (st *RawStream) rouse() bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	if !st.hasOutput() {
		return false
	}
	return st.out.schedule()
}

// hasOutput reports whether something can be sent now, besides what the writer
// has taken. st.mu is held.
func (st *RawStream) hasOutput() bool {
	o := &st.out
	return !o.cut && (o.buf != nil || o.large != nil && o.large.canGoOn())
}

func (st *RawStream) takeBack() (wire.CallID, bool) {
	st.mu.Lock()
	defer st.mu.Unlock()
	o := &st.out
	switch b := o.large; {
	case o.opened || o.cut:
		return 0, false
	case b != nil && b.open:
		if _, ok := b.takeBack(); !ok {
			return 0, false
		}
	}
	o.cut = true
	return st.id, true
}

// fill is a turn of the stream. It is for the writer's goroutine.
func (st *RawStream) fill(bt *batch, l layout, now int64, quota int) (paced int, more bool) {
	large, ok := st.takeOut(bt, now)
	switch {
	case !ok:
	case large != nil:
		paced, _ = large.part(bt, l, now)
	default:
		paced = st.copyFrames(bt, l, quota)
	}
	return paced, st.endTurn(large)
}

// takeOut moves queued frames to the writer, or returns the large message that is
// next. ok is false if there is nothing to send.
func (st *RawStream) takeOut(bt *batch, now int64) (large *bulkSend, ok bool) {
	o := &st.out
	st.mu.Lock()
	defer st.mu.Unlock()
	switch {
	case o.cut:
		return nil, false
	case o.taken != nil:
		return nil, true
	case o.buf == nil:
		return o.large, o.large != nil
	}
	if !o.opened {
		if o.deadline != 0 {
			if o.deadline <= now {
				o.cut = true
				bt.late = append(bt.late, st.id)
				return nil, false
			}
			wire.SetTimeout(o.buf.b, wire.Micros(time.Duration(o.deadline-now)))
		}
		o.opened = true
	}
	o.taken, o.off, o.buf = o.buf, 0, nil
	o.wakeUp()
	return nil, true
}

// copyFrames copies whole frames, at least one.
func (st *RawStream) copyFrames(bt *batch, l layout, quota int) (paced int) {
	o := &st.out
	for copied := 0; o.off < len(o.taken.b); {
		f := o.taken.b[o.off:]
		t, n := wire.PeekType(f)
		if copied > 0 && copied+n > quota {
			break
		}
		bt.room(l, n)
		bt.buf = append(bt.buf, f[:n]...)
		if t == wire.TypeData {
			paced += n
		}
		o.off += n
		copied += n
	}
	if o.off == len(o.taken.b) {
		o.taken.put()
		o.taken = nil
	}
	return paced
}

// endTurn settles what a turn has changed, and reports whether there is more to
// send.
func (st *RawStream) endTurn(large *bulkSend) (more bool) {
	o := &st.out
	st.mu.Lock()
	if large != nil && large == o.large {
		if large.open && large.hasBegun() {
			o.opened = true
		}
		if large.over() {
			o.large = nil
			o.buf, o.tail = o.tail, nil
			o.wakeUp()
		}
	}
	if o.cut && o.taken != nil {
		o.taken.put()
		o.taken = nil
	}
	more = o.taken != nil || st.hasOutput()
	o.scheduled = more
	var release func()
	if !more && o.large == nil {
		release, o.release = o.release, nil
	}
	st.mu.Unlock()
	if release != nil {
		release()
	}
	return more
}
