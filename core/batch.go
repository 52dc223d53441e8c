package core

import (
	"time"

	"github.com/gridmux/gridmux/core/internal/wire"
)

const (
	// maxSmall is the longest payload that travels in one frame; what is longer
	// is cut into fragments of this size.
	maxSmall = 32 << 10
	// batchSize closes a transport frame. With a checksum it is smaller, since
	// nothing of a batch may be used before its last byte is there.
	batchSize         = 60 << 10
	batchSizeChecksum = 16 << 10
	// ownMaxFrame is the limit on transport frames that we announce. What we
	// send is always under wire.MinMaxFrame, which every peer accepts.
	ownMaxFrame = 128 << 10
)

// outPosition says where a request stands in a batch that has not been taken by
// the writer: valid as long as the batch has the same sequence number.
type outPosition struct {
	seq    uint64 // 0: nowhere
	offset int
}

// batch collects frames, already laid out as the transport frames that will
// carry them: each begins with room for the transport's header and for the
// checksum, which are filled in outside the lock by whoever writes.
type batch struct {
	buf    []byte
	starts []int // where each transport frame begins
	bytes  int   // of frames, without what belongs to the link
	seq    uint64
	timed  bool          // some request has a deadline in its time-out field
	late   []wire.CallID // whose time was over, so that they are not opened
}

// layout is what a link asks of transport frames.
type layout struct {
	headroom int
	checksum bool
	size     int // bytes after which a transport frame is closed
}

func (l layout) prefix() int {
	if l.checksum {
		return l.headroom + wire.ChecksumSize
	}
	return l.headroom
}

// room begins a new transport frame if n more bytes do not fit into the open
// one. It never cuts a frame: one that is longer than the limit is alone.
func (b *batch) room(l layout, n int) {
	if k := len(b.starts); k > 0 && len(b.buf)-b.starts[k-1]-l.prefix()+n <= l.size {
		return
	}
	b.starts = append(b.starts, len(b.buf))
	b.buf = append(b.buf, make([]byte, l.prefix())...)
}

func (b *batch) empty() bool { return len(b.starts) == 0 }

// reset empties the batch for its next use. What grew beyond keep is let go.
func (b *batch) reset(keep int) {
	if cap(b.buf) > keep {
		b.buf = nil
	}
	b.buf, b.starts, b.bytes, b.timed, b.late = b.buf[:0], b.starts[:0], 0, false, nil
}

// seal turns deadlines into time-outs counted from now, pads requests that are
// past theirs, fills in checksums, and appends the transport frames to frames.
func (b *batch) seal(l layout, now int64, frames [][]byte) [][]byte {
	for i, start := range b.starts {
		end := len(b.buf)
		if i+1 < len(b.starts) {
			end = b.starts[i+1]
		}
		f := b.buf[start:end:end]
		if b.timed {
			b.sealTimeouts(f[l.prefix():], now)
		}
		if l.checksum {
			wire.PutChecksum(f[l.headroom:])
		}
		frames = append(frames, f)
	}
	return frames
}

// recall turns all requests into padding and appends the ids of their calls to
// ids.
func (b *batch) recall(l layout, ids []wire.CallID) []wire.CallID {
	for i, start := range b.starts {
		end := len(b.buf)
		if i+1 < len(b.starts) {
			end = b.starts[i+1]
		}
		for f := b.buf[start+l.prefix() : end]; len(f) > 0; {
			t, n := wire.PeekType(f)
			if t == wire.TypeRequest {
				ids = append(ids, wire.PeekID(f))
				wire.Pad(f)
			}
			f = f[n:]
		}
	}
	return ids
}

// sealTimeouts walks the frames in f. Until now the time-out field of a request
// holds its deadline in the manager's clock.
func (b *batch) sealTimeouts(f []byte, now int64) {
	for len(f) > 0 {
		t, n := wire.PeekType(f)
		if t == wire.TypeRequest {
			switch deadline := int64(wire.Timeout(f)); {
			case deadline == 0:
			case deadline > now:
				wire.SetTimeout(f, wire.Micros(time.Duration(deadline-now)))
			default:
				b.late = append(b.late, wire.PeekID(f))
				wire.Pad(f)
			}
		}
		f = f[n:]
	}
}
