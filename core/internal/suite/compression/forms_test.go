package compression_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"

	"github.com/tinylib/msgp/msgp"

	"github.com/gridmux/gridmux/compress"
	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/coretest"
	"github.com/gridmux/gridmux/core/internal/lab"
)

// Typed streams that both sides share.
var (
	compressedBidi = core.NewBidi[bin, bin, bin]("typed.bidi", core.WithCompression(compress.Zstd()))
	compressedList = core.NewServerStream[bin, bin]("typed.list", core.WithCompression(compress.S2()))
)

// TestTypedStreams holds that typed messages of all sizes arrive as they were sent on
// streams that are compressed, those over the window too.
func TestTypedStreams(t *testing.T) {
	messages := payloads()
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		c := l.Cluster(t, 2, coretest.WithHandlers(func(_ int, m *core.Manager) error {
			return errors.Join(
				compressedBidi.Handle(m, func(_ context.Context, req *bin, s *core.TypedStream[bin, bin]) error {
					for msg, err := range s.All() {
						if err == nil {
							err = s.Send(msg)
						}
						if err != nil {
							return err
						}
					}
					return s.Send(req)
				}),
				compressedList.Handle(m, func(_ context.Context, req *bin, send func(*bin) error) error {
					for _, msg := range append(messages, req.b) {
						if err := send(&bin{msg}); err != nil {
							return err
						}
					}
					return nil
				}),
			)
		}))
		last := text(77, 100_000)
		s, err := compressedBidi.Open(t.Context(), c.Conn(0, 1), &bin{last})
		if err != nil {
			t.Fatal(err)
		}
		sent := lab.Go(func() error {
			for _, msg := range messages {
				if err := s.Send(&bin{msg}); err != nil {
					return err
				}
			}
			return s.CloseSend()
		})
		into := new(bin)
		for i, want := range append(messages, last) {
			if err := s.RecvInto(into); err != nil || !bytes.Equal(into.b, want) {
				t.Fatalf("message %d: %d bytes, %v, want %d", i, len(into.b), err, len(want))
			}
		}
		if err := s.RecvInto(into); !errors.Is(err, io.EOF) {
			t.Errorf("behind the last message: %v", err)
		}
		if err := lab.Wait(t, sent, "all is sent"); err != nil {
			t.Error(err)
		}
		i, all := 0, append(messages, last)
		for msg, err := range compressedList.Call(t.Context(), c.Conn(1, 0), &bin{last}) {
			if err != nil || !bytes.Equal(msg.b, all[i]) {
				t.Fatalf("message %d of the list: %v", i, err)
			}
			i++
		}
		if i != len(all) {
			t.Errorf("%d messages of the list, want %d", i, len(all))
		}
		if bidi, list := countsOf(c.Manager(1), "typed.bidi"), countsOf(c.Manager(0), "typed.list"); bidi.requestsIn == 0 || bidi.responsesOut == 0 || list.responsesOut == 0 {
			t.Errorf("the handlers have %+v and %+v, want compressed messages both ways", bidi, list)
		}
	})
}

// TestChannelsOfTheCaller holds that the form with channels takes and brings
// compressed messages on the calling side too.
func TestChannelsOfTheCaller(t *testing.T) {
	messages := payloads()
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		c := l.Cluster(t, 2, handlers(core.WithCompression(compress.S2())))
		for _, h := range []core.HandlerID{"stream", "channels"} {
			s, err := c.Conn(0, 1).NewStream(t.Context(), h, messages[0], core.WithCompression(compress.S2()))
			if err != nil {
				t.Fatal(err)
			}
			go func() {
				defer close(s.Requests)
				for _, msg := range messages[1:] {
					select {
					case s.Requests <- bytes.Clone(msg):
					case <-s.Done():
						return
					}
				}
			}()
			i := 0
			for r := range s.Responses {
				if r.Err != nil || !bytes.Equal(r.Msg, messages[i]) {
					t.Fatalf("%s, message %d: %d bytes, %v", h, i, len(r.Msg), r.Err)
				}
				i++
			}
			if i != len(messages) {
				t.Errorf("%s: %d messages came back, want %d", h, i, len(messages))
			}
			if got := countsOf(c.Manager(0), h); got.requestsOut == 0 || got.responsesIn == 0 {
				t.Errorf("%s: the caller has %+v, want compressed messages both ways", h, got)
			}
		}
	})
}

// bin is a message of bytes, in MessagePack.
type bin struct{ b []byte }

func (m *bin) MarshalMsg(dst []byte) ([]byte, error) { return msgp.AppendBytes(dst, m.b), nil }

func (m *bin) UnmarshalMsg(b []byte) (rest []byte, err error) {
	m.b, rest, err = msgp.ReadBytesBytes(b, m.b[:0])
	return rest, err
}

func (m *bin) Msgsize() int { return msgp.BytesPrefixSize + len(m.b) }
