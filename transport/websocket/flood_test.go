package websocket_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/internal/memnet"
	"github.com/gridmux/gridmux/transport"
	"github.com/gridmux/gridmux/transport/websocket"
)

// maxFresh is the documented number of connections before the upgrade.
const maxFresh = 256

// strangers open connections to a listener and go no further.
type strangers struct {
	mem   *memnet.Listener
	alive atomic.Int64
	conns []net.Conn
	ended []atomic.Bool // by number; the listener closed it
}

func newStrangers(mem *memnet.Listener, most int) *strangers {
	return &strangers{mem: mem, ended: make([]atomic.Bool, most)}
}

// open adds a connection from an address that says what it says.
func (s *strangers) open(t *testing.T, from memnet.Addr, says string) {
	t.Helper()
	nc, err := s.mem.DialFrom(t.Context(), from)
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(nc, says)
	n := len(s.conns)
	s.conns = append(s.conns, nc)
	s.alive.Add(1)
	go func() {
		defer nc.Close()
		io.Copy(io.Discard, nc)
		s.ended[n].Store(true)
		s.alive.Add(-1)
	}()
}

// TestIdleStrangersKeepNobodyOut expects a node to get in at once beside 2,000
// connections that do nothing, wherever they are from, and no more than 256 of
// those to be held, for five seconds. A node that takes its time is not pushed
// out by any number of connections from one other host (T3, T24).
func TestIdleStrangersKeepNobodyOut(t *testing.T) {
	const many = 2000
	for _, c := range []struct {
		name string
		from func(n int) memnet.Addr
		says string
		tls  bool
	}{
		{"one host", func(n int) memnet.Addr { return memnet.Addr(fmt.Sprintf("10.6.6.6:%d", n)) }, "", false},
		{"one host, TLS", func(n int) memnet.Addr { return memnet.Addr(fmt.Sprintf("10.6.6.6:%d", n)) }, "\x16\x03\x01", true},
		{"half requests", func(n int) memnet.Addr { return memnet.Addr(fmt.Sprintf("10.6.6.6:%d", n)) }, "GET /gridmux/v1 HTTP/1.1\r\nHost: ", false},
		{"one IPv6 network", func(n int) memnet.Addr { return memnet.Addr(fmt.Sprintf("[2001:db8:6:6::%x]:1", n+1)) }, "", false},
		{"a host each", func(n int) memnet.Addr { return memnet.Addr(fmt.Sprintf("10.6.%d.%d:1", n/250, n%250)) }, "", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				mem := memnet.Listen("a:1")
				server, client := websocket.Options{Listener: mem}, websocket.Options{}
				if c.tls {
					pki := newPKI(t)
					server.TLS, client.TLS = pki.node(t, "a"), pki.node(t, "client")
				}
				l := listen(t, websocket.New(server), "")
				dial := func(from memnet.Addr, wait time.Duration) (transport.Conn, error) {
					client.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
						nc, err := mem.DialFrom(ctx, from)
						return &lateConn{nc, wait}, err
					}
					return websocket.New(client).Dial(t.Context(), peerA)
				}
				s := newStrangers(mem, many+2*maxFresh)
				for n := range many {
					s.open(t, c.from(n), c.says)
				}
				synctest.Wait()
				if n := s.alive.Load(); n != maxFresh {
					t.Errorf("%d connections that do nothing are held, want %d", n, maxFresh)
				}
				start := time.Now()
				node, err := dial("10.0.0.7:1", 0)
				if err != nil {
					t.Fatalf("a node is kept out: %v", err)
				}
				defer node.CloseWithError(0, "")
				exchange(t, node, accept(t, l))
				if d := time.Since(start); d > time.Second {
					t.Errorf("the node waited for %v, want at most a second", d)
				}

				// A slow node: the flood goes on before it has said anything.
				var wg sync.WaitGroup
				wg.Go(func() {
					slow, err := dial("10.0.0.8:1", time.Second)
					if c.name == "a host each" {
						return // no policy tells such a node from the others
					}
					if err != nil {
						t.Errorf("a slow node was pushed out: %v", err)
						return
					}
					slow.CloseWithError(0, "")
				})
				synctest.Wait()
				for n := range 2 * maxFresh {
					s.open(t, c.from(many+n), c.says)
				}
				wg.Wait()

				time.Sleep(5*time.Second - time.Since(start))
				synctest.Wait()
				time.Sleep(time.Second)
				if n := s.alive.Load(); n != 0 {
					t.Errorf("%d connections that do nothing lived for more than five seconds", n)
				}
			})
		})
	}
}

