package core

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"

	"github.com/gridmux/gridmux/core/internal/wire"
)

// inbox holds what has arrived for one end of a stream. The reader of the session
// appends to it, and one goroutine of the user takes from it: a chunk at a time,
// so that they meet at its lock once per chunk and not per message.
//
// In a chunk each message stands behind its length. One that came in parts has
// memory of its own; largeMark stands for it.
type inbox struct {
	// Guarded by RawStream.mu.
	chunks   []*buffer // oldest first
	large    []*largeMessage
	partial  *largeMessage // of which parts are missing
	ended    bool          // the other side has said that there is no more
	dropping bool          // what arrives is dropped
	waiting  bool          // the user waits
	expired  bool          // the time to wait is over
	why      error         // what arrives is dropped
	since    int64         // when the user began to wait, manager's clock
	cond     sync.Cond

	messages int // that may arrive, of capacity
	bytes    int // that may arrive, of window
	capacity int
	window   int   // that was granted
	held     int   // that is reserved
	first    int   // what window was at first; a message never costs more
	reported int64 // when credit was given back last, manager's clock
	// indulgence is how many bytes may yet be dropped before the stream is given
	// up; 0: any number.
	indulgence int

	// Of who receives.
	cur           *buffer
	off           int
	folded        *buffer // what cur was before it became a restored message of it
	foldedOff     int32
	takenMessages int32 // whose credit was not given back yet
	takenBytes    int
	reportAt      int // how many of those bytes are given back together
}

const (
	lengthSize = 4
	largeMark  = 1<<32 - 1
	// packedMark is a bit of the length of a compressed message, behind which stands
	// how it is compressed; plain ones of the inbox are shorter.
	packedMark = 1 << 31
	// maxGrown is the size that the window of a stream grows to.
	maxGrown = 1 << 20
	// growWithin is how soon half of a window has to be used up for it to grow.
	growWithin = 250_000_000
	// firstChunk is the size of the first chunk of a stream; others are up to
	// the largest buffer that is recycled.
	firstChunk = 512
	maxChunk   = 64 << 10
)

// init begins with a window of which held bytes are reserved.
func (q *inbox) init(st *RawStream, capacity, window, held int) {
	q.cond.L = &st.mu
	q.messages, q.capacity = capacity, capacity
	q.bytes, q.window, q.first, q.held = window, window, window, held
	q.reportAt = window / 2
}

// wakeUp makes the user look again. RawStream.mu is held.
func (q *inbox) wakeUp() {
	if q.waiting {
		q.waiting = false
		q.cond.Signal()
	}
}

// append adds a message to the last chunk. RawStream.mu is held.
func (q *inbox) append(mark uint32, msg []byte) {
	c := q.chunkFor(lengthSize + len(msg))
	c.b = append(binary.LittleEndian.AppendUint32(c.b, mark), msg...)
}

// chunkFor returns the last chunk, or a new one, that has room for n more bytes.
// RawStream.mu is held.
func (q *inbox) chunkFor(need int) *buffer {
	n := len(q.chunks)
	if n == 0 || cap(q.chunks[n-1].b)-len(q.chunks[n-1].b) < need {
		size := max(firstChunk, need)
		if n > 0 {
			size = max(min(4*cap(q.chunks[n-1].b), maxChunk), need)
		}
		q.chunks = append(q.chunks, getBuffer(size))
		n++
	}
	return q.chunks[n-1]
}

// arrive takes the credit for a message of size bytes that begins. skip is set if
// nobody takes it any more. RawStream.mu is held.
func (st *RawStream) arrive(size uint64, cost int) (skip bool, err error) {
	q := &st.in
	switch {
	case st.over:
		return true, nil
	case q.ended || q.partial != nil:
		return true, fmt.Errorf("%w: DATA on stream %v after its end, or in the middle of a message", wire.ErrMalformed, st.id)
	case size > uint64(st.s.m.cfg.MaxMessage):
		return true, errOversize
	case q.messages < 1 || q.bytes < cost:
		return true, errNoCredit
	}
	q.messages--
	q.bytes -= cost
	return false, nil
}

// These end a stream, not the session (W84).
var (
	errNoCredit = errors.New("sent a message beyond its credit")
	errOversize = errors.New("sent a message over the limit")
	errUncut    = errors.New("sent a message in one frame that is over the window once decoded")
)

// deliver takes a whole message from the reader.
func (st *RawStream) deliver(msg []byte) error {
	q := &st.in
	st.mu.Lock()
	if skip, err := st.arrive(uint64(len(msg)), len(msg)); skip {
		st.mu.Unlock()
		return err
	}
	if q.dropping {
		st.mu.Unlock()
		st.passOver(len(msg))
		return nil
	}
	q.append(uint32(len(msg)), msg)
	st.countIn(len(msg))
	q.wakeUp()
	st.mu.Unlock()
	return nil
}

// passOver gives back the credit for a message that is dropped, or gives the
// stream up where the other side sends on and on.
func (st *RawStream) passOver(cost int) {
	q := &st.in
	st.mu.Lock()
	enough := false
	if q.indulgence > 0 {
		q.indulgence = max(q.indulgence-max(cost, 1), 1)
		enough = q.indulgence == 1
	}
	st.mu.Unlock()
	if enough {
		st.giveUp(errStreamClosed, wire.CodeCanceled)
		return
	}
	st.grant(1, cost)
}

// endInput notes that the other side sends no more. It reports false if it has
// said so before, or in the middle of a message.
func (st *RawStream) endInput() bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.over {
		return true
	}
	if st.in.ended || st.in.partial != nil {
		return false
	}
	st.in.ended = true
	st.in.wakeUp()
	return true
}

