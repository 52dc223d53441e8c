package compression_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"

	"github.com/klauspost/compress/zstd"

	"github.com/gridmux/gridmux/compress"
	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/internal/lab"
	"github.com/gridmux/gridmux/core/internal/wire"
)

// windowNumber is that of the subject's codec whose messages share a window.
const windowNumber = 3

// shared returns a DATA with what a message has become in a window.
func shared(id wire.CallID, packed []byte, size int) []byte {
	whole := append(bytes.Clone(lab.PackedSize), packed...)
	return lab.Packed(wire.AppendData(nil, id, whole), windowNumber, 0, uint64(size))
}

// badWindows are messages behind an honest one in the same window that no honest peer
// sends.
func badWindows(t *testing.T) (all []bad) {
	next := func(seed uint64, size int) []byte {
		w := compress.Zstd().NewWindow()
		w.Append(nil, text(1, 1000))
		return w.Append(nil, text(seed, size))
	}
	honest := next(2, 5000)
	with := func(opts ...zstd.EOption) []byte {
		var b bytes.Buffer
		enc, err := zstd.NewWriter(&b, append(opts, zstd.WithEncoderConcurrency(1))...)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := enc.Write(text(3, 1<<20)); err != nil {
			t.Fatal(err)
		}
		if err := enc.Flush(); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	spoilt := bytes.Clone(honest)
	for i := range spoilt[3:] {
		spoilt[3+i] ^= 0x55
	}
	zeros := []byte{0x02, 0, 0x08, 0} // a block of 64 KiB of one byte
	return []bad{
		{"less than announced", windowNumber, 0, 5001, honest, 15},
		{"more than announced", windowNumber, 0, 4999, honest, 15},
		{"much more than announced", windowNumber, 0, 40, zeros, 15},
		{"many times as much", windowNumber, 0, 5000, bytes.Repeat(zeros, 1000), 15},
		{"cut", windowNumber, 0, 5000, honest[:len(honest)-1], 15},
		{"something behind it", windowNumber, 0, 5000, append(bytes.Clone(honest), 0, 0, 0), 15},
		{"spoilt", windowNumber, 0, 5000, spoilt, 15},
		{"another codec's", windowNumber, 0, 5000, compress.S2().Append(nil, text(2, 5000)), 15},
		{"the end of the frame", windowNumber, 0, 10, []byte{1, 0, 0}, 15},
		{"a block of the reserved type", windowNumber, 0, 5000, []byte{0x06, 0x10, 0, 1, 2, 3}, 15},
		{"a window of 8 MiB", windowNumber, 0, 60_000, append([]byte{1, 0, 0}, with(zstd.WithWindowSize(8 << 20))[:9]...), 15},
		{"two messages at once", windowNumber, 0, 5000, append(bytes.Clone(honest), honest...), 15},
		{"nothing but a header", windowNumber, 0, 5000, []byte{0}, 15},
		{"gibberish", windowNumber, 0, 5000, []byte("gibberish"), 15},
		{"a dictionary", windowNumber, 1, 5000, honest, 15},
	}
}

// TestHostileWindows holds that a message which shares a window and cannot be restored
// ends its stream, at either end, and nothing else; and that neither it nor what comes
// behind it takes memory: W96 W98 (T1, T5, F25).
func TestHostileWindows(t *testing.T) {
	ended := make(chan error, 1)
	all := badWindows(t)
	lab.Bubble(t, "W96 W98", func(t *testing.T) {
		r, p := subject(t, nil, func(m *core.Manager) error {
			serve := func(take func(s *core.RawStream) error) core.StreamFunc {
				return func(ctx context.Context, _ []byte, s *core.RawStream) error {
					ended <- take(s)
					err := take(s)
					ended <- err
					<-ctx.Done()
					return err
				}
			}
			return errors.Join(
				m.HandleStreamFunc("recv", serve(func(s *core.RawStream) error {
					_, err := s.Recv(nil)
					return err
				})),
				m.HandleStreamFunc("conn", serve(func(s *core.RawStream) error {
					_, err := io.ReadFull(s.Conn(), make([]byte, 1000))
					return err
				})))
		})
		before := lab.HeapInUse()
		generation := uint32(0)
		for _, b := range all {
			first := compress.Zstd().NewWindow().Append(nil, text(1, 1000))
			for _, h := range []string{"recv", "conn"} {
				generation++
				id := p.ID(0, generation)
				p.Send(p.Open(0, generation, h, 1, nil), shared(id, first, 1000),
					lab.Packed(wire.AppendData(nil, id, b.whole()), b.codec, b.dict, b.decoded))
				if err := lab.Wait(t, ended, "an honest message comes first"); err != nil {
					t.Fatalf("%v, to %s: an honest message: %v", &b, h, err)
				}
				if err := lab.Wait(t, ended, "the handler learns of it"); !errors.Is(err, core.ErrMalformedMessage) {
					t.Errorf("%v, to %s: the handler got %v", &b, h, err)
				}
				synctest.Wait()
				for f, ok := p.Next(); f.Type != wire.TypeError; f, ok = p.Next() {
					if !ok {
						t.Fatalf("%v, to %s: the stream does not end", &b, h)
					}
				}
			}
			st, err := r.Conn().OpenStream(t.Context(), "sends", nil)
			if err != nil {
				t.Fatal(err)
			}
			f := p.Want(wire.TypeOpen, "a stream of the subject")
			p.Send(shared(f.ID, first, 1000), lab.Packed(wire.AppendData(nil, f.ID, b.whole()), b.codec, b.dict, b.decoded))
			if _, err := st.Recv(nil); err != nil {
				t.Errorf("%v: an honest message comes first: %v", &b, err)
			}
			if _, err := st.Recv(nil); !errors.Is(err, core.ErrMalformedMessage) {
				t.Errorf("%v: the caller got %v", &b, err)
			}
			if _, err := st.Recv(nil); err == nil {
				t.Errorf("%v: something came behind it", &b)
			}
			for f, ok := p.Next(); f.Type != wire.TypeReset; f, ok = p.Next() {
				if !ok {
					t.Fatalf("%v: the caller does not end the stream", &b)
				}
			}
		}
		if used := int64(lab.HeapInUse()) - int64(before); used > 8<<20 {
			t.Errorf("%d bytes are in use after %d windows were spoilt", used, generation)
		}
		if got := held(r.Subject, r.Name); got != 0 {
			t.Errorf("%d bytes are still reserved", got)
		}
		p.WantLife(1, "W96: the session goes on")
		r.Alive("after all that")
	})
}

// TestWindowsElsewhere holds that a message with a codec of windows is restored where it
// is one of DATA in one frame, and fails alone anywhere else: W98.
func TestWindowsElsewhere(t *testing.T) {
	packed := compress.Zstd().NewWindow().Append(nil, text(1, 5000))
	whole := append(bytes.Clone(lab.PackedSize), packed...)
	lab.Bubble(t, "W98", func(t *testing.T) {
		r, p := subject(t, nil, nil)
		p.Send(lab.Packed(p.Request(0, 1, "plain", whole), windowNumber, 0, 5000))
		p.WantStatus(wire.TypeRefused, 15, "W98: a request")
		p.Send(lab.Packed(p.Open(0, 2, "stream", 1, whole), windowNumber, 0, 5000))
		p.WantStatus(wire.TypeRefused, 15, "W98: an initial payload")
		p.Send(p.Open(0, 3, "stream", 4, nil),
			lab.Packed(wire.AppendDataStart(nil, p.ID(0, 3), uint64(len(packed)), packed[:1]), windowNumber, 0, 5000),
			p.Fragment(0, 3, packed[1:]))
		p.Want(wire.TypeData, "the payload comes back")
		for f, ok := p.Next(); f.Type != wire.TypeError; f, ok = p.Next() {
			if !ok {
				t.Fatal("W98: a message in parts does not end its stream")
			}
		}
		id, reply := p.Called()
		p.Send(lab.Packed(wire.AppendResponse(nil, id, whole), windowNumber, 0, 5000))
		if got := lab.Wait(t, reply, "the call returns"); !errors.Is(got.Err, core.ErrMalformedMessage) {
			t.Errorf("W98: a response with a codec of windows returned %v", got.Err)
		}
		r.Alive("after all that")
	})
	lab.Bubble(t, "W15", func(t *testing.T) {
		_, p := subject(t, nil, nil)
		p.Send(p.Open(0, 1, "stream", 4, nil),
			lab.Packed(wire.AppendData(nil, p.ID(0, 1), append(bytes.Clone(lab.PackedSize), noise(1, 40)...)), zstdNumber, 0, 40))
		p.Drain(wire.TypeData)
		p.WantClosed(wire.CodeProtocol, "W15: a message that is not smaller, of a codec without windows")
	})
}

// faulty is a codec whose windows have a fault.
type faulty struct {
	*compress.Codec

	name   string
	window func(w sharedWindow) sharedWindow
}

func (f faulty) Name() string { return f.name }

func (f faulty) NewWindow() interface {
	Append(dst, src []byte) []byte
	Decode(dst, src []byte, size int) ([]byte, error)
	Close()
} {
	return f.window(f.Codec.NewWindow())
}

type faultyWindow struct {
	sharedWindow

	pack   func(dst, src []byte) []byte
	unpack func(dst, src []byte, size int) ([]byte, error)
	close  func()
}

func (w faultyWindow) Append(dst, src []byte) []byte {
	if w.pack != nil {
		return w.pack(dst, src)
	}
	return w.sharedWindow.Append(dst, src)
}

func (w faultyWindow) Decode(dst, src []byte, size int) ([]byte, error) {
	if w.unpack != nil {
		return w.unpack(dst, src, size)
	}
	return w.sharedWindow.Decode(dst, src, size)
}

func (w faultyWindow) Close() {
	if w.close != nil {
		w.close()
	}
}

// TestMisbehavingWindows holds that windows of a user that panic or return what they
// should not cost their messages the window, or their stream, and nothing else.
func TestMisbehavingWindows(t *testing.T) {
	after := func(many int, w sharedWindow, then func(dst, src []byte) []byte) faultyWindow {
		left := many
		return faultyWindow{sharedWindow: w, pack: func(dst, src []byte) []byte {
			if left--; left < 0 {
				return then(dst, src)
			}
			return w.Append(dst, src)
		}}
	}
	for name, test := range map[string]struct {
		window func(w sharedWindow) sharedWindow
		fails  bool
	}{
		"pack panics":   {func(w sharedWindow) sharedWindow { return after(2, w, func([]byte, []byte) []byte { panic("no") }) }, false},
		"pack: nothing": {func(w sharedWindow) sharedWindow { return after(2, w, func(dst, _ []byte) []byte { return dst }) }, false},
		"pack: nil":     {func(w sharedWindow) sharedWindow { return after(0, w, func(_, _ []byte) []byte { return nil }) }, false},
		"pack: far too much": {func(w sharedWindow) sharedWindow {
			return after(2, w, func(dst, src []byte) []byte { return append(append(dst, src...), src...) })
		}, false},
		"pack: own memory": {func(w sharedWindow) sharedWindow {
			return after(0, w, func(dst, src []byte) []byte { return append(bytes.Clone(dst), w.Append(nil, src)...) })
		}, false},
		"close panics": {func(w sharedWindow) sharedWindow { return faultyWindow{sharedWindow: w, close: func() { panic("no") }} }, false},
		"unpack panics": {func(w sharedWindow) sharedWindow {
			return faultyWindow{sharedWindow: w, unpack: func([]byte, []byte, int) ([]byte, error) { panic("no") }}
		}, true},
		"unpack: too little": {func(w sharedWindow) sharedWindow {
			return faultyWindow{sharedWindow: w, unpack: func(dst, _ []byte, _ int) ([]byte, error) { return dst, nil }}
		}, true},
		"unpack: own memory": {func(w sharedWindow) sharedWindow {
			return faultyWindow{sharedWindow: w, unpack: func(dst, src []byte, size int) ([]byte, error) {
				out, err := w.Decode(nil, src, size)
				return append(bytes.Clone(dst), out...), err
			}}
		}, false},
		"there are none ever": {func(sharedWindow) sharedWindow { return nil }, false},
	} {
		lab.Bubble(t, name, func(t *testing.T) {
			codec := faulty{compress.Zstd(), name, test.window}
			c := lab.InmemLink().Cluster(t, 2, streams(core.WithCompression(codec), core.WithSharedWindow()), lab.Handle("alive", lab.Echo))
			for _, h := range []core.HandlerID{"stream", "channels"} {
				for range 3 {
					err := exchange(t.Context(), c.Conn(0, 1), h, records(1, 20, 500))
					if test.fails != (err != nil) || errors.Is(err, errWrong) {
						t.Errorf("%s: %v", h, err)
					}
				}
			}
			wantEcho(t, c.Conn(0, 1), "alive", []byte("the connection lives"))
		})
	}
}
