package compress

import (
	"errors"
	"fmt"

	"github.com/klauspost/compress/zstd"

	"github.com/gridmux/gridmux/compress/internal/slots"
)

// zstdCoder compresses to frames of zstd, RFC 8878.
type zstdCoder struct {
	dict     *Dictionary // nil: none
	options  []zstd.EOption
	encoders slots.Pair[*zstdEncoder]
	decoders slots.Pair[zstdDecoder]
}

// zstdDecoder is what is used of the library's.
type zstdDecoder interface {
	DecodeAll(src, dst []byte) ([]byte, error)
}

// zstdEmpty is the frame of the empty message, for which the library's streams
// have one without a size.
const zstdEmpty = zstdMagic + "\x20\x00\x01\x00\x00"

func newZstd(cfg *config, d *Dictionary) (coder, error) {
	c := &zstdCoder{
		dict:     d,
		encoders: slots.NewPair[*zstdEncoder](cfg.concurrency),
		decoders: slots.NewPair[zstdDecoder](cfg.concurrency),
		options: []zstd.EOption{
			zstd.WithEncoderConcurrency(1),
			zstd.WithEncoderLevel([...]zstd.EncoderLevel{
				Fastest:  zstd.SpeedFastest,
				Balanced: zstd.SpeedDefault,
				Better:   zstd.SpeedBetterCompression,
				Best:     zstd.SpeedBestCompression,
			}[cfg.level]),
			zstd.WithWindowSize(cfg.window),
			zstd.WithLowerEncoderMem(true),
			zstd.WithSingleSegment(true), // so that each frame says its size
			zstd.WithEncoderCRC(false),   // links have checks of their own
		},
	}
	if d != nil {
		c.options = append(c.options, zstd.WithEncoderDict(d.raw))
	}
	if _, err := c.newEncoder(); err != nil {
		return nil, err
	}
	dec, err := c.newDecoder()
	if err != nil {
		return nil, err
	}
	if !inBubble() {
		// The first one is there even if the first message comes in a bubble.
		slot := c.decoders.Take(0)
		slot.Value = dec
		slot.Release()
	}
	return c, nil
}

func (c *zstdCoder) newEncoder() (*zstdEncoder, error) {
	enc, err := zstd.NewWriter(nil, c.options...)
	if err != nil {
		return nil, err
	}
	return &zstdEncoder{enc: enc, stream: inBubble()}, nil
}

func (c *zstdCoder) newDecoder() (zstdDecoder, error) {
	options := []zstd.DOption{
		zstd.WithDecoderConcurrency(1),
		zstd.WithDecodeAllCapLimit(true),
		// A frame that says its size counts as one that needs such a window. What
		// is too large is for check to find.
		zstd.WithDecoderMaxWindow(1 << 40),
	}
	if c.dict != nil {
		options = append(options, zstd.WithDecoderDicts(c.dict.raw))
	}
	return zstd.NewReader(nil, options...)
}

// zstdEncoder is an encoder of the library for one goroutine at a time.
type zstdEncoder struct {
	enc *zstd.Encoder

	// stream: EncodeAll makes a channel, which would belong to the bubble that the
	// encoder was made in. As a stream it needs none; that costs an allocation for
	// large messages and some copying.
	stream bool
	out    []byte // of the stream
}

// Write takes what the stream has compressed.
func (e *zstdEncoder) Write(p []byte) (int, error) {
	e.out = append(e.out, p...)
	return len(p), nil
}

func (e *zstdEncoder) encode(dst, src []byte) []byte {
	if !e.stream {
		return e.enc.EncodeAll(src, dst)
	}
	e.out = dst
	defer func() { e.out = nil }()
	e.enc.ResetContentSize(e, int64(len(src)))
	if _, err := e.enc.Write(src); err != nil {
		return dst
	}
	if err := e.enc.Close(); err != nil {
		return dst
	}
	return e.out
}

func (c *zstdCoder) compress(dst, src []byte) (out []byte) {
	if len(src) == 0 {
		return append(dst, zstdEmpty...)
	}
	base := len(dst)
	if cap(dst)-base < 64 {
		dst = room(dst, len(src)+len(src)/16384+32)
	}
	slot := c.encoders.Take(len(src))
	defer func() {
		// A bug in the library costs the compression and the encoder, not the
		// process.
		if recover() != nil {
			slot.Value, out = nil, dst[:base]
		}
		slot.Release()
	}()
	if slot.Value == nil {
		enc, err := c.newEncoder()
		if err != nil {
			return dst
		}
		slot.Value = enc
	}
	return slot.Value.encode(dst, src)
}

func (c *zstdCoder) decode(dst, src []byte, limit int) (out []byte, err error) {
	size, space, err := c.check(src, limit)
	if err != nil {
		return dst, fmt.Errorf("zstd: %w", err)
	}
	base := len(dst)
	into := room(dst, space)
	slot := c.decoders.Take(size)
	defer func() {
		if p := recover(); p != nil {
			slot.Value = nil
			out, err = dst, fmt.Errorf("zstd: %w: %v", ErrCorrupt, p)
		}
		slot.Release()
	}()
	dec := slot.Value
	if dec == nil {
		if dec, err = c.newDecoder(); err != nil {
			return dst, fmt.Errorf("zstd: %w", err)
		}
		if !inBubble() {
			slot.Value = dec
		}
	}
	got, err := dec.DecodeAll(src, into[base:base])
	switch {
	case errors.Is(err, zstd.ErrUnknownDictionary):
		return dst, fmt.Errorf("zstd: %w", ErrUnknownDictionary)
	case err != nil:
		return dst, fmt.Errorf("zstd: %w: %w", ErrCorrupt, err)
	case len(got) != size:
		return dst, fmt.Errorf("zstd: %w: %d bytes, not %d", ErrCorrupt, len(got), size)
	}
	return into[:base+size], nil
}
