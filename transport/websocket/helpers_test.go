package websocket

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/gobwas/ws"

	"github.com/gridmux/gridmux/internal/memnet"
)

// rawPair returns a connection and the other end of its link, on which a test
// plays the peer byte by byte. client says which side the connection is.
func rawPair(t testing.TB, client bool, opts ...memnet.Option) (*conn, *memnet.Conn) {
	t.Helper()
	near, far := memnet.Pipe(opts...)
	c := newConn(near, setup{client: client})
	t.Cleanup(func() {
		c.CloseWithError(0, "")
		far.Close()
	})
	return c, far
}

// connPair returns the two ends of a connection in memory.
func connPair(t testing.TB, opts ...memnet.Option) (client, server *conn) {
	t.Helper()
	a, b := memnet.Pipe(opts...)
	client, server = newConn(a, setup{client: true}), newConn(b, setup{})
	t.Cleanup(func() {
		client.CloseWithError(0, "")
		server.CloseWithError(0, "")
	})
	return client, server
}

// frame returns payload as WriteFrames takes it.
func frame(payload string) []byte {
	return append(make([]byte, headroom), payload...)
}

// masked returns f as a client sends it.
func masked(f ws.Frame) []byte {
	return ws.MustCompileFrame(ws.MaskFrame(f))
}

// plain returns f as a server sends it.
func plain(f ws.Frame) []byte { return ws.MustCompileFrame(f) }

// readWire reads a frame with the library's decoder.
func readWire(r io.Reader) (ws.Frame, error) {
	h, err := ws.ReadHeader(r)
	if err != nil {
		return ws.Frame{}, err
	}
	if h.Length > 1<<20 {
		return ws.Frame{}, fmt.Errorf("a frame of %d bytes", h.Length)
	}
	f := ws.Frame{Header: h, Payload: make([]byte, h.Length)}
	_, err = io.ReadFull(r, f.Payload)
	return f, err
}

func join(parts ...[]byte) (all []byte) {
	for _, p := range parts {
		all = append(all, p...)
	}
	return all
}

// wantCloseFrame reads frames of the connection under test until its close
// frame and checks the status code.
func wantCloseFrame(t *testing.T, far *memnet.Conn, status ws.StatusCode) (reason string) {
	t.Helper()
	for {
		f, err := readWire(far)
		if err != nil {
			t.Fatalf("no close frame came: %v", err)
		}
		if f.Header.Masked {
			f = ws.UnmaskFrameInPlace(f)
		}
		if f.Header.OpCode != ws.OpClose {
			continue
		}
		if len(f.Payload) < 2 {
			t.Fatalf("a close frame with %d bytes", len(f.Payload))
		}
		if got := ws.StatusCode(binary.BigEndian.Uint16(f.Payload)); got != status {
			t.Errorf("close frame with status %d %q, want %d", got, f.Payload[2:], status)
		}
		return string(f.Payload[2:])
	}
}

func asViolation(err error) *violation {
	v, _ := errors.AsType[*violation](err)
	return v
}
