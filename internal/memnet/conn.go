package memnet

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

var (
	errReset = errors.New("connection reset by peer")
	errPipe  = errors.New("broken pipe")
)

// Conn is one end of a connection in memory. It is a net.Conn with CloseWrite;
// all methods may be called concurrently.
//
// Close ends both directions: the other end reads what was written before, then
// io.EOF, and its writes fail with "connection reset by peer". Reads and writes
// after a local Close match net.ErrClosed.
type Conn struct {
	local, remote Addr
	in, out       *half
}

// Pipe returns the two ends of a connection.
func Pipe(opts ...Option) (*Conn, *Conn) {
	return pipe("pipe:1", "pipe:2", newSettings(opts))
}

func pipe(a, b Addr, s settings) (*Conn, *Conn) {
	ab, ba := newHalf(s.buffer), newHalf(s.buffer)
	ab.back, ba.back = ba, ab
	return &Conn{local: a, remote: b, in: ba, out: ab}, &Conn{local: b, remote: a, in: ab, out: ba}
}

// Read waits for bytes and returns those that are there.
func (c *Conn) Read(p []byte) (int, error) {
	n, err := c.in.read(p)
	return n, c.wrap("read", err)
}

// Write returns when all of p is in the buffer, or with the number of bytes
// that got there and an error.
func (c *Conn) Write(p []byte) (int, error) {
	n, err := c.out.write(p)
	return n, c.wrap("write", err)
}

// Close ends both directions.
func (c *Conn) Close() error {
	first := c.out.closeWriter()
	c.in.closeReader()
	if !first {
		return c.wrap("close", net.ErrClosed)
	}
	return nil
}

// CloseWrite ends the outgoing direction: the other end reads io.EOF once it
// has read what was written before.
func (c *Conn) CloseWrite() error {
	c.out.finish()
	return nil
}

// LocalAddr returns the address of this end.
func (c *Conn) LocalAddr() net.Addr { return c.local }

// RemoteAddr returns the address of the other end.
func (c *Conn) RemoteAddr() net.Addr { return c.remote }

// SetDeadline sets both deadlines.
func (c *Conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// SetReadDeadline also takes effect on a Read in progress, whose error then
// matches os.ErrDeadlineExceeded.
func (c *Conn) SetReadDeadline(t time.Time) error {
	return c.wrap("set", c.in.setDeadline(&c.in.reader, t))
}

// SetWriteDeadline also takes effect on a Write in progress, whose error then
// matches os.ErrDeadlineExceeded.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	return c.wrap("set", c.out.setDeadline(&c.out.writer, t))
}

// StallReads makes every Read on this end wait, as a process that is stopped
// would, until it is called with false, a deadline passes or Close is called.
func (c *Conn) StallReads(on bool) {
	c.in.mu.Lock()
	defer c.in.mu.Unlock()
	c.in.stalled = on
	c.in.cond.Broadcast()
}

// Buffered returns how many bytes have arrived at this end that it has not read yet.
func (c *Conn) Buffered() int {
	c.in.mu.Lock()
	defer c.in.mu.Unlock()
	return c.in.arrived
}

func (c *Conn) wrap(op string, err error) error {
	// io.EOF is what callers of Read compare with.
	if err == nil || errors.Is(err, io.EOF) {
		return err
	}
	return &net.OpError{Op: op, Net: "mem", Source: c.local, Addr: c.remote, Err: err}
}

// half is one direction: a ring of bytes and what its two ends have done.
type half struct {
	mu   sync.Mutex
	cond sync.Cond // of mu; broadcast at every change below

	back *half // the other direction; set before the connection is used

	// Guarded by mu.
	size           int    // how many bytes there may be in the ring
	ring           []byte // nil until the first write; it grows
	head, n        int    // n bytes are in the ring, from head on
	arrived        int    // so many of them, the first, can be read; the others are on their way
	transit        transit
	ended          bool // the writer ended the direction
	finished       bool // and the reader can know: EOF after the ring
	deaf           bool // the reader has closed, and the writer can know
	reset          bool // at both ends at once
	stalled        bool
	reader, writer end
}

