package threats_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/internal/lab"
	"github.com/gridmux/gridmux/internal/memnet"
	"github.com/gridmux/gridmux/transport/devtls"
	"github.com/gridmux/gridmux/transport/websocket"
)

// TestMountedMutualTLS expects two nodes that share their ports with an HTTP
// server, which lets clients without a certificate in, to need no AllowInsecure
// when they require certificates themselves.
func TestMountedMutualTLS(t *testing.T) {
	dialler, acceptor := dialOrder(t)
	nodes := []core.Node{{Name: dialler}, {Name: acceptor}}
	var listeners []net.Listener
	for i := range nodes {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		listeners = append(listeners, ln)
		nodes[i].Addr = ln.Addr().String()
	}
	var managers []*core.Manager
	for i, node := range nodes {
		conf := devtls.Config(node.Name)
		tr := websocket.New(websocket.Options{Mounted: true, RequireClientCert: true, TLS: conf})
		m, err := core.NewManager(core.Config{Local: node, Peers: nodes, Transport: tr, MaxBackoff: 10 * time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		if err := lab.RegisterEchoes(m); err != nil {
			t.Fatal(err)
		}
		lax := conf.Clone()
		lax.ClientAuth = tls.VerifyClientCertIfGiven
		srv := &http.Server{Handler: tr, TLSConfig: lax}
		defer srv.Close()
		go srv.ServeTLS(listeners[i], "", "")
		if err := m.Start(t.Context()); err != nil {
			t.Fatalf("a node that requires client certificates does not start: %v", err)
		}
		managers = append(managers, m)
	}
	for i, m := range managers {
		peer := m.Connection(nodes[1-i].Name)
		lab.MustCall(t, peer, "echo", []byte("hello"), core.WithTimeout(lab.Patience), core.WaitForConnection())
	}
}

// hole is a network whose connections can turn into black holes, or let a byte
// through per second.
type hole struct {
	memnet.Network
	resolve func(addr string) string // nil: addr is what to dial

	mu     sync.Mutex
	closed bool // nobody gets through: dialling has no end
	conns  []*holeConn
}

// DialContext connects through the hole.
func (h *hole) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	h.mu.Lock()
	closed := h.closed
	h.mu.Unlock()
	if closed {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if h.resolve != nil {
		addr = h.resolve(addr)
	}
	nc, err := h.Network.DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	c := &holeConn{Conn: nc, ended: make(chan struct{})}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.conns = append(h.conns, c)
	return c, nil
}

// swallow makes black holes of all connections there are, and lets nobody dial
// until it is called with false.
func (h *hole) swallow(on bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = on
	for _, c := range h.conns {
		c.lost.Store(true)
	}
}

// drip slows all connections there are down to a byte per second, from the
// dialler on.
func (h *hole) drip() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, c := range h.conns {
		c.slow.Store(true)
	}
}

// holeConn is the dialler's end. If it is lost, nothing gets through either way,
// not even that it was closed.
type holeConn struct {
	net.Conn
	lost, slow atomic.Bool
	close      sync.Once
	ended      chan struct{}
}

func (c *holeConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if c.lost.Load() {
		<-c.ended
		return 0, net.ErrClosed
	}
	return n, err
}

func (c *holeConn) Write(p []byte) (int, error) {
	for n := range p {
		switch {
		case c.lost.Load():
			return len(p), nil
		case !c.slow.Load():
			k, err := c.Conn.Write(p[n:])
			return n + k, err
		}
		if _, err := c.Conn.Write(p[n : n+1]); err != nil {
			return n, err
		}
		time.Sleep(time.Second)
	}
	return len(p), nil
}

func (c *holeConn) Close() error {
	c.close.Do(func() { close(c.ended) })
	if c.lost.Load() {
		return c.SetReadDeadline(time.Unix(1, 0))
	}
	return c.Conn.Close()
}

// overWebsocket starts two nodes over websocket on the network, of which the
// first dials, and waits until they are connected.
func overWebsocket(t *testing.T, h *hole, names [2]string, change func(cfg *core.Config)) (managers [2]*core.Manager) {
	t.Helper()
	nodes := []core.Node{{Name: names[0], Addr: names[0]}, {Name: names[1], Addr: names[1]}}
	for i, node := range nodes {
		cfg := core.Config{
			Local: node, Peers: nodes, AllowInsecure: true,
			Transport: websocket.New(websocket.Options{DialContext: h.DialContext, Listen: h.ListenContext}),
		}
		change(&cfg)
		m, err := core.NewManager(cfg)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { m.Close() })
		if err := errors.Join(lab.RegisterEchoes(m), m.Handle("wait", func(ctx context.Context, _ []byte) ([]byte, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		})); err != nil {
			t.Fatal(err)
		}
		if err := m.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		managers[i] = m
	}
	for _, m := range managers {
		if err := m.WaitConnected(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	return managers
}

// silence is how long nodes with default settings take at most to notice that a
// peer is silent.
const silence = 15 * time.Second

// TestHalfOpenWebsocket has the network lose a connection without a word to
// either end. Both ends notice within the documented time, a call under way then
// fails as one that may have run, one with a shorter deadline ends at it, and
// the nodes are connected again when the network is back (F2).
func TestHalfOpenWebsocket(t *testing.T) {
	dialler, acceptor := dialOrder(t)
	synctest.Test(t, func(t *testing.T) {
		h := new(hole)
		m := overWebsocket(t, h, [2]string{dialler, acceptor}, func(*core.Config) {})
		links := [2]*core.Connection{m[0].Connection(acceptor), m[1].Connection(dialler)}
		start := time.Now()
		var wg sync.WaitGroup
		for i, link := range links {
			wg.Go(func() {
				_, err := link.Request(t.Context(), "wait", nil)
				if core.OutcomeOf(err) != core.OutcomeMaybeRun || !errors.Is(err, core.ErrDisconnected) {
					t.Errorf("a call of node %d that was under way: %v, want that it may have run", i, err)
				}
				if d := time.Since(start); d > silence {
					t.Errorf("node %d noticed after %v, want %v at most", i, d, silence)
				}
			})
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				_, err := link.Request(ctx, "wait", nil)
				if d := time.Since(start); !errors.Is(err, context.DeadlineExceeded) || d != time.Second {
					t.Errorf("a call of node %d with a deadline: %v after %v, want that after 1s", i, err, d)
				}
			})
		}
		synctest.Wait()
		h.swallow(true)
		wg.Wait()
		time.Sleep(time.Minute)
		h.swallow(false)
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second+5*time.Second)
		defer cancel()
		for i, link := range links {
			if got, err := link.Request(ctx, "echo", []byte("back"), core.WaitForConnection()); err != nil || string(got) != "back" {
				t.Errorf("after the network is back, from node %d: %q, %v", i, got, err)
			}
		}
	})
}

