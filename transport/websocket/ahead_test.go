package websocket

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/gobwas/ws"
)

// TestFrameBuffered: true promises that ReadFrame does not wait, and is said of
// all whole frames that came in one read.
func TestFrameBuffered(t *testing.T) {
	data := func(p string) []byte { return masked(ws.NewBinaryFrame([]byte(p))) }
	for _, c := range []struct {
		name string
		rest []byte // came together with it
		want bool
	}{
		{"nothing", nil, false},
		{"a frame", data("second"), true},
		{"an empty frame", data(""), true},
		{"half a header", data("second")[:1], false},
		{"a header", data("second")[:6], false},
		{"all but a byte", data("second")[:11], false},
		{"a frame over the chunk", data(strings.Repeat("x", 70_000))[:20_000], false},
		{"a ping alone", masked(ws.NewPingFrame(nil)), false},
		{"a fragment", fragment(ws.OpBinary, false, "part"), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				conn, far := rawPair(t, false)
				if conn.FrameBuffered() {
					t.Error("before the first ReadFrame")
				}
				// One byte more than the reader waits with, so that the rest is
				// read into the chunk.
				far.Write(join(data(strings.Repeat("f", 20)), c.rest))
				if _, err := conn.ReadFrame(100); err != nil {
					t.Fatal(err)
				}
				if got := conn.FrameBuffered(); got != c.want {
					t.Fatalf("FrameBuffered() = %v, want %v", got, c.want)
				}
				if c.want {
					// Nothing more comes: a ReadFrame that waits would be a
					// deadlock of the bubble.
					if _, err := conn.ReadFrame(100); err != nil {
						t.Error(err)
					}
				}
				far.Close()
				if _, err := conn.ReadFrame(100_000); !errors.Is(err, io.ErrUnexpectedEOF) {
					t.Errorf("at the end: %v", err)
				}
				if conn.FrameBuffered() {
					t.Error("after an error")
				}
			})
		})
	}
}
