package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// HeaderSize is the length of the header that every frame begins with (W10):
//
//	0  uint32  length of the body
//	4  uint8   type
//	5  uint8   flags
//	6  uint8   codec of the payload, 0: none
//	7  uint8   dictionary of the codec, 0: none
//	8  uint64  call id
//
// All integers are little-endian.
const HeaderSize = 16

// Type is the kind of a frame.
type Type uint8

// Frame types (W12). Below 0x80 there are no others.
const (
	TypePadding Type = 0x00 // to be skipped, whatever it contains
	TypeInit    Type = 0x01
	TypeHello   Type = 0x02
	TypeReject  Type = 0x03
	TypePing    Type = 0x04
	TypePong    Type = 0x05
	TypeGoaway  Type = 0x06
	TypeAck     Type = 0x07
	TypeProof   Type = 0x08
	TypeReady   Type = 0x09
	TypeMark    Type = 0x0a
	TypeLanes   Type = 0x0b
	TypeCodecs  Type = 0x0c

	TypeRequest  Type = 0x10
	TypeResponse Type = 0x11
	TypeError    Type = 0x12
	TypeRefused  Type = 0x13
	TypeFragment Type = 0x14
	TypeReset    Type = 0x15
	TypeGrant    Type = 0x16

	TypeOpen   Type = 0x20
	TypeData   Type = 0x21
	TypeEnd    Type = 0x22
	TypeCredit Type = 0x23

	// ignorable marks types that a receiver skips when it does not know them.
	ignorable Type = 0x80
)

// Ignorable reports whether a receiver that does not know the type skips the
// frame instead of ending the connection.
func (t Type) Ignorable() bool { return t&ignorable != 0 }

func (t Type) String() string {
	switch t {
	case TypePadding:
		return "PADDING"
	case TypeInit:
		return "INIT"
	case TypeHello:
		return "HELLO"
	case TypeReject:
		return "REJECT"
	case TypePing:
		return "PING"
	case TypePong:
		return "PONG"
	case TypeGoaway:
		return "GOAWAY"
	case TypeAck:
		return "ACK"
	case TypeProof:
		return "PROOF"
	case TypeMark:
		return "MARK"
	case TypeLanes:
		return "LANES"
	case TypeCodecs:
		return "CODECS"
	case TypeReady:
		return "READY"
	case TypeRequest:
		return "REQUEST"
	case TypeResponse:
		return "RESPONSE"
	case TypeError:
		return "ERROR"
	case TypeRefused:
		return "REFUSED"
	case TypeFragment:
		return "FRAGMENT"
	case TypeReset:
		return "RESET"
	case TypeGrant:
		return "GRANT"
	case TypeOpen:
		return "OPEN"
	case TypeData:
		return "DATA"
	case TypeEnd:
		return "END"
	case TypeCredit:
		return "CREDIT"
	}
	return fmt.Sprintf("TYPE(%#02x)", uint8(t))
}

// Flags qualify a frame (W13).
type Flags uint8

const (
	FlagNil        Flags = 1 << 0 // the payload is nil, which differs from empty
	FlagMetadata   Flags = 1 << 1 // a metadata block stands before the payload
	FlagFragmented Flags = 1 << 2 // the payload is the first part of a larger message, whose size stands before it
	FlagHigh       Flags = 1 << 3 // priority high
	FlagLow        Flags = 1 << 4 // priority low; not together with FlagHigh
	FlagAccept     Flags = 1 << 5 // a byte before the payload says how what comes back is to be compressed
)

// allowedFlags are the flags that each type may carry. A flag beyond them is a
// protocol error (W13).
func allowedFlags(t Type) Flags {
	switch t {
	case TypeRequest, TypeOpen:
		return FlagNil | FlagMetadata | FlagFragmented | FlagHigh | FlagLow | FlagAccept
	case TypeResponse:
		return FlagNil | FlagMetadata | FlagFragmented
	case TypeError, TypeRefused:
		return FlagNil
	case TypeData:
		return FlagFragmented
	default:
		return 0
	}
}

// carriesPayload reports whether frames of the type begin a message and may so
// name a codec and a dictionary (W15).
func carriesPayload(t Type) bool {
	switch t {
	case TypeRequest, TypeResponse, TypeOpen, TypeData:
		return true
	default:
		return false
	}
}

// belongsToNoCall reports whether frames of the type have the id 0 (W16).
func belongsToNoCall(t Type) bool { return t > TypePadding && t <= TypeCodecs }

