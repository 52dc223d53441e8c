package compression_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/gridmux/gridmux/compress"
	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/coretest"
	"github.com/gridmux/gridmux/core/internal/lab"
)

// TestSharedWindow holds that messages of all kinds and sizes arrive as they were sent
// on streams whose messages share a window, in both directions, however they are
// received, and that both ends count the same.
func TestSharedWindow(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		codec := newCounted(t, compress.Zstd(compress.WithDictionary(dictionary(t, 1))))
		c := l.Cluster(t, 2, streams(core.WithCompression(codec), core.WithSharedWindow()))
		for _, h := range []core.HandlerID{"stream", "channels"} {
			for _, opts := range [][]core.CallOption{nil, {core.WithPriority(core.PriorityLow)}, {core.WithCompressionThreshold(1)}} {
				for seed := range uint64(lab.Scale(3, 1, 30)) {
					if err := exchange(t.Context(), c.Conn(0, 1), h, medley(seed, lab.Scale(60, 25, 60)), opts...); err != nil {
						t.Errorf("%s: %v", h, err)
					}
				}
				if err := exchange(t.Context(), c.Conn(0, 1), h, records(1, lab.Scale(300, 60, 3000), 200), opts...); err != nil {
					t.Errorf("%s: %v", h, err)
				}
			}
			caller, callee := statsOf(c.Manager(0), h), statsOf(c.Manager(1), h)
			for what, pair := range map[string][2]core.CompressionCount{
				"requests": {caller.Requests.Sent, callee.Requests.Received}, "responses": {callee.Responses.Sent, caller.Responses.Received},
			} {
				sent, received := pair[0], pair[1]
				sent.Time, received.Time = 0, 0
				if sent.Messages < 100 || sent.Packed > sent.Plain/2 || sent != received {
					t.Errorf("%s of %s: sent %v, received %v", what, h, sent, received)
				}
			}
		}
		if codec.encoded.Load() < 20 || codec.decoded.Load() != codec.encoded.Load() {
			t.Errorf("%d windows have compressed and %d have restored, want two of each for all of the streams", codec.encoded.Load(), codec.decoded.Load())
		}
		lab.Until(t, "all windows are closed", func() bool { return codec.open() == 0 })
	})
}

// TestSharedWindowOfBytes holds that who takes what shares a window as bytes gets what
// was sent.
func TestSharedWindowOfBytes(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		codec := newCounted(t, compress.Zstd())
		c := l.Cluster(t, 2, streams(core.WithCompression(codec), core.WithSharedWindow()))
		messages := medley(9, 80)
		st, err := c.Conn(0, 1).OpenStream(t.Context(), "bytes", []byte("x"))
		if err != nil {
			t.Fatal(err)
		}
		sent := lab.Go(func() error {
			for _, msg := range messages {
				if err := st.Send(msg); err != nil {
					return err
				}
			}
			return st.CloseSend()
		})
		got, err := io.ReadAll(st.Conn())
		if want := append([]byte("x"), bytes.Join(messages, nil)...); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d bytes came back, %v, want %d", len(got), err, len(want))
		}
		if err := lab.Wait(t, sent, "all is sent"); err != nil {
			t.Error(err)
		}
		st.Close()
		if codec.encoded.Load() != 2 || codec.decoded.Load() != 2 {
			t.Errorf("%d windows have compressed and %d have restored, want 2", codec.encoded.Load(), codec.decoded.Load())
		}
		lab.Until(t, "all windows are closed", func() bool { return codec.open() == 0 })
	})
}

// Typed streams whose messages share windows.
var (
	sharedBidi = core.NewBidi[bin, bin, bin]("window.bidi", core.WithCompression(compress.Zstd()), core.WithSharedWindow())
	sharedList = core.NewServerStream[bin, bin]("window.list", core.WithCompression(compress.Zstd()), core.WithSharedWindow())
)

