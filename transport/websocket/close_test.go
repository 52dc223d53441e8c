package websocket

import (
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gobwas/ws"

	"github.com/gridmux/gridmux/internal/memnet"
	"github.com/gridmux/gridmux/transport"
)

func TestCloseCodes(t *testing.T) {
	for code, want := range map[uint32]ws.StatusCode{
		0: 1000, 1: 4001, 500: 4500, 999: 4999,
		1000: 1000, 1001: 1001, 1002: 1002, 1003: 1003, 1007: 1007, 1009: 1009, 1011: 1011, 1014: 1014, 3000: 3000, 3999: 3999, 4000: 4000,
		// Not legal on the wire, or the code of something else there.
		1004: 1011, 1005: 1011, 1006: 1011, 1015: 1011, 2000: 1011, 4001: 1011, 4999: 1011, 5000: 1011, 65536 + 1000: 1011, 1<<32 - 1: 1011,
	} {
		if got := wireCode(code); got != want {
			t.Errorf("wireCode(%d) = %d, want %d", code, got, want)
		}
	}
	for code := range uint32(5000) {
		status := wireCode(code)
		if !validStatus(status) {
			t.Fatalf("wireCode(%d) = %d, which must not be sent", code, status)
		}
		if back := hostCode(status); back != code && status != ws.StatusInternalServerError && code != 1000 {
			t.Errorf("code %d arrives as %d", code, back)
		}
	}
}

func TestPeersCloseFrame(t *testing.T) {
	for _, c := range []struct {
		frame ws.Frame
		want  transport.CloseError
	}{
		{ws.NewCloseFrame(nil), transport.CloseError{}},
		{closeFrame(1000, ""), transport.CloseError{}},
		{closeFrame(1000, "fin"), transport.CloseError{Reason: "fin"}},
		{closeFrame(1001, "going"), transport.CloseError{Code: 1001, Reason: "going"}},
		{closeFrame(1012, ""), transport.CloseError{Code: 1012}},
		{closeFrame(3000, ""), transport.CloseError{Code: 3000}},
		{closeFrame(4000, ""), transport.CloseError{Code: 4000}},
		{closeFrame(4001, ""), transport.CloseError{Code: 1}},
		{closeFrame(4999, ""), transport.CloseError{Code: 999}},
		{closeFrame(1000, strings.Repeat("r", 123)), transport.CloseError{Reason: strings.Repeat("r", 120)}},
	} {
		synctest.Test(t, func(t *testing.T) {
			conn, far := rawPair(t, true)
			far.Write(plain(c.frame))
			_, err := conn.ReadFrame(1)
			if ce, ok := err.(*transport.CloseError); !ok || *ce != c.want {
				t.Errorf("close frame %q: %v, want %v", c.frame.Payload, err, &c.want)
			}
		})
	}
}

func TestCloseFrameIsMaskedByTheClientOnly(t *testing.T) {
	for _, client := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			c, far := rawPair(t, client)
			c.CloseWithError(3, "three")
			f, err := readWire(far)
			if err != nil || f.Header.OpCode != ws.OpClose || f.Header.Masked != client {
				t.Errorf("client %v: %+v, %v", client, f.Header, err)
			}
		})
	}
}

// TestCloseBesideAStuckWrite: the peer reads nothing, so that a write is stuck,
// and the close frame cannot be sent.
func TestCloseBesideAStuckWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, far := rawPair(t, true, memnet.WithBuffer(10))
		far.StallReads(true)
		var wg sync.WaitGroup
		var writeErr, readErr error
		var writeEnd, readEnd time.Duration
		start := time.Now()
		wg.Go(func() {
			writeErr = c.WriteFrames([][]byte{frame(strings.Repeat("x", 100))})
			writeEnd = time.Since(start)
		})
		wg.Go(func() {
			_, readErr = c.ReadFrame(100)
			readEnd = time.Since(start)
		})
		synctest.Wait()
		if err := c.CloseWithError(1, ""); err != nil {
			t.Errorf("CloseWithError: %v", err)
		}
		if d := time.Since(start); d > 20*time.Millisecond {
			t.Errorf("CloseWithError took %v", d)
		}
		wg.Wait()
		if !errors.Is(writeErr, net.ErrClosed) || !errors.Is(readErr, net.ErrClosed) {
			t.Errorf("write %v, read %v; want net.ErrClosed", writeErr, readErr)
		}
		if readEnd != 0 || writeEnd > 20*time.Millisecond {
			t.Errorf("unblocked after: read %v, write %v", readEnd, writeEnd)
		}
	})
}

