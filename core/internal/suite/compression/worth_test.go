package compression_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/compress"
	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/coretest"
	"github.com/gridmux/gridmux/core/internal/lab"
)

// TestAdaptive holds that what does not compress is sent as it is, and soon hardly
// tried any more, each direction for itself; and that when it compresses again it is
// compressed again.
func TestAdaptive(t *testing.T) {
	lab.Bubble(t, "", func(t *testing.T) {
		size := 2000
		c := lab.InmemLink().Cluster(t, 2, handlers(core.WithCompression(compress.S2())),
			lab.Handle("mixed", func(_ context.Context, req []byte) ([]byte, error) { return text(1, size), nil }, core.WithCompression(compress.S2())))
		wantsAreKnown(t, c, 0, 1, "append")
		before := statsOf(c.Manager(0), "mixed").Requests
		const n = 2000
		for i := range n {
			lab.MustCall(t, c.Conn(0, 1), "mixed", noise(uint64(i), size))
		}
		got := statsOf(c.Manager(0), "mixed").Requests
		tried, skipped := got.Incompressible-before.Incompressible, got.Sampled-before.Sampled
		if got.Sent.Messages != before.Sent.Messages || tried+skipped != n || tried < 8 || tried > 30 {
			t.Errorf("of %d messages of noise %d were tried and %d were not, %d were sent compressed", n, tried, skipped, got.Sent.Messages)
		}
		if got := statsOf(c.Manager(1), "mixed").Responses; got.Sent.Messages != n || got.Sampled != 0 {
			t.Errorf("of %d responses of text %d were compressed, %d were not tried: noise the other way is no reason", n, got.Sent.Messages, got.Sampled)
		}
		for i := range 200 {
			lab.MustCall(t, c.Conn(0, 1), "mixed", text(uint64(i), size))
		}
		was := statsOf(c.Manager(0), "mixed").Requests.Sent.Messages
		for i := range 100 {
			lab.MustCall(t, c.Conn(0, 1), "mixed", text(uint64(i), size))
		}
		if got := statsOf(c.Manager(0), "mixed").Requests.Sent.Messages; got != was+100 {
			t.Errorf("of 100 messages of text after many of noise %d were compressed", got-was)
		}
	})
}

// TestMessagesTellNothingOfEachOther holds that what a message becomes does not depend
// on those before it, so that its length cannot tell what they were (T26).
func TestMessagesTellNothingOfEachOther(t *testing.T) {
	for name, codec := range map[string]*compress.Codec{"s2": compress.S2(), "zstd": compress.Zstd()} {
		lab.Bubble(t, name, func(t *testing.T) {
			c := lab.InmemLink().Cluster(t, 2, handlers(core.WithCompression(codec)))
			wantsAreKnown(t, c, 0, 1, "append")
			guess := append(text(1, 1500), "token=0123456789abcdef"...)
			lengths := map[int64]bool{}
			for _, secret := range []string{"", "token=0123456789abcdef", "token=ffffffffffffffff"} {
				wantEcho(t, c.Conn(0, 1), "append", append(text(2, 1500), secret...))
				was := statsOf(c.Manager(0), "append").Requests.Sent.Packed
				wantEcho(t, c.Conn(0, 1), "append", guess)
				lengths[statsOf(c.Manager(0), "append").Requests.Sent.Packed-was] = true
				st, err := c.Conn(0, 1).OpenStream(t.Context(), "stream", append(text(2, 1500), secret...))
				if err != nil {
					t.Fatal(err)
				}
				was = statsOf(c.Manager(0), "stream").Requests.Sent.Packed
				if err := st.Send(guess); err != nil {
					t.Fatal(err)
				}
				lengths[statsOf(c.Manager(0), "stream").Requests.Sent.Packed-was] = true
				st.Close()
			}
			if len(lengths) != 1 {
				t.Errorf("the same message had the lengths %v, depending on those before", lengths)
			}
		})
	}
}

