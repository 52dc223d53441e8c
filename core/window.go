package core

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/gridmux/gridmux/core/internal/wire"
)

// Messages of a stream that share a window are those of one codec in one direction
// that go in one frame: larger ones, and all that are sent as they are, are not in it
// and change nothing about it, at either end. They are compressed in the order in which
// they are queued, and restored in that in which they arrive.

// WindowCompressor is a [Compressor] that can let the messages of a stream refer to
// those before them, see [WithSharedWindow].
type WindowCompressor interface {
	Compressor
	// NewWindow returns what the messages of one direction of a stream share, for
	// one of its two ends, or nil, always the same, if the Compressor has no windows
	// after all. It must take hardly any memory before the first message: each of its
	// methods but Close is called at one end alone.
	//
	// Append appends the compressed form of src to dst, at most 32 bytes more than
	// src has, and returns the extended slice; with what it has appended, all forms
	// before go on their way too, in order. If it appends nothing, or more, the window is
	// closed, and later messages stand for themselves. Decode appends what src is the
	// compressed form of, which must have size bytes; it must not allocate much more
	// than that and a window, whatever src says. After an error the window is closed and
	// the stream ends.
	//
	// A window is used by one goroutine at a time. Close gives back what it holds, and
	// must not wait. At the end that sends it is called when the direction has ended,
	// and at the other when the user has been told of that, or has closed the stream: of
	// whoever does not read so far, the window is left to the collector.
	NewWindow() interface {
		Append(dst, src []byte) []byte
		Decode(dst, src []byte, size int) ([]byte, error)
		Close()
	}
}

// streamWindow is what NewWindow returns.
type streamWindow = interface {
	Append(dst, src []byte) []byte
	Decode(dst, src []byte, size int) ([]byte, error)
	Close()
}

// windowSuffix makes the name under which a codec is announced whose messages share a
// window (W98).
const windowSuffix = "+window"

const (
	// maxSendWindows is how many streams with one peer may have a window of what this
	// node sends, until they are over for it: the messages of others stand for
	// themselves (W98).
	maxSendWindows = 64
	// maxReceiveWindows is how many streams that a peer has opened may have a window of
	// what it sends. A stream that the peer has given up is over for it before this node
	// knows, over another lane or in a new session, and before who restores a message here
	// is done.
	maxReceiveWindows = 4 * maxSendWindows
)

// sharing counts the windows of the streams with one peer.
type sharing struct{ sends, receives places }

// places is how many of something are taken.
type places struct{ atomic.Int32 }

