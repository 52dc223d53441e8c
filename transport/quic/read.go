package quic

import (
	"errors"
	"fmt"
	"io"

	"github.com/gridmux/gridmux/transport"
	"github.com/gridmux/gridmux/transport/internal/recycle"
)

// reader is the state of the receiving direction, owned by the goroutine in
// ReadFrame. Its chunk holds what was read and not yet returned, and the frame
// that was returned last; it goes back to the pool before the reader waits with
// nothing in it.
type reader struct {
	err    error // the first failure
	chunk  *chunk
	r, w   int            // chunk[r:w] is not yet consumed
	big    *recycle.Large // the frame that did not fit into the chunk
	peeked [1]byte        // what a reader waits with
}

// ReadFrame returns the next frame. It waits without a buffer and takes up to
// 64 KiB at a time once bytes are there; frames that fit into that are returned
// where they lie. CloseWithError leaves a borrowed frame alone: only ReadFrame
// gives buffers back.
func (l *lane) ReadFrame(limit int) ([]byte, error) {
	in := &l.in
	in.dropBig()
	if in.err == nil && !l.closed.Load() {
		p, err := l.nextFrame(limit)
		if err == nil {
			return p, nil
		}
		in.err = err
	}
	in.dropBig()
	in.dropChunk()
	if l.closed.Load() {
		return nil, errClosed
	}
	return nil, in.err
}

// FrameBuffered reports whether a whole frame lies in the chunk.
func (l *lane) FrameBuffered() bool {
	var r record
	b := l.in.buffered()
	if need, err := r.parse(b); need > 0 || err != nil {
		return false
	}
	return r.mark == 0 && r.body <= len(b)-r.size
}

func (l *lane) nextFrame(limit int) ([]byte, error) {
	r, err := l.readRecord()
	if err != nil {
		return nil, err
	}
	switch {
	case r.mark == markClose:
		return nil, l.readClose(r)
	case r.mark == markBegin:
		return nil, l.violate(breach("a BEGIN that is not the first record of the first lane"))
	case r.body > max(limit, 0):
		return nil, l.violate(tooLarge(uint64(r.body), limit))
	}
	return l.body(r.body)
}

// readRecord reads the header of the next record.
func (l *lane) readRecord() (r record, err error) {
	for {
		need, err := r.parse(l.in.buffered())
		if v, ok := errors.AsType[*violation](err); ok {
			return r, l.violate(v)
		}
		if need == 0 {
			l.in.r += r.size
			return r, nil
		}
		if err := l.fill(need); err != nil {
			return r, err
		}
	}
}

// readClose reads the reason of a CLOSE and returns what it says as an error.
func (l *lane) readClose(r record) error {
	if err := l.fill(r.body); err != nil {
		return err
	}
	end, err := closeError(r.code, l.in.buffered()[:r.body])
	if v, ok := errors.AsType[*violation](err); ok {
		return l.violate(v)
	}
	l.peerEnd.Store(end)
	l.conn.peerClosed(l)
	return end
}

// body reads a frame whose length was checked: in place if it fits into the
// chunk, else into a buffer of its own.
func (l *lane) body(n int) ([]byte, error) {
	in := &l.in
	if n <= chunkSize {
		if err := l.fill(n); err != nil {
			return nil, err
		}
		// An empty frame may be the last thing in the chunk, but a chunk there
		// is: the header was read into it.
		p := in.chunk[in.r : in.r+n : in.r+n]
		in.r += n
		return p, nil
	}
	in.big = recycle.GetLarge(n)
	p := in.big.B[:n:n]
	k := copy(p, in.buffered())
	in.dropChunk()
	for k < n {
		m, err := l.stream.Read(p[k:])
		if k += m; err != nil && k < n {
			return nil, l.readError(err)
		}
	}
	return p, nil
}

// violate remembers v for CloseWithError and returns it.
func (l *lane) violate(v *violation) error {
	l.violated.CompareAndSwap(nil, v)
	return v
}

// fill returns when n bytes, at most chunkSize, are in the chunk.
func (l *lane) fill(n int) error {
	in := &l.in
	if in.w-in.r >= n {
		return nil
	}
	if in.r == in.w {
		in.dropChunk()
		if _, err := l.stream.Peek(in.peeked[:]); err != nil {
			return l.readError(err)
		}
		in.chunk = getChunk()
	}
	// What is wanted must fit behind r.
	if in.r+n > chunkSize {
		in.w = copy(in.chunk[:], in.chunk[in.r:in.w])
		in.r = 0
	}
	for in.w-in.r < n {
		m, err := l.stream.Read(in.chunk[in.w:])
		if in.w += m; err != nil && in.w-in.r < n {
			return l.readError(err)
		}
	}
	return nil
}

// readError turns an error of the stream into one of ReadFrame.
func (l *lane) readError(err error) error {
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("quic: read: the stream ended without a CLOSE: %w", io.ErrUnexpectedEOF)
	}
	return l.linkError("read", err)
}

func (in *reader) buffered() []byte {
	if in.chunk == nil {
		return nil
	}
	return in.chunk[in.r:in.w]
}

func (in *reader) dropChunk() {
	if in.chunk != nil {
		putChunk(in.chunk)
		in.chunk = nil
	}
	in.r, in.w = 0, 0
}

func (in *reader) dropBig() {
	if in.big != nil {
		in.big.Free()
		in.big = nil
	}
}

var _ transport.Conn = (*conn)(nil)
