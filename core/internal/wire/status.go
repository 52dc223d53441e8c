package wire

import (
	"encoding/binary"
	"unicode/utf8"
)

// Code says why: an application's error, a refusal, a reset, the end of a
// connection. One numbering serves all frames that carry a reason, and the
// close codes of transports (W30). Below 1000 they are the protocol's, from
// 1000 on the application's.
type Code uint32

const (
	CodeNone Code = 0 // ERROR: the handler's error had no code. Else: no reason given.

	// The handler ran or may have run.
	CodePanic            Code = 1 // ERROR: the handler panicked
	CodeCanceled         Code = 2 // ERROR, RESET: the call was cancelled
	CodeDeadline         Code = 3 // ERROR, RESET: the call's deadline ran out
	CodeResponseTooLarge Code = 4 // ERROR: the result is over the caller's limit
	CodeFlowControl      Code = 5 // ERROR, RESET: a message or a CREDIT beyond what the stream allows
	CodeNilMessage       Code = 6 // ERROR: the handler returned neither a message nor an error

	// REFUSED: the handler did not run.
	CodeUnknownHandler  Code = 10
	CodeOverloaded      Code = 11
	CodeDraining        Code = 12
	CodeMessageTooLarge Code = 13
	CodeUnsupported     Code = 14 // a codec or dictionary that was not agreed on
	CodeMalformed       Code = 15 // also ERROR: the message is not what the handler takes

	CodePermissionDenied Code = 16

	// REJECT and close codes: the connection did not or does not live.
	CodeRejected  Code = 20 // no reason is given to a stranger
	CodeVersion   Code = 21
	CodeCluster   Code = 22
	CodeName      Code = 23 // meant for another node, or from a node that is not a peer
	CodeDuplicate Code = 24

	CodeShutdown   Code = 30 // GOAWAY and close: the node is going away
	CodeSuperseded Code = 31 // close: another connection of the pair took over
	CodeTimeout    Code = 32 // close: the peer did not answer in time
	CodeProtocol   Code = 33 // close: the peer broke the protocol
	CodeCorrupt    Code = 34 // close: a checksum did not match
	CodeOverflow   Code = 35 // close: the peer does not read what it asked for

	// CodeApplication is the first code that belongs to the application.
	CodeApplication Code = 1000
)

// Limits of what a [Status] carries in bytes (W31). A sender cuts the message
// and drops a detail over the limit; a receiver refuses either.
const (
	MaxStatusMessage = 4 << 10
	MaxStatusDetail  = 16 << 10
)

// Status is the body of ERROR, REFUSED, RESET, GOAWAY and REJECT (W31):
//
//	0  uint32  code
//	4  uint16  length of the message
//	6  message, UTF-8
//	   detail, to the end
type Status struct {
	Code    Code
	Message string
	Detail  []byte // ERROR and REFUSED only; nil and empty differ, by FlagNil
}

const statusHead = 6

// AppendStatus appends a frame of type t with the status as its body. The
// message is made valid UTF-8 and cut to its limit; a detail is dropped if it is
// over its limit or if the type carries none.
func AppendStatus(dst []byte, t Type, id CallID, s Status) []byte {
	msg := CutMessage(s.Message)
	fl := FlagNil & allowedFlags(t)
	if len(s.Detail) > MaxStatusDetail || fl == 0 {
		s.Detail = nil
	}
	if s.Detail != nil {
		fl = 0
	}
	dst = appendHeader(dst, t, fl, id, statusHead+len(msg)+len(s.Detail))
	dst = binary.LittleEndian.AppendUint32(dst, uint32(s.Code))
	dst = binary.LittleEndian.AppendUint16(dst, uint16(len(msg)))
	dst = append(dst, msg...)
	return append(dst, s.Detail...)
}

// StatusSize is the most that [AppendStatus] appends for s. Making a message
// valid UTF-8 can make it longer, so its own length would not do.
func StatusSize(s Status) int {
	return HeaderSize + statusHead + len(CutMessage(s.Message)) + min(len(s.Detail), MaxStatusDetail)
}

// ParseStatus reads a status body. Detail is a copy.
func ParseStatus(f *Frame) (s Status, err error) {
	b := f.Body
	if len(b) < statusHead {
		return s, malformed("%v of %d bytes", f.Type, len(b))
	}
	n := int(binary.LittleEndian.Uint16(b[4:]))
	s.Code = Code(binary.LittleEndian.Uint32(b))
	b = b[statusHead:]
	if n > len(b) || n > MaxStatusMessage {
		return s, malformed("%v: message of %d bytes announced, %d are left, %d allowed", f.Type, n, len(b), MaxStatusMessage)
	}
	msg, detail := b[:n], b[n:]
	if len(detail) > MaxStatusDetail {
		return s, malformed("%v: detail of %d bytes, %d allowed", f.Type, len(detail), MaxStatusDetail)
	}
	if !utf8.Valid(msg) {
		return s, malformed("%v: message is not UTF-8", f.Type)
	}
	s.Message = string(msg)
	if f.Flags&FlagNil != 0 || allowedFlags(f.Type)&FlagNil == 0 {
		if len(detail) != 0 {
			return s, malformed("%v: nil detail of %d bytes", f.Type, len(detail))
		}
		return s, nil
	}
	s.Detail = append([]byte{}, detail...)
	return s, nil
}

// CutMessage returns s as valid UTF-8 of at most [MaxStatusMessage] bytes.
func CutMessage(s string) string {
	if len(s) <= MaxStatusMessage && utf8.ValidString(s) {
		return s
	}
	out := make([]byte, 0, min(len(s), MaxStatusMessage))
	for _, r := range s {
		if len(out)+utf8.RuneLen(r) > MaxStatusMessage {
			break
		}
		out = utf8.AppendRune(out, r)
	}
	return string(out)
}

// AppendPing appends a PING or PONG. The receiver of a PING returns its value
// in a PONG (W40).
func AppendPing(dst []byte, t Type, value uint64) []byte {
	dst = appendHeader(dst, t, 0, 0, 8)
	return binary.LittleEndian.AppendUint64(dst, value)
}

// ParsePing reads the body of a PING or PONG.
func ParsePing(f *Frame) (uint64, error) {
	if len(f.Body) != 8 {
		return 0, malformed("%v of %d bytes", f.Type, len(f.Body))
	}
	return binary.LittleEndian.Uint64(f.Body), nil
}
