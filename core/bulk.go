package core

import (
	"sync"
	"time"

	"github.com/gridmux/gridmux/core/internal/wire"
)

// bulkSend is a message over maxSmall on its way out. The writer copies its
// fragments straight from the memory of the caller or of the handler's result,
// one per turn.
type bulkSend struct {
	id       wire.CallID
	request  bool
	handler  uint64 // of a request
	deadline int64  // of a request, manager's clock, 0: none
	release  func() // of a response: gives its memory back; else nil

	// mu is held for the copy of a fragment, so that a caller who gives up
	// waits no longer than that for its memory.
	mu      sync.Mutex
	data    []byte
	off     int
	dropped bool
}

// fragment appends the next part to b, or nothing if the message was dropped.
func (s *bulkSend) fragment(b *batch, l layout, now int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.request && s.off == 0 && s.deadline != 0 && s.deadline <= now {
		s.dropped = true
	}
	if s.dropped {
		return
	}
	part := s.data[s.off:min(s.off+maxSmall, len(s.data))]
	b.room(l, wire.RequestOverhead+len(part))
	switch {
	case s.off > 0:
		b.buf = wire.AppendFragment(b.buf, s.id, part)
	case s.request:
		var timeout uint64
		if s.deadline != 0 {
			timeout = wire.Micros(time.Duration(s.deadline - now))
		}
		b.buf = wire.AppendRequestStart(b.buf, s.id, s.handler, timeout, 0, uint64(len(s.data)), part)
	default:
		b.buf = wire.AppendResponseStart(b.buf, s.id, uint64(len(s.data)), part)
	}
	s.off += len(part)
}

// untouched reports whether no part was taken for sending.
func (s *bulkSend) untouched() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.off == 0
}

// over reports whether nothing more will be sent.
func (s *bulkSend) over() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dropped || s.off == len(s.data)
}

// drop ends the sending and lets go of the memory. It reports whether nothing
// was taken for sending before.
func (s *bulkSend) drop() (unsent bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dropped, s.data = true, nil
	return s.off == 0
}

// finish is called once, when the writer is done with the message. It lets go
// of the memory: contexts, which users keep, lead to their results.
func (s *bulkSend) finish() {
	s.drop()
	if s.release != nil {
		s.release()
	}
}

// assembly is a message over one frame on its way in, of the reader.
type assembly struct {
	buf  []byte
	size int
}

// firstRoom is how much memory a message gets at its first part. The rest comes
// as its parts do: a peer that announces much and sends little costs little.
const firstRoom = 1 << 20

// newAssembly begins a message whose size was checked and reserved.
func newAssembly(size uint64) *assembly {
	return &assembly{buf: make([]byte, 0, min(size, firstRoom)), size: int(size)}
}

// add appends a part. It reports false if the parts are more than the message.
func (a *assembly) add(part []byte) bool {
	if len(part) > a.size-len(a.buf) {
		return false
	}
	if need := len(a.buf) + len(part); need > cap(a.buf) {
		grown := make([]byte, len(a.buf), min(max(2*cap(a.buf), need), a.size))
		copy(grown, a.buf)
		a.buf = grown
	}
	a.buf = append(a.buf, part...)
	return true
}

func (a *assembly) complete() bool { return len(a.buf) == a.size }
