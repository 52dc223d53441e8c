package sim_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"slices"
)

// A message of a talk says which one it is, in 13 bytes: the number of the talk
// and of the message, their complement, and the direction. Then come bytes that
// depend on all of these, and a sum. One that is shorter is cut; its length is
// known.
const (
	messageHead = 13
	messageSum  = 4
	// minPayload is how long the payload of a talk is at least: its handler
	// learns from it what to do.
	minPayload = messageHead + messageSum
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// payloadSeq is the number that stands for the initial payload.
const payloadSeq = 1<<24 - 1

// noise is what messages are filled with, twice, so that a piece can begin
// anywhere in the first half.
var noise = func() []byte {
	r := stream(1, 1)
	b := make([]byte, 4096)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return slices.Concat(b, b)
}()

// appendMessage appends message number seq of one direction of a talk.
func appendMessage(dst []byte, number int, up bool, seq, size int) []byte {
	from := len(dst)
	dst = slices.Grow(dst, max(size, minPayload))
	dst = binary.LittleEndian.AppendUint32(dst, uint32(number))
	dst = binary.LittleEndian.AppendUint32(dst, uint32(seq))
	dst = binary.LittleEndian.AppendUint32(dst, ^uint32(number*31+seq))
	way := byte('v')
	if up {
		way = '^'
	}
	dst = append(dst, way)
	if size < minPayload {
		return append(dst, noise[:messageSum]...)[:from+size]
	}
	const half = 4096
	for end := from + size - messageSum; len(dst) < end; {
		at := (number*131 + seq*17 + len(dst) - from) % half
		dst = append(dst, noise[at:at+min(half, end-len(dst))]...)
	}
	return binary.LittleEndian.AppendUint32(dst, crc32.Checksum(dst[from:], castagnoli))
}

// numberOf returns the number of the talk that a message belongs to.
func numberOf(msg []byte) (number int, ok bool) {
	if len(msg) < minPayload {
		return 0, false
	}
	return int(binary.LittleEndian.Uint32(msg)), true
}

// describe tells what a message is that should be another.
func describe(msg []byte) string {
	s := fmt.Sprintf("%d bytes", len(msg))
	if len(msg) < messageHead {
		return s
	}
	number, seq := binary.LittleEndian.Uint32(msg), binary.LittleEndian.Uint32(msg[4:])
	if binary.LittleEndian.Uint32(msg[8:]) != ^(number*31 + seq) {
		return s + " that are no message"
	}
	s += fmt.Sprintf(" that say that they are message %d of stream %d, direction %c", seq, number, msg[12])
	if n := len(msg) - messageSum; n >= messageHead && binary.LittleEndian.Uint32(msg[n:]) != crc32.Checksum(msg[:n], castagnoli) {
		s += ", and were changed"
	}
	return s
}

// isMessage reports whether msg is message seq of a direction of the talk.
func isMessage(msg []byte, number int, up bool, seq, size int) bool {
	return len(msg) == size && bytes.Equal(msg, appendMessage(nil, number, up, seq, size))
}
