package websocket

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"

	"github.com/gobwas/ws"

	"github.com/gridmux/gridmux/transport"
)

// writer is the state of the sending direction; all of it is guarded by the
// write lock.
type writer struct {
	err   error         // the first failure: a part of a frame may be out
	masks *rand.ChaCha8 // nil on the accepting side
	mask  [4]byte
	vec   net.Buffers // here so that taking its address does not allocate
}

// maxVector bounds the batches that are written as a vector. The net package
// keeps a table of the largest one per connection, and many frames are small
// frames, for which copying is the cheaper way.
const maxVector = 64

var errHeadroom = fmt.Errorf("websocket: a frame is shorter than the %d bytes of headroom", headroom)

// WriteFrames sends each frame as one final binary message. A batch of up to 64
// frames is one system call on TCP; others, and those of other links, are
// gathered into writes of up to 64 KiB. In steady state it does not allocate.
func (c *conn) WriteFrames(frames [][]byte) error {
	if c.closed.Load() {
		return errClosed
	}
	for _, f := range frames {
		switch n := len(f) - headroom; {
		case n > maxFrame:
			return fmt.Errorf("websocket: %w", transport.FrameTooLargeError(uint64(n), maxFrame))
		case n < 0:
			return errHeadroom
		}
	}
	if len(frames) == 0 {
		return nil
	}
	if !c.lockWrite() {
		return errClosed
	}
	defer c.unlockWrite()
	if c.out.err != nil {
		return c.writeError(c.out.err)
	}
	if end := c.peerEnd.Load(); end != nil {
		return end
	}
	for i, f := range frames {
		frames[i] = putHeader(f, ws.OpBinary, c.nextMask())
	}
	return c.writeError(c.send(frames))
}

// lockWrite takes the write lock unless the connection is closed or becomes so
// while it waits.
func (c *conn) lockWrite() bool {
	select {
	case c.writing <- struct{}{}:
	default:
		select {
		case c.writing <- struct{}{}:
		case <-c.done:
			return false
		}
	}
	if c.closed.Load() {
		c.unlockWrite()
		return false
	}
	return true
}

func (c *conn) unlockWrite() { <-c.writing }

// nextMask returns a fresh mask, nil on the side that does not mask. RFC 6455
// section 5.3 wants it unpredictable, or whoever chooses the payload could
// choose the bytes on the wire. The caller holds the write lock.
func (c *conn) nextMask() *[4]byte {
	if c.out.masks == nil {
		return nil
	}
	binary.LittleEndian.PutUint32(c.out.mask[:], uint32(c.out.masks.Uint64()))
	return &c.out.mask
}

// send writes finished frames. The caller holds the write lock.
func (c *conn) send(frames [][]byte) (err error) {
	switch {
	case len(frames) == 1:
		_, err = c.nc.Write(frames[0])
	case c.vectored && len(frames) <= maxVector:
		c.out.vec = frames
		_, err = c.out.vec.WriteTo(c.nc)
		c.out.vec = nil
	default:
		err = c.gather(frames)
	}
	if err != nil {
		c.out.err = err
	}
	return err
}

// gathered is how many bytes one call writes together.
const gathered = 64 << 10

// gather writes frames in as few calls as gathered allows: every call is a TLS
// record or more, and a wake-up of the reader.
func (c *conn) gather(frames [][]byte) error {
	whole := getChunk()
	defer putChunk(whole)
	buf, n := whole[:gathered], 0
	for _, f := range frames {
		if n > 0 && len(f) > len(buf)-n {
			if _, err := c.nc.Write(buf[:n]); err != nil {
				return err
			}
			n = 0
		}
		if len(f) >= len(buf) {
			if _, err := c.nc.Write(f); err != nil {
				return err
			}
			continue
		}
		n += copy(buf[n:], f)
	}
	if n == 0 {
		return nil
	}
	_, err := c.nc.Write(buf[:n])
	return err
}

// writeError turns an error of the link into one of WriteFrames.
func (c *conn) writeError(err error) error {
	switch {
	case err == nil:
		return nil
	case c.closed.Load():
		return errClosed
	case errors.Is(err, net.ErrClosed):
		// Somebody closed the link beneath us; to match net.ErrClosed would
		// say that we did.
		return fmt.Errorf("websocket: write: %v", err) //nolint:errorlint // Hidden on purpose.
	}
	return fmt.Errorf("websocket: write: %w", err)
}
