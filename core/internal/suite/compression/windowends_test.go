package compression_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/compress"
	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/coretest"
	"github.com/gridmux/gridmux/core/internal/lab"
	"github.com/gridmux/gridmux/transport/inmem"
)

// TestSharedWindowEnds holds that a stream whose messages share windows can end at any
// moment and in every way, at either end: what was received until then is what was
// sent, all windows are closed afterwards, and the next stream begins with its own.
func TestSharedWindowEnds(t *testing.T) {
	all := append(records(2, 40, 300), medley(11, 40)...)
	enough := errors.New("enough")
	ways := map[string]func(ctx context.Context, c *lab.Cluster, st *core.RawStream, cancel func()){
		"close":           func(_ context.Context, _ *lab.Cluster, st *core.RawStream, _ func()) { st.Close() },
		"context":         func(_ context.Context, _ *lab.Cluster, _ *core.RawStream, cancel func()) { cancel() },
		"half of it":      func(_ context.Context, _ *lab.Cluster, st *core.RawStream, _ func()) { _ = st.CloseSend() },
		"cut":             func(_ context.Context, c *lab.Cluster, _ *core.RawStream, _ func()) { c.Cut(0, 1) },
		"nothing is done": func(context.Context, *lab.Cluster, *core.RawStream, func()) {},
	}
	lab.InBubbles(t, func(t *testing.T, l *lab.Link) {
		codec := newCounted(t, compress.Zstd())
		c := l.Cluster(t, 2, streams(core.WithCompression(codec), core.WithSharedWindow()),
			coretest.WithHandlers(func(_ int, m *core.Manager) error {
				with := []core.HandlerOption{core.WithCompression(codec), core.WithSharedWindow(), core.WithCapacity(5, 5)}
				return errors.Join(
					m.HandleStreamFunc("leaves", func(_ context.Context, _ []byte, s *core.RawStream) error {
						for i, msg := range all[:17] {
							if err := s.Send(msg); err != nil {
								return err
							}
							if i%2 == 0 {
								if _, err := s.Recv(nil); err != nil {
									return err
								}
							}
						}
						return enough
					}, with...),
					m.HandleStreamFunc("stops reading", func(ctx context.Context, _ []byte, s *core.RawStream) error {
						for range s.All() {
							break
						}
						<-ctx.Done()
						return nil
					}, with...),
					m.HandleStreamFunc("never reads", func(ctx context.Context, _ []byte, s *core.RawStream) error {
						for _, msg := range all[:4] {
							if err := s.Send(msg); err != nil {
								return err
							}
						}
						<-ctx.Done()
						return nil
					}, with...),
				)
			}))
		if m := c.Memory(); m != nil {
			m.SetConditions(inmem.Conditions{Bandwidth: 4 << 20, Latency: time.Millisecond})
		}
		for _, h := range []core.HandlerID{"stream", "channels", "leaves", "stops reading", "never reads"} {
			for name, way := range ways {
				for i := range lab.Scale(6, 3, 40) {
					c.WaitConnected()
					ctx, cancel := context.WithTimeout(t.Context(), time.Second)
					st, err := c.Conn(0, 1).OpenStream(ctx, h, all[0], core.WaitForConnection())
					if err != nil {
						t.Fatal(err)
					}
					var wg sync.WaitGroup
					wg.Go(func() {
						for _, msg := range all {
							if st.Send(msg) != nil {
								return
							}
						}
						_ = st.CloseSend()
					})
					wg.Go(func() {
						n := 0
						for msg, err := range st.All() {
							if err != nil {
								return
							}
							want := all[min(n, len(all)-1)]
							if h != "stops reading" && h != "leaves" && h != "never reads" && n > 0 {
								want = all[n-1]
							}
							if !bytes.Equal(msg, want) {
								t.Errorf("%s, %s: message %d is another one", h, name, n)
							}
							n++
						}
					})
					time.Sleep(time.Duration(i*i) * 3 * time.Millisecond)
					way(ctx, c, st, cancel)
					wg.Wait()
					st.Close()
					cancel()
				}
			}
		}
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if codec.encoded.Load() < 50 || codec.decoded.Load() < 50 || codec.open() != 0 {
			t.Errorf("%d windows have compressed and %d have restored, %d of them are not closed, want none",
				codec.encoded.Load(), codec.decoded.Load(), codec.open())
		}
		wantNothingHeld(t, c)
		if err := exchange(t.Context(), c.Conn(0, 1), "stream", records(1, 50, 200), core.WaitForConnection()); err != nil {
			t.Errorf("after all that: %v", err)
		}
	})
}

