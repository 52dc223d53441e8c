package core

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"unicode/utf8"

	"github.com/gridmux/gridmux/core/internal/wire"
)

// Compressor makes messages smaller and restores them: those of package compress,
// or one of the user's own. It may be used by any number of goroutines at once, and
// with any number of handlers and Managers.
//
// One that panics as it compresses costs that message its compression, and one that does
// as it restores ends the call or stream with [ErrMalformedMessage]. No method may call
// runtime.Goexit, and so none t.FailNow: the goroutine may be one that the session needs.
type Compressor interface {
	// Name is what the two sides of a connection call the codec: 1 to 32 bytes of
	// UTF-8, always the same. Whatever has the same name understands each other.
	Name() string
	// Append appends the compressed form of src to dst and returns the extended
	// slice. It need not be smaller; src is sent as it is then.
	Append(dst, src []byte) []byte
	// Decode appends to dst what src is the compressed form of, and returns the
	// extended slice, or an error if that has more than limit bytes or src is
	// nothing that Append makes. It must not allocate much more than limit, whatever
	// src says: src may come from anybody in the cluster.
	Decode(dst, src []byte, limit int) ([]byte, error)
}

// DictionaryCompressor is a [Compressor] that also works with content which both
// sides have before. A dictionary is used for messages of up to 16 KiB, if the
// receiver has it too.
//
// A method Err() error, which any Compressor may have, tells what is wrong with
// the way in which it was made; [Manager.Handle] and calls then fail with it.
type DictionaryCompressor interface {
	Compressor
	// Dictionaries returns the ids of the dictionaries, in order of preference and
	// always the same. None is 0.
	Dictionaries() []uint64
	// AppendDict is Append with the dictionary of that id.
	AppendDict(dst, src []byte, id uint64) []byte
	// DecodeDict is Decode of what AppendDict has made.
	DecodeDict(dst, src []byte, id uint64, limit int) ([]byte, error)
}

// The directions of messages.
const (
	toHandler   = 0 // requests, initial payloads, messages of the caller
	fromHandler = 1 // responses, messages of the handler
	directions  = 2
)

// compressor is a Compressor and what is known of it.
type compressor struct {
	with  Compressor
	dicts DictionaryCompressor // nil: it has none
	ids   []uint64
	name  string

	window atomic.Pointer[compressor] // see windowed; nil: not looked for yet
	shares WindowCompressor           // of what stands for another one in this way; else nil

	// known is the table that has all of it, so that calls need not look.
	known atomic.Pointer[codecTable]
}

// notCompressed stands for an option that switches compression off.
var notCompressed = new(compressor)

func newCompressor(c Compressor) (*compressor, error) {
	if c == nil {
		return notCompressed, nil
	}
	own := new(compressor)
	if err := own.init(c); err != nil {
		return nil, err
	}
	return own, nil
}

func (c *compressor) init(with Compressor) error {
	c.with, c.name = with, with.Name()
	if made, ok := with.(interface{ Err() error }); ok && made.Err() != nil {
		return made.Err()
	}
	if n := len(c.name); n == 0 || n > wire.MaxCodecName || !utf8.ValidString(c.name) {
		return fmt.Errorf("the name %q of a Compressor has %d bytes: use 1 to %d of UTF-8", c.name, n, wire.MaxCodecName)
	}
	if strings.HasSuffix(c.name, windowSuffix) {
		return fmt.Errorf("the name %q of a Compressor ends with %q, which stands for shared windows: use another one",
			c.name, windowSuffix)
	}
	if d, ok := with.(DictionaryCompressor); ok && len(d.Dictionaries()) > 0 {
		c.dicts, c.ids = d, d.Dictionaries()
	}
	return nil
}

// compressionOption has the Compressor in itself, so that one which is made for a
// single call is one allocation.
type compressionOption struct {
	own  compressor
	with *compressor // it, or notCompressed
	err  error
	dirs [directions]bool
}

func newCompressionOption(name string, c Compressor, request, response bool) Option {
	o := &compressionOption{with: notCompressed, dirs: [directions]bool{request, response}}
	if c == nil {
		return o
	}
	o.with = &o.own
	if err := o.own.init(c); err != nil {
		o.err = fmt.Errorf("%s: %w", name, err)
	}
	return o
}

