package compression_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"

	"github.com/gridmux/gridmux/compress"
	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/internal/lab"
	"github.com/gridmux/gridmux/core/internal/wire"
)

// mostWindows is how many streams with one peer share windows of what a node sends.
const mostWindows = 64

// TestManyStreamsShareWindows holds that only so many streams with a peer have windows
// as both nodes have memory for, that the messages of others arrive as well, and that a
// stream makes room for another one when it is over, not when one direction is.
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
		open := func() *core.RawStream {
			st, err := c.Conn(0, 1).OpenStream(t.Context(), "late", messages[0])
			if err != nil {
				t.Fatal(err)
			}
			for i, msg := range messages {
				if i > 0 {
					if err := st.Send(msg); err != nil {
						t.Fatal(err)
					}
				}
				if got, err := st.Recv(nil); err != nil || !bytes.Equal(got, msg) {
					t.Fatalf("got %d bytes, %v, want what was sent", len(got), err)
				}
			}
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
		all = append(all, open())
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
		if err := open().Close(); err != nil {
			t.Fatal(err)
		}
		check("when all are over", mostWindows+1)
		lab.Until(t, "all windows are closed", func() bool { return ends[0].open() == 0 && ends[1].open() == 0 })
	})
}

// TestWindowsThatAPeerOpens holds a peer that shares windows in ever more streams to
// what a node has for it: the message that would take another one cannot be restored,
// for its stream alone, and a stream that ends makes room: W98 (T5).
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
		const most = 2 * mostWindows
		for slot := range uint32(most) {
			if err := open(slot, 1); err != nil {
				t.Fatalf("stream %d: %v", slot, err)
			}
		}
		if err := open(most, 1); !errors.Is(err, core.ErrMalformedMessage) {
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