// isIncomplete reports whether parts of a message are missing.
func (st *RawStream) isIncomplete() bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.in.partial != nil
}

// receive is Recv.
func (st *RawStream) receive(dst []byte) ([]byte, error) {
	q := &st.in
	if q.cur == nil || q.off == len(q.cur.b) || st.dropped.Load() {
		if err := st.nextChunk(); err != nil {
			return dst, err
		}
	}
	n := binary.LittleEndian.Uint32(q.cur.b[q.off:])
	if n&packedMark != 0 {
		if n == largeMark {
			return st.receiveLarge(dst)
		}
		return st.receivePacked(dst)
	}
	at := q.off + lengthSize
	q.off = at + int(n)
	if dst == nil {
		dst = []byte{}
	}
	dst = append(dst, q.cur.b[at:q.off]...)
	st.took(int(n))
	return dst, nil
}

// nextChunk waits for one.
func (st *RawStream) nextChunk() error {
	q := &st.in
	st.mu.Lock()
	defer st.mu.Unlock()
	if q.unfolded(st.dropped.Load()) {
		return nil
	}
	if q.cur != nil {
		q.cur.put()
		q.cur, q.off = nil, 0
	}
	for {
		switch {
		case q.dropping:
			return st.recvError()
		case len(q.chunks) > 0:
			q.cur, q.off = q.chunks[0], 0
			q.chunks = slices.Delete(q.chunks, 0, 1)
			return nil
		case st.over || q.ended:
			st.mu.Unlock()
			st.freeReceived()
			st.mu.Lock()
			return st.recvError()
		case q.expired:
			return os.ErrDeadlineExceeded
		case q.owes():
			st.mu.Unlock()
			st.giveBack()
			st.mu.Lock()
			continue
		}
		st.waitIn()
	}
}

// waitIn waits for a change. st.mu is held.
func (st *RawStream) waitIn() {
	q := &st.in
	q.waiting, q.since = true, st.s.m.now()
	for q.waiting {
		q.cond.Wait()
	}
}

// recvError is why nothing more is received. st.mu is held.
func (st *RawStream) recvError() error {
	switch {
	case st.in.why != nil:
		return st.callError(st.in.why)
	case st.err != nil:
		return st.err
	case st.serving() && !st.in.ended:
		return st.callError(errReturned) // what arrives is about to be dropped
	default:
		return io.EOF
	}
}

// took notes that the user has taken a message, and gives credit back when there
// is enough of it.
func (st *RawStream) took(cost int) {
	q := &st.in
	if q.folded != nil {
		return // it was taken when it was restored
	}
	q.takenMessages++
	q.takenBytes += cost
	if 2*int(q.takenMessages) >= q.capacity || q.takenBytes >= q.reportAt {
		st.giveBack()
	}
}

// owes reports whether the other side may wait for credit that only was not given
// back yet: one message, and the bytes that the largest one costs (W83). st.mu is
// held.
func (q *inbox) owes() bool { return q.takenBytes > q.window-q.first }

// giveBack gives back the credit for what was taken, and some more if the user is
// quick.
func (st *RawStream) giveBack() {
	q := &st.in
	messages, bytes := int(q.takenMessages), q.takenBytes
	q.takenMessages, q.takenBytes = 0, 0
	now := st.s.m.now()
	st.mu.Lock()
	if st.over || q.ended || q.dropping {
		st.mu.Unlock()
		return
	}
	quick := bytes > 0 && (q.reported == 0 || now-q.reported < growWithin)
	q.reported = now
	if more := min(q.window, maxGrown-q.window); quick && more > 0 && st.s.peer.windows.grow(more) {
		bytes += more
		q.held += more
		q.window += more
		q.reportAt = q.window / 2
	}
	// At once: whoever drops what has arrived gives all the rest back.
	q.messages += messages
	q.bytes += bytes
	st.mu.Unlock()
	st.s.w.credit(st, messages, bytes)
}

// grant lets the other side send so much more.
func (st *RawStream) grant(messages, bytes int) {
	q := &st.in
	st.mu.Lock()
	if st.over || q.ended {
		st.mu.Unlock()
		return
	}
	q.messages += messages
	q.bytes += bytes
	st.mu.Unlock()
	st.s.w.credit(st, messages, bytes)
}

// discard drops what has arrived and what arrives. The other side gets all its
// credit back, since nobody will take what it is for.
//
// err is why, for who receives, unless the stream has ended with another error.
func (st *RawStream) discard(err error) {
	q := &st.in
	st.mu.Lock()
	if q.dropping {
		st.mu.Unlock()
		return
	}
	q.dropping = true
	if st.err == nil {
		q.why = err // also where the end that comes now says something else
	}
	st.dropped.Store(true)
	if st.gone != nil {
		close(st.gone)
	}
	messages, bytes := q.capacity-q.messages, q.window-q.bytes
	var drop, keep []*largeMessage
	owed := false
	for _, m := range q.large {
		if m.ready || st.over {
			owed = owed || st.answered && !m.ready
			drop = append(drop, m)
			continue
		}
		// Its credit comes back when it is whole.
		messages--
		bytes -= m.cost
		keep = append(keep, m)
	}
	// Chunks are left to the collector: one may be read just now.
	q.chunks, q.large = nil, keep
	q.wakeUp()
	stop := st.takeStop()
	st.mu.Unlock()
	if stop != nil {
		stop()
	}
	st.freeReceived()
	for _, m := range drop {
		m.drop()
	}
	if owed {
		// It was sent whole before the answer, and gets no GRANT any more (W46).
		st.s.w.reset(st.id, wire.CodeCanceled)
	}
	if messages > 0 || bytes > 0 {
		st.grant(messages, bytes)
	}
}