// WithCompression compresses the messages of a handler, in both directions:
// requests and responses, initial payloads and the messages of streams.
//
// As a [HandlerOption] it is for all calls of the handler. The handler's node
// compresses what it sends if the caller's node has a Compressor of that name, and
// the callers' nodes learn from it that they should too, which those do that have
// one when they connect: for a handler, for a call before, or in Config.Compressors. As a [CallOption] it is for
// one call, goes before what the handler's node wants, and asks that node to compress what it
// sends, which it does if it has a Compressor of that name, unless the handler has
// said that it must not. A peer that lacks the Compressor, or a
// dictionary, sends and gets messages as they are, and so does the local node.
// With nil nothing is compressed; a nil pointer of a type that is a Compressor is not
// that: a nil *compress.Codec is an error.
//
// A message is sent as it is if that is hardly larger, or if it is small
// ([WithCompressionThreshold]). Where several messages in a row were not worth it only
// every now and then one is tried, up to one in 129, until one is. Limits on messages
// are on their size before compression and after. Each message stands for itself, unless
// [WithSharedWindow] is given. Messages are
// compressed on the goroutine that sends them, and restored on the one that takes
// them: that of Request, Recv or the handler. That is not interrupted: a call whose
// context or time-out ends meanwhile ends with it, and is not sent. Of messages over 64 KiB
// a Manager compresses as many at once as there are processors, and restores as many; a
// call that ends while its message waits for that returns at once. A handler with [WithInline] whose request
// is compressed runs as others do. A message that cannot be restored ends its call or
// stream with [ErrMalformedMessage].
//
// The length of a compressed message tells something of what is in it. Do not compress
// secrets together with what others may have chosen.
func WithCompression(c Compressor) Option {
	return newCompressionOption("WithCompression", c, true, true)
}

// WithRequestCompression is [WithCompression] for the messages to the handler
// alone, and leaves the others as other options have them.
func WithRequestCompression(c Compressor) Option {
	return newCompressionOption("WithRequestCompression", c, true, false)
}

// WithResponseCompression is [WithCompression] for the messages from the handler
// alone, and leaves the others as other options have them.
func WithResponseCompression(c Compressor) Option {
	return newCompressionOption("WithResponseCompression", c, false, true)
}

func (o *compressionOption) applyHandler(h *handler) error {
	if o.err != nil {
		return o.err
	}
	for dir, on := range o.dirs {
		if on {
			h.compress[dir] = o.with
		}
	}
	return nil
}

func (o *compressionOption) applyCall(s callSettings) callSettings {
	if o.err != nil {
		s.err = o.err
	}
	for dir, on := range o.dirs {
		if on {
			s.compress[dir] = o.with
		}
	}
	return s
}

type thresholdOption int

// WithCompressionThreshold sets from which size on, in bytes, messages are
// compressed that this node sends; 1 means all. Without it that is 512, 64
// where a dictionary is used, and 32 where a window is shared. It is for who has [WithCompression] as well.
func WithCompressionThreshold(n int) Option { return thresholdOption(n) }

func (o thresholdOption) check() error {
	if o < 1 || o > limitMaxMessage {
		return fmt.Errorf("WithCompressionThreshold(%d): use 1 to %d, or leave the option out", o, limitMaxMessage)
	}
	return nil
}

func (o thresholdOption) applyHandler(h *handler) error {
	h.threshold = int32(o)
	return o.check()
}

func (o thresholdOption) applyCall(s callSettings) callSettings {
	if s.threshold = int32(o); o.check() != nil {
		s.err = o.check()
	}
	return s
}

var errCodecPanic = errors.New("the Compressor panicked")

// encode appends the compressed form of src, with the dictionary of that id unless
// it is 0. A Compressor that panics has none.
func (c *compressor) encode(dst, src []byte, id uint64) (out []byte) {
	returned := false
	defer func() {
		if !returned && recover() != nil {
			out = nil
		}
	}()
	if id != 0 {
		out = c.dicts.AppendDict(dst, src, id)
	} else {
		out = c.with.Append(dst, src)
	}
	returned = true
	return out
}

// decode appends what src is the compressed form of, which must have size bytes.
func (c *compressor) decode(dst, src []byte, id uint64, size int) (out []byte, err error) {
	returned := false
	defer func() {
		if returned {
			return
		}
		if p := recover(); p != nil {
			out, err = dst, fmt.Errorf("%w: %v", errCodecPanic, p)
		}
	}()
	switch {
	case c.shares != nil:
		return dst, errNoWindowHere
	case id != 0:
		out, err = c.dicts.DecodeDict(dst, src, id, size)
	default:
		out, err = c.with.Decode(dst, src, size)
	}
	returned = true
	if err == nil && len(out)-len(dst) != size {
		err = fmt.Errorf("%d bytes, not the %d that were announced", len(out)-len(dst), size)
	}
	if err != nil {
		return dst, err
	}
	return out, nil
}
