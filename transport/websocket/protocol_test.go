package websocket_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/gobwas/ws"

	"github.com/gridmux/gridmux/internal/memnet"
	"github.com/gridmux/gridmux/transport"
	"github.com/gridmux/gridmux/transport/websocket"
)

// TestProtocol holds the transport to W3 with another implementation of RFC
// 6455 at the other end: the path, the sub-protocol, one binary message per
// transport frame, nothing but binary messages, and the close codes.
func TestProtocol(t *testing.T) {
	for _, dials := range []bool{true, false} {
		t.Run(fmt.Sprintf("W3 dials=%v", dials), func(t *testing.T) {
			connect := func(t *testing.T) (transport.Conn, *bareEnd) {
				if dials {
					return dialBare(t)
				}
				return acceptBare(t)
			}
			synctest.Test(t, func(t *testing.T) { testProtocolFrames(t, connect) })
			synctest.Test(t, func(t *testing.T) { testProtocolCodes(t, connect) })
		})
	}
}

func testProtocolFrames(t *testing.T, connect func(t *testing.T) (transport.Conn, *bareEnd)) {
	c, bare := connect(t)
	frames := [][]byte{nil, {7}, bytes.Repeat([]byte("x"), 125), bytes.Repeat([]byte("y"), 126), bytes.Repeat([]byte("z"), 70_000)}
	var batch [][]byte
	for _, f := range frames {
		batch = append(batch, append(make([]byte, c.Info().Headroom), f...))
	}
	go func() {
		if err := c.WriteFrames(batch); err != nil {
			t.Errorf("WriteFrames failed: %v", err)
		}
	}()
	for i, want := range frames {
		f := bare.read(t)
		if f.Header.OpCode != ws.OpBinary || !f.Header.Fin || !bytes.Equal(f.Payload, want) {
			t.Fatalf("frame %d of %d bytes arrived as opcode %d, final %v, %d bytes; want one binary message", i, len(want),
				f.Header.OpCode, f.Header.Fin, len(f.Payload))
		}
	}
	go func() {
		for _, f := range frames {
			bare.write(ws.NewBinaryFrame(slices.Clone(f)))
		}
		bare.write(ws.NewTextFrame([]byte("text")))
	}()
	for i, want := range frames {
		if got, err := c.ReadFrame(1 << 20); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("message %d of %d bytes was read as %d bytes, %v", i, len(want), len(got), err)
		}
	}
	if got, err := c.ReadFrame(1 << 20); err == nil {
		t.Errorf("a text message was read as %q, want the end of the connection", got)
	}
}

func testProtocolCodes(t *testing.T, connect func(t *testing.T) (transport.Conn, *bareEnd)) {
	for code, status := range map[uint32]uint16{0: 1000, 20: 4020, 33: 4033, 35: 4035, 999: 4999} {
		c, bare := connect(t)
		c.CloseWithError(code, "why")
		f := bare.read(t)
		if f.Header.OpCode != ws.OpClose || len(f.Payload) < 2 || binary.BigEndian.Uint16(f.Payload) != status || string(f.Payload[2:]) != "why" {
			t.Errorf("closing with code %d sent opcode %d with %q, want status %d and the reason", code, f.Header.OpCode, f.Payload, status)
		}
		c, bare = connect(t)
		bare.write(ws.NewCloseFrame(ws.NewCloseFrameBody(ws.StatusCode(status), "why")))
		_, err := c.ReadFrame(100)
		if closed, ok := errors.AsType[*transport.CloseError](err); !ok || closed.Code != code || closed.Reason != "why" {
			t.Errorf("status %d was read as %v, want code %d and the reason", status, err, code)
		}
	}
}

// bareEnd is the other end of a connection after the upgrade.
type bareEnd struct {
	nc     net.Conn
	client bool
}

func (b *bareEnd) read(t *testing.T) ws.Frame {
	t.Helper()
	h, err := ws.ReadHeader(b.nc)
	if err != nil || h.Length > 1<<20 {
		t.Fatalf("reading as the other end failed: a frame of %d bytes, %v", h.Length, err)
	}
	f := ws.Frame{Header: h, Payload: make([]byte, h.Length)}
	if _, err := io.ReadFull(b.nc, f.Payload); err != nil {
		t.Fatalf("reading as the other end failed: %v", err)
	}
	if f.Header.Masked == b.client {
		t.Fatalf("a frame to the client=%v is masked=%v", b.client, f.Header.Masked)
	}
	return ws.UnmaskFrameInPlace(f)
}

func (b *bareEnd) write(f ws.Frame) {
	if b.client {
		f = ws.MaskFrame(f)
	}
	_ = ws.WriteFrame(b.nc, f)
}

// dialBare dials a server that is not ours.
func dialBare(t *testing.T) (transport.Conn, *bareEnd) {
	t.Helper()
	ends := make(chan net.Conn, 1)
	tr := memServer(t, func(nc net.Conn) {
		path, offered := "", ""
		_, err := ws.Upgrader{
			OnRequest:      func(uri []byte) error { path = string(uri); return nil },
			ProtocolCustom: func(header []byte) (string, bool) { offered = string(header); return websocket.Subprotocol, true },
		}.Upgrade(nc)
		if err != nil || path != "/gridmux/v1" || strings.TrimSpace(offered) != "gridmux/1" {
			t.Errorf("the dialler asked for path %q, sub-protocol %q, %v; want /gridmux/v1 and gridmux/1", path, offered, err)
		}
		ends <- nc
		<-t.Context().Done()
	})
	c, err := tr.Dial(t.Context(), peerA)
	if err != nil {
		t.Fatalf("dialling a server of another make failed: %v", err)
	}
	t.Cleanup(func() { c.CloseWithError(0, "") })
	return c, &bareEnd{nc: <-ends}
}

// acceptBare accepts a client that is not ours.
func acceptBare(t *testing.T) (transport.Conn, *bareEnd) {
	t.Helper()
	mem := memnet.Listen("a:1")
	ln, err := websocket.New(websocket.Options{Listener: mem}).Listen(t.Context(), "a:1")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	dial := func(path string) (*bareEnd, error) {
		nc, err := mem.DialContext(t.Context(), "tcp", "a:1")
		if err != nil {
			return nil, err
		}
		t.Cleanup(func() { nc.Close() })
		_, hs, err := ws.Dialer{Protocols: []string{"gridmux/1"}}.Upgrade(nc, &url.URL{Scheme: "ws", Host: "a:1", Path: path})
		if err == nil && hs.Protocol != "gridmux/1" {
			err = fmt.Errorf("the server selected sub-protocol %q", hs.Protocol)
		}
		return &bareEnd{nc: nc, client: true}, err
	}
	if _, err := dial("/gridmux/v2"); err == nil {
		t.Error("a client was served on another path")
	}
	bare, err := dial("/gridmux/v1")
	if err != nil {
		t.Fatalf("a client of another make was refused: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	c, err := ln.Accept(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.CloseWithError(0, "") })
	return c, bare
}
