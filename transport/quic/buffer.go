package quic

import (
	"sync"

	"github.com/gridmux/gridmux/transport/internal/recycle"
)

// chunkSize is the size of the buffer that a reader takes up what has arrived
// with, and that a batch is gathered in.
const chunkSize = 64 << 10

type chunk = [chunkSize]byte

// The pools hold pointers: a slice in a sync.Pool costs an allocation per Put.
var chunks = sync.Pool{New: func() any { return new(chunk) }}

func getChunk() *chunk { return chunks.Get().(*chunk) }

func putChunk(c *chunk) {
	recycle.Poison(c[:])
	chunks.Put(c)
}
