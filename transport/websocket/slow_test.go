package websocket_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gobwas/ws"

	"github.com/gridmux/gridmux/internal/memnet"
	"github.com/gridmux/gridmux/transport"
	"github.com/gridmux/gridmux/transport/websocket"
)

// longAgo as a deadline ends a read.
var longAgo = time.Unix(1, 0)

// dripConn writes a byte per second.
type dripConn struct{ net.Conn }

func (d dripConn) Write(p []byte) (int, error) {
	for n := range p {
		if _, err := d.Conn.Write(p[n : n+1]); err != nil {
			return n, err
		}
		time.Sleep(time.Second)
	}
	return len(p), nil
}

// TestDrippingClients expects a client that sends a byte per second, at whatever
// stage of the handshake, to be closed after five seconds in all (T3).
func TestDrippingClients(t *testing.T) {
	const request = "GET /gridmux/v1 HTTP/1.1\r\nHost: a\r\nX-Filler: filler\r\n\r\n"
	for _, c := range []struct {
		name string
		tls  bool
		drip func(t *testing.T, pki *pki, nc net.Conn)
	}{
		{"request", false, func(t *testing.T, _ *pki, nc net.Conn) { io.WriteString(dripConn{nc}, request) }},
		{"request after TLS", true, func(t *testing.T, pki *pki, nc net.Conn) {
			tc := tlsClient(t, pki, nc)
			if err := tc.HandshakeContext(t.Context()); err != nil {
				t.Errorf("the TLS handshake: %v", err)
			}
			io.WriteString(dripConn{tc}, request)
		}},
		{"TLS handshake", true, func(t *testing.T, pki *pki, nc net.Conn) {
			tlsClient(t, pki, dripConn{nc}).HandshakeContext(t.Context())
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				mem, pki := memnet.Listen("a:1"), newPKI(t)
				o := websocket.Options{Listener: mem}
				if c.tls {
					o.TLS = pki.node(t, "a")
				}
				listen(t, websocket.New(o), "")
				nc, err := mem.DialContext(t.Context(), "", "")
				if err != nil {
					t.Fatal(err)
				}
				defer nc.Close()
				start := time.Now()
				c.drip(t, pki, nc)
				// The write that finds the connection closed is at most a
				// second late.
				if d := time.Since(start); d < 5*time.Second || d > 6*time.Second {
					t.Errorf("it could go on for %v, want 5s", d)
				}
			})
		})
	}
}

// stallConn lets so many bytes out and no more, as a link that turns into a
// black hole.
type stallConn struct {
	net.Conn
	left int
	done <-chan struct{}
}

func (s *stallConn) Write(p []byte) (int, error) {
	n := min(len(p), s.left)
	s.left -= n
	if _, err := s.Conn.Write(p[:n]); err != nil {
		return 0, err
	}
	if n < len(p) {
		<-s.done
		return n, net.ErrClosed
	}
	return n, nil
}

// Close reaches the other end no more than bytes do.
func (s *stallConn) Close() error {
	go func() {
		<-s.done
		s.Conn.Close()
	}()
	return s.SetReadDeadline(longAgo)
}

// TestBlackHoleInTheHandshake expects both ends to give up after five seconds,
// and to close the connection, when what the other end sends stops arriving
// after any byte of the handshake (F3).
func TestBlackHoleInTheHandshake(t *testing.T) {
	for _, withTLS := range []bool{false, true} {
		for _, dials := range []bool{false, true} {
			t.Run(fmt.Sprintf("TLS=%v dials=%v", withTLS, dials), func(t *testing.T) {
				step := 1
				if withTLS {
					step = 41 // a handshake costs a millisecond
				}
				stalled := 0
				for n := 0; ; n += step {
					over := false
					synctest.Test(t, func(t *testing.T) { over = blackHole(t, withTLS, dials, n) })
					if over || t.Failed() {
						break
					}
					stalled++
				}
				if stalled < 10 {
					t.Errorf("the handshake stalled in %d ways only", stalled)
				}
			})
		}
	}
}

