package websocket

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/gobwas/ws"

	"github.com/gridmux/gridmux/transport"
)

func closeFrame(status uint16, reason string) ws.Frame {
	p := binary.BigEndian.AppendUint16(nil, status)
	return ws.NewCloseFrame(append(p, reason...))
}

func fragment(op ws.OpCode, fin bool, p string) []byte {
	return masked(ws.NewFrame(op, fin, []byte(p)))
}

// TestViolations sends what RFC 6455 forbids, or what is over a limit, to the
// accepting side, unless toClient says otherwise. It expects messages before it
// to be delivered, ReadFrame to fail for good with an error that names the
// section, the other direction to work on, and the close frame to carry the code
// of the breach and its reason (T1, T2, T4, D32).
func TestViolations(t *testing.T) {
	const limit = 1000
	header := func(bytes ...byte) []byte { return bytes }
	long := func(length uint64) []byte {
		return binary.BigEndian.AppendUint64([]byte{0x82, 0x80 | 127}, length)
	}
	fromServer := func(length uint64) []byte {
		return binary.BigEndian.AppendUint64([]byte{0x82, 127}, length)
	}
	mask := []byte{1, 2, 3, 4}
	for _, c := range []struct {
		name     string
		toClient bool
		bytes    []byte
		section  string
		status   ws.StatusCode
	}{
		{"reserved bit 1", false, header(0xc2, 0x80), "5.2", 1002},
		{"reserved bit 2", false, header(0xa2, 0x80), "5.2", 1002},
		{"reserved bit 3", false, header(0x92, 0x80), "5.2", 1002},
		{"reserved bit from a server", true, header(0xc2, 0), "5.2", 1002},
		{"compressed as with permessage-deflate", false, join(header(0xc2, 0x80|7), mask, []byte("\xf2\x48\xcd\xc9\xc9\x07\x00")), "5.2", 1002},
		{"reserved bit on a control frame", false, header(0xc9, 0x80), "5.2", 1002},
		{"reserved data opcode", false, header(0x83, 0x80), "5.2", 1002},
		{"last reserved data opcode", false, header(0x87, 0x80), "5.2", 1002},
		{"reserved control opcode", false, header(0x8b, 0x80), "5.2", 1002},
		{"last reserved control opcode", false, header(0x8f, 0x80), "5.2", 1002},
		{"unmasked data from a client", false, plain(ws.NewBinaryFrame([]byte("x"))), "5.1", 1002},
		{"unmasked ping from a client", false, plain(ws.NewPingFrame(nil)), "5.1", 1002},
		{"masked data from a server", true, masked(ws.NewBinaryFrame([]byte("x"))), "5.1", 1002},
		{"masked close from a server", true, masked(closeFrame(1000, "")), "5.1", 1002},
		{"masked ping from a server", true, masked(ws.NewPingFrame(nil)), "5.1", 1002},
		{"text from a server", true, plain(ws.NewTextFrame([]byte("hello"))), "7.4.1", 1003},
		{"continuation without a beginning from a server", true, plain(ws.NewFrame(ws.OpContinuation, true, nil)), "5.4", 1002},
		{"message inside a message from a server", true, join(plain(ws.NewFrame(ws.OpBinary, false, nil)), plain(ws.NewBinaryFrame(nil))), "5.4", 1002},
		{"fragmented ping from a server", true, plain(ws.NewFrame(ws.OpPing, false, nil)), "5.4", 1002},
		{"pong of 126 bytes from a server", true, header(0x8a, 126, 0, 126), "5.5", 1002},
		{"half a status code from a server", true, plain(ws.NewCloseFrame([]byte{3})), "5.5.1", 1002},
		{"status 1005 from a server", true, plain(closeFrame(1005, "")), "7.4", 1002},
		{"reason that is not UTF-8 from a server", true, plain(closeFrame(1000, "\xc0\x80")), "5.5.1", 1007},
		{"64-bit form of 65535 from a server", true, fromServer(65535), "5.2", 1002},
		{"top bit of the length from a server", true, fromServer(1 << 63), "5.2", 1002},
		{"largest legal length from a server", true, fromServer(1<<63 - 1), "10.4", 1009},
		{"a terabyte in 10 bytes from a server", true, fromServer(1 << 40), "10.4", 1009},
		{"text", false, masked(ws.NewTextFrame([]byte("hello"))), "7.4.1", 1003},
		{"beginning of fragmented text", false, fragment(ws.OpText, false, "hello"), "7.4.1", 1003},
		{"continuation without a beginning", false, fragment(ws.OpContinuation, true, "x"), "5.4", 1002},
		{"message inside a message", false, join(fragment(ws.OpBinary, false, "x"), fragment(ws.OpBinary, true, "y")), "5.4", 1002},
		{"continuation after the end", false, join(fragment(ws.OpBinary, false, "x"), fragment(ws.OpContinuation, true, "y"),
			fragment(ws.OpContinuation, true, "z")), "5.4", 1002},
		{"fragmented ping", false, fragment(ws.OpPing, false, "x"), "5.4", 1002},
		{"fragmented close", false, fragment(ws.OpClose, false, "\x03\xe8"), "5.4", 1002},
		{"ping of 126 bytes", false, header(0x89, 0x80|126, 0, 126), "5.5", 1002},
		{"ping in the 64-bit form", false, header(0x89, 0x80|127), "5.5", 1002},
		{"close of 126 bytes", false, header(0x88, 0x80|126, 0, 126), "5.5", 1002},
		{"16-bit form of 125", false, join(header(0x82, 0x80|126, 0, 125), mask), "5.2", 1002},
		{"64-bit form of 65535", false, join(long(65535), mask), "5.2", 1002},
		{"64-bit form of 0", false, join(long(0), mask), "5.2", 1002},
		{"top bit of the length", false, join(long(1<<63), mask), "5.2", 1002},
		{"all bits of the length", false, join(long(1<<64-1), mask), "5.2", 1002},
		{"largest legal length", false, join(long(1<<63-1), mask), "10.4", 1009},
		{"a terabyte in 14 bytes", false, join(long(1<<40), mask), "10.4", 1009},
		{"limit + 1", false, join(header(0x82, 0x80|126, limit>>8, limit&0xff+1), mask), "10.4", 1009},
		{"fragments over the limit", false, join(fragment(ws.OpBinary, false, strings.Repeat("x", limit)), fragment(ws.OpContinuation, true, "y")), "10.4", 1009},
		{"huge fragment", false, join(fragment(ws.OpBinary, false, "x"), binary.BigEndian.AppendUint64([]byte{0, 0x80 | 127}, 1<<63-1), mask), "10.4", 1009},
		{"half a status code", false, masked(ws.NewCloseFrame([]byte{3})), "5.5.1", 1002},
		{"status 0", false, masked(closeFrame(0, "")), "7.4", 1002},
		{"status 999", false, masked(closeFrame(999, "")), "7.4", 1002},
		{"status 1004", false, masked(closeFrame(1004, "")), "7.4", 1002},
		{"status 1005", false, masked(closeFrame(1005, "")), "7.4", 1002},
		{"status 1006", false, masked(closeFrame(1006, "")), "7.4", 1002},
		{"status 1015", false, masked(closeFrame(1015, "")), "7.4", 1002},
		{"status 1016", false, masked(closeFrame(1016, "")), "7.4", 1002},
		{"status 2999", false, masked(closeFrame(2999, "")), "7.4", 1002},
		{"status 5000", false, masked(closeFrame(5000, "")), "7.4", 1002},
		{"status 65535", false, masked(closeFrame(65535, "")), "7.4", 1002},
		{"reason that is not UTF-8", false, masked(closeFrame(1000, "\xff")), "5.5.1", 1007},
		{"reason cut in a character", false, masked(closeFrame(1000, "\xe2\x82")), "5.5.1", 1007},
		{"too many fragments", false, join(fragment(ws.OpBinary, false, ""), bytes.Repeat(fragment(ws.OpContinuation, false, ""), maxFragments)), "10.4", 1008},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				conn, far := rawPair(t, c.toClient)
				if !c.toClient {
					// A message before the breach is delivered.
					far.Write(masked(ws.NewBinaryFrame([]byte("before"))))
					if p, err := conn.ReadFrame(limit); err != nil || string(p) != "before" {
						t.Fatalf("the message before: %q, %v", p, err)
					}
				}
				far.Write(c.bytes)
				_, err := conn.ReadFrame(limit)
				if err == nil { // a legal message in front
					_, err = conn.ReadFrame(limit)
				}
				v := asViolation(err)
				if v == nil {
					t.Fatalf("ReadFrame: %v, want a violation", err)
				}
				if !strings.Contains(err.Error(), "RFC 6455 section "+c.section+")") {
					t.Errorf("the error does not name section %s: %v", c.section, err)
				}
				if got, want := errors.Is(err, transport.ErrFrameTooLarge), c.status == 1009; got != want {
					t.Errorf("errors.Is(err, ErrFrameTooLarge) = %v: %v", got, err)
				}
				if _, again := conn.ReadFrame(limit); again != err {
					t.Errorf("a later ReadFrame: %v, want the same error", again)
				}
				if err := conn.WriteFrames([][]byte{frame("the other direction works")}); err != nil {
					t.Errorf("WriteFrames after it: %v", err)
				}
				conn.CloseWithError(7, "the caller's reason")
				if reason := wantCloseFrame(t, far, c.status); reason != transport.CutReason(v.text) {
					t.Errorf("reason %q, want the breach: %q", reason, v.text)
				}
				if _, err := conn.ReadFrame(limit); !errors.Is(err, net.ErrClosed) {
					t.Errorf("after CloseWithError: %v", err)
				}
			})
		})
	}
}

