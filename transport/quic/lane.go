package quic

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync/atomic"
	"time"

	quicgo "github.com/quic-go/quic-go"

	"github.com/gridmux/gridmux/transport"
)

var errClosed = fmt.Errorf("quic: %w", net.ErrClosed)

// lockGrace is how long the last words wait for a write in progress. A batch of the
// core is over by then on a link of a few Mbit/s, and in a process that is short of
// time; a peer that reads nothing holds a close up for as long.
const lockGrace = 100 * time.Millisecond

var (
	_ transport.Conn         = (*lane)(nil)
	_ transport.BufferedConn = (*lane)(nil)
)

// A lane is a QUIC stream as a pipe of frames. The first lane of a connection is
// the connection; see conn.
type lane struct {
	conn   *conn
	stream *quicgo.Stream

	// Ending, which anyone may cause.
	closed   atomic.Bool                          // CloseWithError was called, or that of the connection
	done     chan struct{}                        // closed with it
	violated atomic.Pointer[violation]            // what the peer did wrong, if it did
	peerEnd  atomic.Pointer[transport.CloseError] // the peer's CLOSE was read
	writing  chan struct{}                        // the write lock: a slot, so that waiting for it can end with done
	out      writer                               // guarded by writing
	in       reader                               // owned by the goroutine in ReadFrame
}

func (l *lane) init(c *conn, s *quicgo.Stream) {
	l.conn = c
	l.stream = s
	l.done = make(chan struct{})
	l.writing = make(chan struct{}, 1)
}

// Info describes the connection.
func (l *lane) Info() transport.Info { return l.conn.info }

// end closes the lane for this side. It reports whether it was open.
func (l *lane) end() bool {
	if !l.closed.CompareAndSwap(false, true) {
		return false
	}
	close(l.done)
	return true
}

// CloseWithError ends this lane alone. What was written before still arrives, if
// the peer reads it within three seconds. If a WriteFrames is stuck, the lane is
// cut off; the peer then learns the code but not the reason.
func (l *lane) CloseWithError(code uint32, reason string) error {
	if !l.end() {
		return nil
	}
	l.conn.drop(l)
	if v := l.violated.Load(); v != nil {
		code, reason = v.code, v.text
	}
	l.stream.CancelRead(quicgo.StreamErrorCode(code))
	if !l.lockForClose() || l.out.err != nil {
		l.stream.CancelWrite(quicgo.StreamErrorCode(code))
		return nil //nolint:nilerr // WriteFrames has returned that one; nothing is left.
	}
	last := closeRecord(code, reason)
	err := l.stream.TryWriteAll(last)
	switch {
	case err == nil:
		_ = l.stream.Close() // fails if the peer takes no more
	case errors.Is(err, quicgo.ErrWouldBlock):
		go l.linger(code, last)
	default:
		l.stream.CancelWrite(quicgo.StreamErrorCode(code))
	}
	return nil
}

// linger waits for the peer to read so much that the last words can be sent.
func (l *lane) linger(code uint32, last []byte) {
	l.stream.SetWriteDeadline(time.Now().Add(lingerTime))
	if _, err := l.stream.Write(last); err != nil {
		l.stream.CancelWrite(quicgo.StreamErrorCode(code))
		return
	}
	_ = l.stream.Close()
}

// abandon ends a lane whose connection ends.
func (l *lane) abandon(code uint32) {
	l.end()
	l.stream.CancelRead(quicgo.StreamErrorCode(code))
	l.stream.CancelWrite(quicgo.StreamErrorCode(code))
}

// lockWrite takes the write lock unless the lane is closed or becomes so while
// it waits.
func (l *lane) lockWrite() bool {
	select {
	case l.writing <- struct{}{}:
	default:
		select {
		case l.writing <- struct{}{}:
		case <-l.done:
			return false
		}
	}
	if l.closed.Load() {
		l.unlockWrite()
		return false
	}
	return true
}

func (l *lane) unlockWrite() { <-l.writing }

// lockForClose takes the write lock for good, so that nothing follows CLOSE.
func (l *lane) lockForClose() bool {
	select {
	case l.writing <- struct{}{}:
		return true
	default:
	}
	grace := time.NewTimer(lockGrace)
	defer grace.Stop()
	select {
	case l.writing <- struct{}{}:
		return true
	case <-grace.C:
		return false
	}
}

// linkError turns an error of the stream into one of ReadFrame or WriteFrames,
// as doing says. What quic-go says matches net.ErrClosed, whoever closed, which
// here is reserved for this side.
func (l *lane) linkError(doing string, err error) error {
	if l.closed.Load() {
		return errClosed
	}
	for _, end := range []*transport.CloseError{l.peerEnd.Load(), l.conn.peerEnd.Load()} {
		if end != nil {
			return &endError{doing, end}
		}
	}
	if ae, ok := errors.AsType[*quicgo.ApplicationError](err); ok && ae.Remote {
		return &endError{doing, closeOfCode(uint64(ae.ErrorCode), ae.ErrorMessage)}
	}
	if se, ok := errors.AsType[*quicgo.StreamError](err); ok && se.Remote {
		if l == &l.conn.lane {
			// Its CLOSE, with code and reason, may still be to be read.
			return fmt.Errorf("quic: %s: the peer takes no more", doing)
		}
		return &endError{doing, closeOfCode(uint64(se.ErrorCode), "")}
	}
	return fmt.Errorf("quic: %s: %w", doing, plain(err))
}

// closeOfCode is the close with an error code that came from the wire.
func closeOfCode(code uint64, reason string) *transport.CloseError {
	return &transport.CloseError{Code: uint32(min(code, 1<<32-1)), Reason: transport.CutReason(reason)}
}

// endError is the error of what was tried after the peer's close.
type endError struct {
	doing string
	end   *transport.CloseError
}

func (e *endError) Error() string { return "quic: " + e.doing + ": " + e.end.Error() }

func (e *endError) Unwrap() error { return e.end }

// plain returns an error of quic-go as one that does not match net.ErrClosed.
func plain(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return errors.New(describe(err))
	}
	return err
}

// describe says what the errors of quic-go mean for a node, and quotes the words of a
// peer, who may be anybody.
func describe(err error) string {
	if te, ok := errors.AsType[*quicgo.TransportError](err); ok && te.Remote && te.ErrorMessage != "" {
		tame := *te
		tame.ErrorMessage = strconv.Quote(transport.CutReason(te.ErrorMessage))
		return tame.Error()
	}
	if ae, ok := errors.AsType[*quicgo.ApplicationError](err); ok && ae.Remote {
		return closeOfCode(uint64(ae.ErrorCode), ae.ErrorMessage).Error()
	}
	if _, ok := errors.AsType[*quicgo.VersionNegotiationError](err); ok {
		return "the peer speaks no version of QUIC that this node does"
	}
	if _, ok := errors.AsType[*quicgo.StatelessResetError](err); ok {
		return "the peer knows nothing of the connection: it was restarted (stateless reset)"
	}
	if _, ok := errors.AsType[*quicgo.IdleTimeoutError](err); ok {
		return "nothing arrived for longer than the idle time-out"
	}
	if errors.Is(err, quicgo.ErrTransportClosed) {
		return "the socket failed: " + err.Error()
	}
	return err.Error()
}