// TestWhoMakesRoom expects the oldest connection of the host with the most to go
// when there is no room, and among equals the oldest of all, never the newcomer
// (T3).
func TestWhoMakesRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := memnet.Listen("a:1")
		listen(t, websocket.New(websocket.Options{Listener: mem}), "")
		s := newStrangers(mem, 1000)
		add := func(host string, n int) {
			t.Helper()
			for range n {
				s.open(t, memnet.Addr(fmt.Sprintf("%s:%d", host, len(s.conns)+1)), "")
				synctest.Wait()
			}
		}
		wantEnded := func(want ...int) {
			t.Helper()
			ended := map[int]bool{}
			for n := range s.conns {
				if s.ended[n].Load() {
					ended[n] = true
				}
			}
			for _, n := range want {
				if !ended[n] {
					t.Errorf("after %d connections number %d is still there", len(s.conns), n)
				}
				delete(ended, n)
			}
			if len(ended) > 0 {
				t.Errorf("after %d connections these ended, too: %v", len(s.conns), ended)
			}
		}
		add("10.0.0.1", 6)   // 0 to 5
		add("10.0.0.2", 125) // 6 to 130
		add("10.0.0.3", 125) // 131 to 255
		wantEnded()
		add("10.0.0.4", 1) // 2 and 3 are equal: the older connection
		wantEnded(6)
		add("10.0.0.4", 1) // now 3 has the most
		wantEnded(6, 131)
		add("10.0.0.3", 1) // equal again
		wantEnded(6, 131, 7)
		add("10.0.0.3", 1) // a newcomer of the host with the most costs its own host
		wantEnded(6, 131, 7, 132)
		// Places that are given back are there for others.
		s.conns[0].Close()
		synctest.Wait()
		add("10.0.0.5", 1)
		wantEnded(0, 6, 131, 7, 132)
	})
}

// TestIdleStrangersOverTCP is the same over sockets: a node gets in within a
// second beside more connections than there is room for (T3).
func TestIdleStrangersOverTCP(t *testing.T) {
	l := listen(t, websocket.New(websocket.Options{}), "127.0.0.1:0")
	for range maxFresh + 100 {
		nc, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	c, err := websocket.New(websocket.Options{}).Dial(ctx, transport.Peer{Name: "a", Addr: l.Addr().String()})
	if err != nil {
		t.Fatalf("a node is kept out: %v", err)
	}
	defer c.CloseWithError(0, "")
	exchange(t, c, accept(t, l))
}

// exhausted is a listener of a process without a free file descriptor.
type exhausted struct {
	*memnet.Listener
	until time.Time
	calls atomic.Int64
}

func (e *exhausted) Accept() (net.Conn, error) {
	e.calls.Add(1)
	if time.Now().Before(e.until) {
		return nil, &net.OpError{Op: "accept", Net: "tcp", Err: os.NewSyscallError("accept4", syscall.EMFILE)}
	}
	return e.Listener.Accept()
}

// TestNoFreeFileDescriptors expects a listener to survive that the process has
// no file descriptor left: it tries again, seldom, and takes the connections
// that waited (T25).
func TestNoFreeFileDescriptors(t *testing.T) {
	for _, withTLS := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			const during = 4 * time.Second
			ln := &exhausted{Listener: memnet.Listen("a:1"), until: time.Now().Add(during)}
			server, client := websocket.Options{Listener: ln}, websocket.Options{DialContext: ln.DialContext}
			if withTLS {
				pki := newPKI(t)
				server.TLS, client.TLS = pki.node(t, "a"), pki.node(t, "client")
			}
			l := listen(t, websocket.New(server), "")
			start := time.Now()
			c, err := websocket.New(client).Dial(t.Context(), peerA)
			if err != nil {
				t.Fatalf("a node that dialled meanwhile: %v", err)
			}
			defer c.CloseWithError(0, "")
			exchange(t, c, accept(t, l))
			if d := time.Since(start); d < during || d > during+time.Second {
				t.Errorf("the node waited for %v, want %v and at most a second more", d, during)
			}
			if n := ln.calls.Load(); n > 20 {
				t.Errorf("%d attempts to accept in %v: a busy loop", n, during)
			}
		})
	}
}
