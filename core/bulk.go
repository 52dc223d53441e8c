package core

import (
	"sync"
	"time"

	"github.com/gridmux/gridmux/core/internal/wire"
)

// bulkSend is a message on its way out in turns: one over maxSmall, or one of low
// priority. The writer copies its fragments straight from the memory of the
// caller or of the handler's result, one per turn.
type bulkSend struct {
	id       wire.CallID
	kind     kind
	prio     Priority
	handler  uint64 // of a request
	deadline int64  // of a request, manager's clock, 0: none
	open     bool   // the message is the payload of a stream
	capacity uint32 // of OPEN
	meta     []byte // of what opens a call; nil: none
	accept   wire.Accept
	stream   *RawStream         // of a message of a stream, else nil
	release  func()             // of a response: gives its memory back; else nil
	later    *inFifo[*bulkSend] // where it waits to begin; guarded by writer.mu

	// mu is held for the copy of a fragment, so that a caller who gives up
	// waits no longer than that for its memory.
	mu        sync.Mutex
	data      []byte
	how       packed // how it is compressed
	size      int    // as it is sent
	parts     bool   // it travels in parts: also one of a stream that would fit into a frame, if it is over the window
	off       int
	may       bool // it may begin
	begun     bool // a part was taken for sending
	done      bool // all were
	granted   bool // the peer has memory for the whole of it
	scheduled bool // it stands in the ring, or has its turn
	dropped   bool
	finished  bool
}

func (b *bulkSend) level() Priority { return b.prio }

// carry sets what is sent. Messages of up to free bytes, once decoded, need no GRANT.
func (b *bulkSend) carry(data []byte, how packed, free int) {
	b.how = how
	n := how.weight(len(data))
	b.granted = n <= free
	if b.kind.isMessage() || n > maxSmall {
		b.parts = true
		data = how.body(data)
	}
	b.data, b.size = data, len(data)
}

// fill appends the next part to bt. more is false if nothing can be sent now.
func (b *bulkSend) fill(bt *batch, l layout, now int64, _ int) (paced int, more bool) {
	paced, more = b.part(bt, l, now)
	if b.over() {
		// All of it is copied. What it held is free before the other side can
		// know.
		b.finish()
		return paced, false
	}
	return paced, more
}

func (b *bulkSend) part(bt *batch, l layout, now int64) (paced int, more bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.kind == kindRequest && !b.begun && !b.dropped && b.deadline != 0 && b.deadline <= now {
		b.dropped = true
		bt.late = append(bt.late, b.id)
	}
	n := min(maxSmall, len(b.data)-b.off, b.allowed()-b.off)
	if n == b.size && b.parts {
		n-- // a first part is never the whole message
	}
	if !b.sendable() {
		b.scheduled = false
		return 0, false
	}
	part := b.data[b.off : b.off+n]
	bt.room(l, wire.OpenOverhead+wire.MetadataSize(b.meta)+n)
	at := len(bt.buf)
	bt.buf = b.appendPart(bt.buf, part, now)
	if !b.begun {
		b.how.mark(bt.buf, at)
		bt.buf = wire.InsertAccept(bt.buf, at, b.accept)
		bt.buf = wire.InsertMetadata(bt.buf, at, b.meta)
	}
	if b.parts {
		paced = len(bt.buf) - at
	}
	b.off += n
	b.begun, b.done = true, b.off == b.size
	b.scheduled = !b.done && b.off < b.allowed()
	return paced, b.scheduled
}

// allowed is how many bytes may be sent so far.
func (b *bulkSend) allowed() int {
	if b.granted {
		return b.size
	}
	return min(b.size, headSize)
}

// appendPart appends the frame that the part travels in.
func (b *bulkSend) appendPart(dst, part []byte, now int64) []byte {
	size, whole := uint64(b.size), !b.parts
	if b.begun {
		return wire.AppendFragment(dst, b.id, part)
	}
	var timeout uint64
	if b.deadline != 0 {
		timeout = wire.Micros(time.Duration(b.deadline - now))
	}
	switch {
	case b.open:
		return wire.AppendOpenStart(dst, b.id, b.handler, timeout, b.capacity, b.prio.flag(), size, part)
	case b.kind.isMessage():
		return wire.AppendDataStart(dst, b.id, size, part)
	case b.kind == kindRequest && whole:
		return wire.AppendRequest(dst, b.id, b.handler, timeout, b.prio.flag(), b.data)
	case b.kind == kindRequest:
		return wire.AppendRequestStart(dst, b.id, b.handler, timeout, b.prio.flag(), size, part)
	case whole:
		return wire.AppendResponse(dst, b.id, b.data)
	default:
		return wire.AppendResponseStart(dst, b.id, size, part)
	}
}

// over reports whether nothing more will be sent.
func (b *bulkSend) over() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.dropped || b.done
}

// rouse marks the message as scheduled. It reports false if it is already, or
// has nothing to send.
func (b *bulkSend) rouse() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.scheduled || !b.sendable() {
		return false
	}
	b.scheduled = true
	return true
}

// sendable reports whether a part can be sent now. b.mu is held.
func (b *bulkSend) sendable() bool {
	return b.may && !b.dropped && !b.done && (!b.begun || b.off < b.allowed())
}

// canGoOn is sendable for who does not hold b.mu.
func (b *bulkSend) canGoOn() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.sendable()
}

// source is what takes the turns of the message.
func (b *bulkSend) source() source {
	if b.stream != nil {
		return b.stream
	}
	return b
}

// allow lets the message begin.
func (b *bulkSend) allow() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.may = true
}

func (b *bulkSend) isGranted() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.granted
}

// grant notes that the peer has memory for the whole message.
func (b *bulkSend) grant() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.granted = true
}

func (b *bulkSend) takeBack() (wire.CallID, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.kind != kindRequest || b.begun || b.dropped {
		return 0, false
	}
	b.dropped, b.data = true, nil
	return b.id, true
}

func (b *bulkSend) hasBegun() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.begun
}

// sent reports whether all of the message was taken for sending.
func (b *bulkSend) sent() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.done
}

// drop ends the sending and lets go of the memory. It reports whether nothing
// was taken for sending before.
func (b *bulkSend) drop() (unsent bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.dropped, b.data = true, nil
	return !b.begun
}

// finish ends the sending and gives back what the message held: contexts, which
// users keep, lead to their results. writer.mu is not held.
func (b *bulkSend) finish() {
	b.mu.Lock()
	first := !b.finished
	b.finished, b.data = true, nil
	b.dropped = b.dropped || !b.done
	b.mu.Unlock()
	if first && b.release != nil {
		b.release()
	}
}
