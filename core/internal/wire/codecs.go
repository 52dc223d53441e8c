package wire

import (
	"encoding/binary"
	"unicode/utf8"
)

// DecodedSize is the length of what stands before a compressed message in one
// frame: its size once decoded.
const DecodedSize = 4

// WindowExcess is how many bytes more than once decoded a message may have that shares
// a window with others.
const WindowExcess = 32

// SetCodec makes the message that the frame at the beginning of b begins a
// compressed one of so many bytes once decoded. The frame has no metadata yet. If
// it has no FlagFragmented its payload begins with DecodedSize bytes that are
// overwritten, and decoded has 32 bits.
func SetCodec(b []byte, codec, dict uint8, decoded uint64) {
	b[6], b[7] = codec, dict
	at := sizesAt(b)
	if Flags(b[5])&FlagFragmented != 0 {
		binary.LittleEndian.PutUint64(b[at+sizeBlock/2:], decoded)
		return
	}
	binary.LittleEndian.PutUint32(b[at:], uint32(decoded))
}

// Accept is what a REQUEST or OPEN says of the compression of what comes back
// (W95).
type Accept struct {
	Said  bool
	Codec uint8 // number in the lists of the sender; 0: it shall not be compressed
}

// InsertAccept puts what is said of the compression of what comes back into the
// REQUEST or OPEN that begins at b[at:], ends b and has no metadata yet. If nothing
// is said it changes nothing.
func InsertAccept(b []byte, at int, a Accept) []byte {
	if !a.Said {
		return b
	}
	b, from := insert(b, at, FlagAccept, acceptBlock)
	b[from] = a.Codec
	return b
}

// Dict is a dictionary of a codec, as the two sides call it (W52).
type Dict struct {
	Codec uint8 // number of the codec that it is for
	ID    uint64
}

const dictSize = 9

func appendDicts(dst []byte, dicts []Dict) []byte {
	for _, d := range dicts {
		dst = binary.LittleEndian.AppendUint64(append(dst, d.Codec), d.ID)
	}
	return dst
}

func parseDicts(b []byte) (dicts []Dict, err error) {
	if len(b)%dictSize != 0 || len(b) > MaxDicts*dictSize {
		return nil, malformed("dictionaries of %d bytes", len(b))
	}
	for ; len(b) > 0; b = b[dictSize:] {
		dicts = append(dicts, Dict{b[0], binary.LittleEndian.Uint64(b[1:])})
	}
	return dicts, nil
}

// AppendCodecs appends a CODECS (W94): names of codecs, each of 1 to MaxCodecName
// bytes, and dictionaries, which follow on those that were announced before. There
// is one of the two at least.
func AppendCodecs(dst []byte, names []string, dicts []Dict) []byte {
	n := 1 + dictSize*len(dicts)
	for _, name := range names {
		n += 1 + len(name)
	}
	dst = append(appendHeader(dst, TypeCodecs, 0, 0, n), byte(len(names)))
	for _, name := range names {
		dst = append(append(dst, byte(len(name))), name...)
	}
	return appendDicts(dst, dicts)
}

// CodecsSize is the length of a CODECS.
func CodecsSize(names []string, dicts []Dict) int { return len(AppendCodecs(nil, names, dicts)) }

// ParseCodecs reads the body of a CODECS. Whether there may be so many, together
// with those that were announced before, is for the receiver to judge.
func ParseCodecs(f *Frame) (names []string, dicts []Dict, err error) {
	b := f.Body
	if len(b) == 0 || int(b[0]) > MaxCodecs {
		return nil, nil, malformed("CODECS of %d bytes, or with more than %d names", len(b), MaxCodecs)
	}
	count := int(b[0])
	b = b[1:]
	for range count {
		if len(b) == 0 || b[0] == 0 || int(b[0]) > MaxCodecName || int(b[0]) >= len(b) {
			return nil, nil, malformed("CODECS with a name that is empty, too long or cut")
		}
		name := b[1 : 1+b[0]]
		if !utf8.Valid(name) {
			return nil, nil, malformed("CODECS with a name that is not UTF-8")
		}
		names, b = append(names, string(name)), b[1+len(name):]
	}
	if dicts, err = parseDicts(b); err != nil {
		return nil, nil, err
	}
	if len(names)+len(dicts) == 0 {
		// It would move nothing on, and could be repeated for ever.
		return nil, nil, malformed("CODECS of nothing")
	}
	return names, dicts, nil
}
