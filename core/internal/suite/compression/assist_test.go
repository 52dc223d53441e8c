package compression_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/gridmux/gridmux/compress"
	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/coretest"
	"github.com/gridmux/gridmux/core/internal/lab"
)

// text returns n bytes that a codec makes several times smaller.
func text(seed uint64, n int) []byte {
	r := rand.New(rand.NewPCG(seed, 1))
	b := make([]byte, 0, n+100)
	for len(b) < n {
		b = fmt.Appendf(b, `{"level":"info","bucket":"backups","object":"part.%d","size":%d,"node":"node-%d"}`+"\n",
			r.IntN(100), r.IntN(1<<20), r.IntN(9))
	}
	return b[:n:n]
}

// noise returns n bytes that no codec makes smaller.
func noise(seed uint64, n int) []byte {
	r := rand.New(rand.NewPCG(seed, 2))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// dictionary is trained on other records of the kind of text.
func dictionary(t testing.TB, seed uint64) *compress.Dictionary {
	t.Helper()
	var records [][]byte
	for i := range 400 {
		records = append(records, text(seed+uint64(i), 200))
	}
	d, err := compress.Train(records, 2<<10)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// handlers registers those of these tests, all with the options.
func handlers(opts ...core.HandlerOption) coretest.Option {
	return coretest.WithHandlers(func(_ int, m *core.Manager) error { return register(m, opts...) })
}

func register(m *core.Manager, opts ...core.HandlerOption) error {
	with := func(more ...core.HandlerOption) []core.HandlerOption { return append(more, opts...) }
	return errors.Join(
		m.Handle("plain", lab.Echo, opts...),
		m.HandleAppend("append", lab.EchoAppend, opts...),
		m.HandleAppend("inline", lab.EchoAppend, with(core.WithInline())...),
		m.HandleStreamFunc("stream", lab.EchoStream, opts...),
		m.HandleStream("channels", core.StreamHandler{Handle: channelsBack, InCapacity: 4, OutCapacity: 4}, opts...),
	)
}

func channelsBack(_ context.Context, payload []byte, in <-chan []byte, out chan<- []byte) error {
	out <- payload
	for msg := range in {
		out <- msg
	}
	return nil
}

// exchange sends the messages on a stream, and wants them back.
func exchange(ctx context.Context, on core.Caller, h core.HandlerID, messages [][]byte, opts ...core.CallOption) error {
	st, err := on.OpenStream(ctx, h, messages[0], opts...)
	if err != nil {
		return err
	}
	defer st.Close()
	sent := make(chan error, 1)
	go func() {
		for _, msg := range messages[1:] {
			if err := st.Send(msg); err != nil {
				sent <- err
				return
			}
		}
		sent <- st.CloseSend()
	}()
	var buf []byte
	for i, want := range messages {
		if buf, err = st.Recv(buf[:0]); err != nil {
			return fmt.Errorf("message %d: %w", i, err)
		}
		if !bytes.Equal(buf, want) {
			return fmt.Errorf("message %d has %d bytes that are others than the %d that were sent", i, len(buf), len(want))
		}
	}
	if _, err := st.Recv(nil); !errors.Is(err, io.EOF) {
		return fmt.Errorf("after the last message: %w", err)
	}
	return <-sent
}

// statsOf returns what compression has done on a node for a handler.
func statsOf(m *core.Manager, h core.HandlerID) core.CompressionStats {
	for _, s := range m.Stats().Compression {
		if s.Handler == h {
			return s
		}
	}
	return core.CompressionStats{Handler: h}
}

// wantEcho makes a call that returns its request.
func wantEcho(t testing.TB, on core.Caller, h core.HandlerID, req []byte, opts ...core.CallOption) {
	t.Helper()
	got, err := on.Request(t.Context(), h, req, opts...)
	if err != nil || !bytes.Equal(got, req) || (got == nil) != (req == nil) {
		t.Fatalf("%s with %d bytes returned %d, %v, want its request", h, len(req), len(got), err)
	}
}

// wantsAreKnown waits until node a knows what the handlers of node b want.
func wantsAreKnown(t testing.TB, c *lab.Cluster, from, to int, h core.HandlerID) {
	t.Helper()
	lab.Until(t, "the caller learns that the handler wants compressed requests", func() bool {
		before := statsOf(c.Manager(from), h).Requests.Sent.Messages
		wantEcho(t, c.Conn(from, to), h, text(1, 4000))
		return statsOf(c.Manager(from), h).Requests.Sent.Messages > before
	})
}
