package quic

import (
	"encoding/binary"
	"fmt"
	"unicode/utf8"

	"github.com/gridmux/gridmux/transport"
)

// A stream carries records (W5, W6): a length of 4 bytes with a frame of that
// length, or one of two marks in its place.
const (
	headroom = 4
	// maxFrame is the longest frame that WriteFrames sends.
	maxFrame = 64 << 20

	markBegin = 0xfffffffe // the first record of the first lane, each way
	markClose = 0xffffffff // the last one; code and reason follow

	// closeHead is the length of a CLOSE without its reason: mark, code, length.
	closeHead = headroom + 4 + 1
)

// putHeader writes the length of f[headroom:] in front of it.
func putHeader(f []byte) {
	binary.LittleEndian.PutUint32(f, uint32(len(f)-headroom))
}

// beginRecord returns BEGIN.
func beginRecord() []byte { return binary.LittleEndian.AppendUint32(nil, markBegin) }

// closeRecord returns CLOSE.
func closeRecord(code uint32, reason string) []byte {
	reason = transport.CutReason(reason)
	b := make([]byte, 0, closeHead+len(reason))
	b = binary.LittleEndian.AppendUint32(b, markClose)
	b = binary.LittleEndian.AppendUint32(b, code)
	b = append(b, byte(len(reason)))
	return append(b, reason...)
}

// A record is the beginning of one: what a reader has to know before it takes in
// the rest.
type record struct {
	mark uint32 // markBegin, markClose or 0 for a frame
	size int    // of the header
	body int    // bytes behind the header: a frame, or the reason of a CLOSE
	code uint32 // of a CLOSE
}

// parse decodes the header at the beginning of b. If b is too short it returns
// how many bytes it needs.
func (r *record) parse(b []byte) (need int, err error) {
	*r = record{size: headroom}
	if len(b) < headroom {
		return headroom, nil
	}
	switch length := binary.LittleEndian.Uint32(b); {
	case length == markBegin:
		r.mark = markBegin
	case length == markClose:
		r.mark, r.size = markClose, closeHead
		if len(b) < closeHead {
			return closeHead, nil
		}
		r.code = binary.LittleEndian.Uint32(b[4:])
		r.body = int(b[8])
		if r.body > transport.MaxReason {
			return 0, breach("a reason of %d bytes", r.body)
		}
	case uint64(length) > maxFrame:
		// Larger ones are reserved, and no limit of the core is so high.
		return 0, tooLarge(uint64(length), maxFrame)
	default:
		r.body = int(length)
	}
	return 0, nil
}

// closeError is what a CLOSE says.
func closeError(code uint32, reason []byte) (*transport.CloseError, error) {
	if !utf8.Valid(reason) {
		return nil, breach("a reason that is not UTF-8")
	}
	return &transport.CloseError{Code: code, Reason: string(reason)}, nil
}

// A violation says how the peer broke the protocol of the link. The peer is told
// its code.
type violation struct {
	code uint32
	text string
	err  error // matches too, if not nil
}

func (v *violation) Error() string { return "quic: " + v.text }

func (v *violation) Unwrap() error { return v.err }

func breach(format string, args ...any) *violation {
	return &violation{code: transport.CodeProtocol, text: "the peer broke the protocol: " + fmt.Sprintf(format, args...)}
}

func tooLarge(length uint64, limit int) *violation {
	err := transport.FrameTooLargeError(length, limit)
	return &violation{code: transport.CodeTooLarge, text: err.Error(), err: err}
}