// TestSharedWindowOfTypes holds that typed messages share windows, and that records
// of 200 bytes then have less than a third of their size.
func TestSharedWindowOfTypes(t *testing.T) {
	messages := records(5, 400, 200)
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		c := l.Cluster(t, 2, coretest.WithHandlers(func(_ int, m *core.Manager) error {
			return errors.Join(
				sharedBidi.Handle(m, func(_ context.Context, _ *bin, s *core.TypedStream[bin, bin]) error {
					for msg, err := range s.All() {
						if err == nil {
							err = s.Send(msg)
						}
						if err != nil {
							return err
						}
					}
					return nil
				}),
				sharedList.Handle(m, func(_ context.Context, _ *bin, send func(*bin) error) error {
					for _, msg := range messages {
						if err := send(&bin{msg}); err != nil {
							return err
						}
					}
					return nil
				}),
			)
		}))
		s, err := sharedBidi.Open(t.Context(), c.Conn(0, 1), &bin{})
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range messages {
			if err := s.Send(&bin{want}); err != nil {
				t.Fatal(err)
			}
			if got, err := s.Recv(); err != nil || !bytes.Equal(got.b, want) {
				t.Fatalf("message %d: %v", i, err)
			}
		}
		_ = s.Close()
		i := 0
		for msg, err := range sharedList.Call(t.Context(), c.Conn(0, 1), &bin{}) {
			if err != nil || !bytes.Equal(msg.b, messages[i]) {
				t.Fatalf("message %d of the list: %v", i, err)
			}
			i++
		}
		bidi, list := statsOf(c.Manager(0), "window.bidi"), statsOf(c.Manager(0), "window.list")
		for _, got := range []core.CompressionCount{bidi.Requests.Sent, bidi.Responses.Received, list.Responses.Received} {
			if got.Messages != int64(len(messages)) || got.Packed > got.Plain/3 {
				t.Errorf("%v, want %d messages in less than a third", got, len(messages))
			}
		}
	})
}

// TestSharedWindowSaves holds a window to what it is for: records of 200 bytes that
// resemble one another become a fifth of their size, where each by itself becomes more
// than half, and those of 60 bytes a quarter, which each by itself are not compressed.
func TestSharedWindowSaves(t *testing.T) {
	lab.Bubble(t, "", func(t *testing.T) {
		for size, most := range map[int]float64{60: 0.25, 200: 0.22, 1000: 0.15} {
			share := map[bool]float64{}
			for _, on := range []bool{false, true} {
				opts := []core.HandlerOption{core.WithCompression(compress.Zstd()), core.WithCompressionThreshold(1)}
				if on {
					opts = append(opts, core.WithSharedWindow())
				}
				c := lab.InmemLink().Cluster(t, 2, streams(opts...))
				all := records(7, 1001, size)
				if err := exchange(t.Context(), c.Conn(0, 1), "stream", append([][]byte{nil}, all...)); err != nil {
					t.Fatal(err)
				}
				s := statsOf(c.Manager(0), "stream").Requests
				sent := int64(len(all)*size) - s.Sent.Plain + s.Sent.Packed // what was not compressed, too
				share[on] = float64(sent) / float64(len(all)*size)
			}
			t.Logf("%d records of %d bytes: %.2f of their size each by itself, %.2f with a window", 1001, size, share[false], share[true])
			if share[true] > most || share[true] > share[false]*7/10 {
				t.Errorf("records of %d bytes have %.2f of their size with a window, %.2f without, want at most %.2f and less than 0.7 of that without",
					size, share[true], share[false], most)
			}
		}
	})
}

