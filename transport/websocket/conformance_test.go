package websocket_test

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/gridmux/gridmux/internal/memnet"
	"github.com/gridmux/gridmux/transport"
	"github.com/gridmux/gridmux/transport/transporttest"
	"github.com/gridmux/gridmux/transport/websocket"
)

// cutter remembers the connections that were dialled through it, to cut them
// off beneath TLS and websocket.
type cutter struct {
	dial func(ctx context.Context, network, addr string) (net.Conn, error)

	mu    sync.Mutex
	conns []net.Conn
}

func (c *cutter) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	nc, err := c.dial(ctx, network, addr)
	if err == nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.conns = append(c.conns, nc)
	}
	return nc, err
}

func (c *cutter) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, nc := range c.conns {
		nc.Close()
	}
	c.conns = nil
}

// stray returns clients that begin a handshake over dial and go no further:
// with nothing, the beginning of a request, and one for another path in turn.
func stray(t *testing.T, dial func(ctx context.Context, network, addr string) (net.Conn, error)) func(addr string) {
	n := 0
	return func(addr string) {
		nc, err := dial(t.Context(), "tcp", addr)
		if err != nil {
			t.Error(err)
			return
		}
		t.Cleanup(func() { nc.Close() })
		io.WriteString(nc, []string{"", "GET /grid", "GET /elsewhere HTTP/1.1\r\nHost: a\r\n\r\n"}[n%3])
		n++
	}
}

// silent opens a TCP port whose clients get no answer.
func silent(t *testing.T) transport.Peer {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return transport.Peer{Name: "silent", Addr: l.Addr().String()}
}

func TestConformanceTCP(t *testing.T) {
	transporttest.Run(t, func(t *testing.T) transporttest.Fixture {
		c := &cutter{dial: new(net.Dialer).DialContext}
		return transporttest.Fixture{
			Dialer:   websocket.New(websocket.Options{DialContext: c.DialContext}),
			Listener: websocket.New(websocket.Options{}),
			Addr:     "127.0.0.1:0",
			Silent:   silent(t),
			Stray:    stray(t, new(net.Dialer).DialContext),
			Cut:      c.cut,
		}
	})
}

func TestConformanceTLS(t *testing.T) {
	pki := newPKI(t)
	transporttest.Run(t, func(t *testing.T) transporttest.Fixture {
		c := &cutter{dial: new(net.Dialer).DialContext}
		return transporttest.Fixture{
			Dialer:   websocket.New(websocket.Options{TLS: pki.node(t, "dialler"), DialContext: c.DialContext}),
			Listener: websocket.New(websocket.Options{TLS: pki.node(t, "listener")}),
			Addr:     "127.0.0.1:0",
			Peer:     transport.Peer{Name: "listener"},
			Silent:   silent(t),
			Stray:    stray(t, new(net.Dialer).DialContext),
			Cut:      c.cut,
		}
	})
}

func TestConformanceInMemory(t *testing.T) {
	transporttest.RunInBubble(t, func(t *testing.T) transporttest.Fixture {
		var nw memnet.Network
		c := &cutter{dial: nw.DialContext}
		mute, err := nw.Listen("silent:1")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { mute.Close() })
		return transporttest.Fixture{
			Dialer:   websocket.New(websocket.Options{DialContext: c.DialContext}),
			Listener: websocket.New(websocket.Options{Listen: nw.ListenContext}),
			Addr:     "listener:1",
			Silent:   transport.Peer{Name: "silent", Addr: "silent:1"},
			Stray:    stray(t, nw.DialContext),
			Cut:      c.cut,
		}
	})
}

func TestConformanceTLSInMemory(t *testing.T) {
	transporttest.RunInBubble(t, func(t *testing.T) transporttest.Fixture {
		// Inside the bubble: certificates are valid in its year.
		pki := newPKI(t)
		var nw memnet.Network
		c := &cutter{dial: nw.DialContext}
		return transporttest.Fixture{
			Dialer:   websocket.New(websocket.Options{TLS: pki.node(t, "dialler"), DialContext: c.DialContext}),
			Listener: websocket.New(websocket.Options{TLS: pki.node(t, "listener"), Listen: nw.ListenContext}),
			Addr:     "listener:1",
			Peer:     transport.Peer{Name: "listener"},
			Stray:    stray(t, nw.DialContext),
			Cut:      c.cut,
		}
	})
}

func TestConformanceMounted(t *testing.T) {
	transporttest.Run(t, func(t *testing.T) transporttest.Fixture {
		c := &cutter{dial: new(net.Dialer).DialContext}
		l := websocket.New(websocket.Options{Mounted: true})
		mux := http.NewServeMux()
		mux.Handle("/prefix/", http.StripPrefix("/prefix", l))
		srv := httptest.NewServer(mux)
		t.Cleanup(srv.Close)
		return transporttest.Fixture{
			Dialer:   websocket.New(websocket.Options{Path: "/prefix/grid", DialContext: c.DialContext}),
			Listener: l,
			Addr:     srv.Listener.Addr().String(),
			Stray:    stray(t, new(net.Dialer).DialContext),
			Cut:      c.cut,
		}
	})
}

func TestConformanceMountedTLS(t *testing.T) {
	pki := newPKI(t)
	transporttest.Run(t, func(t *testing.T) transporttest.Fixture {
		l := websocket.New(websocket.Options{Mounted: true})
		srv := httptest.NewUnstartedServer(l)
		srv.TLS = pki.node(t, "listener")
		srv.TLS.ClientAuth = tls.NoClientCert
		srv.EnableHTTP2 = true
		srv.StartTLS()
		t.Cleanup(srv.Close)
		return transporttest.Fixture{
			Dialer:   websocket.New(websocket.Options{TLS: pki.node(t, "dialler")}),
			Listener: l,
			Addr:     srv.Listener.Addr().String(),
			Stray:    stray(t, new(net.Dialer).DialContext),
			Peer:     transport.Peer{Name: "listener"},
		}
	})
}
