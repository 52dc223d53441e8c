// Package recycle has the buffers of the readers of a transport, for every transport
// over sockets. A borrowed frame lies in one until the next is read. Poison makes the
// use of it after that visible, under the race detector and with the tag griddebug.
package recycle

import (
	"math/bits"
	"sync"
)

// What is longer than the chunk of a reader gets a buffer of its own, from one pool
// per power of two up to maxPooled. Larger ones are left to the garbage collector: a
// pool of them would pin memory for a rare use.
const (
	minPooledBits = 16 // 64 KiB
	maxPooledBits = 20 // 1 MiB
)

// A Large is a buffer for what does not fit into a chunk. The pools hold pointers to
// it, since a slice in a sync.Pool costs an allocation per Put.
type Large struct {
	B []byte // of full capacity; owned by whoever has the buffer
}

var larges [maxPooledBits - minPooledBits + 1]sync.Pool

// GetLarge returns a buffer of at least n bytes, with anything in them.
func GetLarge(n int) *Large {
	class := max(bits.Len(uint(n-1)), minPooledBits)
	if class > maxPooledBits {
		return &Large{make([]byte, n)}
	}
	if l, _ := larges[class-minPooledBits].Get().(*Large); l != nil {
		return l
	}
	return &Large{make([]byte, 1<<class)}
}

// Free gives the buffer back. Nobody may use it any more.
func (l *Large) Free() {
	Poison(l.B)
	class := bits.Len(uint(len(l.B) - 1))
	if class <= maxPooledBits && len(l.B) == 1<<class {
		larges[class-minPooledBits].Put(l)
	}
}