// TestSharedWindowUntilThen holds that what has arrived of a stream can still be
// received when its link is gone or its handler has failed, though it shares a window,
// which is closed with the last of it.
func TestSharedWindowUntilThen(t *testing.T) {
	all := records(3, 20, 300)
	lab.InBubbles(t, func(t *testing.T, l *lab.Link) {
		codec := newCounted(t, compress.Zstd())
		c := l.Cluster(t, 2, coretest.WithHandlers(func(_ int, m *core.Manager) error {
			return m.HandleStreamFunc("sends", func(_ context.Context, payload []byte, s *core.RawStream) error {
				for _, msg := range all {
					if err := s.Send(msg); err != nil {
						return err
					}
				}
				return fmt.Errorf("%s", payload)
			}, core.WithCompression(codec), core.WithSharedWindow())
		}))
		for _, cut := range []bool{false, true} {
			c.WaitConnected()
			st, err := c.Conn(0, 1).OpenStream(t.Context(), "sends", []byte("why"))
			if err != nil {
				t.Fatal(err)
			}
			first, err := st.Recv(nil)
			if err != nil || !bytes.Equal(first, all[0]) {
				t.Fatalf("the first message: %v", err)
			}
			time.Sleep(time.Second)
			if cut {
				c.Cut(0, 1)
				time.Sleep(time.Second)
			}
			for i, want := range all[1:] {
				if got, err := st.Recv(nil); err != nil || !bytes.Equal(got, want) {
					t.Fatalf("message %d: %d bytes, %v", i+1, len(got), err)
				}
			}
			if codec.open() != 1 {
				t.Errorf("%d windows are open before the end is received, want that of who receives", codec.open())
			}
			if _, err := st.Recv(nil); err == nil || errors.Is(err, io.EOF) {
				t.Errorf("behind the last message: %v", err)
			}
			if codec.open() != 0 {
				t.Errorf("%d windows are open behind the last message", codec.open())
			}
		}
	})
}

