//go:build unix

package websocket

import (
	"errors"
	"io"
	"net"
	"runtime"
	"testing"
	"time"

	"github.com/gobwas/ws"
)

// TestEndTogetherWithBytes: part of a frame and the end of the stream were
// reported by the poller before the reader looked, so that nothing is left to
// wake it up.
func TestEndTogetherWithBytes(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	pair := func() (near, far net.Conn) {
		near, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		far, err = l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		return near, far
	}
	for range 100 {
		near, far := pair()
		c := newConn(far, setup{})
		near.Write(masked(ws.NewBinaryFrame(nil))[:1])
		near.Close()
		// Waiting for something else makes the runtime ask the poller.
		other, otherFar := pair()
		go func() {
			runtime.Gosched()
			other.Write([]byte("x"))
		}()
		otherFar.Read(make([]byte, 1))
		other.Close()
		otherFar.Close()

		done := make(chan error, 1)
		go func() {
			_, err := c.ReadFrame(100)
			done <- err
		}()
		select {
		case err := <-done:
			if !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Fatalf("ReadFrame: %v", err)
			}
		case <-time.After(10 * time.Second):
			t.Fatal("the end of the stream was missed")
		}
		c.CloseWithError(0, "")
	}
}