// TestJudgedEarly sends only as much as is needed to see that it is wrong.
func TestJudgedEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, far := rawPair(t, false)
		far.Write([]byte("GE"))
		if _, err := c.ReadFrame(100); asViolation(err) == nil {
			t.Errorf("two bytes of something else: %v", err)
		}
	})
}

func TestReassembly(t *testing.T) {
	ping := masked(ws.NewPingFrame([]byte("between")))
	big := strings.Repeat("0123456789", 30_000)
	for _, c := range []struct {
		name  string
		parts []string
	}{
		{"two", []string{"hel", "lo"}},
		{"empty parts", []string{"", "hel", "", "", "lo", ""}},
		{"only empty parts", []string{"", "", ""}},
		{"large", []string{big[:1], big[1:70_000], big[70_000:70_001], big[70_001:200_000], big[200_000:]}},
		{"as many as allowed", strings.Split(strings.Repeat("x,", maxFragments-1)+"y", ",")},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				conn, far := rawPair(t, false)
				want := strings.Join(c.parts, "")
				go func() {
					for range 2 {
						for i, p := range c.parts {
							op := ws.OpContinuation
							if i == 0 {
								op = ws.OpBinary
							}
							far.Write(fragment(op, i == len(c.parts)-1, p))
							far.Write(ping)
						}
						far.Write(masked(ws.NewBinaryFrame([]byte("whole"))))
					}
				}()
				for range 2 {
					p, err := conn.ReadFrame(max(len(want), 1))
					if err != nil || string(p) != want || p == nil {
						t.Fatalf("%d bytes, %v; want %d", len(p), err, len(want))
					}
					if cap(p) != len(p) {
						t.Errorf("appending to the frame would overwrite what follows")
					}
					if p, err := conn.ReadFrame(5); err != nil || string(p) != "whole" {
						t.Fatalf("the message behind: %q, %v", p, err)
					}
				}
			})
		})
	}
}