// TestCloseOnAFullLink: no write is in progress, but the close frame finds no
// room.
func TestCloseOnAFullLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, far := rawPair(t, false, memnet.WithBuffer(20))
		if err := c.WriteFrames([][]byte{frame(strings.Repeat("x", 18))}); err != nil {
			t.Fatal(err)
		}
		var readEnd time.Duration
		start := time.Now()
		done := make(chan error)
		go func() {
			_, err := c.ReadFrame(100)
			readEnd = time.Since(start)
			done <- err
		}()
		synctest.Wait()
		var wg sync.WaitGroup
		wg.Go(func() {
			time.Sleep(time.Millisecond)
			c.CloseWithError(2, "second")
			if time.Since(start) > time.Millisecond {
				t.Error("a second CloseWithError waited for the first")
			}
		})
		if err := c.CloseWithError(1, "first"); err != nil {
			t.Errorf("CloseWithError: %v", err)
		}
		if d := time.Since(start); d > 300*time.Millisecond {
			t.Errorf("CloseWithError took %v", d)
		}
		if err := <-done; !errors.Is(err, net.ErrClosed) || readEnd != 0 {
			t.Errorf("ReadFrame returned %v after %v", err, readEnd)
		}
		wg.Wait()
		if f, err := readWire(far); err != nil || len(f.Payload) != 18 {
			t.Errorf("the frame written before: %+v, %v", f.Header, err)
		}
	})
}

// TestCloseWaitsForAWriteThatMoves: a write that the link takes soon does not
// cost the peer the code.
func TestCloseWaitsForAWriteThatMoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := connPair(t, memnet.WithBuffer(1000))
		written := make(chan error)
		go func() { written <- client.WriteFrames([][]byte{frame(strings.Repeat("x", 5000))}) }()
		synctest.Wait()
		got := make(chan error)
		go func() {
			time.Sleep(lockGrace / 2)
			if p, err := server.ReadFrame(5000); err != nil || len(p) != 5000 {
				t.Errorf("the frame: %d bytes, %v", len(p), err)
			}
			_, err := server.ReadFrame(5000)
			got <- err
		}()
		client.CloseWithError(9, "nine")
		if err := <-written; err != nil {
			t.Errorf("WriteFrames: %v", err)
		}
		if ce, ok := (<-got).(*transport.CloseError); !ok || ce.Code != 9 {
			t.Errorf("the peer got %v, want code 9", ce)
		}
	})
}

// TestLeftoverDeadlines expects a deadline that whoever made the link left on it
// to be gone (D12).
func TestLeftoverDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := memnet.Pipe()
		near.SetDeadline(time.Now().Add(time.Second))
		c := newConn(near, setup{})
		defer c.CloseWithError(0, "")
		defer far.Close()
		time.Sleep(10 * time.Second)
		far.Write(masked(ws.NewBinaryFrame([]byte("late"))))
		if p, err := c.ReadFrame(100); err != nil || string(p) != "late" {
			t.Errorf("ReadFrame after the deadline: %q, %v", p, err)
		}
		if err := c.WriteFrames([][]byte{frame("late")}); err != nil {
			t.Errorf("WriteFrames after the deadline: %v", err)
		}
	})
}

// TestLinkClosedByOthers: whoever owns the net.Conn closes it behind our back.
func TestLinkClosedByOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := rawPair(t, false)
		c.raw.Close()
		_, err := c.ReadFrame(10)
		if err == nil || errors.Is(err, net.ErrClosed) {
			t.Errorf("ReadFrame: %v; must not match net.ErrClosed", err)
		}
		err = c.WriteFrames([][]byte{frame("x")})
		if err == nil || errors.Is(err, net.ErrClosed) {
			t.Errorf("WriteFrames: %v; must not match net.ErrClosed", err)
		}
		if err := c.CloseWithError(0, ""); err != nil {
			t.Errorf("CloseWithError: %v", err)
		}
		if _, err = c.ReadFrame(10); !errors.Is(err, net.ErrClosed) {
			t.Errorf("ReadFrame after CloseWithError: %v", err)
		}
	})
}

// TestUnreadBytesDoNotEatTheCloseFrame: closing a TCP socket with bytes in its
// receive buffer resets the connection.
func TestUnreadBytesDoNotEatTheCloseFrame(t *testing.T) {
	for range 20 {
		client, server := tcpPair(t)
		for range 10 {
			if err := server.WriteFrames([][]byte{frame(strings.Repeat("unread", 1000))}); err != nil {
				t.Fatal(err)
			}
		}
		if err := client.WriteFrames([][]byte{frame("last")}); err != nil {
			t.Fatal(err)
		}
		client.CloseWithError(5, "five")
		if p, err := server.ReadFrame(100); err != nil || string(p) != "last" {
			t.Fatalf("%q, %v", p, err)
		}
		_, err := server.ReadFrame(100)
		if ce, ok := err.(*transport.CloseError); !ok || ce.Code != 5 {
			t.Fatalf("%v, want code 5", err)
		}
		server.CloseWithError(0, "")
	}
}

// tcpPair returns the two ends of a connection over TCP, without the upgrade.
func tcpPair(t testing.TB) (client, server *conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	a, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	b, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	client, server = newConn(a, setup{client: true}), newConn(b, setup{})
	t.Cleanup(func() {
		client.CloseWithError(0, "")
		server.CloseWithError(0, "")
	})
	return client, server
}
