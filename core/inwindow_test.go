package core

import (
	"bytes"
	"context"
	"errors"
	"net"
	"testing"
	"testing/synctest"
)

// repeated is a Compressor with windows for messages that are one byte again and
// again.
type repeated struct{}

func (repeated) Name() string                  { return "repeated" }
func (repeated) Append(dst, src []byte) []byte { return append(dst, src[0]) }
func (repeated) Close()                        {}

func (repeated) Decode(dst, src []byte, size int) ([]byte, error) {
	return append(dst, bytes.Repeat(src[:1], size)...), nil
}

func (r repeated) NewWindow() interface {
	Append(dst, src []byte) []byte
	Decode(dst, src []byte, size int) ([]byte, error)
	Close()
} {
	return r
}

// TestClosedWhileASharedMessageIsTaken expects who is about to restore a message that
// shares a window when another goroutine closes the stream to learn that it is closed, and
// what was written before to arrive whole. The closed window was taken for a
// malformed message, which reset the stream and threw away what was still to be sent.
func TestClosedWhileASharedMessageIsTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		codec := repeated{}
		record, written := bytes.Repeat([]byte("a"), 400), bytes.Repeat([]byte("b"), 50_000)
		arrived := make(chan []byte, 1)
		a, _ := newTestPair(t, nil, func(b *Manager) error {
			return b.HandleStreamFunc("h", func(_ context.Context, _ []byte, s *RawStream) error {
				if err := s.Send(record); err != nil {
					return err
				}
				var all []byte
				defer func() { arrived <- all }()
				for msg, err := range s.All() {
					if err != nil {
						return err
					}
					all = append(all, msg...)
				}
				return nil
			}, WithCompression(codec), WithSharedWindow())
		})
		st, err := a.Connection("b").OpenStream(t.Context(), "h", nil, WithCompression(codec), WithSharedWindow())
		if err != nil {
			t.Fatal(err)
		}
		if got, err := st.Recv(nil); err != nil || !bytes.Equal(got, record) {
			t.Fatalf("the first message is %d bytes, %v", len(got), err)
		}
		number := a.codecs.set.Load().number(codec.Name() + windowSuffix)
		if number == 0 {
			t.Fatal("the codec has no window")
		}
		conn := st.Conn()
		if _, err := conn.Write(written); err != nil {
			t.Fatal(err)
		}
		if err := conn.Close(); err != nil {
			t.Fatal(err)
		}
		// What a goroutine does that was in Read, and has seen the stream open.
		_, err = st.unpack(nil, []byte("any"), packed{codec: number, bytes: 100})
		if err = st.broken(err); !errors.Is(err, net.ErrClosed) || errors.Is(err, ErrMalformedMessage) {
			t.Errorf("the receiver is told %v, want that the stream is closed", err)
		}
		if got := <-arrived; !bytes.Equal(got, written) {
			t.Errorf("%d bytes of %d arrived", len(got), len(written))
		}
		for _, s := range a.Stats().Compression {
			if s.Responses.Failed != 0 {
				t.Errorf("%d messages count as malformed", s.Responses.Failed)
			}
		}
	})
}