func TestEndOfTheLink(t *testing.T) {
	whole := masked(ws.NewBinaryFrame([]byte("0123456789")))
	for _, cut := range []int{0, 1, 2, 5, 6, 7, len(whole) - 1} {
		synctest.Test(t, func(t *testing.T) {
			c, far := rawPair(t, false)
			far.Write(whole)
			far.Write(whole[:cut])
			far.Close()
			if p, err := c.ReadFrame(100); err != nil || string(p) != "0123456789" {
				t.Fatalf("the whole frame: %q, %v", p, err)
			}
			p, err := c.ReadFrame(100)
			if !errors.Is(err, io.ErrUnexpectedEOF) || p != nil {
				t.Errorf("cut after %d bytes: %q, %v; want io.ErrUnexpectedEOF", cut, p, err)
			}
			if ce, ok := errors.AsType[*transport.CloseError](err); ok {
				t.Errorf("nobody closed, yet: %v", ce)
			}
		})
	}
}

// TestBytesBehindClose are not looked at: RFC 6455 section 1.4.
func TestBytesBehindClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, far := rawPair(t, false)
		far.Write(join(masked(ws.NewBinaryFrame([]byte("last"))), masked(closeFrame(4007, "bye")), masked(ws.NewBinaryFrame([]byte("more")))))
		if p, err := c.ReadFrame(100); err != nil || string(p) != "last" {
			t.Fatalf("%q, %v", p, err)
		}
		for range 2 {
			_, err := c.ReadFrame(100)
			ce, ok := errors.AsType[*transport.CloseError](err)
			if !ok || ce.Code != 7 || ce.Reason != "bye" {
				t.Fatalf("ReadFrame: %v, want code 7", err)
			}
		}
		err := c.WriteFrames([][]byte{frame("x")})
		if _, ok := errors.AsType[*transport.CloseError](err); !ok || errors.Is(err, net.ErrClosed) {
			t.Errorf("WriteFrames after the peer's close frame: %v", err)
		}
		// RFC 6455 section 5.5.1: a close frame is answered with one.
		c.CloseWithError(0, "")
		wantCloseFrame(t, far, 1000)
	})
}
