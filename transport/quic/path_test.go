package quic_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	quicgo "github.com/quic-go/quic-go"

	"github.com/gridmux/gridmux/internal/packetnet"
	"github.com/gridmux/gridmux/transport"
	"github.com/gridmux/gridmux/transport/quic"
)

// traffic sends numbered frames both ways and checks that they arrive in order,
// each once and whole. step is called before each number, at the sender.
func traffic(t *testing.T, a, b transport.Conn, frames int, step func(n int)) {
	t.Helper()
	frame := func(n int) []byte { return bytes.Repeat([]byte{byte(n), byte(n >> 8)}, 1+n*37%2000) }
	var wg sync.WaitGroup
	for _, ends := range [][2]transport.Conn{{a, b}, {b, a}} {
		wg.Go(func() {
			for n := range frames {
				if ends[0] == a && step != nil {
					step(n)
				}
				if err := send(ends[0], string(frame(n))); err != nil {
					t.Errorf("frame %d: %v", n, err)
					return
				}
			}
		})
		wg.Go(func() {
			for n := range frames {
				got, err := ends[1].ReadFrame(1 << 20)
				if err != nil || !bytes.Equal(got, frame(n)) {
					t.Errorf("frame %d: %d bytes, %v", n, len(got), err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// TestBadLinks expects frames on all lanes to arrive in order, whole and once over
// links that lose, duplicate and reorder datagrams, and that are silent for half a
// second in between, and connections to be made there, within the five seconds
// that a call has (F30).
func TestBadLinks(t *testing.T) {
	for _, loss := range []float64{0, 0.01, 0.05, 0.1} {
		for seed := range uint64(2) {
			t.Run(fmt.Sprintf("loss %v seed %d", loss, seed), func(t *testing.T) {
				inLab(t, func(l *lab) {
					l.net = packetnet.New(packetnet.Conditions{
						Latency: 5 * time.Millisecond, Jitter: 20 * time.Millisecond, Loss: loss, Duplicate: 0.05, MTU: leastMTU,
					}, seed)
					began := time.Now()
					c, s := l.pair(quic.Options{}, quic.Options{})
					lane, err := c.(transport.LaneConn).OpenLane(l.Context())
					if err != nil {
						l.Fatal(err)
					}
					send(lane, "first")
					far, err := s.(transport.LaneConn).AcceptLane(l.Context())
					if err != nil {
						l.Fatal(err)
					}
					if p, err := far.ReadFrame(100); string(p) != "first" {
						l.Fatalf("%q, %v", p, err)
					}
					if d := time.Since(began); d > 5*time.Second {
						l.Errorf("a connection and a lane took %v", d)
					}
					var wg sync.WaitGroup
					wg.Go(func() { traffic(l.T, c, s, 300, nil) })
					wg.Go(func() {
						traffic(l.T, lane, far, 300, func(n int) {
							if n == 150 {
								l.net.Silence(500 * time.Millisecond)
							}
						})
					})
					wg.Wait()
				})
			})
		}
	}
}

// TestRebinding expects a connection to go on when the address of the dialler
// changes, as behind a router that forgets, at whatever moment: port or host,
// again and again, on links that lose datagrams too (F32).
func TestRebinding(t *testing.T) {
	for _, loss := range []float64{0, 0.05} {
		inLab(t, func(l *lab) {
			l.net = packetnet.New(packetnet.Conditions{Latency: 5 * time.Millisecond, Jitter: 5 * time.Millisecond, Loss: loss}, 1)
			c, s := l.pair(quic.Options{}, quic.Options{})
			before := s.Info().RemoteAddr.String()
			traffic(l.T, c, s, 500, func(n int) {
				if n%100 == 50 {
					l.net.Rebind(netip.MustParseAddrPort(clientAddr), netip.MustParseAddrPort(fmt.Sprintf("10.1.%d.1:%d", n/200, 1000+n)))
				}
			})
			if now := s.Info().RemoteAddr.String(); now != before {
				l.Errorf("Info changed from %s to %s", before, now)
			}
		})
	}
}

// udpProxy carries datagrams between clients and a server, and can change the
// port that it sends from, as a router does.
type udpProxy struct {
	front  *net.UDPConn
	server *net.UDPAddr

	mu     sync.Mutex
	client *net.UDPAddr // guarded by mu; the last one
	back   *net.UDPConn // guarded by mu
	wg     sync.WaitGroup
}

func newUDPProxy(t *testing.T, server net.Addr) *udpProxy {
	p := &udpProxy{front: udpSocket(t), server: udpAddr(t, server.String())}
	p.rebind(t)
	p.wg.Go(func() {
		buf := make([]byte, 2048)
		for {
			n, from, err := p.front.ReadFromUDP(buf)
			if err != nil {
				return
			}
			p.mu.Lock()
			p.client = from
			p.back.WriteToUDP(buf[:n], p.server)
			p.mu.Unlock()
		}
	})
	t.Cleanup(func() {
		p.front.Close()
		p.mu.Lock()
		p.back.Close()
		p.mu.Unlock()
		p.wg.Wait()
	})
	return p
}

func (p *udpProxy) rebind(t *testing.T) {
	back := udpSocket(t)
	p.mu.Lock()
	if p.back != nil {
		p.back.Close()
	}
	p.back = back
	p.mu.Unlock()
	p.wg.Go(func() {
		buf := make([]byte, 2048)
		for {
			n, err := back.Read(buf)
			if err != nil {
				return
			}
			p.mu.Lock()
			if p.client != nil {
				p.front.WriteToUDP(buf[:n], p.client)
			}
			p.mu.Unlock()
		}
	})
}

// TestRebindingOverSockets expects the same of real sockets, with a proxy that
// changes its port in the middle (F32).
func TestRebindingOverSockets(t *testing.T) {
	client, ln := loopbackPair(t, "127.0.0.1:0")
	proxy := newUDPProxy(t, ln.Addr())
	c := dial(t, client, transport.Peer{Name: "server", Addr: proxy.front.LocalAddr().String()})
	s := accept(t, ln)
	traffic(t, c, s, 400, func(n int) {
		if n%100 == 50 {
			proxy.rebind(t)
		}
	})
}

// discovering is a simulated socket that quic-go takes for one on which datagrams
// are never fragmented, so that it looks for the largest that get through.
type discovering struct {
	*packetnet.Conn
	socket *net.UDPConn // for its options; nothing goes over it

	mu      sync.Mutex
	largest int // guarded by mu; ever sent
}

func (d *discovering) SyscallConn() (syscall.RawConn, error) { return d.socket.SyscallConn() }

func (d *discovering) WriteTo(p []byte, to net.Addr) (int, error) {
	d.mu.Lock()
	d.largest = max(d.largest, len(p))
	d.mu.Unlock()
	return d.Conn.WriteTo(p, to)
}

func (d *discovering) largestSent() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.largest
}

// TestSmallerMTU expects datagrams to become as large as the path takes. When it
// takes less all of a sudden, and says nothing of it, quic-go does not go back, and
// fills every datagram with what got lost. So nothing gets through on any lane: the
// connection ends with the idle time-out, or with the keep-alive of the core, and a
// new one works at once. Without discovery nothing happens (F31).
func TestSmallerMTU(t *testing.T) {
	for _, test := range []struct {
		mtu  int
		mode string
	}{
		{leastMTU, "first lane"},
		{1200, "first lane"},
		{leastMTU, "other lane"},
		{1200, "no discovery"},
	} {
		t.Run(fmt.Sprint(test.mtu, " ", test.mode), func(t *testing.T) {
			inLab(t, func(l *lab) { testSmallerMTU(l, test.mtu, test.mode) })
		})
	}
}

func testSmallerMTU(l *lab, mtu int, mode string) {
	l.Helper()
	discovers := mode != "no discovery"
	l.net.Set(packetnet.Conditions{Latency: 5 * time.Millisecond, MTU: 1452})
	node := func(addr, name string) (*discovering, *quic.Transport) {
		pc := &discovering{Conn: open(l.T, l.net, addr), socket: udpSocket(l.T)}
		return pc, quic.New(quic.Options{TLS: l.pki.node(l.T, name), PacketConn: pc, Config: &quicgo.Config{
			MaxIdleTimeout: 30 * time.Second, DisablePathMTUDiscovery: !discovers,
		}})
	}
	far, server := node(serverAddr, "server")
	near, client := node(clientAddr, "client")
	to := transport.Peer{Name: "server", Addr: serverAddr}
	ln := listen(l.T, server, "")
	c := dial(l.T, client, to)
	s := accept(l.T, ln)
	traffic(l.T, c, s, 2000, nil)
	if got := min(near.largestSent(), far.largestSent()); discovers != (got >= 1300) {
		l.Errorf("on a path for 1452 bytes the largest datagrams had %d", got)
	}
	large := c
	if mode == "other lane" {
		var err error
		if large, err = c.(transport.LaneConn).OpenLane(l.Context()); err != nil {
			l.Fatal(err)
		}
	}

	l.net.Set(packetnet.Conditions{Latency: 5 * time.Millisecond, MTU: mtu})
	changed := time.Now()
	send(large, strings.Repeat("too large now", 1000))
	if !discovers {
		if p, err := s.ReadFrame(1 << 20); err != nil || len(p) != 13_000 {
			l.Errorf("%d bytes, %v", len(p), err)
		}
		traffic(l.T, c, s, 500, nil)
		return
	}
	send(c, "small")
	again := dial(l.T, client, to)
	traffic(l.T, again, accept(l.T, ln), 500, nil)
	for _, end := range []transport.Conn{c, s} {
		if p, err := end.ReadFrame(1 << 20); err == nil || errors.Is(err, net.ErrClosed) {
			l.Errorf("%d bytes, %v", len(p), err)
		}
	}
	if d := time.Since(changed); d > 35*time.Second {
		l.Errorf("the old connection was there for %v", d)
	}
}

// TestRestartIsNoticed expects the peers of a node that was killed and started
// again on its port to learn by their next datagram that their connections are
// gone, and new ones to work; also where the certificate is loaded at every handshake.
func TestRestartIsNoticed(t *testing.T) {
	t.Run("TLS", func(t *testing.T) {
		testRestart(t, func(cfg *tls.Config) quic.Options { return quic.Options{TLS: cfg} })
	})
	t.Run("GetTLS", func(t *testing.T) {
		testRestart(t, func(cfg *tls.Config) quic.Options {
			return quic.Options{GetTLS: func() (*tls.Config, error) { return cfg, nil }}
		})
	})
}

func testRestart(t *testing.T, options func(*tls.Config) quic.Options) {
	t.Helper()
	inLab(t, func(l *lab) {
		cfg := l.pki.node(l.T, "server")
		o := options(cfg)
		pc := open(l.T, l.net, serverAddr)
		o.PacketConn = pc
		ln := listen(l.T, quic.New(o), "")
		client := l.transport(clientAddr, quic.Options{TLS: l.pki.node(l.T, "client")})
		to := transport.Peer{Name: "server", Addr: serverAddr}
		c := dial(l.T, client, to)
		exchange(l.T, c, accept(l.T, ln))
		pc.Close() // nothing of what follows gets out
		ln.Close()

		ln = listen(l.T, l.transport(serverAddr, options(cfg)), "")
		reading := make(chan error, 1)
		go func() {
			_, err := c.ReadFrame(100)
			reading <- err
		}()
		began := time.Now()
		send(c, "are you still there?")
		err := <-reading
		if d := time.Since(began); d > 10*time.Millisecond {
			l.Errorf("noticed after %v", d)
		}
		if err == nil || errors.Is(err, net.ErrClosed) || !strings.Contains(err.Error(), "restarted") {
			l.Errorf("the error does not tell: %v", err)
		}
		again := dial(l.T, client, to)
		exchange(l.T, again, accept(l.T, ln))
	})
}

// TestSocketFails expects the end of a socket beneath to end connections, lanes and
// Accept with an error that is no orderly close, and the next Dial to say so too.
func TestSocketFails(t *testing.T) {
	inLab(t, func(l *lab) {
		near, far := open(l.T, l.net, clientAddr), open(l.T, l.net, serverAddr)
		client := quic.New(quic.Options{TLS: l.pki.node(l.T, "client"), PacketConn: near})
		ln := listen(l.T, quic.New(quic.Options{TLS: l.pki.node(l.T, "server"), PacketConn: far}), "")
		to := transport.Peer{Name: "server", Addr: serverAddr}
		c := dial(l.T, client, to)
		s := accept(l.T, ln)
		lane, err := c.(transport.LaneConn).OpenLane(l.Context())
		if err != nil {
			l.Fatal(err)
		}
		errs := make(chan error, 4)
		for _, read := range []transport.Conn{c, s, lane} {
			go func() {
				_, err := read.ReadFrame(100)
				errs <- err
			}()
		}
		go func() {
			_, err := ln.Accept(l.Context())
			errs <- err
		}()
		l.settle()
		near.Close()
		far.Close()
		for range 4 {
			err := <-errs
			if _, ok := errors.AsType[*transport.CloseError](err); err == nil || ok || errors.Is(err, net.ErrClosed) {
				l.Errorf("%v", err)
			}
		}
		if err := send(c, "hello"); err == nil || errors.Is(err, net.ErrClosed) {
			l.Errorf("a write: %v", err)
		}
		_, err = client.Dial(l.Context(), to)
		wantDialError(l.T, err, transport.PhaseDial, "the socket failed")
		c.CloseWithError(0, "")
		_, err = client.Dial(l.Context(), to)
		wantDialError(l.T, err, transport.PhaseDial)
		ln.Close()
		if _, err := ln.Accept(l.Context()); !errors.Is(err, net.ErrClosed) {
			l.Errorf("Accept after Close: %v", err)
		}
	})
}
