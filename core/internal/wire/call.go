package wire

import (
	"encoding/binary"
	"math"
	"time"
)

// Request is a parsed REQUEST (W20).
type Request struct {
	Handler  uint64 // hash of handler id and route
	Timeout  uint64 // microseconds from the moment of writing, 0: none
	Size     uint64 // length of the whole message; len(Payload) unless fragmented
	Decoded  uint64 // its length once decoded: Size, or more if it is compressed
	Accept   Accept
	Metadata []byte
	Payload  []byte // nil if the caller's was
}

const (
	requestHead  = 16 // handler, time-out
	sizeBlock    = 16 // size, decoded size
	acceptBlock  = 1
	timeoutAt    = HeaderSize + 8
	idAt         = 8
	metadataHead = 2
)

// MaxMetadata bounds the metadata of a message in bytes (W22).
const MaxMetadata = 4 << 10

// MetadataSize is what metadata adds to a frame.
func MetadataSize(meta []byte) int {
	if meta == nil {
		return 0
	}
	return metadataHead + len(meta)
}

// InsertMetadata puts metadata into the REQUEST or OPEN that begins at b[at:] and
// ends b. With nil it changes nothing.
func InsertMetadata(b []byte, at int, meta []byte) []byte {
	if meta == nil {
		return b
	}
	b, from := insert(b, at, FlagMetadata, MetadataSize(meta))
	binary.LittleEndian.PutUint16(b[from:], uint16(len(meta)))
	copy(b[from+metadataHead:], meta)
	return b
}

// insert makes room for a block of n bytes, which begins at b[from:], behind the
// sizes of the frame that begins at b[at:] and ends b.
func insert(b []byte, at int, fl Flags, n int) (out []byte, from int) {
	from = at + sizesAt(b[at:])
	if Flags(b[at+5])&FlagFragmented != 0 {
		from += sizeBlock
	}
	b[at+5] |= byte(fl)
	binary.LittleEndian.PutUint32(b[at:], binary.LittleEndian.Uint32(b[at:])+uint32(n))
	end := len(b)
	b = append(b, make([]byte, n)...)
	copy(b[from+n:], b[from:end])
	return b, from
}

// sizesAt returns where the blocks begin in a frame that begins a message.
func sizesAt(b []byte) int {
	switch Type(b[4]) {
	case TypeRequest:
		return HeaderSize + requestHead
	case TypeOpen:
		return HeaderSize + openHead
	default:
		return HeaderSize
	}
}

// RequestOverhead is what a REQUEST without metadata adds to its payload, at
// most.
const RequestOverhead = HeaderSize + requestHead + sizeBlock + acceptBlock

// AppendRequest appends a REQUEST with the whole payload. What stands in the
// time-out field until [SetTimeout] is the caller's business. prio is
// FlagHigh, FlagLow or 0.
func AppendRequest(dst []byte, id CallID, handler, timeout uint64, prio Flags, payload []byte) []byte {
	dst = appendHeader(dst, TypeRequest, prio|nilFlag(payload), id, requestHead+len(payload))
	dst = binary.LittleEndian.AppendUint64(dst, handler)
	dst = binary.LittleEndian.AppendUint64(dst, timeout)
	return append(dst, payload...)
}

// AppendRequestStart appends a REQUEST whose payload is the first part of a
// message of size bytes.
func AppendRequestStart(dst []byte, id CallID, handler, timeout uint64, prio Flags, size uint64, part []byte) []byte {
	dst = appendHeader(dst, TypeRequest, prio|FlagFragmented, id, requestHead+sizeBlock+len(part))
	dst = binary.LittleEndian.AppendUint64(dst, handler)
	dst = binary.LittleEndian.AppendUint64(dst, timeout)
	dst = binary.LittleEndian.AppendUint64(dst, size)
	dst = binary.LittleEndian.AppendUint64(dst, size)
	return append(dst, part...)
}

func nilFlag(p []byte) Flags {
	if p == nil {
		return FlagNil
	}
	return 0
}

// ParseRequest reads the body of a REQUEST.
func ParseRequest(f *Frame) (r Request, err error) {
	b := f.Body
	if len(b) < requestHead {
		return r, malformed("REQUEST of %d bytes", len(b))
	}
	if f.Flags&(FlagHigh|FlagLow) == FlagHigh|FlagLow {
		return r, malformed("REQUEST with two priorities")
	}
	r.Handler = binary.LittleEndian.Uint64(b)
	r.Timeout = binary.LittleEndian.Uint64(b[8:])
	if f.plain() {
		r.Payload = b[requestHead:]
		r.Size, r.Decoded = uint64(len(r.Payload)), uint64(len(r.Payload))
		return r, nil
	}
	m, err := parsePayload(f, b[requestHead:])
	r.Size, r.Decoded, r.Accept, r.Metadata, r.Payload = m.size, m.decoded, m.accept, m.meta, m.payload
	return r, err
}

// Response is a parsed RESPONSE (W21).
type Response struct {
	Size, Decoded uint64
	Metadata      []byte
	Payload       []byte
}

// AppendResponse appends a RESPONSE with the whole payload.
func AppendResponse(dst []byte, id CallID, payload []byte) []byte {
	dst = appendHeader(dst, TypeResponse, nilFlag(payload), id, len(payload))
	return append(dst, payload...)
}

// AppendResponseStart appends a RESPONSE whose payload is the first part of a
// message of size bytes.
func AppendResponseStart(dst []byte, id CallID, size uint64, part []byte) []byte {
	dst = appendHeader(dst, TypeResponse, FlagFragmented, id, sizeBlock+len(part))
	dst = binary.LittleEndian.AppendUint64(dst, size)
	dst = binary.LittleEndian.AppendUint64(dst, size)
	return append(dst, part...)
}

