package websocket_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/internal/memnet"
	"github.com/gridmux/gridmux/transport"
	"github.com/gridmux/gridmux/transport/websocket"
)

// recordLink returns mem's DialContext and remembers the last connection.
func recordLink(mem *memnet.Listener, link **memnet.Conn) func(ctx context.Context, network, addr string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		nc, err := mem.DialContext(ctx, network, addr)
		if err == nil {
			*link = nc.(*memnet.Conn)
		}
		return nc, err
	}
}

func closeQuickly(t *testing.T, c transport.Conn) {
	t.Helper()
	start := time.Now()
	if err := c.CloseWithError(1, "enough"); err != nil {
		t.Errorf("CloseWithError: %v", err)
	}
	if d := time.Since(start); d > time.Second/2 {
		t.Errorf("CloseWithError took %v", d)
	}
}

// TestTwoNodesOnOneServer: two transports, as of two managers, share a port.
func TestTwoNodesOnOneServer(t *testing.T) {
	red, blue := websocket.New(websocket.Options{Mounted: true}), websocket.New(websocket.Options{Mounted: true})
	mux := http.NewServeMux()
	mux.Handle("/red", red)
	mux.Handle("/blue/", http.StripPrefix("/blue", blue))
	mux.Handle("/also/blue", blue)
	srv := httptest.NewServer(mux)
	defer srv.Close()
	listeners := map[string]transport.Listener{"/red": listen(t, red, "red"), "/blue/x": listen(t, blue, "blue")}
	listeners["/also/blue"] = listeners["/blue/x"]
	for path, l := range listeners {
		c, err := websocket.New(websocket.Options{Path: path}).Dial(t.Context(), transport.Peer{Addr: srv.Listener.Addr().String()})
		if err != nil {
			t.Fatal(err)
		}
		exchange(t, c, accept(t, l))
		c.CloseWithError(0, "")
	}
	if _, err := red.Listen(t.Context(), "red"); err == nil {
		t.Error("a mounted transport listens twice")
	}
	listeners["/red"].Close()
	if _, err := red.Listen(t.Context(), "red"); err != nil {
		t.Errorf("Listen after Close: %v", err)
	}
}

func TestOwnListenerServesOnlyItsPath(t *testing.T) {
	l := listen(t, websocket.New(websocket.Options{Path: "/grid/{x}"}), "127.0.0.1:0")
	for path, want := range map[string]int{"/": 404, "/grid/a": 404, websocket.DefaultPath: 404, "/grid/%7Bx%7D": 426} {
		resp, err := http.Get("http://" + l.Addr().String() + path)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%s: status %d, want %d", path, resp.StatusCode, want)
		}
	}
	c, err := websocket.New(websocket.Options{Path: "/grid/{x}"}).Dial(t.Context(), transport.Peer{Addr: l.Addr().String()})
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseWithError(0, "")
	exchange(t, c, accept(t, l))
}

// TestSlowClients: clients that hang at some stage of the handshake hold up
// nobody and are gone after five seconds in all, at however many bytes per
// second they keep going.
func TestSlowClients(t *testing.T) {
	request := "GET /gridmux/v1 HTTP/1.1\r\nHost: a\r\nX-Filler: " + strings.Repeat("x", 1000)
	for _, withTLS := range []bool{false, true} {
		for name, behave := range map[string]func(nc net.Conn){
			"silent":       func(nc net.Conn) {},
			"half request": func(nc net.Conn) { io.WriteString(nc, request[:40]) },
			"drip": func(nc net.Conn) {
				for _, b := range []byte(request) {
					if _, err := nc.Write([]byte{b}); err != nil {
						return
					}
					time.Sleep(100 * time.Millisecond)
				}
			},
		} {
			t.Run(name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					mem := memnet.Listen("a:1")
					server, client := websocket.Options{Listener: mem}, websocket.Options{DialContext: mem.DialContext}
					if withTLS {
						pki := newPKI(t)
						server.TLS, client.TLS = pki.node(t, "a"), pki.node(t, "client")
					}
					l := listen(t, websocket.New(server), "")
					start := time.Now()
					const slow = 100
					var wg sync.WaitGroup
					for range slow {
						nc, err := mem.DialContext(t.Context(), "", "")
						if err != nil {
							t.Fatal(err)
						}
						wg.Go(func() { behave(nc) })
						wg.Go(func() {
							defer nc.Close()
							io.Copy(io.Discard, nc)
							if d := time.Since(start); d > 5*time.Second {
								t.Errorf("a slow client lived for %v", d)
							}
						})
					}
					synctest.Wait()
					c, err := websocket.New(client).Dial(t.Context(), peerA)
					if err != nil {
						t.Fatal(err)
					}
					defer c.CloseWithError(0, "")
					s := accept(t, l)
					if d := time.Since(start); d != 0 {
						t.Errorf("a proper client waited for %v", d)
					}
					wg.Wait()
					exchange(t, c, s)
				})
			})
		}
	}
}

