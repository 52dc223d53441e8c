package inmem

import (
	"math/bits"
	"sync"
)

// Frames are kept in recycled buffers whose sizes are powers of two. Longer
// frames are rare enough to be left to the garbage collector, which then need
// not find a second megabyte in every pool.
const (
	minClass = 8  // 256 bytes
	maxClass = 20 // 1 MiB
)

// overhead is charged for each frame beside its length, so that empty frames
// fill a pipe too.
const overhead = 64

// A buffer holds one frame on its way. The link to the next one lets a pipe
// queue frames without memory of its own: an idle pipe holds nothing.
type buffer struct {
	next *buffer
	data []byte
	pool *sync.Pool // nil if too large to recycle
}

var pools [maxClass - minClass + 1]sync.Pool

// newBuffer returns a buffer holding a copy of frame.
func newBuffer(frame []byte) *buffer {
	class := max(bits.Len(uint(max(len(frame), 1)-1)), minClass)
	if class > maxClass {
		return &buffer{data: append([]byte(nil), frame...)}
	}
	pool := &pools[class-minClass]
	b, ok := pool.Get().(*buffer)
	if !ok {
		b = &buffer{data: make([]byte, 1<<class), pool: pool}
	}
	b.data = b.data[:len(frame)]
	copy(b.data, frame)
	return b
}

// charge is what the frame takes of a pipe's room.
func (b *buffer) charge() int { return len(b.data) + overhead }

// free recycles b; nobody may use it, or the frame in it, any more.
func (b *buffer) free() {
	poison(b.data[:cap(b.data)])
	if b.pool != nil {
		b.next = nil
		b.pool.Put(b)
	}
}
