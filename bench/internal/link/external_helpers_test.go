//go:build external && linux

package link_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"math"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/gridmux/gridmux/bench/internal/link"
)

func newLink(t *testing.T, c link.Conditions) *link.Link {
	t.Helper()
	l, err := link.New(1, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

func other(l *link.Link, e *link.End) *link.End {
	if e == l.A() {
		return l.B()
	}
	return l.A()
}

// at returns the address of a listener that listens on all of its host's.
func at(t *testing.T, host netip.Addr, listener net.Addr) string {
	t.Helper()
	_, port, err := net.SplitHostPort(listener.String())
	if err != nil {
		t.Fatal(err)
	}
	return net.JoinHostPort(host.String(), port)
}

// listen returns a listener of end A.
func listen(t *testing.T, l *link.Link, network string) net.Listener {
	t.Helper()
	ln, err := l.A().Listen(t.Context(), network, ":0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return ln
}

// dial connects end B.
func dial(t *testing.T, l *link.Link, network, address string) net.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c, err := l.B().Dial(ctx, network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience))
	return c
}

// dialEcho returns a connection from end B to a server on end A that sends back
// what it gets.
func dialEcho(t *testing.T, l *link.Link, network string, host netip.Addr) net.Conn {
	t.Helper()
	if network == "tcp" {
		ln := listen(t, l, network)
		go func() {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			defer c.Close()
			io.Copy(c, c)
		}()
		return dial(t, l, network, at(t, host, ln.Addr()))
	}
	pc := listenUDP(t, l)
	go func() {
		for buf := make([]byte, 64<<10); ; {
			n, from, err := pc.ReadFrom(buf)
			if err != nil {
				return
			}
			pc.WriteTo(buf[:n], from)
		}
	}()
	return dial(t, l, network, at(t, host, pc.LocalAddr()))
}

// connect returns the two ends of a TCP connection, first that of B.
func connect(t *testing.T, l *link.Link) (b, a net.Conn) {
	t.Helper()
	ln := listen(t, l, "tcp")
	b = dial(t, l, "tcp", at(t, l.A().Addr(), ln.Addr()))
	a, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	a.SetDeadline(time.Now().Add(patience))
	return b, a
}

func listenUDP(t *testing.T, l *link.Link) net.PacketConn {
	t.Helper()
	pc, err := l.A().ListenPacket(t.Context(), "udp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pc.Close() })
	pc.SetDeadline(time.Now().Add(patience))
	return pc
}

// connectUDP returns a UDP socket on B that sends to one on A.
func connectUDP(t *testing.T, l *link.Link) (b net.Conn, a net.PacketConn) {
	t.Helper()
	a = listenUDP(t, l)
	return dial(t, l, "udp", at(t, l.A().Addr(), a.LocalAddr())), a
}

func echo(t *testing.T, c net.Conn) {
	t.Helper()
	write(t, c, []byte("echo"))
	expect(t, c, "echo")
}

func expect(t *testing.T, c net.Conn, want string) {
	t.Helper()
	buf := make([]byte, len(want))
	if _, err := io.ReadFull(c, buf); err != nil || !bytes.Equal(buf, []byte(want)) {
		t.Fatalf("read %q, %v; want %q", buf, err, want)
	}
}

func write(t *testing.T, c net.Conn, data []byte) {
	t.Helper()
	if _, err := c.Write(data); err != nil {
		t.Fatal(err)
	}
}

// read reads n octets of a stream.
func read(t *testing.T, c net.Conn, n int) {
	t.Helper()
	if _, err := io.CopyN(io.Discard, c, int64(n)); err != nil {
		t.Fatal(err)
	}
}

func readPacket(t *testing.T, from any, buf []byte) (n int) {
	t.Helper()
	var err error
	switch c := from.(type) {
	case net.Conn: // a UDP socket is both
		n, err = c.Read(buf)
	case net.PacketConn:
		n, _, err = c.ReadFrom(buf)
	}
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func stats(t *testing.T, l *link.Link, d link.Direction) link.Stats {
	t.Helper()
	s, err := l.Stats(d)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func block(t *testing.T, l *link.Link, d link.Direction, blocked bool) {
	t.Helper()
	if err := l.Block(d, blocked); err != nil {
		t.Fatal(err)
	}
}

// numbered returns a payload that readNumbered knows.
func numbered(i, size int) []byte {
	return binary.BigEndian.AppendUint32(make([]byte, 0, size), uint32(i))[:max(size, 4)]
}

// sendNumbered sends n datagrams from B to A, over a link with the conditions c, and returns
// which arrived, in their order. It does so in batches that fit in the buffer of a socket, or
// a reader that waits for a processor would lose some too.
func sendNumbered(t *testing.T, l *link.Link, c link.Conditions, n int) (got []int) {
	t.Helper()
	from, to := connectUDP(t, l)
	for i := range n {
		write(t, from, numbered(i, 72))
		if (i+1)%batchSize != 0 {
			continue
		}
		// What is behind the batch, those that were reordered too, is not lost.
		if err := l.Set(link.Conditions{RTT: 2 * c.RTT}); err != nil {
			t.Fatal(err)
		}
		got = append(got, readNumbered(t, from, to)...)
		if err := l.Set(c); err != nil {
			t.Fatal(err)
		}
	}
	return got
}

// batchSize divides all numbers of datagrams above.
const batchSize = 100

// readNumbered reads until what was sent before has arrived: all that is ahead of a
// datagram that it sends.
func readNumbered(t *testing.T, from net.Conn, to net.PacketConn) (got []int) {
	t.Helper()
	const last = math.MaxInt32
	write(t, from, numbered(last, 0))
	for buf := make([]byte, 2048); ; {
		readPacket(t, to, buf)
		number := binary.BigEndian.Uint32(buf)
		if number == last {
			return got
		}
		got = append(got, int(number))
	}
}