// CallID names a call or stream within a session (W11): generation<<32 |
// slot<<1 | side. Side 0 is the dialler's. The zero id belongs to no call.
type CallID uint64

// MakeCallID builds an id. slot must be below 1<<31.
func MakeCallID(generation, slot uint32, side uint8) CallID {
	return CallID(uint64(generation)<<32 | uint64(slot)<<1 | uint64(side&1))
}

// Generation tells the calls apart that use the slot one after the other.
func (id CallID) Generation() uint32 { return uint32(id >> 32) }

// Slot is the place of the call in the tables of both sides.
func (id CallID) Slot() uint32 { return uint32(id) >> 1 }

// Side is that of the caller: 0 if it dialled.
func (id CallID) Side() uint8 { return uint8(id & 1) }

func (id CallID) String() string {
	return fmt.Sprintf("%d.%d/%d", id.Slot(), id.Generation(), id.Side())
}

// ErrMalformed is matched by every error of this package: the bytes break the
// protocol, and the connection that brought them must end.
var ErrMalformed = errors.New("malformed frame")

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrMalformed}, args...)...)
}

// Frame is a parsed header with its body, a slice of the parsed batch.
type Frame struct {
	Type  Type
	Flags Flags
	Codec uint8
	Dict  uint8
	ID    CallID
	Body  []byte
}

// Paced reports whether the body of the frame counts for the pace of its sender
// (W44). The flag alone does not say it: padding and frames of types that are
// not known may carry any.
func (f *Frame) Paced() bool {
	switch f.Type {
	case TypeData, TypeFragment:
		return true
	case TypeRequest, TypeResponse, TypeOpen:
		return f.Flags&FlagFragmented != 0
	default:
		return false
	}
}

// Next cuts the first frame off batch. It checks the header: the length against
// the bytes that are there; flags, codec, id and an empty part against the type.
// Unknown types pass; the receiver decides by [Type.Ignorable].
func Next(batch []byte) (f Frame, rest []byte, err error) {
	if len(batch) < HeaderSize {
		return Frame{}, nil, malformed("%d bytes left, a header has %d", len(batch), HeaderSize)
	}
	n := binary.LittleEndian.Uint32(batch)
	if uint64(n) > uint64(len(batch)-HeaderSize) {
		return Frame{}, nil, malformed("body of %d bytes announced, %d are left", n, len(batch)-HeaderSize)
	}
	end := HeaderSize + int(n)
	f = Frame{
		Type:  Type(batch[4]),
		Flags: Flags(batch[5]),
		Codec: batch[6],
		Dict:  batch[7],
		ID:    CallID(binary.LittleEndian.Uint64(batch[8:])),
		Body:  batch[HeaderSize:end:end],
	}
	// The frames that matter for speed, those with a payload and without flags,
	// have nothing to check.
	if f.Flags != 0 || !carriesPayload(f.Type) {
		if err := f.checkHeader(); err != nil {
			return Frame{}, nil, err
		}
	}
	return f, batch[end:], nil
}

// checkHeader holds a header to what its type allows. Nothing is asked of
// padding and of frames that are skipped when they are not known.
func (f *Frame) checkHeader() error {
	switch undefined := f.Flags &^ allowedFlags(f.Type); {
	case f.Type == TypePadding || f.Type.Ignorable():
	case undefined != 0:
		return malformed("flags %#02x are not defined for %v", uint8(undefined), f.Type)
	case f.Codec|f.Dict != 0 && !carriesPayload(f.Type):
		return malformed("%v with codec %d, dictionary %d", f.Type, f.Codec, f.Dict)
	case f.ID != 0 && belongsToNoCall(f.Type):
		return malformed("%v with call id %v", f.Type, f.ID)
	case len(f.Body) == 0 && f.Type == TypeFragment:
		// It would move nothing on, and could be repeated for ever.
		return malformed("%v without a part", f.Type)
	case len(f.Body) != 0 && (f.Type == TypeEnd || f.Type == TypeGrant || f.Type == TypeMark):
		return malformed("%v with a body of %d bytes", f.Type, len(f.Body))
	}
	return nil
}

// appendHeader appends a header for a body of n bytes.
func appendHeader(dst []byte, t Type, fl Flags, id CallID, n int) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, uint32(n))
	dst = append(dst, byte(t), byte(fl), 0, 0)
	return binary.LittleEndian.AppendUint64(dst, uint64(id))
}

// Pad turns the frame at the beginning of b into padding in place, keeping its
// length (W14).
func Pad(b []byte) {
	clear(b[4:HeaderSize])
	b[4] = byte(TypePadding)
}
