package faulty

import (
	"slices"

	"github.com/gridmux/gridmux/transport"
)

// ReadFrame takes what pump has read.
func (c *conn) ReadFrame(limit int) ([]byte, error) {
	l := c.link
	l.mu.Lock()
	defer l.mu.Unlock()
	c.limit = limit
	c.wanted = true
	defer func() { c.wanted = false }()
	if !c.pumping {
		c.pumping = true
		go c.pump()
	}
	c.change.Broadcast()
	for {
		switch {
		case c.closed:
			return nil, errClosed
		case c.overrun:
			return nil, c.readErr
		case len(c.ready) > 0:
			return c.take(limit)
		case l.broken != nil:
			return nil, l.broken
		case c.readErr != nil:
			return nil, c.readErr
		}
		c.change.Wait()
	}
}

// take returns the oldest frame that has arrived.
func (c *conn) take(limit int) ([]byte, error) {
	frame := c.ready[0]
	if len(frame) > limit {
		c.readErr, c.overrun = transport.FrameTooLargeError(uint64(len(frame)), limit), true
		c.ready = nil
		return nil, c.readErr
	}
	c.ready[0] = nil
	if c.ready = c.ready[1:]; len(c.ready) == 0 {
		c.ready = nil
	}
	c.flows[In].size -= len(frame) + overhead
	c.change.Broadcast()
	return frame, nil
}

// pump reads from the link below: what a ReadFrame waits for, and ahead of it
// while frames are delayed on their way in. It runs from the first ReadFrame on
// and ends with the connection, or with the first error. It is a goroutine
// because a close that is held must not hold the ReadFrame that it ends.
func (c *conn) pump() {
	for {
		limit, ok := c.nextRead()
		if !ok {
			return
		}
		if frame, err := c.inner.ReadFrame(limit); !c.received(frame, err) {
			return
		}
	}
}

// nextRead waits until there is something to read for and returns the limit.
func (c *conn) nextRead() (limit int, ok bool) {
	l, f := c.link, &c.flows[In]
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		ahead := !f.direct()
		switch {
		case c.closed || c.gone || f.lost:
			return 0, false
		case ahead && f.size < room:
			// The limit of the ReadFrame that it is for is not known yet.
			return max(c.limit, c.info.MaxFrame), true
		case !ahead && c.wanted && len(c.ready) == 0:
			return c.limit, true
		}
		c.change.Wait()
	}
}

// received takes what came from below, and reports whether to go on.
func (c *conn) received(frame []byte, err error) bool {
	l, f := c.link, &c.flows[In]
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case c.closed || c.gone || f.lost:
		return false
	case err != nil:
		err = translate(err)
		end := func() { c.readErr = err; c.change.Broadcast() }
		if f.direct() {
			end()
			return false
		}
		f.happen(func() {
			l.mu.Lock()
			defer l.mu.Unlock()
			end()
		}, f.last())
		return false
	case f.direct():
		c.ready = append(c.ready, slices.Clone(frame))
		f.size += len(frame) + overhead
		c.change.Broadcast()
	default:
		f.carry([][]byte{slices.Clone(frame)})
	}
	return true
}
