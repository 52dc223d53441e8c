package quic

import (
	"math/bits"
	"sync"
)

// chunkSize is the size of the buffer that a reader takes up what has arrived
// with, and that a batch is gathered in.
const chunkSize = 64 << 10

type chunk = [chunkSize]byte

// The pools hold pointers: a slice in a sync.Pool costs an allocation per Put.
var chunks = sync.Pool{New: func() any { return new(chunk) }}

func getChunk() *chunk { return chunks.Get().(*chunk) }

func putChunk(c *chunk) {
	poison(c[:])
	chunks.Put(c)
}

// Frames larger than a chunk get a buffer of their own, from one pool per power
// of two up to maxPooled. Larger ones are left to the garbage collector: a pool
// of them would pin memory for a rare use.
const (
	minPooledBits = 16
	maxPooledBits = 20
)

// large is a buffer for one frame that does not fit into a chunk.
type large struct {
	b []byte // of full capacity
}

var larges [maxPooledBits - minPooledBits + 1]sync.Pool

// getLarge returns a buffer with len(b) >= n.
func getLarge(n int) *large {
	class := max(bits.Len(uint(n-1)), minPooledBits)
	if class > maxPooledBits {
		return &large{make([]byte, n)}
	}
	if l, _ := larges[class-minPooledBits].Get().(*large); l != nil {
		return l
	}
	return &large{make([]byte, 1<<class)}
}

func putLarge(l *large) {
	poison(l.b)
	class := bits.Len(uint(len(l.b) - 1))
	if class <= maxPooledBits && len(l.b) == 1<<class {
		larges[class-minPooledBits].Put(l)
	}
}