// take takes one more, unless limit are taken.
func (p *places) take(limit int32) bool {
	for {
		n := p.Load()
		if n >= limit {
			return false
		}
		if p.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

func (p *places) giveBack() { p.Add(-1) }

// smallShared is the size below which a message is not compressed in a shared window.
const smallShared = 32

var (
	errNoWindowHere = errors.New("it shares a window with others, and there is none")
	errWindowGone   = errors.New("the window that it shares is closed")
	errManyWindows  = fmt.Errorf("%w: the peer shares windows in %d other streams", ErrOverloaded, maxReceiveWindows)
	errWindowPanic  = errors.New("the window of the Compressor panicked")
)

// noWindow stands for what a Compressor without windows has.
var noWindow = new(compressor)

// windowed returns what stands for the Compressor where messages share a window, or
// nil if it has none. It looks when somebody wants to know: an option that is made for
// one call need not have it.
func (c *compressor) windowed() *compressor {
	w := c.window.Load()
	if w == nil {
		c.window.CompareAndSwap(nil, c.findWindow())
		w = c.window.Load()
	}
	if w == noWindow {
		return nil
	}
	return w
}

// findWindows calls what Compressors have for that before a lock is taken, under which
// they are added.
func findWindows(all []*compressor) {
	for _, c := range all {
		if c != nil && c != notCompressed {
			c.windowed()
		}
	}
}

func (c *compressor) findWindow() *compressor {
	shares, ok := c.with.(WindowCompressor)
	if !ok || len(c.name)+len(windowSuffix) > wire.MaxCodecName {
		return noWindow
	}
	w := &compressor{with: c.with, name: c.name + windowSuffix, shares: shares}
	first := newWindow(w)
	if first == nil {
		return noWindow
	}
	closeWindow(first)
	return w
}

// shares reports whether the messages with the codec of that number share a window.
func (s *codecSet) shares(codec uint8) bool {
	return codec != 0 && int(codec) <= len(s.names) && s.names[codec-1].shares != nil
}

type windowOption struct{}

// WithSharedWindow lets the messages of a stream that are compressed refer to those
// before them in their direction, which makes small messages smaller that resemble one
// another: records of 200 bytes to a fifth of their size, where each by itself becomes
// half. It is for messages that are compressed, see [WithCompression], and switches no
// compression on; as a [CallOption] it is for streams, while single calls are as they were.
//
// As a [HandlerOption] it is for all streams of the handler. The handler's node does so
// with what it sends, and the callers' nodes with what they send if they compress it
// because the handler's node wants it. As a [CallOption] it is for one stream: for what
// this node sends on it, whether the call has a Compressor or the handler's node wants
// one, and for what comes back, if the call has a Compressor for that; without one
// the handler's node does as it was told by its own options. The Compressor has to be a
// [WindowCompressor], as that of compress.Zstd is, on both nodes: where it is none on
// either, each message stands for itself as without the option.
//
// In the window are messages from 32 bytes on, or what [WithCompressionThreshold] says, that
// go in one frame, which are those of up to 32 KiB; they use no dictionary. Others, and
// those that are sent as they are since several before were not worth it, do not change
// it. A message that is tried is in it, and is sent so, even if it does not become
// smaller.
//
// For each direction, both ends hold a window from its first message to its end: with
// compress.Zstd 0.8 MiB where it is sent from, and 0.4 MiB where it is sent to, which
// this node holds for its peers too if they ask for it. With one peer a node sends so in
// at most 64 streams at a time, each of which counts from its first such message until it
// is over; the messages of further ones stand for themselves meanwhile.
//
// Messages of several goroutines are compressed one after another. A message that cannot
// be restored ends its stream.
//
// The length of a message then tells something of those before it, too.
func WithSharedWindow() Option { return windowOption{} }

func (windowOption) applyHandler(h *handler) error {
	if h.stream == nil {
		return errors.New("WithSharedWindow is for handlers of streams: leave it out")
	}
	h.window = true
	return nil
}

func (windowOption) applyCall(s callSettings) callSettings {
	s.window = true
	return s
}

// checkWindow refuses a handler whose messages shall share windows and are not
// compressed.
func (h *handler) checkWindow() error {
	if !h.window || slices.ContainsFunc(h.compress[:], func(c *compressor) bool { return c != nil && c != notCompressed }) {
		return nil
	}
	return errors.New("WithSharedWindow without WithCompression: give the handler a Compressor too")
}

// acceptsShared is accepts for a stream: the messages that come back may share a
// window, if they shall and both nodes can.
func (s *session) acceptsShared(a wire.Accept, set *callSettings) wire.Accept {
	if !set.window || a.Codec == 0 {
		return a
	}
	w := set.compress[fromHandler].windowed()
	if w == nil || s.root.peerCodecs.Load().number(w.name) == 0 {
		return a
	}
	if n := s.m.codecs.set.Load().number(w.name); n != 0 {
		a.Codec = n
	}
	return a
}

// asksToShare reports whether a caller wants what it gets to share a window.
func (s *session) asksToShare(a wire.Accept) bool {
	return strings.HasSuffix(s.root.peerCodecs.Load().name(a.Codec), windowSuffix)
}

// notSmaller is the error for a message that claims to be compressed, is not smaller
// for it, and shares no window (W15).
func notSmaller(f *wire.Frame, d *wire.Data) error {
	return fmt.Errorf("%w: %v: message of %d bytes is %d once decoded by codec %d", wire.ErrMalformed, f.Type, d.Size, d.Decoded, f.Codec)
}

// closeWindow closes what is not nil.
func closeWindow(w streamWindow) {
	if w == nil {
		return
	}
	defer func() { _ = recover() }() // it is given up anyway
	w.Close()
}