// ParseResponse reads the body of a RESPONSE.
func ParseResponse(f *Frame) (Response, error) {
	if f.plain() {
		n := uint64(len(f.Body))
		return Response{n, n, nil, f.Body}, nil
	}
	m, err := parsePayload(f, f.Body)
	return Response{m.size, m.decoded, m.meta, m.payload}, err
}

// plain reports whether the payload is all that the frame has of the blocks, as
// that of most frames is.
func (f *Frame) plain() bool { return uint8(f.Flags&^(FlagHigh|FlagLow))|f.Codec|f.Dict == 0 }

// message is what the frames that begin one have in common (W22).
type message struct {
	size, decoded uint64
	accept        Accept
	meta, payload []byte
}

// parsePayload reads the blocks of a frame. On failure it returns none.
func parsePayload(f *Frame, b []byte) (message, error) {
	m := message{}
	var err error
	if f.Codec == 0 && f.Dict != 0 {
		return m, malformed("%v with dictionary %d of no codec", f.Type, f.Dict)
	}
	if f.Flags&FlagFragmented != 0 {
		if len(b) < sizeBlock {
			return m, malformed("%v without the size of its message", f.Type)
		}
		m.size, m.decoded = binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:])
		b = b[sizeBlock:]
	}
	if f.Flags&FlagMetadata != 0 {
		if m.meta, b, err = cutMetadata(f, b); err != nil {
			return message{}, err
		}
	}
	if f.Flags&FlagAccept != 0 {
		if len(b) < acceptBlock {
			return message{}, malformed("%v without what it accepts", f.Type)
		}
		m.accept, b = Accept{true, b[0]}, b[acceptBlock:]
	}
	if f.Flags&FlagFragmented == 0 {
		if f.Codec != 0 {
			if len(b) < DecodedSize {
				return message{}, malformed("%v without the decoded size of its message", f.Type)
			}
			m.decoded, b = uint64(binary.LittleEndian.Uint32(b)), b[DecodedSize:]
		}
		m.size = uint64(len(b))
		if f.Codec == 0 {
			m.decoded = m.size
		}
	} else if uint64(len(b)) >= m.size || len(b) == 0 {
		// A first part that is the whole message, or none of it, would make
		// two encodings of one message.
		return message{}, malformed("%v: first part of %d bytes of a message of %d", f.Type, len(b), m.size)
	}
	// What is compressed and not smaller would be sent as it is. So a receiver that
	// has room for the decoded message has had room for the other.
	if f.Codec == 0 && m.decoded != m.size || f.Codec != 0 && m.decoded <= m.size && !f.inWindow(&m) {
		return message{}, malformed("%v: message of %d bytes is %d once decoded by codec %d", f.Type, m.size, m.decoded, f.Codec)
	}
	if m.payload = b; f.Flags&FlagNil != 0 {
		// Nor is there a nil message in parts: a first part is not empty.
		if len(b) != 0 || f.Codec != 0 {
			return message{}, malformed("%v: nil payload of %d bytes, codec %d", f.Type, len(b), f.Codec)
		}
		m.payload = nil
	}
	return m, nil
}

// inWindow reports whether a compressed message that is not smaller may be one
// that shares a window with others of its stream (W98): that there is one is for the
// receiver to judge.
func (f *Frame) inWindow(m *message) bool {
	return f.Type == TypeData && f.Flags == 0 && f.Dict == 0 && m.size > 0 && m.size <= m.decoded+WindowExcess && m.decoded > 0
}

func cutMetadata(f *Frame, b []byte) (meta, rest []byte, err error) {
	if len(b) < metadataHead {
		return nil, nil, malformed("%v without the size of its metadata", f.Type)
	}
	n := int(binary.LittleEndian.Uint16(b))
	b = b[metadataHead:]
	if n > len(b) || n > MaxMetadata {
		return nil, nil, malformed("%d bytes of metadata announced, %d are left, %d allowed", n, len(b), MaxMetadata)
	}
	return b[:n:n], b[n:], nil
}

// AppendFragment appends a FRAGMENT: the next part of the message that the
// sender of the frame began on this call (W23).
func AppendFragment(dst []byte, id CallID, part []byte) []byte {
	dst = appendHeader(dst, TypeFragment, 0, id, len(part))
	return append(dst, part...)
}

// FragmentOverhead is what a FRAGMENT adds to its part.
const FragmentOverhead = HeaderSize

// Timeout returns the time-out field of the REQUEST or OPEN at the beginning of b.
func Timeout(b []byte) uint64 { return binary.LittleEndian.Uint64(b[timeoutAt:]) }

// SetTimeout overwrites the time-out field of the REQUEST or OPEN at the
// beginning of b.
func SetTimeout(b []byte, v uint64) { binary.LittleEndian.PutUint64(b[timeoutAt:], v) }

// Micros returns d as a time-out for the wire: rounded up to a whole
// microsecond, so that a positive duration never becomes 0 (W24).
func Micros(d time.Duration) uint64 {
	if d <= 0 {
		return 0
	}
	return (uint64(d) + 999) / 1000
}

// Duration is the inverse of [Micros]. What no time.Duration can hold becomes
// the longest one.
func Duration(micros uint64) time.Duration {
	if micros > math.MaxInt64/1000 {
		return math.MaxInt64
	}
	return time.Duration(micros) * time.Microsecond
}

// PeekID returns the call id of the frame at the beginning of b.
func PeekID(b []byte) CallID { return CallID(binary.LittleEndian.Uint64(b[idAt:])) }

// PeekType returns the type and the whole length of the frame at the beginning
// of b, which this package appended.
func PeekType(b []byte) (t Type, length int) {
	return Type(b[4]), HeaderSize + int(binary.LittleEndian.Uint32(b))
}