// TestSharedWindowMixed holds nodes of which one does not know windows, has another
// codec, or says nothing, to understand each other over every link; and a window to be
// used where it can be, and was asked for on either side.
func TestSharedWindowMixed(t *testing.T) {
	type plain struct{ core.Compressor } // one from before there were windows
	for _, test := range []struct {
		name                string
		caller, callee      func(z *counted) core.Compressor
		handler             []core.HandlerOption
		call                func(z *counted) []core.CallOption
		requests, responses bool // share windows
	}{
		{"the handler wants it", both, both, []core.HandlerOption{core.WithSharedWindow()}, nil, true, true},
		{"nobody wants it", both, both, nil, nil, false, false},
		{"the call wants it", both, both, nil, func(z *counted) []core.CallOption {
			return []core.CallOption{core.WithCompression(z), core.WithSharedWindow()}
		}, true, true},
		{"the call wants it of what comes back", both, both, nil, func(z *counted) []core.CallOption {
			return []core.CallOption{core.WithResponseCompression(z), core.WithRequestCompression(nil), core.WithSharedWindow()}
		}, false, true},
		{"the call wants it of what it sends", both, both, nil, func(z *counted) []core.CallOption {
			return []core.CallOption{core.WithRequestCompression(z), core.WithResponseCompression(nil), core.WithSharedWindow()}
		}, true, false},
		{"the caller knows none", func(z *counted) core.Compressor { return plain{z.Codec} }, both, []core.HandlerOption{core.WithSharedWindow()}, nil, false, false},
		{"the callee knows none", both, func(z *counted) core.Compressor { return plain{z.Codec} }, []core.HandlerOption{core.WithSharedWindow()}, nil, false, false},
		{
			"the codec has none", func(*counted) core.Compressor { return compress.S2() }, func(*counted) core.Compressor { return compress.S2() },
			[]core.HandlerOption{core.WithSharedWindow()},
			nil, false, false,
		},
		{"the caller has another codec", func(*counted) core.Compressor { return compress.S2() }, both, []core.HandlerOption{core.WithSharedWindow()}, nil, false, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
				ends := [2]*counted{newCounted(t, compress.Zstd()), newCounted(t, compress.Zstd())}
				c := pair(t, l, func(i int, cfg *core.Config) {
					if i == 0 {
						cfg.Compressors = []core.Compressor{test.caller(ends[0])}
					}
				}, func(i int, m *core.Manager) error {
					if i == 0 {
						return nil
					}
					return registerStreams(m, append(test.handler, core.WithCompression(test.callee(ends[1])))...)
				})
				var call []core.CallOption
				if test.call != nil {
					call = test.call(ends[0])
				}
				if err := exchange(t.Context(), c.Conn(0, 1), "stream", append(records(3, 50, 700), medley(4, 30)...), call...); err != nil {
					t.Fatal(err)
				}
				for what, got := range map[string]struct {
					sent, received int64
					want           bool
				}{
					"requests":  {ends[0].encoded.Load(), ends[1].decoded.Load(), test.requests},
					"responses": {ends[1].encoded.Load(), ends[0].decoded.Load(), test.responses},
				} {
					if (got.sent == 1) != got.want || got.sent != got.received {
						t.Errorf("%s: %d windows were used to send, %d to receive, want one: %v", what, got.sent, got.received, got.want)
					}
				}
			})
		})
	}
}

func both(z *counted) core.Compressor { return z }

