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
	Decoded  uint64 // its length once decoded, if it is not compressed or in fragments; else unknown, and Size
	Metadata []byte
	Payload  []byte // nil if the caller's was
}

const (
	requestHead  = 16 // handler, time-out
	sizeBlock    = 16 // size, decoded size
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
	head := requestHead
	if Type(b[at+4]) == TypeOpen {
		head = openHead
	}
	if Flags(b[at+5])&FlagFragmented != 0 {
		head += sizeBlock
	}
	n := MetadataSize(meta)
	b[at+5] |= byte(FlagMetadata)
	binary.LittleEndian.PutUint32(b[at:], binary.LittleEndian.Uint32(b[at:])+uint32(n))
	end, from := len(b), at+HeaderSize+head
	b = append(b, make([]byte, n)...)
	copy(b[from+n:], b[from:end])
	binary.LittleEndian.PutUint16(b[from:], uint16(len(meta)))
	copy(b[from+metadataHead:], meta)
	return b
}

// RequestOverhead is what a REQUEST without metadata adds to its payload, at
// most.
const RequestOverhead = HeaderSize + requestHead + sizeBlock

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
	r.Size, r.Decoded, r.Metadata, r.Payload, err = parsePayload(f, b[requestHead:])
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
func ParseResponse(f *Frame) (r Response, err error) {
	r.Size, r.Decoded, r.Metadata, r.Payload, err = parsePayload(f, f.Body)
	return r, err
}

// parsePayload reads what the frames that begin a message have in common: the size block,
// the metadata block, the payload (W22).
func parsePayload(f *Frame, b []byte) (size, decoded uint64, meta, payload []byte, err error) {
	if f.Flags&FlagFragmented != 0 {
		if len(b) < sizeBlock {
			return 0, 0, nil, nil, malformed("%v without the size of its message", f.Type)
		}
		size, decoded = binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:])
		b = b[sizeBlock:]
		if f.Codec == 0 && decoded != size {
			return 0, 0, nil, nil, malformed("%v: message of %d bytes is %d once decoded by no codec", f.Type, size, decoded)
		}
	}
	if f.Flags&FlagMetadata != 0 {
		if len(b) < metadataHead {
			return 0, 0, nil, nil, malformed("%v without the size of its metadata", f.Type)
		}
		n := int(binary.LittleEndian.Uint16(b))
		b = b[metadataHead:]
		if n > len(b) || n > MaxMetadata {
			return 0, 0, nil, nil, malformed("%d bytes of metadata announced, %d are left, %d allowed", n, len(b), MaxMetadata)
		}
		meta, b = b[:n:n], b[n:]
	}
	if f.Flags&FlagFragmented == 0 {
		size, decoded = uint64(len(b)), uint64(len(b))
	} else if uint64(len(b)) >= size || len(b) == 0 {
		// A first part that is the whole message, or none of it, would make
		// two encodings of one message.
		return 0, 0, nil, nil, malformed("%v: first part of %d bytes of a message of %d", f.Type, len(b), size)
	}
	if f.Flags&FlagNil != 0 {
		// Nor is there a nil message in parts: a first part is not empty.
		if len(b) != 0 {
			return 0, 0, nil, nil, malformed("%v: nil payload of %d bytes", f.Type, len(b))
		}
		return size, decoded, meta, nil, nil
	}
	return size, decoded, meta, b, nil
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
