package compress

import "fmt"

const (
	zstdMagic = "\x28\xb5\x2f\xfd"
	zstdBlock = 128 << 10 // the most that a block of a frame decodes to
)

// check finds out what src, a compressed message, decodes to: how many bytes,
// and how much space the library needs so that it never makes a larger slice of
// its own. It takes exactly one frame, which says its size, with nothing before,
// between or behind, so that no size is a surprise.
func (c *zstdCoder) check(src []byte, limit int) (size, space int, err error) {
	h, err := parseHeader(src)
	switch {
	case err != nil:
		return 0, 0, err
	case h.dict != 0 && (c.dict == nil || h.dict != c.dict.frameID):
		return 0, 0, fmt.Errorf("%w: number %d", ErrUnknownDictionary, h.dict)
	case h.size > uint64(max(limit, 0)):
		return 0, 0, fmt.Errorf("%w: %d bytes, limit %d", ErrTooLarge, h.size, limit)
	case !h.single && h.window > maxWindow:
		return 0, 0, fmt.Errorf("%w: window of %d bytes, limit %d", ErrTooLarge, h.window, maxWindow)
	}
	size = int(h.size)
	block := min(int(h.window), zstdBlock)
	most, err := scanBlocks(src[h.length:], block, h.tail)
	switch {
	case err != nil:
		return 0, 0, err
	case most < h.size:
		return 0, 0, fmt.Errorf("%w: blocks of at most %d bytes claim to be %d", ErrCorrupt, most, size)
	case size <= zstdBlock:
		return size, size, nil
	}
	// The library compares the size after each block. One that goes beyond it
	// would make the slice grow by a quarter or more of all.
	return size, int(min(most, uint64(size+block))), nil
}

// zstdHeader is what stands in front of the blocks of a frame.
type zstdHeader struct {
	size   uint64
	window uint64
	single bool // the window is the message
	dict   uint32
	length int // of the header
	tail   int // of what stands behind the blocks
}

// parseHeader reads the header of a frame that says its size.
func parseHeader(p []byte) (h zstdHeader, err error) {
	if len(p) < 6 || string(p[:4]) != zstdMagic {
		return h, fmt.Errorf("%w: no frame", ErrCorrupt)
	}
	descriptor := p[4]
	h.single = descriptor&0x20 != 0
	h.length = 5
	dictBytes := [4]int{0, 1, 2, 4}[descriptor&3]
	sizeBytes := [4]int{0, 2, 4, 8}[descriptor>>6]
	switch {
	case descriptor&0x08 != 0:
		return h, fmt.Errorf("%w: reserved bit", ErrCorrupt)
	case h.single:
		sizeBytes = max(sizeBytes, 1)
	case sizeBytes == 0:
		return h, fmt.Errorf("%w: frame without a size", ErrCorrupt)
	default:
		h.length = 6
		h.window = 1 << (10 + p[5]>>3)
		h.window += h.window / 8 * uint64(p[5]&7)
	}
	if len(p) < h.length+dictBytes+sizeBytes {
		return h, fmt.Errorf("%w: cut off", ErrCorrupt)
	}
	h.dict = uint32(littleEndian(p[h.length:][:dictBytes]))
	h.length += dictBytes
	h.size = littleEndian(p[h.length:][:sizeBytes])
	h.length += sizeBytes
	if sizeBytes == 2 {
		h.size += 256
	}
	if h.single {
		h.window = max(h.size, 1<<10)
	}
	if descriptor&0x04 != 0 {
		h.tail = 4 // a checksum
	}
	return h, nil
}

func littleEndian(p []byte) (n uint64) {
	for i, b := range p {
		n |= uint64(b) << (8 * i)
	}
	return n
}

// scanBlocks follows the blocks of a frame to its end, behind which tail bytes
// are left, and returns the most that they can decode to. No block is larger
// than block bytes, in either form.
func scanBlocks(p []byte, block, tail int) (most uint64, err error) {
	for {
		if len(p) < 3 {
			return 0, fmt.Errorf("%w: cut off", ErrCorrupt)
		}
		header := uint32(p[0]) | uint32(p[1])<<8 | uint32(p[2])<<16
		p = p[3:]
		n := int(header >> 3)
		if n > block {
			return 0, fmt.Errorf("%w: block of %d bytes", ErrCorrupt, n)
		}
		stored := n
		switch header >> 1 & 3 {
		case 0: // as it is
			most += uint64(n)
		case 1: // one byte, repeated
			stored = 1
			most += uint64(n)
		case 2: // compressed
			most += uint64(block)
		default:
			return 0, fmt.Errorf("%w: block of a reserved type", ErrCorrupt)
		}
		if len(p) < stored {
			return 0, fmt.Errorf("%w: cut off", ErrCorrupt)
		}
		p = p[stored:]
		if header&1 != 0 {
			if len(p) != tail {
				return 0, fmt.Errorf("%w: %d bytes behind the last block, want %d", ErrCorrupt, len(p), tail)
			}
			return most, nil
		}
	}
}
