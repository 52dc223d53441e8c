package compress

import (
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// sharedWindow is how far back the messages of one stream refer to those before
// them. It is what every stream holds, twice at each end, so it is small and the same
// at every level; it has to be no smaller than a message of 32 KiB, which is the
// largest that core lets share one.
const sharedWindow = 64 << 10

// NewWindow returns what the messages of one direction of a stream share, for one
// end of it: what Append makes refers to the messages that the same window has
// compressed before, and Decode, of another window, has to be given all of it in the
// same order. Only [Zstd] has windows: for [S2], whose library cannot go on with a
// block, it returns nil, and its messages stand for themselves.
//
// A window reaches back 64 KiB, whatever [WithWindow] and [WithLevel] say: it
// compresses as [Fastest] does, and uses no dictionary. It may be used by one
// goroutine at a time. It takes nothing before its first message; after that 0.8 MiB
// where it compresses, and 0.4 MiB where it decodes, until it is closed. The codec
// keeps as many of each for further windows as [WithConcurrency] says.
//
// Append appends the compressed form of src, which must not be empty, to dst: at
// most 12 bytes more than src has, of which 6 go with the first message alone, if src
// has up to 64 KiB. If it appends nothing the window is of no more use. Decode appends
// what src is the compressed form of, which must have size bytes; after an error the
// window is of no more use either. Both take their memory as those of [Codec] do.
// After Close, which need not be called, a window does nothing any more.
func (c *Codec) NewWindow() interface {
	Append(dst, src []byte) []byte
	Decode(dst, src []byte, size int) ([]byte, error)
	Close()
} {
	if c.windows == nil {
		return nil
	}
	return &window{from: c.windows}
}

// window is one frame of zstd that never ends: the form of a message is its blocks,
// and in front of those of the first one the header of the frame.
type window struct {
	from *windowPool
	enc  *windowEncoder
	dec  *windowDecoder
	over bool
}

func (w *window) Append(dst, src []byte) (out []byte) {
	if w.over || len(src) == 0 {
		return dst
	}
	base := len(dst)
	defer func() {
		if recover() != nil || len(out) == base {
			// What it has seen is not known, so the encoder is not used again.
			w.over, w.enc, out = true, nil, dst[:base]
		}
	}()
	if w.enc == nil {
		if w.enc = w.from.encoder(); w.enc == nil {
			return dst
		}
	}
	return w.enc.encode(room(dst, len(src)+len(src)/16384+32), src)
}

func (w *window) Decode(dst, src []byte, size int) (out []byte, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", ErrCorrupt, p)
		}
		if err != nil {
			w.over, w.dec = true, nil
			out, err = dst, fmt.Errorf("zstd: %w", err)
		}
	}()
	if w.over {
		return dst, errWindowOver
	}
	if w.dec == nil {
		if w.dec, err = w.from.decoder(); err != nil {
			return dst, err
		}
	}
	into := room(dst, size)
	base := len(dst)
	if err := w.dec.decode(into[base:base+size], src); err != nil {
		return dst, err
	}
	return into[:base+size], nil
}

var errWindowOver = errors.New("the window is closed, or a message before could not be decoded")

func (w *window) Close() {
	w.over = true
	w.from.put(w.enc, w.dec)
	w.enc, w.dec = nil, nil
}

// windowPool has the coders of windows that are closed, for others.
type windowPool struct {
	idle int // at most so many of each

	mu       sync.Mutex
	encoders []*windowEncoder
	decoders []*windowDecoder
}

// windowEncoder is an encoder of the library as a stream.
type windowEncoder struct {
	enc *zstd.Encoder
	out []byte
}

// Write takes what the stream has compressed.
func (e *windowEncoder) Write(p []byte) (int, error) {
	e.out = append(e.out, p...)
	return len(p), nil
}

// encode returns dst if there is no compressed form.
func (e *windowEncoder) encode(dst, src []byte) []byte {
	e.out = dst
	defer func() { e.out = nil }()
	if _, err := e.enc.Write(src); err != nil {
		return dst
	}
	if err := e.enc.Flush(); err != nil {
		return dst
	}
	return e.out
}

