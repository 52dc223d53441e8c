package compress

import (
	"errors"
	"fmt"

	"github.com/klauspost/compress/s2"

	"github.com/gridmux/gridmux/compress/internal/slots"
)

// s2Coder compresses to S2 blocks. The library keeps its tables in pools of its
// own, as many as there are calls at once: turns bounds these.
type s2Coder struct {
	encode func(dst, src []byte) []byte // into dst, which is long enough
	decod  func(dst, src []byte) ([]byte, error)
	turns  slots.Pair[struct{}]
	free   int // messages below this size take no turn
}

// s2Free is the size below which the table of the fastest level has at most 4
// KiB, which is less than the stack of who calls.
const s2Free = 4 << 10

// s2DictReach is how far into a message the library uses a dictionary; its
// better levels leave the rest uncompressed.
const s2DictReach = 64 << 10

// s2Expansion is more than a byte of a block can stand for: the longest
// repetition is of 1<<24 + 65540 bytes and has five bytes.
const s2Expansion = 1 << 22

func newS2(cfg *config, d *Dictionary) (coder, error) {
	c := &s2Coder{decod: s2.Decode, turns: slots.NewPair[struct{}](cfg.concurrency)}
	switch cfg.level {
	case Fastest:
		c.encode = s2.Encode
	case Balanced, Better:
		c.encode = s2.EncodeBetter
	default:
		c.encode = s2.EncodeBest
	}
	if d == nil {
		if cfg.level == Fastest {
			c.free = s2Free
		}
		return c, nil
	}
	dict := s2.MakeDict(d.content, nil)
	if dict == nil {
		return nil, errors.New("it has less than 16 bytes of content")
	}
	plain, with := c.encode, dict.Encode
	switch cfg.level {
	case Fastest:
	case Balanced, Better:
		with = dict.EncodeBetter
	default:
		with = dict.EncodeBest
	}
	c.encode = func(dst, src []byte) []byte {
		if len(src) > s2DictReach {
			return plain(dst, src) // such a block means the same with a dictionary
		}
		return with(dst, src)
	}
	c.decod = dict.Decode
	return c, nil
}

func (c *s2Coder) compress(dst, src []byte) (out []byte) {
	n := s2.MaxEncodedLen(len(src))
	if n < 0 {
		return dst
	}
	base := len(dst)
	dst = room(dst, n)
	var turn *slots.Slot[struct{}]
	if len(src) >= c.free {
		turn = c.turns.Take(len(src))
	}
	returned := false
	defer func() {
		if turn != nil {
			turn.Release()
		}
		// A bug in the library costs the compression, not the process.
		if !returned && recover() != nil {
			out = dst
		}
	}()
	out = dst[:base+len(c.encode(dst[base:base+n], src))]
	returned = true
	return out
}

func (c *s2Coder) decode(dst, src []byte, limit int) (out []byte, err error) {
	n, err := s2.DecodedLen(src)
	switch {
	case errors.Is(err, s2.ErrTooLarge): // for this processor
		return dst, fmt.Errorf("s2: %w", ErrTooLarge)
	case err != nil:
		return dst, fmt.Errorf("s2: %w: no size", ErrCorrupt)
	case n > max(limit, 0):
		return dst, fmt.Errorf("s2: %w: %d bytes, limit %d", ErrTooLarge, n, limit)
	case n/s2Expansion > len(src):
		return dst, fmt.Errorf("s2: %w: %d bytes cannot be %d", ErrCorrupt, len(src), n)
	}
	base := len(dst)
	into := room(dst, n)
	returned := false
	defer func() {
		if returned {
			return
		}
		if p := recover(); p != nil {
			out, err = dst, fmt.Errorf("s2: %w: %v", ErrCorrupt, p)
		}
	}()
	_, err = c.decod(into[base:base+n], src)
	returned = true
	if err != nil {
		return dst, fmt.Errorf("s2: %w", ErrCorrupt)
	}
	return into[:base+n], nil
}
