package websocket

import (
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/gobwas/ws"

	"github.com/gridmux/gridmux/transport"
	"github.com/gridmux/gridmux/transport/internal/recycle"
)

const (
	// maxFragments bounds the frames of one message, which could otherwise go
	// on for ever with empty ones.
	maxFragments = 1024
	// maxControls bounds the control frames per second without a data frame
	// between them.
	maxControls = 1 << 16
)

// reader is the state of the receiving direction, owned by the goroutine in
// ReadFrame. Its chunk holds what was read and not yet returned, and the frame
// that was returned last; it goes back to the pool before the reader waits with
// nothing in it.
type reader struct {
	err   error // the first failure
	early []byte

	chunk *chunk
	r, w  int // chunk[r:w] is not yet consumed

	big  *recycle.Large // the message that did not fit into the chunk
	dst  []byte         // the part of big that the link is read into, ahead of the chunk
	want int            // how many bytes have to be in the chunk

	controls   int // control frames since the last data frame
	controlsAt time.Time

	socket          // if the link is one
	peeked [16]byte // what a reader of another link waits with
}

// ReadFrame returns the next binary message. It waits without a buffer, and
// reads 128 KiB at a time once bytes are there; frames that fit into that are
// returned where they lie. CloseWithError leaves a borrowed frame alone: only
// ReadFrame gives buffers back.
func (c *conn) ReadFrame(limit int) ([]byte, error) {
	c.in.dropBig()
	if c.in.err == nil && !c.closed.Load() {
		p, err := c.nextMessage(limit)
		if err == nil {
			return p, nil
		}
		c.in.err = err
	}
	c.in.dropBig()
	c.in.dropChunk()
	if c.closed.Load() {
		return nil, errClosed
	}
	return nil, c.in.err
}

// nextMessage returns the payload of the next data message and deals with the
// control frames before it.
func (c *conn) nextMessage(limit int) ([]byte, error) {
	got, fragments := 0, 0
	for {
		var h header
		if err := c.readHeader(&h); err != nil {
			return nil, err
		}
		if h.op.IsControl() {
			if err := c.control(&h); err != nil {
				return nil, err
			}
			continue
		}
		c.in.controls = 0
		switch total := uint64(got) + h.length; {
		case fragments == 0 && h.op == ws.OpContinuation:
			return nil, c.violate(breach(ws.StatusProtocolError, "5.4", "a continuation frame without a beginning"))
		case fragments > 0 && h.op != ws.OpContinuation:
			return nil, c.violate(breach(ws.StatusProtocolError, "5.4", "a new message inside a fragmented one"))
		case total > uint64(max(limit, 0)):
			return nil, c.violate(tooLarge(total, limit))
		}
		if h.fin && fragments == 0 {
			return c.payload(&h)
		}
		fragments++
		if fragments > maxFragments {
			return nil, c.violate(breach(ws.StatusPolicyViolation, "10.4",
				fmt.Sprintf("a message of more than %d fragments", maxFragments)))
		}
		if err := c.fragment(&h, got); err != nil {
			return nil, err
		}
		got += int(h.length)
		if h.fin {
			return c.in.message(got), nil
		}
	}
}

func (c *conn) readHeader(h *header) error {
	for {
		need, v := h.parse(c.in.buffered(), !c.client)
		if v != nil {
			return c.violate(v)
		}
		if need == 0 {
			c.in.r += h.size
			return nil
		}
		if err := c.fill(need); err != nil {
			return err
		}
	}
}

// payload reads the payload of h, whose length was checked: in place if it fits
// into the chunk, else into a buffer of its own.
func (c *conn) payload(h *header) ([]byte, error) {
	n := int(h.length)
	var p []byte
	if n <= chunkSize {
		if err := c.fill(n); err != nil {
			return nil, err
		}
		// A frame without payload may be the last thing in the chunk, but a
		// chunk there is: the header was read into it.
		p = c.in.chunk[c.in.r : c.in.r+n : c.in.r+n]
		c.in.r += n
	} else {
		c.in.big = recycle.GetLarge(n)
		p = c.in.big.B[:n:n]
		k := copy(p, c.in.buffered())
		c.in.r += k
		c.in.dropChunk()
		c.in.dst, c.in.want = p[k:], 0
		if err := c.pull(); err != nil {
			return nil, err
		}
	}
	if h.masked {
		ws.Cipher(p, h.mask, 0)
	}
	return p, nil
}

// fragment appends the payload of h to the message in c.in.big, which holds got
// bytes. The buffer grows with what has arrived, not with what was announced.
func (c *conn) fragment(h *header, got int) error {
	for done, n := 0, int(h.length); done < n; {
		if len(c.in.buffered()) == 0 {
			if err := c.fill(1); err != nil {
				return err
			}
		}
		part := c.in.buffered()
		part = part[:min(len(part), n-done)]
		if h.masked {
			ws.Cipher(part, h.mask, done)
		}
		c.in.grow(got+done, len(part))
		copy(c.in.big.B[got+done:], part)
		c.in.r += len(part)
		done += len(part)
	}
	return nil
}

