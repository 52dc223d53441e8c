// Package msgpack reads the structure of MessagePack without decoding it. What
// it passes is complete: every element that is announced is there, so a decoder
// that allocates by announced counts allocates in proportion to the message. It
// never allocates itself, and its time is linear in the bytes that it reads.
package msgpack

import "github.com/tinylib/msgp/msgp"

// MaxDepth is how deep values may be nested in what comes from a peer. It is
// beyond what people write and far from what exhausts a stack.
const MaxDepth = 100

// Skip returns what is behind the value that b begins with, if the value is
// complete and has at most depth arrays and maps within each other. Errors:
// msgp.ErrShortBytes, msgp.ErrRecursion, msgp.InvalidPrefixError.
func Skip(b []byte, depth int) (rest []byte, err error) {
	return skip(b, 1, depth)
}

// whole is the size of a value by its first byte, where that alone tells it: of
// numbers and short strings, which are most of what there is. 0 elsewhere.
var whole = func() (sizes [256]uint8) {
	var b [16]byte
	for c := range sizes {
		b[0] = byte(c)
		switch h, _ := ReadHead(b[:]); {
		case h.Kind == Nil, h.Kind == Bool, h.Kind == Number:
			sizes[c] = uint8(h.Size)
		case h.Kind == Str && h.Size == 1:
			sizes[c] = uint8(1 + h.Len)
		}
	}
	return sizes
}()

// skip skips n values.
func skip(b []byte, n uint64, depth int) ([]byte, error) {
	// A value has at least a byte. The counts of 2^32 elements end here, not
	// after all the bytes that there are.
	if n > uint64(len(b)) {
		return nil, msgp.ErrShortBytes
	}
	for ; n > 0; n-- {
		if len(b) > 0 && whole[b[0]] > 0 {
			size := int(whole[b[0]])
			if size > len(b) {
				return nil, msgp.ErrShortBytes
			}
			b = b[size:]
			continue
		}
		h, err := ReadHead(b)
		if err != nil {
			return nil, err
		}
		b = b[h.Size:]
		var elements uint64
		switch h.Kind {
		case Str, Bin, Ext:
			if uint64(h.Len) > uint64(len(b)) {
				return nil, msgp.ErrShortBytes
			}
			b = b[h.Len:]
			continue
		case Array:
			elements = uint64(h.Len)
		case Map:
			elements = 2 * uint64(h.Len)
		default:
			continue
		}
		if depth == 0 {
			return nil, msgp.ErrRecursion
		}
		if b, err = skip(b, elements, depth-1); err != nil {
			return nil, err
		}
	}
	return b, nil
}