// blackHole dials and accepts over a link that is cut one way after n bytes, on
// the other side than the one that is looked at. It reports whether n was more
// than the handshake needs.
func blackHole(t *testing.T, withTLS, dials bool, n int) (over bool) {
	mem, pki := memnet.Listen("a:1"), newPKI(t)
	gone := make(chan struct{})
	server, client := websocket.Options{Listener: mem}, websocket.Options{}
	if withTLS {
		server.TLS, client.TLS = pki.node(t, "a"), pki.node(t, "client")
	}
	// Receives the end whose bytes stop arriving, when there is one.
	link := make(chan net.Conn, 1)
	client.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		nc, err := mem.DialContext(ctx, network, addr)
		if err == nil && !dials {
			link <- nc
			nc = &stallConn{nc, n, gone}
		}
		return nc, err
	}
	if dials {
		server.Listener = &stallingListener{mem, n, gone, link}
	}
	l := listen(t, websocket.New(server), "")
	start := time.Now()
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		<-link
		time.Sleep(5*time.Second + time.Millisecond)
		close(gone)
	})
	type dialled struct {
		conn transport.Conn
		err  error
	}
	result := make(chan dialled, 1)
	go func() {
		c, err := websocket.New(client).Dial(t.Context(), peerA)
		result <- dialled{c, err}
	}()
	if dials {
		r := <-result
		if r.err == nil {
			r.conn.CloseWithError(0, "")
			return true
		}
		if !errors.Is(r.err, os.ErrDeadlineExceeded) || time.Since(start) != 5*time.Second {
			t.Errorf("stalled after %d bytes: Dial returned after %v with %v, want the limit of 5s", n, time.Since(start), r.err)
		}
		return false
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second+time.Millisecond)
	defer cancel()
	c, err := l.Accept(ctx)
	r := <-result
	if r.err == nil {
		r.conn.CloseWithError(0, "")
	}
	if err == nil {
		c.CloseWithError(0, "")
		return true
	}
	if r.err == nil {
		t.Errorf("stalled after %d bytes: Dial succeeded, and Accept did not", n)
	}
	return false
}

// stallingListener accepts connections that stall.
type stallingListener struct {
	net.Listener
	n    int
	gone <-chan struct{}
	link chan<- net.Conn
}

func (l *stallingListener) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.link <- nc
	return &stallConn{nc, l.n, l.gone}, nil
}

// TestDrippingServers expects Dial to give up after five seconds on a server
// that sends a byte per second, at whatever stage (T3, F3).
func TestDrippingServers(t *testing.T) {
	for _, c := range []struct {
		name  string
		tls   bool
		phase string
		serve func(nc net.Conn, cfg *tls.Config)
	}{
		{"answer", false, transport.PhaseUpgrade, func(nc net.Conn, _ *tls.Config) {
			ws.Upgrader{}.Upgrade(dripConn{nc})
		}},
		{"TLS handshake", true, transport.PhaseTLS, func(nc net.Conn, cfg *tls.Config) {
			tls.Server(dripConn{nc}, cfg).Handshake()
		}},
		{"answer after TLS", true, transport.PhaseUpgrade, func(nc net.Conn, cfg *tls.Config) {
			tc := tls.Server(nc, cfg)
			bufio.NewReader(tc).ReadString('\n')
			io.WriteString(dripConn{tc}, "HTTP/1.1 101 Switching Protocols\r\n"+strings.Repeat("X-Filler: filler\r\n", 10))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				pki := newPKI(t)
				mem := memnet.Listen("a:1")
				var wg sync.WaitGroup
				defer wg.Wait()
				defer mem.Close()
				wg.Go(func() {
					nc, err := mem.Accept()
					if err == nil {
						defer nc.Close()
						c.serve(nc, pki.node(t, "a"))
					}
				})
				o := websocket.Options{DialContext: mem.DialContext}
				if c.tls {
					o.TLS = pki.node(t, "client")
				}
				start := time.Now()
				_, err := websocket.New(o).Dial(t.Context(), peerA)
				wantDialError(t, err, c.phase, "no answer within 5s")
				if d := time.Since(start); d != 5*time.Second {
					t.Errorf("took %v, want 5s", d)
				}
			})
		})
	}
}
