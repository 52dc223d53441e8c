package core

import (
	"errors"
	"fmt"
	"strings"
	"unicode"

	"github.com/gridmux/gridmux/core/internal/wire"
	"github.com/gridmux/gridmux/transport"
)

// rejection is why a connection does not come about here. code and text are what
// the other side may be told.
type rejection struct {
	code   wire.Code
	text   string
	detail string // what this side says instead of text, if anything
	err    error  // the cause, for this side alone
}

func (r *rejection) Error() string {
	s := r.text
	if r.detail != "" {
		s = r.detail
	}
	if r.err != nil {
		s += ": " + r.err.Error()
	}
	return s
}

func (r *rejection) Unwrap() error { return r.err }

func reject(code wire.Code, format string, args ...any) error {
	return &rejection{code: code, text: fmt.Sprintf(format, args...)}
}

// rejectedError is why the peer refused a connection.
type rejectedError struct {
	code wire.Code
	text string // the peer's words
}

func (e *rejectedError) Error() string {
	switch {
	case e.text != "":
		return fmt.Sprintf("rejected by the peer with code %d: %s", e.code, e.text)
	case e.code == wire.CodeRejected:
		return fmt.Sprintf("rejected by the peer with code %d: it tells strangers no reason; the log of that node has it "+
			"(Config.Auth, its keys, or the certificate)", e.code)
	default:
		return fmt.Sprintf("rejected by the peer with code %d", e.code)
	}
}

// maxRejectText bounds how much of a reason is shown that comes from a node
// which has proved nothing.
const maxRejectText = 256

// printable makes a stranger's words safe to print and to log.
func printable(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, s)
	for i := range s {
		if i > maxRejectText {
			return s[:i]
		}
	}
	return s
}

// reasonFor is what the other side is told of a handshake that failed here.
func reasonFor(err error) (wire.Code, string) {
	if r, ok := errors.AsType[*rejection](err); ok {
		return r.code, r.text
	}
	if errors.Is(err, wire.ErrMalformed) || errors.Is(err, transport.ErrFrameTooLarge) {
		return wire.CodeProtocol, err.Error()
	}
	// The link has failed, the other side has refused us, or it is nobody's
	// business.
	return wire.CodeNone, ""
}

// closeWithReason is how a dialler refuses an acceptor.
func closeWithReason(tc transport.Conn, err error) {
	code, text := reasonFor(err)
	_ = tc.CloseWithError(uint32(code), text)
}

// refuseDialler is how an acceptor refuses a dialler: one that has not proved
// itself learns nothing but that, or that the versions differ (W57).
func refuseDialler(tc transport.Conn, err error, proved bool) {
	code, text := reasonFor(err)
	if !proved && code != wire.CodeVersion {
		code, text = wire.CodeRejected, ""
	}
	frame := wire.AppendStatus(make([]byte, tc.Info().Headroom), wire.TypeReject, 0, wire.Status{Code: code, Message: text})
	_ = tc.WriteFrames([][]byte{frame})
	_ = tc.CloseWithError(uint32(code), text)
}
