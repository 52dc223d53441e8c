package compression_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync/atomic"
	"testing"

	"github.com/gridmux/gridmux/compress"
	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/coretest"
	"github.com/gridmux/gridmux/core/internal/lab"
)

// sharedWindow is what a Compressor has for a direction of a stream.
type sharedWindow = interface {
	Append(dst, src []byte) []byte
	Decode(dst, src []byte, size int) ([]byte, error)
	Close()
}

// counted is a codec that counts its windows, and holds them to being used by one
// goroutine at a time and closed once.
type counted struct {
	*compress.Codec

	t                *testing.T
	encoded, decoded atomic.Int64 // windows that have done so
	closed           atomic.Int64 // of them
}

func newCounted(t *testing.T, c *compress.Codec) *counted { return &counted{Codec: c, t: t} }

func (c *counted) NewWindow() interface {
	Append(dst, src []byte) []byte
	Decode(dst, src []byte, size int) ([]byte, error)
	Close()
} {
	return &countedWindow{sharedWindow: c.Codec.NewWindow(), c: c}
}

type countedWindow struct {
	sharedWindow

	c                *counted
	busy             atomic.Bool
	encodes, decodes bool
	closed           bool
}

func (w *countedWindow) use() func() {
	if !w.busy.CompareAndSwap(false, true) {
		w.c.t.Error("two goroutines use a window at once")
	}
	if w.closed {
		w.c.t.Error("a window is used that is closed")
	}
	return func() { w.busy.Store(false) }
}

func (w *countedWindow) Append(dst, src []byte) []byte {
	defer w.use()()
	if !w.encodes {
		w.encodes = true
		w.c.encoded.Add(1)
	}
	return w.sharedWindow.Append(dst, src)
}

func (w *countedWindow) Decode(dst, src []byte, size int) ([]byte, error) {
	defer w.use()()
	if !w.decodes {
		w.decodes = true
		w.c.decoded.Add(1)
	}
	return w.sharedWindow.Decode(dst, src, size)
}

func (w *countedWindow) Close() {
	defer w.use()()
	w.closed = true
	if w.encodes || w.decodes {
		w.c.closed.Add(1)
	}
	w.sharedWindow.Close()
}

// open is how many windows are in use.
func (c *counted) open() int64 { return c.encoded.Load() + c.decoded.Load() - c.closed.Load() }

// streams registers handlers of streams alone.
func streams(opts ...core.HandlerOption) coretest.Option {
	return coretest.WithHandlers(func(_ int, m *core.Manager) error { return registerStreams(m, opts...) })
}

func registerStreams(m *core.Manager, opts ...core.HandlerOption) error {
	return errors.Join(
		m.HandleStreamFunc("stream", lab.EchoStream, opts...),
		m.HandleStream("channels", core.StreamHandler{Handle: channelsBack, InCapacity: 4, OutCapacity: 4}, opts...),
		m.HandleStreamFunc("bytes", bytesBack, opts...),
	)
}

// bytesBack sends back the bytes that it gets, in messages of its own.
func bytesBack(_ context.Context, payload []byte, s *core.RawStream) error {
	if err := s.Send(payload); err != nil {
		return err
	}
	buf := make([]byte, 7000)
	for {
		n, err := s.Conn().Read(buf)
		if n > 0 {
			if err := s.Send(buf[:n]); err != nil {
				return err
			}
		}
		if err != nil {
			return nil //nolint:nilerr // The end of what it gets is the end.
		}
	}
}

// records returns n small messages that resemble one another.
func records(seed uint64, n, size int) (all [][]byte) {
	for i := range n {
		all = append(all, text(seed<<20+uint64(i), size))
	}
	return all
}

// medley returns messages of all sizes of which some compress and some do not, so that
// some share a window and others do not.
func medley(seed uint64, n int) (all [][]byte) {
	r := rand.New(rand.NewPCG(seed, 3))
	for i := range n {
		size := []int{0, 1, 31, 32, 100, 200, 511, 2000, 9000, 32<<10 - 40, 32 << 10, 32<<10 + 1, 70_000}[r.IntN(13)]
		switch r.IntN(5) {
		case 0:
			all = append(all, noise(seed+uint64(i), size))
		case 1:
			all = append(all, make([]byte, size))
		default:
			all = append(all, text(seed+uint64(i), size))
		}
	}
	return all
}