// control deals with a control frame, whose length parse has checked.
func (c *conn) control(h *header) error {
	if v := c.in.countControl(); v != nil {
		return c.violate(v)
	}
	n := int(h.length)
	if err := c.fill(n); err != nil {
		return err
	}
	p := c.in.buffered()[:n]
	c.in.r += n
	if h.masked {
		ws.Cipher(p, h.mask, 0)
	}
	switch h.op {
	case ws.OpPing:
		c.pong(p)
	case ws.OpClose:
		end, v := parseClose(p)
		if v != nil {
			return c.violate(v)
		}
		c.peerEnd.Store(&peerCloseError{end})
		return end
	}
	return nil
}

// countControl limits control frames: they cost us something and the core, which
// judges what a peer may cost, does not see them.
func (in *reader) countControl() *violation {
	in.controls++
	if in.controls%maxControls != 1 {
		return nil
	}
	now := time.Now()
	if in.controls > 1 && now.Sub(in.controlsAt) < time.Second {
		return breach(ws.StatusPolicyViolation, "5.5", fmt.Sprintf("more than %d control frames in a second", maxControls))
	}
	in.controlsAt = now
	return nil
}

// violate remembers v for the close frame and returns it as an error.
func (c *conn) violate(v *violation) error {
	c.violated.CompareAndSwap(nil, v)
	return v
}

// fill returns when n bytes, at most chunkSize, are in the chunk.
func (c *conn) fill(n int) error {
	in := &c.in
	if in.w-in.r >= n {
		return nil
	}
	// The frame must fit behind r. Moving what is there is also worth it when
	// the room behind it is short, or a partial frame near the end of the chunk
	// makes reads alternate between large and tiny.
	if in.chunk != nil && in.r > 0 && (in.r+n > chunkSize || in.r >= chunkSize/2) {
		in.w = copy(in.chunk[:], in.chunk[in.r:in.w])
		in.r = 0
	}
	in.want = n
	return c.pull()
}

// pull reads from the link until satisfied.
func (c *conn) pull() error {
	in := &c.in
	for len(in.early) > 0 {
		n := copy(in.room(), in.early)
		in.advance(n)
		if in.early = in.early[n:]; len(in.early) == 0 {
			in.early = nil
		}
		if in.satisfied() {
			return nil
		}
	}
	if in.satisfied() {
		return nil
	}
	var err error
	if in.isSocket() {
		err = c.pullSocket()
	} else {
		err = c.pullConn()
	}
	if err == nil {
		return nil
	}
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("websocket: the link ended without a close frame: %w", io.ErrUnexpectedEOF)
	}
	if errors.Is(err, net.ErrClosed) {
		// ReadFrame reports our own CloseWithError; this is somebody else's.
		return fmt.Errorf("websocket: read: %v", err) //nolint:errorlint // Hidden on purpose.
	}
	return fmt.Errorf("websocket: read: %w", err)
}

// pullConn is pull for any net.Conn. While it waits for a frame to begin it
// holds no chunk but reads into a few bytes of its own.
func (c *conn) pullConn() error {
	in := &c.in
	for empty := 0; ; {
		dst := in.peeked[:]
		in.letGo()
		if in.chunk != nil || len(in.dst) > 0 {
			dst = in.room()
		}
		n, err := c.nc.Read(dst)
		if n > 0 {
			if in.chunk == nil && len(in.dst) == 0 {
				copy(in.room(), in.peeked[:n])
			}
			in.advance(n)
			if in.satisfied() {
				return nil
			}
			empty = 0
		}
		if err != nil {
			return err
		}
		if n == 0 {
			empty++
			if empty > 100 {
				return io.ErrNoProgress
			}
		}
	}
}

func (in *reader) buffered() []byte {
	if in.chunk == nil {
		return nil
	}
	return in.chunk[in.r:in.w]
}

// satisfied reports whether what fill or payload asked for is there.
func (in *reader) satisfied() bool { return len(in.dst) == 0 && in.w-in.r >= in.want }

// room returns where to read to next; it is not empty unless satisfied.
func (in *reader) room() []byte {
	if len(in.dst) > 0 {
		return in.dst
	}
	if in.chunk == nil {
		in.chunk = getChunk()
	}
	if in.r == in.w {
		in.r, in.w = 0, 0
	}
	return in.chunk[in.w:]
}

// advance says that n bytes were read into room.
func (in *reader) advance(n int) {
	if len(in.dst) > 0 {
		in.dst = in.dst[n:]
		return
	}
	in.w += n
}

// letGo gives an empty chunk back, before waiting.
func (in *reader) letGo() {
	if in.r == in.w {
		in.dropChunk()
	}
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
	in.dst = nil
}

// grow makes room in big for n more bytes after the first got.
func (in *reader) grow(got, n int) {
	if in.big == nil {
		in.big = recycle.GetLarge(n)
	}
	if got+n <= len(in.big.B) {
		return
	}
	more := recycle.GetLarge(max(got+n, 2*len(in.big.B)))
	copy(more.B, in.big.B[:got])
	in.big.Free()
	in.big = more
}

// message returns the reassembled message of n bytes.
func (in *reader) message(n int) []byte {
	if in.big == nil { // only empty fragments
		return []byte{}
	}
	return in.big.B[:n:n]
}

var _ transport.Conn = (*conn)(nil)
