package compression_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/compress"
	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/coretest"
	"github.com/gridmux/gridmux/core/internal/lab"
	"github.com/gridmux/gridmux/core/internal/wire"
)

// mostWindows is how many streams with one peer share windows of what a node sends.
const mostWindows = 64

// TestManyStreamsShareWindows holds that only so many streams with a peer have windows
// as both nodes have memory for, that the messages of others arrive as well, and that a
// stream makes room for another one, also for one that waits for that, when it is over,
// not when one direction is.
func TestManyStreamsShareWindows(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		ends := [2]*counted{newCounted(t, compress.Zstd()), newCounted(t, compress.Zstd())}
		release := make(chan struct{})
		c := pair(t, l, func(i int, cfg *core.Config) {
			cfg.Compressors = []core.Compressor{ends[i]}
		}, func(i int, m *core.Manager) error {
			if i == 0 {
				return nil
			}
			return m.HandleStreamFunc("late", func(ctx context.Context, payload []byte, s *core.RawStream) error {
				err := lab.EchoStream(ctx, payload, s)
				select {
				case <-release:
				case <-ctx.Done():
				}
				return err
			}, core.WithCompression(ends[1]), core.WithSharedWindow())
		})
		messages := records(5, 2, 700)
		receive := func(st *core.RawStream, want []byte) {
			t.Helper()
			if got, err := st.Recv(nil); err != nil || !bytes.Equal(got, want) {
				t.Fatalf("got %d bytes, %v, want what was sent", len(got), err)
			}
		}
		exchange := func(st *core.RawStream) {
			t.Helper()
			if err := st.Send(messages[1]); err != nil {
				t.Fatal(err)
			}
			receive(st, messages[1])
		}
		open := func() *core.RawStream {
			t.Helper()
			st, err := c.Conn(0, 1).OpenStream(t.Context(), "late", messages[0])
			if err != nil {
				t.Fatal(err)
			}
			receive(st, messages[0])
			exchange(st)
			return st
		}
		check := func(when string, want int64) {
			t.Helper()
			for i, what := range []string{"requests", "responses"} {
				if sent, received := ends[i].encoded.Load(), ends[1-i].decoded.Load(); sent != want || received != want {
					t.Errorf("%s, %s: %d windows were used to send, %d to receive, want %d", when, what, sent, received, want)
				}
			}
		}
		var all []*core.RawStream
		for range mostWindows + 5 {
			all = append(all, open())
		}
		check("with more streams", mostWindows)
		for _, st := range all {
			if err := st.CloseSend(); err != nil {
				t.Fatal(err)
			}
		}
		late := open()
		check("when one direction of each has ended", mostWindows)
		close(release)
		for _, st := range all {
			if err := st.CloseSend(); err != nil {
				t.Fatal(err)
			}
			if _, err := st.Recv(nil); !errors.Is(err, io.EOF) {
				t.Errorf("a stream ended with %v", err)
			}
		}
		check("when all are over", mostWindows)
		exchange(late)
		check("when there is room again", mostWindows+1)
		if err := late.Close(); err != nil {
			t.Fatal(err)
		}
		lab.Until(t, "all windows are closed", func() bool { return ends[0].open() == 0 && ends[1].open() == 0 })
	})
}

// TestWindowsThatAPeerOpens holds a peer that shares windows in ever more streams to
// what a node has for it: the message that would take another one cannot be restored,
// for its stream alone, and that is no fault of the message; and a stream that ends
// makes room: W98 (T5).
func TestWindowsThatAPeerOpens(t *testing.T) {
	lab.Bubble(t, "W98", func(t *testing.T) {
		got := make(chan error, 1)
		codec := newCounted(t, compress.Zstd())
		r, p := subject(t, func(cfg *core.Config) { cfg.Compressors = []core.Compressor{compress.S2(), codec} }, func(m *core.Manager) error {
			return m.HandleStreamFunc("hold", func(ctx context.Context, _ []byte, s *core.RawStream) error {
				_, err := s.Recv(nil)
				got <- err
				<-ctx.Done()
				return err
			})
		})
		packed := compress.Zstd().NewWindow().Append(nil, text(1, 1000))
		open := func(slot, generation uint32) error {
			id := p.ID(slot, generation)
			p.Send(p.Open(slot, generation, "hold", 1, nil), shared(id, packed, 1000))
			return lab.Wait(t, got, "the handler gets a message")
		}
		const most = 4 * mostWindows
		for slot := range uint32(most) {
			if err := open(slot, 1); err != nil {
				t.Fatalf("stream %d: %v", slot, err)
			}
		}
		if err := open(most, 1); !errors.Is(err, core.ErrOverloaded) || errors.Is(err, core.ErrMalformedMessage) {
			t.Errorf("the handler of one more got %v", err)
		}
		p.Want(wire.TypeError, "W96: its stream ends")
		if n := codec.open(); n != most {
			t.Errorf("%d windows are open, want %d", n, most)
		}
		p.Send(wire.AppendStatus(nil, wire.TypeReset, p.ID(7, 1), wire.Status{Code: wire.CodeCanceled}))
		synctest.Wait()
		if err := open(7, 2); err != nil {
			t.Errorf("where a stream has ended: %v", err)
		}
		for slot := range uint32(most) {
			generation := uint32(1)
			if slot == 7 {
				generation = 2
			}
			p.Send(wire.AppendStatus(nil, wire.TypeReset, p.ID(slot, generation), wire.Status{Code: wire.CodeCanceled}))
		}
		synctest.Wait()
		if n := codec.open(); n != 0 {
			t.Errorf("%d windows are open when all streams are over", n)
		}
		r.Alive("after all that")
	})
}

