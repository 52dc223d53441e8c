package transport

import (
	"errors"
	"fmt"
	"unicode/utf8"
)

const (
	// MaxCode is the largest close code that belongs to the user of a [Conn].
	MaxCode = 999
	// MaxReason is the longest close reason in bytes that every transport
	// carries.
	MaxReason = 120
)

// Close codes above [MaxCode] belong to transports: what a transport closes
// with when its peer breaks the rules of the link itself. They are numbered as
// the close codes of RFC 6455 section 7.4.1, of which a transport may use
// others too.
const (
	// CodeProtocol: the peer broke the link's protocol.
	CodeProtocol uint32 = 1002
	// CodeTooLarge: the peer announced a frame over the limit.
	CodeTooLarge uint32 = 1009
)

// ErrFrameTooLarge is matched by the error of ReadFrame for a frame over its
// limit and of WriteFrames for one over Info().MaxFrame.
var ErrFrameTooLarge = errors.New("frame too large")

// FrameTooLargeError tells the two sizes; it matches [ErrFrameTooLarge].
func FrameTooLargeError(length uint64, limit int) error {
	return fmt.Errorf("%w: %d bytes announced, limit %d", ErrFrameTooLarge, length, limit)
}

// CloseError says that the other end closed the connection, with which code and
// why.
type CloseError struct {
	Code   uint32
	Reason string // the peer's words, at most MaxReason bytes; not to be trusted
}

func (e *CloseError) Error() string {
	if e == nil {
		return "<nil>"
	}
	if e.Reason == "" {
		return fmt.Sprintf("closed by the peer with code %d", e.Code)
	}
	return fmt.Sprintf("closed by the peer with code %d: %q", e.Code, e.Reason)
}

// Phases of making a connection, in order, as in [DialError].
const (
	PhaseDial    = "dial"    // resolve the name and connect
	PhaseTLS     = "tls"     // TLS handshake and verification of the name
	PhaseUpgrade = "upgrade" // the transport's own handshake, such as the websocket upgrade
	PhaseHello   = "hello"   // the core's handshake over the finished connection
)

// DialError says in which phase an attempt to connect failed.
type DialError struct {
	Transport string // "websocket"
	Peer      Peer
	Phase     string // one of the Phase constants
	Err       error  // never nil
}

func (e *DialError) Error() string {
	if e == nil {
		return "<nil>"
	}
	return fmt.Sprintf("%s to %s (%s): %s: %v", e.Transport, e.Peer.Name, e.Peer.Addr, e.Phase, e.Err)
}

func (e *DialError) Unwrap() error {
	if e == nil {
		return nil
	}
	return e.Err
}

// CutReason returns reason cut to at most [MaxReason] bytes at a character
// boundary, with invalid UTF-8 replaced.
func CutReason(reason string) string {
	if len(reason) <= MaxReason && utf8.ValidString(reason) {
		return reason
	}
	out := make([]byte, 0, MaxReason)
	for _, r := range reason {
		if len(out)+utf8.RuneLen(r) > MaxReason {
			break
		}
		out = utf8.AppendRune(out, r)
	}
	return string(out)
}