// TestOffByDefault holds that nothing is compressed that nobody has asked for (T26).
func TestOffByDefault(t *testing.T) {
	lab.Bubble(t, "", func(t *testing.T) {
		c := lab.InmemLink().Cluster(t, 2, handlers(), lab.Configure(func(cfg *core.Config) {
			cfg.Compressors = []core.Compressor{compress.S2()}
		}))
		for _, n := range []int{1000, 100_000} {
			wantEcho(t, c.Conn(0, 1), "append", text(1, n))
			if err := exchange(t.Context(), c.Conn(0, 1), "stream", [][]byte{text(1, n), text(2, n)}); err != nil {
				t.Error(err)
			}
		}
		for i := range 2 {
			if got := c.Manager(i).Stats().Compression; got != nil {
				t.Errorf("node %d has %v", i, got)
			}
		}
	})
}

// misbehaving is a codec with a fault.
type misbehaving struct {
	*compress.Codec

	name   string
	pack   func(dst, src []byte) []byte
	unpack func(dst, src []byte, limit int) ([]byte, error)
}

func (m misbehaving) Name() string { return m.name }

func (m misbehaving) Append(dst, src []byte) []byte {
	if m.pack != nil {
		return m.pack(dst, src)
	}
	return m.Codec.Append(dst, src)
}

func (m misbehaving) Decode(dst, src []byte, limit int) ([]byte, error) {
	if m.unpack != nil {
		return m.unpack(dst, src, limit)
	}
	return m.Codec.Decode(dst, src, limit)
}

// TestMisbehavingCompressors holds that a Compressor of a user that panics, lies or
// returns what it should not costs its messages, not the process or the connection.
func TestMisbehavingCompressors(t *testing.T) {
	good := compress.S2()
	for _, test := range []struct {
		codec misbehaving
		fails bool
	}{
		{misbehaving{name: "pack panics", pack: func([]byte, []byte) []byte { panic("no") }}, false},
		{misbehaving{name: "pack: nothing", pack: func([]byte, []byte) []byte { return nil }}, false},
		{misbehaving{name: "pack: own memory", pack: func(dst, src []byte) []byte {
			return append(bytes.Clone(dst), good.Append(nil, src)...)
		}}, false},
		{misbehaving{name: "unpack panics", unpack: func([]byte, []byte, int) ([]byte, error) { panic("no") }}, true},
		{misbehaving{name: "unpack fails", unpack: func(dst, _ []byte, _ int) ([]byte, error) { return dst, errors.New("no") }}, true},
		{misbehaving{name: "unpack: too little", unpack: func(dst, src []byte, limit int) ([]byte, error) {
			out, err := good.Decode(dst, src, limit)
			return out[:len(out)-1], err
		}}, true},
		{misbehaving{name: "unpack: too much", unpack: func(dst, src []byte, limit int) ([]byte, error) {
			out, err := good.Decode(dst, src, limit)
			return append(out, 'x'), err
		}}, true},
		{misbehaving{name: "unpack: own memory", unpack: func(dst, src []byte, limit int) ([]byte, error) {
			out, err := good.Decode(nil, src, limit)
			return append(bytes.Clone(dst), out...), err
		}}, false},
	} {
		test.codec.Codec = good
		lab.Bubble(t, test.codec.name, func(t *testing.T) {
			c := lab.InmemLink().Cluster(t, 2, handlers(core.WithCompression(test.codec)))
			for _, n := range []int{1000, 20_000, 200_000} {
				for _, h := range []core.HandlerID{"plain", "append", "inline"} {
					got, err := c.Conn(0, 1).Request(t.Context(), h, text(1, n))
					if test.fails != (err != nil) || test.fails && !errors.Is(err, core.ErrMalformedMessage) || !test.fails && !bytes.Equal(got, text(1, n)) {
						t.Errorf("%s with %d bytes returned %d, %v", h, n, len(got), err)
					}
				}
				for _, h := range []core.HandlerID{"stream", "channels"} {
					err := exchange(t.Context(), c.Conn(0, 1), h, [][]byte{text(1, n), text(2, n), text(3, n)})
					if test.fails != (err != nil) {
						t.Errorf("%s with %d bytes: %v", h, n, err)
					}
				}
			}
			wantEcho(t, c.Conn(0, 1), "echo", []byte("the connection lives"))
			if fmt.Sprint(c.Manager(0).Stats().Peers[0].State) != "connected" {
				t.Error("the connection was lost")
			}
		})
	}
}