// TestOwnStreamsShareWindows holds that a node restores what comes on streams of its own,
// however many it has read a part of: to the peer, which has sent everything, they are
// over.
func TestOwnStreamsShareWindows(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		codec := newCounted(t, compress.Zstd())
		want := text(3, 700)
		c := l.Cluster(t, 2, coretest.WithHandlers(func(_ int, m *core.Manager) error {
			return m.HandleStreamFunc("one", func(_ context.Context, _ []byte, s *core.RawStream) error { return s.Send(want) },
				core.WithCompression(codec), core.WithSharedWindow())
		}))
		const most = 4*mostWindows + 10
		var all []*core.RawStream
		for range most {
			st, err := c.Conn(0, 1).OpenStream(t.Context(), "one", nil)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := st.Recv(nil); err != nil || !bytes.Equal(got, want) {
				t.Fatalf("stream %d: got %d bytes, %v", len(all), len(got), err)
			}
			<-st.Done() // its window at the other end is closed before another one begins
			all = append(all, st)
		}
		if n := codec.decoded.Load(); n != most {
			t.Errorf("%d of %d streams shared a window", n, most)
		}
		for _, st := range all {
			if _, err := st.Recv(nil); !errors.Is(err, io.EOF) {
				t.Errorf("a stream ended with %v", err)
			}
		}
		lab.Until(t, "all windows are closed", func() bool { return codec.open() == 0 })
	})
}

// busyWindows is a codec whose windows take a second for each message, and counts them.
type busyWindows struct {
	*counted

	used, most atomic.Int64
}

func (b *busyWindows) NewWindow() interface {
	Append(dst, src []byte) []byte
	Decode(dst, src []byte, size int) ([]byte, error)
	Close()
} {
	return &busyWindow{sharedWindow: b.counted.NewWindow(), of: b}
}

type busyWindow struct {
	sharedWindow

	of   *busyWindows
	used bool
}

func (w *busyWindow) Append(dst, src []byte) []byte {
	if !w.used {
		w.used = true
		n := w.of.used.Add(1)
		for most := w.of.most.Load(); n > most && !w.of.most.CompareAndSwap(most, n); most = w.of.most.Load() {
		}
	}
	time.Sleep(time.Second)
	return w.sharedWindow.Append(dst, src)
}

func (w *busyWindow) Close() {
	if w.used {
		w.of.used.Add(-1)
	}
	w.sharedWindow.Close()
}

// TestGivenUpStreamsKeepTheirWindows holds that a stream which the caller gives up while
// its handler compresses a message makes no room before the window has gone: whoever opens
// and resets streams could make a node have any number.
func TestGivenUpStreamsKeepTheirWindows(t *testing.T) {
	lab.InBubbles(t, func(t *testing.T, l *lab.Link) {
		codec := &busyWindows{counted: newCounted(t, compress.Zstd())}
		c := pair(t, l, func(int, *core.Config) {}, func(i int, m *core.Manager) error {
			if i == 0 {
				return nil
			}
			return m.HandleStreamFunc("one", func(_ context.Context, _ []byte, s *core.RawStream) error { return s.Send(text(3, 700)) },
				core.WithCompression(codec), core.WithSharedWindow())
		})
		for range 5 {
			var all []*core.RawStream
			for range mostWindows {
				st, err := c.Conn(0, 1).OpenStream(t.Context(), "one", nil, core.WithResponseCompression(codec))
				if err != nil {
					t.Fatal(err)
				}
				all = append(all, st)
			}
			synctest.Wait()
			for _, st := range all {
				if err := st.Close(); err != nil {
					t.Fatal(err)
				}
			}
			synctest.Wait()
		}
		if n := codec.most.Load(); n != mostWindows {
			t.Errorf("%d windows were in use at once, want %d", n, mostWindows)
		}
		time.Sleep(time.Minute)
		if n := codec.used.Load(); n != 0 {
			t.Errorf("%d windows are in use at the end", n)
		}
		st, err := c.Conn(0, 1).OpenStream(t.Context(), "one", nil, core.WithResponseCompression(codec))
		if err == nil {
			_, err = st.Recv(nil)
		}
		if n := codec.decoded.Load(); err != nil || n != 1 {
			t.Errorf("one more stream: %v, and %d windows were used to receive, want 1", err, n)
		}
	})
}