// end is the state of one end of a half.
type end struct {
	closed  bool
	expired bool
	timer   *time.Timer
}

func newHalf(size int) *half {
	h := &half{size: size}
	h.cond.L = &h.mu
	return h
}

func (h *half) read(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for {
		switch {
		case h.reader.closed:
			return 0, net.ErrClosed
		case h.reader.expired:
			return 0, os.ErrDeadlineExceeded
		case h.reset:
			return 0, errReset
		case len(p) == 0:
			return 0, nil
		case h.arrived > 0 && !h.stalled:
			return h.take(p), nil
		case h.arrived == 0 && h.finished && !h.stalled:
			return 0, io.EOF
		}
		h.cond.Wait()
	}
}

func (h *half) take(p []byte) int {
	done := 0
	for done < len(p) && h.arrived > 0 {
		k := copy(p[done:], h.ring[h.head:min(h.head+h.arrived, len(h.ring))])
		h.head = (h.head + k) % len(h.ring)
		h.n -= k
		h.arrived -= k
		done += k
	}
	h.cond.Broadcast()
	return done
}

func (h *half) write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	done := 0
	for {
		switch {
		case h.writer.closed:
			return done, net.ErrClosed
		case h.writer.expired:
			return done, os.ErrDeadlineExceeded
		case h.reset:
			return done, errReset
		case h.ended:
			return done, errPipe
		case h.deaf:
			return done, errReset
		case done == len(p):
			return done, nil
		case h.reader.closed:
			return len(p), nil // nobody takes it, which shows when the news arrives
		case h.n < h.size:
			done += h.put(p[done:])
			continue
		}
		h.cond.Wait()
	}
}

func (h *half) put(p []byte) int {
	if need := min(h.n+len(p), h.size); need > len(h.ring) {
		h.grow(need)
	}
	done := 0
	for size := len(h.ring); done < len(p) && h.n < min(size, h.size); {
		tail := (h.head + h.n) % size
		k := copy(h.ring[tail:min(tail+size-h.n, size)], p[done:])
		h.n += k
		done += k
	}
	h.send(done, bytesCome)
	return done
}

// grow makes room in the ring for so many bytes, at most size.
func (h *half) grow(need int) {
	ring := make([]byte, max(need, min(h.size, max(2*len(h.ring), DefaultBuffer))))
	n := copy(ring, h.ring[h.head:min(h.head+h.n, len(h.ring))])
	copy(ring[n:], h.ring[:h.n-n])
	h.ring, h.head = ring, 0
}

func (h *half) finish() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.ended {
		h.ended = true
		h.send(0, endComes)
	}
}

// closeWriter reports whether this was the first call.
func (h *half) closeWriter() bool {
	h.mu.Lock()
	first := !h.writer.closed
	h.writer.closed, h.ended = true, true
	h.writer.stop()
	told := first && h.send(0, closeComes)
	h.cond.Broadcast()
	h.mu.Unlock()
	if told {
		h.back.deafen()
	}
	return first
}

func (h *half) closeReader() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.reader.closed = true
	h.reader.stop()
	h.ring, h.n, h.head, h.arrived = nil, 0, 0, 0
	h.cond.Broadcast()
}

func (e *end) stop() {
	if e.timer != nil {
		e.timer.Stop()
		e.timer = nil
	}
}

// setDeadline sets the deadline of e, one of the ends of h.
func (h *half) setDeadline(e *end, t time.Time) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if e.closed {
		return net.ErrClosed
	}
	e.stop()
	e.expired = false
	if t.IsZero() {
		return nil
	}
	d := time.Until(t)
	if d <= 0 {
		e.expired = true
		h.cond.Broadcast()
		return nil
	}
	var timer *time.Timer
	timer = time.AfterFunc(d, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		// A later deadline has replaced this one while it waited for mu.
		if e.timer != timer {
			return
		}
		e.expired = true
		h.cond.Broadcast()
	})
	e.timer = timer
	return nil
}
