package websocket

import (
	"encoding/binary"
	"errors"
	"net"
	"time"
	"unicode/utf8"

	"github.com/gobwas/ws"

	"github.com/gridmux/gridmux/transport"
)

const (
	// lockGrace is how long the close frame waits for a write in progress. On a
	// link that takes bytes a write is over long before.
	lockGrace = 10 * time.Millisecond
	// closeTimeout bounds everything else that is said on the way out.
	closeTimeout = 250 * time.Millisecond
)

// longAgo as a deadline interrupts a read in progress.
var longAgo = time.Unix(1, 0)

// CloseWithError ends the connection. The close frame is sent if no write is
// stuck; it carries the breach of the protocol, if the peer committed one, and
// else code and reason. The peer's close frame is not waited for.
func (c *conn) CloseWithError(code uint32, reason string) error {
	if !c.closed.CompareAndSwap(false, true) {
		return nil
	}
	close(c.done)
	c.nc.SetReadDeadline(longAgo)
	if c.lockForClose() && c.out.err == nil {
		status := wireCode(code)
		if v := c.violated.Load(); v != nil {
			status, reason = v.code, v.text
		}
		c.sayGoodbye(status, transport.CutReason(reason))
	}
	if err := c.raw.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// lockForClose takes the write lock for good, so that nothing follows the close
// frame.
func (c *conn) lockForClose() bool {
	select {
	case c.writing <- struct{}{}:
		return true
	default:
	}
	grace := time.NewTimer(lockGrace)
	defer grace.Stop()
	select {
	case c.writing <- struct{}{}:
		return true
	case <-grace.C:
		return false
	}
}

// sayGoodbye sends the close frame and ends the outgoing direction. The caller
// holds the write lock.
func (c *conn) sayGoodbye(status ws.StatusCode, reason string) {
	// A deadline would not do: over TLS the end of the direction is an alert,
	// for which crypto/tls sets a deadline of its own, of five seconds.
	guard := time.AfterFunc(closeTimeout, func() { c.raw.Close() })
	defer guard.Stop()

	frame := make([]byte, headroom+2+len(reason))
	binary.BigEndian.PutUint16(frame[headroom:], uint16(status))
	copy(frame[headroom+2:], reason)
	if c.send([][]byte{putHeader(frame, ws.OpClose, c.nextMask())}) != nil {
		return
	}
	if w, ok := c.nc.(interface{ CloseWrite() error }); ok {
		w.CloseWrite()
	}
	// Closing a socket with unread bytes resets the connection, and on some
	// systems a reset makes the peer forget what it has not read yet, such as
	// our close frame.
	discard(c.raw)
}

// wireCode returns the status code of a close frame for a code of the transport
// interface.
func wireCode(code uint32) ws.StatusCode {
	switch {
	case code == 0:
		return ws.StatusNormalClosure
	case code <= transport.MaxCode:
		return 4000 + ws.StatusCode(code)
	case code <= 4000 && validStatus(ws.StatusCode(code)):
		return ws.StatusCode(code)
	}
	// From 4001 on it would arrive as a code of the user's.
	return ws.StatusInternalServerError
}

// hostCode is the inverse of wireCode for codes that validStatus allows.
func hostCode(status ws.StatusCode) uint32 {
	switch {
	case status == ws.StatusNormalClosure:
		return 0
	case status > 4000:
		return uint32(status) - 4000
	}
	return uint32(status)
}

// validStatus reports whether a close frame may carry status: RFC 6455 section
// 7.4 and, for 1012 to 1014, the IANA registry that it founds.
func validStatus(status ws.StatusCode) bool {
	switch status {
	case ws.StatusNoMeaningYet, ws.StatusNoStatusRcvd, ws.StatusAbnormalClosure:
		return false
	}
	return status >= 1000 && status <= 1014 || status >= 3000 && status <= 4999
}

// parseClose decodes the payload of a close frame.
func parseClose(p []byte) (*transport.CloseError, *violation) {
	if len(p) == 0 {
		return &transport.CloseError{}, nil
	}
	if len(p) == 1 {
		return nil, breach(ws.StatusProtocolError, "5.5.1", "a close frame with half a status code")
	}
	status, reason := ws.StatusCode(binary.BigEndian.Uint16(p)), p[2:]
	if !validStatus(status) {
		return nil, breach(ws.StatusProtocolError, "7.4", "a close frame with a status code that must not be sent")
	}
	if !utf8.Valid(reason) {
		return nil, breach(ws.StatusInvalidFramePayloadData, "5.5.1", "a close frame with a reason that is not UTF-8")
	}
	return &transport.CloseError{Code: hostCode(status), Reason: transport.CutReason(string(reason))}, nil
}

// peerCloseError is the error of writes after the peer's close frame was read.
type peerCloseError struct{ *transport.CloseError }

func (e *peerCloseError) Error() string { return "websocket: write: " + e.CloseError.Error() }

func (e *peerCloseError) Unwrap() error { return e.CloseError }
