package faulty

import (
	"slices"
	"sync"
	"time"

	"github.com/gridmux/gridmux/transport"
)

// How long a connection lives on below, after its owner has closed it, when the
// link takes nothing of what comes before the close, and when it is stalled: the
// latter as a peer that gives up on a silent link.
const (
	lingerTime      = time.Second
	lingerTimeStall = time.Minute
)

// A conn is this end of a connection or lane.
type conn struct {
	link  *link
	inner transport.Conn
	info  transport.Info
	first bool // it is the connection itself

	change sync.Cond // of anything here; its lock is link.mu

	// Guarded by link.mu.
	flows  [2]flow
	closed bool // by its owner
	gone   bool // closed below, or about to be
	linger *time.Timer

	writing  bool // a WriteFrames is in that of the link below
	writeErr error

	pumping  bool     // pump was started
	wanted   bool     // a ReadFrame waits
	limit    int      // of the latest ReadFrame
	ready    [][]byte // have arrived
	readErr  error    // comes after them
	overrun  bool     // readErr comes before them: one was too large
	closedAt time.Time
}

func (c *conn) Info() transport.Info { return c.info }

// failure returns why the connection is of no more use. It is called with
// link.mu held.
func (c *conn) failure() error {
	if c.closed {
		return errClosed
	}
	return c.link.broken
}

func (c *conn) WriteFrames(frames [][]byte) error {
	l, f := c.link, &c.flows[Out]
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := c.writeFailure(); err != nil || len(frames) == 0 {
		return err
	}
	if f.direct() {
		c.writing = true
		l.mu.Unlock()
		err := c.inner.WriteFrames(frames)
		l.mu.Lock()
		c.writing = false
		if broken := c.failure(); err != nil && broken != nil {
			return broken
		}
		return translate(err)
	}
	for _, frame := range frames {
		if n := len(frame) - c.info.Headroom; n > c.info.MaxFrame {
			return transport.FrameTooLargeError(uint64(n), c.info.MaxFrame)
		}
	}
	for len(frames) > 0 {
		var batch [][]byte
		size := f.size
		for len(frames) > 0 && f.takes(frames[0]) {
			f.size += len(frames[0]) + overhead
			batch = append(batch, slices.Clone(frames[0]))
			frames = frames[1:]
		}
		f.size = size // carry counts what the link does not lose
		if batch != nil {
			f.carry(batch)
		} else {
			c.change.Wait()
		}
		if err := c.writeFailure(); err != nil {
			return err
		}
	}
	return nil
}

func (c *conn) writeFailure() error {
	if err := c.failure(); err != nil {
		return err
	}
	return c.writeErr
}

// CloseWithError closes the connection below when that would be the peer's turn
// to learn of it: at once if nothing delays what is sent.
func (c *conn) CloseWithError(code uint32, reason string) error {
	l := c.link
	l.mu.Lock()
	if c.closed {
		l.mu.Unlock()
		return nil
	}
	conns := []*conn{c}
	if c.first {
		conns = l.conns
	}
	atOnce, direct := false, true
	var latest time.Time
	for _, each := range conns {
		each.closed = true
		each.ready = nil
		each.flows[In].drop()
		each.change.Broadcast()
		atOnce = atOnce || each.writing
		direct = direct && each.flows[Out].direct()
		if last := each.flows[Out].last(); last.After(latest) {
			latest = last
		}
	}
	if c.gone {
		l.mu.Unlock()
		return nil
	}
	if c.first && l.end != nil {
		l.end()
	}
	if atOnce || direct {
		l.mu.Unlock()
		return c.finish(code, reason)
	}
	f := &c.flows[Out]
	f.happen(func() { _ = c.finish(code, reason) }, latest)
	c.closedAt = time.Now()
	c.linger = time.AfterFunc(max(time.Until(f.last()), 0)+lingerTime, func() { c.giveUp(code, reason) })
	l.mu.Unlock()
	return nil
}

// giveUp closes the connection below although not everything was sent.
func (c *conn) giveUp(code uint32, reason string) {
	l := c.link
	l.mu.Lock()
	if left := lingerTimeStall - time.Since(c.closedAt); l.held[Out] && left > 0 && !c.gone {
		c.linger.Reset(left)
		l.mu.Unlock()
		return
	}
	l.mu.Unlock()
	_ = c.finish(code, reason)
}

// finish closes the connection below.
func (c *conn) finish(code uint32, reason string) error {
	l := c.link
	l.mu.Lock()
	if c.gone {
		l.mu.Unlock()
		return nil
	}
	conns := []*conn{c}
	if c.first {
		conns = l.conns
	}
	for _, each := range conns {
		each.gone = true
		each.flows[Out].drop()
		each.flows[In].drop()
		if each.linger != nil {
			each.linger.Stop()
		}
		each.change.Broadcast()
	}
	l.mu.Unlock()
	l.leave(c)
	return c.inner.CloseWithError(code, reason) //nolint:wrapcheck // It is the error of the link below.
}
