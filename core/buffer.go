package core

import "sync"

// buffer is a recycled byte slice. It holds no channel, timer or pointer, so it
// may cross synctest bubbles.
type buffer struct {
	b     []byte
	brief bool // from briefPools
}

// bufferClasses are the capacities that are recycled. Up to 64 KiB they hold
// frames and batches; those above hold large messages, whose memory would else be
// fetched anew, page by page, for every one. A pool forgets what two collections
// have not seen used, so that one huge message keeps no memory.
var bufferClasses = [...]int{
	512, 2 << 10, 8 << 10, maxSmall, 64 << 10, 128 << 10, 256 << 10, 512 << 10, 1 << 20, 2 << 20, 4 << 20, 8 << 20, 16 << 20,
}

var bufferPools, briefPools [len(bufferClasses)]sync.Pool

// getBuffer returns a buffer of length 0 and at least n bytes of capacity.
func getBuffer(n int) *buffer { return getFrom(&bufferPools, n, false) }

// getBrief is getBuffer for who puts the buffer back soon, as a rule before it waits
// for anything. Such buffers of up to maxSmall are kept apart: the next one to be had
// is in the processor's caches, which those are not that many calls hold while they
// wait.
func getBrief(n int) *buffer {
	if n > maxSmall {
		return getBuffer(n)
	}
	return getFrom(&briefPools, n, true)
}

// bufferSize is the capacity of a buffer for n bytes.
func bufferSize(n int) int {
	for _, size := range bufferClasses {
		if n <= size {
			return size
		}
	}
	return n
}

func getFrom(pools *[len(bufferClasses)]sync.Pool, n int, brief bool) *buffer {
	for i, size := range bufferClasses {
		if n > size {
			continue
		}
		if b, ok := pools[i].Get().(*buffer); ok {
			return b
		}
		return &buffer{make([]byte, 0, size), brief}
	}
	return &buffer{make([]byte, 0, n), false}
}

// put recycles the buffer. The caller keeps no slice of it.
func (b *buffer) put() {
	for i, size := range bufferClasses {
		if cap(b.b) == size {
			poison(b.b[:size])
			b.b = b.b[:0]
			if b.brief {
				briefPools[i].Put(b)
			} else {
				bufferPools[i].Put(b)
			}
			return
		}
	}
}
