package websocket

import (
	"sync"

	"github.com/gridmux/gridmux/transport/internal/recycle"
)

// chunkSize is the size of the buffer that one read fills. With half of it large
// messages cost a quarter more processor time, with a quarter of it small calls a
// fifth of their throughput at many callers.
const chunkSize = 128 << 10

type chunk = [chunkSize]byte

// The pools hold pointers: a slice in a sync.Pool costs an allocation per Put.
var chunks = sync.Pool{New: func() any { return new(chunk) }}

func getChunk() *chunk { return chunks.Get().(*chunk) }

func putChunk(c *chunk) {
	recycle.Poison(c[:])
	chunks.Put(c)
}
