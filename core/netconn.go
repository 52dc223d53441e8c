package core

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/gridmux/gridmux/core/internal/wire"
)

// netConn is a stream as a [net.Conn].
type netConn struct {
	st       *RawStream
	reading  chan struct{} // capacity 1: the turn to read
	writing  chan struct{} // capacity 1: the turn to write
	closing  sync.Once
	closed   chan struct{}
	declined error // why nobody took it; set before closed is closed

	// Guarded by RawStream.mu.
	readLimit, writeLimit timeLimit
}

var _ net.Conn = (*netConn)(nil)

const (
	// closeGrace is how long the calling side of a closed net.Conn waits for the
	// other side to take what was written and to close too.
	closeGrace = time.Minute
	// netCapacity is how many messages of a net.Conn are in flight where
	// WithCapacity says nothing. Writes may be small: bytes shall be the limit.
	netCapacity = 1024
)

var (
	errListenerClosed = errors.New("the listener was closed")
	errFarClosed      = fmt.Errorf("the other side has closed the connection: %w", io.ErrClosedPipe)
)

// Conn returns the stream as a [net.Conn], and so as an [io.Reader] and an
// [io.Writer]: its messages are taken as the bytes of one sequence, of which
// message boundaries are no part. Every call returns the same one. It is for
// either side, and any number of goroutines may call its methods.
//
// Read returns [io.EOF] after the last byte where the other side has closed its
// side, or the handler there has returned nil. After every other end it fails,
// with an error that wraps that of Recv: one cut off never looks complete. Write
// returns when the bytes are on their way, in messages of at most 32 KiB.
//
// Close returns at once and lets what was written arrive. On the calling side the
// stream ends when its handler returns, which gets io.EOF; if it has not after a
// minute, or sends on and on, the stream is cut off. On the serving side the
// stream ends when the handler returns. There is also a CloseWrite, as
// *[net.TCPConn] has: the other side gets io.EOF, and this one can still read.
//
// When a deadline passes, reading or writing fails with [os.ErrDeadlineExceeded],
// Send and Recv of the stream too, but not a Send of more than 32 KiB that has
// begun. A new deadline makes it go on, and nothing is lost but what Write says
// that it did not write.
//
// The network of the addresses is "gridmux"; they are the names of the nodes.
// Errors but io.EOF are of the type *[net.OpError].
func (st *RawStream) Conn() net.Conn {
	if st == nil {
		st = new(RawStream)
	}
	return st.netConn()
}

func (st *RawStream) netConn() *netConn {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.nc == nil {
		st.nc = &netConn{
			st: st, reading: make(chan struct{}, 1), writing: make(chan struct{}, 1), closed: make(chan struct{}),
		}
	}
	return st.nc
}

// usable is why nothing can be done with the connection: it was closed, or never
// was one.
func (c *netConn) usable() error {
	if c.st.s == nil {
		return c.st.misuse()
	}
	select {
	case <-c.closed:
		return net.ErrClosed
	default:
		return nil
	}
}

func (c *netConn) Read(p []byte) (int, error) {
	n, err := c.read(p)
	switch {
	case err == nil:
		return n, nil
	case c.usable() != nil:
		err = c.usable() // Close came in between
	case err == io.EOF: //nolint:errorlint // RawStream returns it as it is.
		return n, io.EOF
	}
	return n, c.opError("read", err)
}

func (c *netConn) read(p []byte) (int, error) {
	if err := c.usable(); err != nil {
		return 0, err
	}
	// Whoever has the turn waits for nothing that Close or a deadline does not end.
	c.reading <- struct{}{}
	defer func() { <-c.reading }()
	if c.isExpired(&c.st.in.expired) {
		return 0, os.ErrDeadlineExceeded
	}
	if len(p) == 0 {
		return 0, nil
	}
	if !c.st.receiving.CompareAndSwap(false, true) {
		return 0, errTwoReceivers
	}
	defer c.st.receiving.Store(false)
	return c.st.read(p)
}

func (c *netConn) Write(p []byte) (int, error) {
	n, err := c.write(p)
	switch {
	case err == nil:
		return n, nil
	case c.usable() != nil:
		err = c.usable()
	case errors.Is(err, errReturned):
		err = errFarClosed // net.ErrClosed would say that this side has
	}
	return n, c.opError("write", err)
}

func (c *netConn) write(p []byte) (n int, err error) {
	if err := c.usable(); err != nil {
		return 0, err
	}
	c.writing <- struct{}{}
	defer func() { <-c.writing }()
	if c.isExpired(&c.st.out.expired) {
		return 0, os.ErrDeadlineExceeded
	}
	// Larger messages would not stop at a deadline, nor small calls pass them.
	size := max(min(maxSmall, c.st.out.window, c.st.s.maxSend), 1)
	for n < len(p) {
		part := p[n:min(n+size, len(p))]
		if err := c.st.send(part); err != nil {
			return n, err
		}
		n += len(part)
	}
	return n, nil
}

// CloseWrite ends the bytes of this side.
func (c *netConn) CloseWrite() error {
	if err := c.usable(); err != nil {
		return c.opError("close", err)
	}
	c.st.closeSend()
	return nil
}

func (c *netConn) Close() error {
	if c.st.s == nil {
		return c.opError("close", c.st.misuse())
	}
	c.close(nil)
	return nil
}

// close closes the connection; err is why nobody took it.
func (c *netConn) close(err error) {
	c.closing.Do(func() {
		c.declined = err
		close(c.closed)
		st := c.st
		st.mu.Lock()
		c.readLimit.stop()
		c.writeLimit.stop()
		st.mu.Unlock()
		// That of a Listener ends with its handler, which returns now and so has given
		// its place back when the other side sees the end.
		if !st.serving() || st.ctx.h.listener == nil {
			st.closeSend()
		}
		if !st.serving() {
			st.endSoon()
		}
		st.discard(errStreamClosed)
	})
}

// endSoon gives the stream up after a while, unless its handler has returned by
// then, or sends more than it could when it was told that the input is over.
func (st *RawStream) endSoon() {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.over {
		return
	}
	st.in.indulgence = st.in.window
	timer := time.AfterFunc(closeGrace, func() { st.giveUp(errStreamClosed, wire.CodeCanceled) })
	unwatch := st.stop
	st.stop = func() bool {
		if unwatch != nil {
			unwatch()
		}
		return timer.Stop()
	}
}

func (c *netConn) LocalAddr() net.Addr {
	if c.st.s == nil {
		return nodeAddr("")
	}
	return nodeAddr(c.st.s.m.cfg.Local.Name)
}

func (c *netConn) RemoteAddr() net.Addr { return nodeAddr(c.st.Peer()) }

func (c *netConn) opError(op string, err error) error {
	return &net.OpError{Op: op, Net: network, Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: err}
}

// nodeAddr is the address of a node by its name.
type nodeAddr string

const network = "gridmux"

func (nodeAddr) Network() string  { return network }
func (a nodeAddr) String() string { return string(a) }