// TestSlowAfterTLS: the five seconds do not begin again with the request.
func TestSlowAfterTLS(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := memnet.Listen("a:1")
		pki := newPKI(t)
		listen(t, websocket.New(websocket.Options{Listener: mem, TLS: pki.node(t, "a")}), "")
		raw, err := mem.DialContext(t.Context(), "", "")
		if err != nil {
			t.Fatal(err)
		}
		defer raw.Close()
		start := time.Now()
		// Four seconds for the first bytes of the handshake.
		nc := tlsClient(t, pki, &lateConn{raw, 4 * time.Second})
		if err := nc.HandshakeContext(t.Context()); err != nil {
			t.Fatal(err)
		}
		io.WriteString(nc, "GET / HTTP/1.1\r\n")
		io.Copy(io.Discard, nc)
		if d := time.Since(start); d != 5*time.Second {
			t.Errorf("a slow client lived for %v, want 5s", d)
		}
	})
}

// lateConn waits before its first write.
type lateConn struct {
	net.Conn
	wait time.Duration
}

func (l *lateConn) Write(p []byte) (int, error) {
	time.Sleep(l.wait)
	l.wait = 0
	return l.Conn.Write(p)
}

func TestPendingConnectionsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var nw memnet.Network
		mem, err := nw.Listen("a:1")
		if err != nil {
			t.Fatal(err)
		}
		l := listen(t, websocket.New(websocket.Options{Listener: mem}), "")
		tr := websocket.New(websocket.Options{DialContext: nw.DialContext})
		var conns []transport.Conn
		for range 128 {
			c, err := tr.Dial(t.Context(), peerA)
			if err != nil {
				t.Fatal(err)
			}
			conns = append(conns, c)
			// The answer to the upgrade is out before the connection is in the
			// queue, where it is to be the first.
			synctest.Wait()
		}
		_, err = tr.Dial(t.Context(), peerA)
		wantDialError(t, err, transport.PhaseUpgrade, "503")

		exchange(t, conns[0], accept(t, l))
		c, err := tr.Dial(t.Context(), peerA)
		if err != nil {
			t.Fatalf("after an Accept: %v", err)
		}
		conns = append(conns, c)

		// Until it is in the queue, too, Close would end it without a word.
		synctest.Wait()
		l.Close()
		exchangeErr := func(c transport.Conn) error { _, err := c.ReadFrame(1); return err }
		for i, c := range conns[1:] {
			ce, ok := errors.AsType[*transport.CloseError](exchangeErr(c))
			if !ok || ce.Code != 1001 {
				t.Fatalf("connection %d that nobody accepted: %v", i, ce)
			}
		}
		for _, c := range conns {
			c.CloseWithError(0, "")
		}
	})
}

// TestCloseDuringHandshakes: Close of the listener ends handshakes in progress
// and waits for them, not for their time-out.
func TestCloseDuringHandshakes(t *testing.T) {
	for _, withTLS := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			mem := memnet.Listen("a:1")
			o := websocket.Options{Listener: mem}
			if withTLS {
				o.TLS = newPKI(t).node(t, "a")
			}
			l := listen(t, websocket.New(o), "")
			for range 10 {
				nc, err := mem.DialContext(t.Context(), "", "")
				if err != nil {
					t.Fatal(err)
				}
				defer nc.Close()
				io.WriteString(nc, "GET /gridmux/v1 HT")
			}
			synctest.Wait()
			start := time.Now()
			if err := l.Close(); err != nil {
				t.Errorf("Close: %v", err)
			}
			if d := time.Since(start); d != 0 {
				t.Errorf("Close took %v", d)
			}
		})
	}
}

// TestCloseListenerRaces dials while the listener closes. Whatever a dial
// returns, nothing may hang or be left behind, which the bubble checks.
func TestCloseListenerRaces(t *testing.T) {
	for n := range 30 {
		synctest.Test(t, func(t *testing.T) {
			var nw memnet.Network
			l := listen(t, websocket.New(websocket.Options{Listen: nw.ListenContext}), "a:1")
			tr := websocket.New(websocket.Options{DialContext: nw.DialContext})
			var wg sync.WaitGroup
			for range 8 {
				wg.Go(func() {
					c, err := tr.Dial(t.Context(), peerA)
					if err == nil {
						_, err = c.ReadFrame(1)
						c.CloseWithError(0, "")
					}
					if err == nil {
						t.Error("a frame out of nowhere")
					}
				})
				wg.Go(func() {
					for range n {
						// Moves the moment of Close through the handshakes.
						runtime.Gosched()
					}
					l.Close()
				})
			}
			wg.Wait()
		})
	}
}

// brokenListener fails after a while.
type brokenListener struct {
	*memnet.Listener
	fail chan error
}

func (b *brokenListener) Accept() (net.Conn, error) { return nil, <-b.fail }

func TestListenerThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := &brokenListener{memnet.Listen("a:1"), make(chan error)}
		tr := websocket.New(websocket.Options{Listener: broken})
		l := listen(t, tr, "")
		oops := errors.New("oops")
		go func() { broken.fail <- oops }()
		for range 2 {
			if _, err := l.Accept(t.Context()); !errors.Is(err, oops) || errors.Is(err, net.ErrClosed) {
				t.Errorf("Accept: %v, want the listener's error", err)
			}
		}
		l.Close()
		if _, err := l.Accept(t.Context()); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Accept after Close: %v", err)
		}
		if _, err := tr.Listen(t.Context(), ""); err == nil {
			t.Error("one Options.Listener served two Listens")
		}
	})
}
