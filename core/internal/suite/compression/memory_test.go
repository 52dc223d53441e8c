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
	"github.com/gridmux/gridmux/core/coretest"
	"github.com/gridmux/gridmux/core/internal/lab"
	"github.com/gridmux/gridmux/core/internal/wire"
)

// TestLargeMessagesGiveTheirMemoryBack holds that what is reserved for a compressed
// message over the window is given back once it is taken, however it is: more of them
// than MaxReassembly has room for pass, and nothing is held in the end (T2, T5).
func TestLargeMessagesGiveTheirMemoryBack(t *testing.T) {
	const size, count = 400 << 10, 30
	lab.InBubbles(t, func(t *testing.T, l *lab.Link) {
		typed := core.NewBidi[blob, blob, blob]("typed.stream")
		got := make(chan int, 1)
		c := l.Cluster(t, 2, coretest.WithHandlers(func(_ int, m *core.Manager) error {
			return errors.Join(
				m.HandleStreamFunc("conn", func(_ context.Context, _ []byte, s *core.RawStream) error {
					b, err := io.ReadAll(s.Conn())
					got <- len(b)
					return err
				}, core.WithCompression(compress.Zstd())),
				m.HandleStreamFunc("recv", func(_ context.Context, _ []byte, s *core.RawStream) error {
					n := 0
					for msg, err := range s.All() {
						if n += len(msg); err != nil {
							return err
						}
					}
					got <- n
					return nil
				}, core.WithCompression(compress.Zstd())),
				typed.Handle(m, func(_ context.Context, _ *blob, s *core.TypedStream[blob, blob]) error {
					n := 0
					for msg, err := s.Recv(); !errors.Is(err, io.EOF); msg, err = s.Recv() {
						if err != nil {
							return err
						}
						n += len(msg.b)
					}
					got <- n
					return nil
				}, core.WithCompression(compress.Zstd())),
			)
		}), lab.Configure(func(cfg *core.Config) { cfg.MaxMessage, cfg.MaxReassembly = 1<<20, 2<<20 }))
		for _, h := range []core.HandlerID{"recv", "conn", "typed.stream"} {
			st, err := c.Conn(0, 1).OpenStream(t.Context(), h, nil, core.WithCompression(compress.Zstd()))
			if err != nil {
				t.Fatal(err)
			}
			sent := lab.Go(func() error {
				for i := range count {
					if err := st.Send(text(uint64(i), size)); err != nil {
						return err
					}
				}
				return st.CloseSend()
			})
			if err := lab.Wait(t, sent, "all is sent to "+string(h)); err != nil {
				t.Errorf("%s: %v", h, err)
			}
			if n := lab.Wait(t, got, "all arrives at "+string(h)); n != count*size {
				t.Errorf("%s: %d bytes arrived, want %d", h, n, count*size)
			}
			st.Close()
			synctest.Wait()
			wantNothingHeld(t, c)
		}
	})
}

// TestMessagesInOneFrameFitIntoTheWindow holds that nothing is decoded which no
// memory is reserved for: a message that is over the window once decoded goes in
// parts, as honest peers send it, or ends its stream (T2, T5, T9).
func TestMessagesInOneFrameFitIntoTheWindow(t *testing.T) {
	bomb := append(bytes.Clone(lab.PackedSize), compress.Zstd().Append(nil, make([]byte, messageLimit))...)
	small := append(bytes.Clone(lab.PackedSize), compress.Zstd().Append(nil, make([]byte, 64<<10))...)
	lab.Bubble(t, "W83 W84", func(t *testing.T) {
		const streams = 100
		g := lab.NewGate(t, streams)
		r, p := subject(t, func(cfg *core.Config) { cfg.MaxReassembly = messageLimit }, func(m *core.Manager) error {
			return m.HandleStreamFunc("gate", func(ctx context.Context, _ []byte, s *core.RawStream) error {
				// The rest of what was read stays with the library.
				n, err := s.Conn().Read(make([]byte, 1))
				if n == 0 {
					return err
				}
				_, err = g.Handle(ctx, nil)
				return err
			})
		})
		before := lab.HeapInUse()
		for i := range uint32(streams) {
			p.Send(p.Open(i, 1, "gate", 1, nil))
			p.Send(lab.Packed(wire.AppendData(nil, p.ID(i, 1), bomb), zstdNumber, 0, messageLimit))
			p.WantStatus(wire.TypeError, wire.CodeFlowControl, "W84: a message that no memory is reserved for")
		}
		if used := int64(lab.HeapInUse()) - int64(before); used > 8*messageLimit {
			t.Errorf("%d messages of %d bytes that decode to %d each take %d bytes, %d may be reserved",
				streams, len(bomb), messageLimit, used, messageLimit)
		}
		p.Send(p.Open(0, 2, "gate", 1, nil))
		p.Send(lab.Packed(wire.AppendData(nil, p.ID(0, 2), small), zstdNumber, 0, 64<<10))
		lab.Wait(t, g.Began, "a message that fits is decoded")
		g.Release()
		p.Want(wire.TypeResponse, "the stream ends")
		r.Alive("after the bombs")
	})
}

// TestUnreadStreamLeavesRoomForOthers holds that a stream which nobody reads holds
// one message over the window at most, as it does without compression, however small
// they are on their way: others go on (T2, T9).
func TestUnreadStreamLeavesRoomForOthers(t *testing.T) {
	const size = 1 << 20
	p := bytes.Repeat(text(1, 1<<10), size>>10) // it becomes less than the window
	for _, with := range []core.Compressor{nil, compress.Zstd()} {
		lab.InBubbles(t, func(t *testing.T, l *lab.Link) {
			g := lab.NewGate(t, 1)
			c := l.Cluster(t, 2, coretest.WithHandlers(func(_ int, m *core.Manager) error {
				return errors.Join(register(m, core.WithCompression(with)),
					m.HandleStreamFunc("unread", func(ctx context.Context, _ []byte, s *core.RawStream) error {
						if _, err := g.Handle(ctx, nil); err != nil {
							return err
						}
						_, err := io.ReadAll(s.Conn())
						return err
					}, core.WithCapacity(8, 8)))
			}), lab.Configure(func(cfg *core.Config) { cfg.MaxMessage, cfg.MaxReassembly = size, 2*size }))
			unread, err := c.Conn(0, 1).OpenStream(t.Context(), "unread", nil, core.WithCompression(with))
			if err != nil {
				t.Fatal(err)
			}
			sent := lab.Go(func() error {
				for range 4 {
					if err := unread.Send(p); err != nil {
						return err
					}
				}
				return unread.CloseSend()
			})
			lab.Wait(t, g.Began, "the handler begins")
			synctest.Wait()
			other := lab.Go(func() error {
				return exchange(t.Context(), c.Conn(0, 1), "stream", [][]byte{p[:1], p, p}, core.WithCompression(with))
			})
			if err := lab.Wait(t, other, "another stream goes on"); err != nil {
				t.Error(err)
			}
			g.Release()
			if err := lab.Wait(t, sent, "the unread stream goes on once it is read"); err != nil {
				t.Error(err)
			}
		})
	}
}
