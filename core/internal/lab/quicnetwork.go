package lab

import (
	"context"
	"maps"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/gridmux/gridmux/internal/packetnet"
	"github.com/gridmux/gridmux/transport"
	"github.com/gridmux/gridmux/transport/devtls"
	"github.com/gridmux/gridmux/transport/quic"
)

// QUICNetwork connects nodes by QUIC, over UDP or over a simulated network of
// datagrams.
type QUICNetwork struct {
	t      testing.TB
	memory *packetnet.Network // nil: UDP on the loopback device
	// Counts what goes in and out, so that the race detector knows that what is read
	// was written before. Of pipes and TCP the library of Go tells it, not of UDP.
	order atomic.Int64

	mu    sync.Mutex
	addrs map[string]netip.AddrPort // by name of the node; guarded by mu
	socks map[string]net.PacketConn // the same, of memory; guarded by mu
	conns map[*quicConn]struct{}    // the ends of connections that are open; guarded by mu
}

// NewQUICNetwork makes a network of datagrams, in a bubble, whose clock it advances
// beyond real time.
func NewQUICNetwork(t testing.TB, conditions packetnet.Conditions, seed uint64) *QUICNetwork {
	packetnet.CatchUp()
	q := newQUICNetwork(t)
	q.memory = packetnet.New(conditions, seed)
	return q
}

func newQUICNetwork(t testing.TB) *QUICNetwork {
	return &QUICNetwork{
		t: t, addrs: map[string]netip.AddrPort{}, socks: map[string]net.PacketConn{}, conns: map[*quicConn]struct{}{},
	}
}

// Datagrams is the simulated network beneath, nil if there is none.
func (q *QUICNetwork) Datagrams() *packetnet.Network { return q.memory }

// Addr returns where a node is, once it has a transport.
func (q *QUICNetwork) Addr(name string) netip.AddrPort {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.addrs[name]
}

// Node returns a transport for the node of that name, which takes the place of the
// one before if there was one. Its address is "name:1", or the one of the system.
func (q *QUICNetwork) Node(name string, opts quic.Options) transport.Transport {
	q.mu.Lock()
	defer q.mu.Unlock()
	at, again := q.addrs[name]
	if q.memory == nil {
		if !again {
			q.addrs[name] = q.freePort()
		}
		return &quicNode{quic.New(opts), q, name}
	}
	if again {
		q.socks[name].Close()
	} else {
		n := len(q.addrs) + 1
		at = netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(n >> 8), byte(n)}), 7000)
		q.addrs[name] = at
	}
	sock, err := q.memory.Listen(at.String())
	if err != nil {
		q.t.Fatalf("a socket for %s: %v", name, err)
	}
	q.t.Cleanup(func() { sock.Close() })
	q.socks[name], opts.PacketConn, opts.Resolve = sock, sock, q.resolve
	return &quicNode{quic.New(opts), q, name}
}

// freePort returns a port that nobody uses, for a transport that opens it itself. It
// is none of those that systems choose from, or a socket that some node dials with
// might have it by then.
func (q *QUICNetwork) freePort() netip.AddrPort {
	const least, most = 10_000, 32_000
	for range 1000 {
		at := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(least+rand.IntN(most-least)))
		sock, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(at))
		if err != nil {
			continue
		}
		sock.Close()
		if !slices.Contains(slices.Collect(maps.Values(q.addrs)), at) {
			return at
		}
	}
	q.t.Fatal("there is no free port")
	return netip.AddrPort{}
}

// resolve stands in for a resolver, which there is none of in a bubble.
func (q *QUICNetwork) resolve(_ context.Context, addr string) ([]netip.AddrPort, error) {
	if at, err := netip.ParseAddrPort(addr); err == nil {
		return []netip.AddrPort{at}, nil
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	if at := q.Addr(host); at.IsValid() {
		return []netip.AddrPort{at}, nil
	}
	return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
}

func (q *QUICNetwork) node(_ int, name string) (transport.Transport, string) {
	tr := q.Node(name, quic.Options{TLS: devtls.Config(name)})
	return tr, q.Addr(name).String()
}

func (q *QUICNetwork) cut(a, b string) {
	q.cutAll(func(c *quicConn) bool { return c.at == a && c.peer == b || c.at == b && c.peer == a })
}

// Cut ends all connections abruptly.
func (q *QUICNetwork) Cut() { q.cutAll(func(*quicConn) bool { return true }) }

// Open returns how many ends of connections are not closed.
func (q *QUICNetwork) Open() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.conns)
}

// Dialled reports whether a connection between two nodes is open that the first of
// them has dialled.
func (q *QUICNetwork) Dialled(from, to string) bool {
	return len(q.ends(func(c *quicConn) bool { return c.at == from && c.peer == to && c.dialled })) > 0
}

func (q *QUICNetwork) cutAll(which func(*quicConn) bool) {
	ends := q.ends(which)
	for _, c := range ends {
		c.cut.Do(func() { close(c.broken) })
	}
	for _, c := range ends {
		_ = c.LaneConn.CloseWithError(0, "")
	}
}

func (q *QUICNetwork) stall(from, to string) {
	for _, c := range q.ends(func(c *quicConn) bool { return c.at == to && c.peer == from }) {
		c.stall.Do(func() { close(c.stalled) })
	}
}

func (q *QUICNetwork) ends(which func(*quicConn) bool) (found []*quicConn) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for c := range q.conns {
		if which(c) {
			found = append(found, c)
		}
	}
	return found
}