// TestSharedWindowOrder holds that what several goroutines send at both ends of a
// stream arrives whole, each one's messages in their order, however large they are.
func TestSharedWindowOrder(t *testing.T) {
	const senders = 8
	each := lab.Scale(60, 25, 400)
	sendAll := func(s *core.RawStream) error {
		errs := make(chan error, senders)
		for sender := range senders {
			go func() {
				for i, msg := range medley(uint64(sender), each) {
					head := binary.LittleEndian.AppendUint32([]byte{byte(sender)}, uint32(i))
					if err := s.Send(append(head, msg...)); err != nil {
						errs <- err
						return
					}
				}
				errs <- nil
			}()
		}
		var all error
		for range senders {
			all = errors.Join(all, <-errs)
		}
		return errors.Join(all, s.CloseSend())
	}
	takeAll := func(s *core.RawStream) error {
		var want [senders][][]byte
		var next [senders]int
		for i := range want {
			want[i] = medley(uint64(i), each)
		}
		for msg, err := range s.All() {
			if err != nil {
				return err
			}
			sender, i := msg[0], binary.LittleEndian.Uint32(msg[1:])
			if int(i) != next[sender] || !bytes.Equal(msg[5:], want[sender][i]) {
				return fmt.Errorf("message %d of sender %d is another one, or comes before number %d", i, sender, next[sender])
			}
			next[sender]++
		}
		for sender, n := range next {
			if n != each {
				return fmt.Errorf("%d messages of sender %d have come, want %d", n, sender, each)
			}
		}
		return nil
	}
	meet := func(s *core.RawStream) error {
		sent := lab.Go(func() error { return sendAll(s) })
		return errors.Join(takeAll(s), <-sent)
	}
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		codec := newCounted(t, compress.Zstd())
		c := l.Cluster(t, 2, coretest.WithHandlers(func(_ int, m *core.Manager) error {
			return m.HandleStreamFunc("meet", func(_ context.Context, _ []byte, s *core.RawStream) error { return meet(s) },
				core.WithCompression(codec), core.WithSharedWindow(), core.WithCapacity(3, 3))
		}))
		var wg sync.WaitGroup
		for _, prio := range []core.Priority{core.PriorityNormal, core.PriorityLow} {
			wg.Go(func() {
				st, err := c.Conn(0, 1).OpenStream(t.Context(), "meet", nil, core.WithPriority(prio))
				if err == nil {
					err = meet(st)
				}
				if err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		lab.Until(t, "all windows are closed", func() bool { return codec.open() == 0 })
		if codec.encoded.Load() != 4 {
			t.Errorf("%d windows were used, want 4", codec.encoded.Load())
		}
	})
}

// TestSharedWindowWithoutACompressor holds that WithSharedWindow of a call that has no
// Compressor is for what the caller sends, where the handler's node wants it compressed,
// that what comes back is as the handler has it, and that it compresses nothing by itself.
func TestSharedWindowWithoutACompressor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		codecs := [2]*counted{newCounted(t, compress.Zstd()), newCounted(t, compress.Zstd())}
		c := lab.InmemLink().Cluster(t, 2, coretest.WithHandlers(func(i int, m *core.Manager) error {
			return errors.Join(registerStreams(m, core.WithCompression(codecs[i])), m.HandleStreamFunc("plain", lab.EchoStream))
		}))
		talk := func(h core.HandlerID, opts ...core.CallOption) (sent, back int64) {
			t.Helper()
			was := [2]int64{codecs[0].encoded.Load(), codecs[1].encoded.Load()}
			if err := exchange(t.Context(), c.Conn(0, 1), h, records(1, 20, 600), opts...); err != nil {
				t.Fatal(err)
			}
			return codecs[0].encoded.Load() - was[0], codecs[1].encoded.Load() - was[1]
		}
		synctest.Wait() // until they know of each other's handlers
		if sent, back := talk("stream", core.WithSharedWindow()); sent != 1 || back != 0 {
			t.Errorf("of a call without a Compressor %d directions share a window towards the handler, %d from it", sent, back)
		}
		if sent, back := talk("stream", core.WithSharedWindow(), core.WithCompression(codecs[0])); sent != 1 || back != 1 {
			t.Errorf("of a call with a Compressor %d directions share a window towards the handler, %d from it", sent, back)
		}
		if sent, back := talk("plain", core.WithSharedWindow()); sent != 0 || back != 0 || countsOf(c.Manager(0), "plain") != (counts{}) {
			t.Errorf("where nobody wants compression %d and %d windows are shared: %+v", sent, back, countsOf(c.Manager(0), "plain"))
		}
	})
}
