package wire

import "encoding/binary"

const lanesSize = 8

// AppendLanes appends a LANES (W91): the sender has opened so many lanes in the
// session so far, or is about to.
func AppendLanes(dst []byte, opened uint64) []byte {
	dst = appendHeader(dst, TypeLanes, 0, 0, lanesSize)
	return binary.LittleEndian.AppendUint64(dst, opened)
}

// ParseLanes reads the body of a LANES.
func ParseLanes(f *Frame) (opened uint64, err error) {
	if len(f.Body) != lanesSize {
		return 0, malformed("LANES of %d bytes", len(f.Body))
	}
	return binary.LittleEndian.Uint64(f.Body), nil
}