// TestDeadlineWhileCompressing expects a call whose time is over while its large request
// is compressed to end with that, at once and without being sent; and one whose time is
// over before to compress nothing, nor a message for a stream that has ended.
func TestDeadlineWhileCompressing(t *testing.T) {
	const takes = time.Minute
	lab.Bubble(t, "", func(t *testing.T) {
		good := compress.S2()
		tries, ran := 0, 0
		var during func()
		slow := misbehaving{Codec: good, name: "slow", pack: func(dst, src []byte) []byte {
			tries++
			if during != nil {
				during()
			}
			time.Sleep(takes)
			return good.Append(dst, src)
		}}
		c := lab.InmemLink().Cluster(t, 2, coretest.WithHandlers(func(_ int, m *core.Manager) error {
			return errors.Join(
				m.HandleAppend("run", func(_ context.Context, _, dst []byte) ([]byte, error) {
					ran++
					return dst, nil
				}, core.WithRequestCompression(slow)),
				m.HandleStreamFunc("stream", lab.EchoStream, core.WithRequestCompression(slow)))
		}))
		conn, req := c.Conn(0, 1), text(1, 200_000)
		with := core.WithRequestCompression(slow)
		expect := func(what string, wantTries int, want error, call func() error) {
			t.Helper()
			tries = 0
			began := time.Now()
			err := call()
			if !errors.Is(err, want) || core.OutcomeOf(err) != core.OutcomeNotSent {
				t.Errorf("%s: %v (%v), want %v and that nothing was sent", what, err, core.OutcomeOf(err), want)
			}
			if took := time.Since(began); tries != wantTries || took != time.Duration(wantTries)*takes {
				t.Errorf("%s: it took %v for %d messages, want %d and no longer than they take", what, took, tries, wantTries)
			}
		}
		request := func(ctx context.Context, opts ...core.CallOption) error {
			_, err := conn.Request(ctx, "run", req, append(opts, with)...)
			return err
		}
		expect("a time-out", 1, context.DeadlineExceeded, func() error {
			return request(t.Context(), core.WithTimeout(time.Second))
		})
		expect("a deadline", 1, context.DeadlineExceeded, func() error {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			return request(ctx)
		})
		expect("a call that was canceled before", 0, context.Canceled, func() error {
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			return request(ctx)
		})
		expect("a call that is canceled meanwhile", 1, context.Canceled, func() error {
			ctx, cancel := context.WithCancel(t.Context())
			during = cancel
			return request(ctx)
		})
		expect("a call that is canceled meanwhile, without luck", 1, context.Canceled, func() error {
			ctx := &quietContext{Context: t.Context()}
			during = func() { ctx.over.Store(true) }
			return request(ctx)
		})
		during = nil
		expect("opening a stream", 1, context.DeadlineExceeded, func() error {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			st, err := conn.OpenStream(ctx, "stream", req, with)
			if err == nil {
				err = st.Send(nil)
			}
			return err
		})
		synctest.Wait()
		if ran != 0 {
			t.Errorf("%d of the calls have run", ran)
		}
		if sent, got := countsOf(c.Manager(0), "run").requestsOut, countsOf(c.Manager(1), "run").requestsIn; sent != 4 || got != 0 {
			t.Errorf("%d of 4 messages that were compressed for calls that had ended count as sent, %d as received", sent, got)
		}
		if err := request(t.Context(), core.WithTimeout(2*takes)); err != nil || ran != 1 {
			t.Errorf("a call with enough time: %v, it has run %d times", err, ran)
		}

		ctx, cancel := context.WithCancel(t.Context())
		st, err := conn.OpenStream(ctx, "stream", nil, with)
		if err != nil {
			t.Fatal(err)
		}
		cancel()
		synctest.Wait()
		tries = 0
		if err := st.Send(req); !errors.Is(err, context.Canceled) || tries != 0 {
			t.Errorf("on a stream that has ended %d messages were compressed, %v", tries, err)
		}
	})
}

// quietContext tells that it is over who asks, and nobody who waits: a call that waits
// may find its answer first.
type quietContext struct {
	context.Context

	over atomic.Bool
}

func (c *quietContext) Err() error {
	if c.over.Load() {
		return context.Canceled
	}
	return nil
}