// TestDrippingPeer has a peer stop in the middle of a frame, but for a byte per
// second. What counts is whole frames, so it is given up like a silent one (F38).
func TestDrippingPeer(t *testing.T) {
	dialler, acceptor := dialOrder(t)
	synctest.Test(t, func(t *testing.T) {
		h := new(hole)
		m := overWebsocket(t, h, [2]string{dialler, acceptor}, func(*core.Config) {})
		var wg sync.WaitGroup
		defer wg.Wait()
		wg.Go(func() {
			_, err := m[1].Connection(dialler).Request(t.Context(), "wait", nil)
			if !errors.Is(err, core.ErrDisconnected) {
				t.Errorf("a call to a peer that drips: %v, want ErrDisconnected", err)
			}
		})
		synctest.Wait()
		start := time.Now()
		h.drip()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		wg.Go(func() {
			// Twenty thousand seconds, at this pace.
			_, err := m[0].Connection(acceptor).Request(ctx, "echo", make([]byte, 20_000))
			if err == nil {
				t.Error("a call went through in time")
			}
			if d := time.Since(start); d > silence+time.Second {
				t.Errorf("the peer was given up after %v, want %v at most", d, silence)
			}
		})
		wg.Wait()
	})
}

// TestPeerMoves has a node come back at another address behind the same name,
// which has to be looked up at every attempt to dial (F36).
func TestPeerMoves(t *testing.T) {
	dialler, acceptor := dialOrder(t)
	synctest.Test(t, func(t *testing.T) {
		var place atomic.Int64
		at := func(n int64) string { return fmt.Sprintf("10.0.0.%d:7000", n) }
		h := new(hole)
		h.resolve = func(addr string) string {
			if addr == acceptor {
				return at(place.Load())
			}
			return addr
		}
		listensAt := func(cfg *core.Config) {
			if cfg.Local.Name == acceptor {
				cfg.Listen = at(place.Load())
			}
		}
		m := overWebsocket(t, h, [2]string{dialler, acceptor}, listensAt)
		link := m[0].Connection(acceptor)
		old := m[1]
		for n := range int64(5) {
			lab.MustCall(t, link, "echo", []byte("hello"))
			old.Close()
			time.Sleep(time.Minute)
			place.Store(n + 1)
			cfg := core.Config{
				Local: core.Node{Name: acceptor, Addr: acceptor}, Peers: []core.Node{{Name: dialler, Addr: dialler}}, AllowInsecure: true,
				Transport: websocket.New(websocket.Options{DialContext: h.DialContext, Listen: h.ListenContext}),
			}
			listensAt(&cfg)
			next, err := core.NewManager(cfg)
			if err != nil {
				t.Fatal(err)
			}
			defer next.Close()
			if err := errors.Join(lab.RegisterEchoes(next), next.Start(t.Context())); err != nil {
				t.Fatal(err)
			}
			old = next
			start := time.Now()
			if err := link.WaitConnected(t.Context()); err != nil {
				t.Fatal(err)
			}
			if d := time.Since(start); d > 4*time.Second {
				t.Errorf("move %d: the nodes met after %v, want the longest pause between attempts, and a second", n, d)
			}
		}
		lab.MustCall(t, link, "echo", []byte("hello"))
	})
}