// TestSharedWindowOfOneDirection holds that the window of a direction is closed at
// both ends when that direction has ended, while the other one goes on.
func TestSharedWindowOfOneDirection(t *testing.T) {
	all := records(6, 10, 300)
	lab.InBubbles(t, func(t *testing.T, l *lab.Link) {
		codec := newCounted(t, compress.Zstd())
		g := lab.NewGate(t, 1)
		c := l.Cluster(t, 2, coretest.WithHandlers(func(_ int, m *core.Manager) error {
			return m.HandleStreamFunc("half", func(ctx context.Context, _ []byte, s *core.RawStream) error {
				if err := s.Send(all[0]); err != nil {
					return err
				}
				for _, err := range s.All() {
					if err != nil {
						return err
					}
				}
				if _, err := g.Handle(ctx, nil); err != nil {
					return err
				}
				return s.Send(all[1])
			}, core.WithCompression(codec), core.WithSharedWindow())
		}))
		st, err := c.Conn(0, 1).OpenStream(t.Context(), "half", nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, msg := range all {
			if err := st.Send(msg); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := st.Recv(nil); err != nil || !bytes.Equal(got, all[0]) {
			t.Fatalf("the first message back: %v", err)
		}
		if err := st.CloseSend(); err != nil {
			t.Fatal(err)
		}
		lab.Wait(t, g.Began, "all is received")
		if codec.encoded.Load() != 2 || codec.decoded.Load() != 2 || codec.open() != 2 {
			t.Errorf("of %d and %d windows %d are open when one direction has ended, want two of the other one",
				codec.encoded.Load(), codec.decoded.Load(), codec.open())
		}
		g.Release()
		if got, err := st.Recv(nil); err != nil || !bytes.Equal(got, all[1]) {
			t.Fatalf("the last message back: %v", err)
		}
		if _, err := st.Recv(nil); !errors.Is(err, io.EOF) || codec.open() != 0 {
			t.Errorf("%d windows are open at the end, %v", codec.open(), err)
		}
	})
}

// TestSharedWindowInUseAtTheEnd holds that a window which is in use when its stream ends
// is closed by who uses it, and not before: nobody waits for a codec.
func TestSharedWindowInUseAtTheEnd(t *testing.T) {
	lab.Bubble(t, "", func(t *testing.T) {
		began, goOn := make(chan string), make(chan struct{})
		hold := func(what string) {
			began <- what
			<-goOn
		}
		codec := newCounted(t, compress.Zstd())
		held := faulty{codec.Codec, "zstd", func(sharedWindow) sharedWindow {
			w := codec.NewWindow()
			n := 0
			return faultyWindow{
				sharedWindow: w, close: w.Close,
				pack: func(dst, src []byte) []byte {
					if n++; n == 2 {
						hold("pack")
					}
					return w.Append(dst, src)
				},
				unpack: func(dst, src []byte, size int) ([]byte, error) {
					hold("unpack")
					return w.Decode(dst, src, size)
				},
			}
		}}
		c := lab.InmemLink().Cluster(t, 2, streams(core.WithCompression(held), core.WithSharedWindow()))
		st, err := c.Conn(0, 1).OpenStream(t.Context(), "stream", records(1, 1, 300)[0])
		if err != nil {
			t.Fatal(err)
		}
		received := lab.Go(func() error {
			_, err := st.Recv(nil)
			return err
		})
		sent := lab.Go(func() error {
			if err := st.Send(records(2, 1, 300)[0]); err != nil {
				return err
			}
			return st.Send(records(3, 1, 300)[0])
		})
		// That of the caller, that of the handler, and the second message.
		for range 3 {
			lab.Wait(t, began, "windows are in use")
		}
		st.Close()
		synctest.Wait()
		if codec.closed.Load() != 1 {
			t.Errorf("%d windows are closed while those of the others are in use, want that of what the handler has sent", codec.closed.Load())
		}
		close(goOn)
		if err := lab.Wait(t, sent, "Send returns"); err == nil {
			t.Error("a message of a stream that had ended was sent")
		}
		lab.Wait(t, received, "Recv returns")
		synctest.Wait()
		if codec.open() != 0 {
			t.Errorf("%d windows are open", codec.open())
		}
	})
}

// TestSharedWindowAfterADeadline holds that a message which is not sent, since the time to
// wait for its credit is over, is not in the window: those behind it arrive.
func TestSharedWindowAfterADeadline(t *testing.T) {
	all := records(8, 60, 500)
	lab.InBubbles(t, func(t *testing.T, l *lab.Link) {
		codec := newCounted(t, compress.Zstd())
		g := lab.NewGate(t, 1)
		got := make(chan []byte, 1)
		c := l.Cluster(t, 2, coretest.WithHandlers(func(_ int, m *core.Manager) error {
			return m.HandleStreamFunc("late", func(ctx context.Context, _ []byte, s *core.RawStream) error {
				if _, err := g.Handle(ctx, nil); err != nil {
					return err
				}
				b, err := io.ReadAll(s.Conn())
				got <- b
				return err
			}, core.WithCompression(codec), core.WithSharedWindow(), core.WithCapacity(4, 4))
		}))
		st, err := c.Conn(0, 1).OpenStream(t.Context(), "late", nil)
		if err != nil {
			t.Fatal(err)
		}
		lab.Wait(t, g.Began, "the handler begins")
		conn := st.Conn()
		var want []byte
		lost := 0
		for i, msg := range all {
			if i == 20 {
				g.Release()
				time.Sleep(time.Second)
			}
			if err := conn.SetWriteDeadline(time.Now().Add(time.Second)); err != nil {
				t.Fatal(err)
			}
			if n, err := conn.Write(msg); err == nil && n == len(msg) {
				want = append(want, msg...)
			} else if n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatalf("message %d: %d bytes, %v", i, n, err)
			} else {
				lost++
			}
		}
		if err := st.CloseSend(); err != nil {
			t.Fatal(err)
		}
		if b := lab.Wait(t, got, "the handler has it all"); !bytes.Equal(b, want) || lost == 0 || lost > 16 {
			t.Errorf("%d bytes arrived, want %d; %d messages were not sent", len(b), len(want), lost)
		}
		st.Close()
		synctest.Wait()
		if codec.encoded.Load() != 1 || codec.open() != 0 {
			t.Errorf("%d windows were used to send, %d are open", codec.encoded.Load(), codec.open())
		}
	})
}

// TestSharedWindowIsGivenBack holds that windows are used again: what many streams
// take one after the other does not add up, nor what many take at once when
// they are over (T2).
func TestSharedWindowIsGivenBack(t *testing.T) {
	all := records(4, 30, 400)
	lab.OverSockets(t, func(t *testing.T, l *lab.Link) {
		codec := compress.Zstd(compress.WithConcurrency(2))
		c := l.Cluster(t, 2, streams(core.WithCompression(codec), core.WithSharedWindow()))
		one := func() {
			if err := exchange(t.Context(), c.Conn(0, 1), "stream", all); err != nil {
				t.Error(err)
			}
		}
		one()
		before := lab.HeapInUse()
		for range lab.Scale(100, 20, 1000) {
			one()
		}
		var wg sync.WaitGroup
		for range 30 {
			wg.Go(one)
		}
		wg.Wait()
		if used := int64(lab.HeapInUse()) - int64(before); used > 8<<20 {
			t.Errorf("%d bytes are in use after many streams, want little more than the windows that the codec keeps", used)
		}
	})
}
