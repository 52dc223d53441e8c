package compress

import (
	"errors"
	"fmt"
)

// Codec compresses messages one by one: each compressed form stands for
// itself, and a receiver needs nothing but it and the dictionary, if one was
// used; those of a [Codec.NewWindow] are the exception. [S2] and [Zstd] make one; it cannot be changed afterwards, and any
// number of handlers, connections and goroutines may share it. They may be in
// bubbles of testing/synctest, in several at once, and outside: a codec has no
// goroutines and no channels that would belong to one. Only what it allocates is
// more in a bubble, where it may have to make a decoder for a message.
//
// # Memory
//
// A codec begins with some KiB and grows with how many messages it compresses
// at once, up to what [WithConcurrency] says, which is GOMAXPROCS without it, for
// those up to 64 KiB and again for larger ones. What it has grown to it keeps. For
// each message at once, in MiB:
//
//	                          Fastest  Balanced  Better  Best
//	S2                           0.07      0.57    0.57   4.5
//	Zstd, messages to 64 KiB      0.5       1.5     5.5    36
//	Zstd, larger messages         2.0       3.2     6.4    37
//	Zstd, with a dictionary       2.4       4.6    10.5    71
//
// That is with a window of 1 MiB, see [WithWindow]: the last two lines have it,
// and grow with it. A message that is being decoded takes 0.4 MiB with Zstd and
// nothing with S2. For each dictionary there are coders besides those without
// one, which have a copy of it, and S2 has tables of 0.03 to 2.3 MiB that they
// share; when it compresses with a dictionary at the fastest level, the stack of
// the goroutine grows by 64 KiB. [Codec.NewWindow] says what windows take besides.
type Codec struct {
	name  string
	plain coder
	ids   []uint64 // of the dictionaries, in order of preference
	known []coder  // those of ids
	err   error

	windows *windowPool // nil: there are none
}

// coder is a codec with one dictionary, or without one.
type coder interface {
	// compress appends the compressed form of src to dst, or nothing if there is
	// none.
	compress(dst, src []byte) []byte
	// decode appends what src is the compressed form of.
	decode(dst, src []byte, limit int) ([]byte, error)
}

// S2 returns a codec that takes little processor time. It is for fast links, and
// with a dictionary for small messages.
func S2(opts ...S2Option) *Codec {
	c := newConfig("s2")
	for _, o := range opts {
		o.s2(c)
	}
	return newCodec(c, newS2)
}

// Zstd returns a codec that makes messages smaller than [S2] does and takes a
// multiple of its time.
func Zstd(opts ...ZstdOption) *Codec {
	c := newConfig("zstd")
	for _, o := range opts {
		o.zstd(c)
	}
	codec := newCodec(c, newZstd)
	codec.windows = &windowPool{idle: c.concurrency}
	return codec
}

func newCodec(cfg *config, with func(*config, *Dictionary) (coder, error)) *Codec {
	c := &Codec{name: cfg.name}
	var err error
	if c.plain, err = with(cfg, nil); err != nil {
		cfg.refusef("%w", err)
	}
	for _, d := range cfg.dicts {
		k, err := with(cfg, d)
		if err != nil {
			cfg.refusef("dictionary %016x: %w", d.id, err)
			continue
		}
		c.ids, c.known = append(c.ids, d.id), append(c.known, k)
	}
	c.err = cfg.err()
	return c
}

// Name returns "s2" or "zstd". Whatever has the same name understands each
// other, at any level, as long as no dictionary is used.
func (c *Codec) Name() string {
	if c == nil {
		return "" // as of one that was not made by S2 or Zstd
	}
	return c.name
}

// Err returns what is impossible about the options that the codec was made
// with, or nil. A codec with such options works as if they had not been given. A nil
// Codec is an error and does not work.
func (c *Codec) Err() error {
	if c == nil {
		return errNilCodec
	}
	return c.err
}

var errNilCodec = errors.New("compress: the Codec is nil: make it with S2 or Zstd, or pass nil itself where nothing is to be compressed")

// Dictionaries returns the ids of the dictionaries that the codec was given, in
// order of preference. The caller must not change the slice.
func (c *Codec) Dictionaries() []uint64 { return c.ids }

// Append appends the compressed form of src to dst, whether it is smaller or
// not, and returns the extended slice. The two must not overlap. It appends
// nothing if there is no compressed form, which no message of less than 2 GiB
// is without: send src as it is then.
//
// It allocates nothing, once the coders are there, if dst has room for len(src)
// + len(src)/16384 + 32 bytes.
func (c *Codec) Append(dst, src []byte) []byte { return c.plain.compress(dst, src) }

// Decode appends to dst what src is the compressed form of, and returns the
// extended slice; dst and src must not overlap. If it is larger than limit
// bytes, not counting what dst has already, the error is [ErrTooLarge], found
// before anything is allocated; see also [ErrCorrupt] and
// [ErrUnknownDictionary]. With an error it returns dst as it was. In any case the
// bytes between the length of what it returns and the capacity may have changed.
//
// It allocates nothing, once the coders are there, if dst has room for the
// decoded message and, with Zstd, for another 128 KiB if the message is larger
// than that. Never does it allocate more than this, nor more than the bytes of
// src can stand for, whatever size they claim.
func (c *Codec) Decode(dst, src []byte, limit int) ([]byte, error) {
	return c.plain.decode(dst, src, limit)
}

// AppendDict is [Codec.Append] with a dictionary, one of [Codec.Dictionaries]
// or 0 for none. The receiver has to be told which. For a dictionary that the
// codec does not have, it appends nothing.
//
// A dictionary is for small messages: above some 16 KiB it saves nothing and
// still costs its time.
func (c *Codec) AppendDict(dst, src []byte, id uint64) []byte {
	if k := c.coder(id); k != nil {
		return k.compress(dst, src)
	}
	return dst
}

// DecodeDict is [Codec.Decode] for what [Codec.AppendDict] made with the
// dictionary of that id, or without one if it is 0.
func (c *Codec) DecodeDict(dst, src []byte, id uint64, limit int) ([]byte, error) {
	k := c.coder(id)
	if k == nil {
		return dst, fmt.Errorf("%s: %w %016x", c.name, ErrUnknownDictionary, id)
	}
	return k.decode(dst, src, limit)
}

// coder returns the one for a dictionary, nil if that is unknown.
func (c *Codec) coder(id uint64) coder {
	if id == 0 {
		return c.plain
	}
	for i, known := range c.ids {
		if known == id {
			return c.known[i]
		}
	}
	return nil
}

// room returns dst with a capacity for n more bytes, which it allocates exactly.
func room(dst []byte, n int) []byte {
	if cap(dst)-len(dst) >= n {
		return dst
	}
	larger := make([]byte, len(dst), len(dst)+n)
	copy(larger, dst)
	return larger
}