// encoder returns nil if there is none.
func (p *windowPool) encoder() *windowEncoder {
	p.mu.Lock()
	if n := len(p.encoders); n > 0 {
		e := p.encoders[n-1]
		p.encoders = p.encoders[:n-1]
		p.mu.Unlock()
		e.enc.Reset(e)
		return e
	}
	p.mu.Unlock()
	enc, err := zstd.NewWriter(nil,
		zstd.WithEncoderConcurrency(1), // no goroutines
		zstd.WithEncoderLevel(zstd.SpeedFastest),
		zstd.WithWindowSize(sharedWindow),
		zstd.WithLowerEncoderMem(true),
		zstd.WithEncoderCRC(false), // links have checks of their own
	)
	if err != nil {
		return nil
	}
	e := &windowEncoder{enc: enc}
	enc.Reset(e)
	return e
}

// windowDecoder is a decoder of the library as a stream. It is its source, too,
// which ends with each message.
type windowDecoder struct {
	dec  *zstd.Decoder
	src  []byte
	last [2]byte
	kept bool // it may be used by others
}

// Read gives the library more of the message.
func (d *windowDecoder) Read(p []byte) (int, error) {
	if len(d.src) == 0 {
		return 0, io.EOF
	}
	n := copy(p, d.src)
	d.src = d.src[n:]
	return n, nil
}

// decode fills out with what src decodes to, which must be as much.
func (d *windowDecoder) decode(out, src []byte) error {
	d.src = src
	defer func() { d.src = nil }()
	for got := 0; got < len(out); {
		// The library reads a block when it has given out all of the one before. So
		// the last byte is asked for together with one more, which must not be there:
		// what was left would stand in front of the next message.
		p := out[got : len(out)-1]
		if len(p) == 0 {
			p = d.last[:]
		}
		n, err := d.dec.Read(p)
		switch {
		case n == 0 && err == nil, errors.Is(err, io.EOF):
			return fmt.Errorf("%w: less than %d bytes", ErrCorrupt, len(out))
		case errors.Is(err, zstd.ErrWindowSizeExceeded), errors.Is(err, zstd.ErrDecoderSizeExceeded):
			return fmt.Errorf("%w: a window, or a block, of more than %d bytes", ErrTooLarge, sharedWindow)
		case errors.Is(err, zstd.ErrUnknownDictionary):
			return ErrUnknownDictionary
		case err != nil:
			return fmt.Errorf("%w: %w", ErrCorrupt, err)
		case got+n > len(out):
			return fmt.Errorf("%w: more than %d bytes", ErrCorrupt, len(out))
		}
		if got == len(out)-1 {
			out[got] = d.last[0]
		}
		got += n
	}
	if len(d.src) > 0 {
		return fmt.Errorf("%w: %d bytes behind the message", ErrCorrupt, len(d.src))
	}
	return nil
}

func (p *windowPool) decoder() (*windowDecoder, error) {
	p.mu.Lock()
	if n := len(p.decoders); n > 0 {
		d := p.decoders[n-1]
		p.decoders = p.decoders[:n-1]
		p.mu.Unlock()
		return d, d.dec.Reset(d)
	}
	p.mu.Unlock()
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(sharedWindow))
	if err != nil {
		return nil, err
	}
	// Its channel belongs to the bubble that it is made in.
	d := &windowDecoder{dec: dec, kept: !inBubble()}
	return d, dec.Reset(d)
}

// put takes back what is not nil, or leaves it to the collector.
func (p *windowPool) put(e *windowEncoder, d *windowDecoder) {
	if d != nil && (!d.kept || d.dec.Reset(nil) != nil) {
		d = nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if e != nil && len(p.encoders) < p.idle {
		p.encoders = append(p.encoders, e)
	}
	if d != nil && len(p.decoders) < p.idle {
		p.decoders = append(p.decoders, d)
	}
}
