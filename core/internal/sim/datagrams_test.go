package sim_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net/netip"
	"slices"
	"time"

	quicgo "github.com/quic-go/quic-go"

	"github.com/gridmux/gridmux/internal/packetnet"
	"github.com/gridmux/gridmux/transport"
	"github.com/gridmux/gridmux/transport/devtls"
	"github.com/gridmux/gridmux/transport/inmem"
	"github.com/gridmux/gridmux/transport/quic"
)

// datagrams is a network of simulated datagrams, over which nodes talk by QUIC.
type datagrams struct {
	routes
	packets *packetnet.Network
	mtu     int

	// Guarded by routes.mu.
	at    map[string]netip.AddrPort // by address
	where map[netip.AddrPort]string // the opposite, of places
	socks map[string]*packetnet.Conn
	conns []quicEnd // all ever made
}

// quicEnd is one end of a connection.
type quicEnd struct {
	transport.Conn
	from, to string
}

func newDatagrams(p *profile) network {
	packetnet.CatchUp()
	d := &datagrams{
		routes: newRoutes(p), packets: packetnet.New(packetnet.Conditions{}, p.seed), mtu: pick(stream(p.seed, 12), 1252, 1400, 0),
		at: map[string]netip.AddrPort{}, where: map[netip.AddrPort]string{}, socks: map[string]*packetnet.Conn{},
	}
	d.packets.Meddle(d.meddle)
	return d
}

// meddle does to a datagram what its path does.
func (d *datagrams) meddle(from, to netip.AddrPort, data []byte) (c packetnet.Conditions, carry bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	r := d.route(d.where[from], d.where[to])
	c, corrupt := datagramConditions(&r.conditions)
	c.MTU = d.mtu
	flip := d.rand.Float64() < corrupt
	if r.corrupt > 0 {
		r.corrupt = max(r.corrupt-len(data), 0)
		flip = flip || r.corrupt == 0
	}
	if flip {
		data[d.rand.IntN(len(data))] ^= 1 << d.rand.IntN(8)
	}
	carry = !r.blocked
	if r.stall > 0 {
		r.stall = max(r.stall-len(data), 0)
		r.blocked = r.stall == 0
	}
	return c, carry
}

// datagramConditions is what datagrams have of conditions: what takes very much
// longer over TCP is what got lost, and what is merged arrives twice instead. The
// line is as wide as it may be.
func datagramConditions(c *inmem.Conditions) (p packetnet.Conditions, corrupt float64) {
	p = packetnet.Conditions{Latency: c.Latency, Jitter: c.Jitter, Loss: c.Tail / 4}
	if c.Merge > 0 {
		p.Duplicate = 0.1
	}
	return p, c.Corrupt
}

func (d *datagrams) node(where, name, addr string) (transport.Transport, error) {
	d.mu.Lock()
	at, again := d.at[addr]
	if !again {
		n := len(d.at) + 1
		at = netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(n >> 8), byte(n)}), 7000)
		d.at[addr], d.where[at], d.owners[addr] = at, where, where
	}
	old := d.socks[addr]
	d.mu.Unlock()
	if old != nil {
		old.Close()
	}
	sock, err := d.packets.Listen(at.String())
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.socks[addr] = sock
	key := quicgo.StatelessResetKey(sha256.Sum256([]byte(name)))
	tr := quic.New(quic.Options{TLS: devtls.Config(name), PacketConn: sock, Resolve: d.resolve, StatelessResetKey: &key})
	return &quicNode{tr, d, where}, nil
}

func (d *datagrams) resolve(_ context.Context, addr string) ([]netip.AddrPort, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if at, ok := d.at[addr]; ok {
		return []netip.AddrPort{at}, nil
	}
	return nil, fmt.Errorf("no such host: %s", addr)
}

// close closes the sockets, which belong to the system.
func (d *datagrams) close() {
	d.mu.Lock()
	socks := d.socks
	d.socks = map[string]*packetnet.Conn{}
	d.mu.Unlock()
	for _, s := range socks {
		s.Close()
	}
}

// Cut ends connections beneath the nodes, at both ends: with datagrams nothing but
// an end can do that.
func (d *datagrams) Cut(a, b string) {
	d.mu.Lock()
	ends := slices.DeleteFunc(slices.Clone(d.conns), func(e quicEnd) bool {
		return (e.from != a || e.to != b) && (e.from != b || e.to != a)
	})
	d.mu.Unlock()
	for _, e := range ends {
		go func() { _ = e.CloseWithError(codeCut, "the link was cut") }()
	}
}

// codeCut is what connections are ended with: an internal error.
const codeCut = 1011

func (d *datagrams) Partition(a, b string) {
	d.block(a, b)
	d.block(b, a)
}

func (d *datagrams) PartitionOneWay(from, to string) { d.block(from, to) }

func (d *datagrams) Heal(a, b string) {
	d.unblock(a, b)
	d.unblock(b, a)
}

func (d *datagrams) HealAll() {
	for _, p := range d.all() {
		d.unblock(p.from, p.to)
	}
}

// Stall is not among the faults of datagrams: nothing tells a router which of them
// belong to a connection.
func (*datagrams) Stall(_, _ string) {}

// Crash closes the socket of a process.
func (d *datagrams) Crash(where string) {
	d.mu.Lock()
	var socks []*packetnet.Conn
	for addr, s := range d.socks {
		if d.owners[addr] == where {
			socks = append(socks, s)
		}
	}
	d.mu.Unlock()
	for _, s := range socks {
		s.Close()
	}
}

// quicNode is the transport of a process.
type quicNode struct {
	transport.Transport
	net   *datagrams
	where string
}

func (n *quicNode) Dial(ctx context.Context, to transport.Peer) (transport.Conn, error) {
	n.net.mu.Lock()
	there := n.net.owners[to.Addr]
	refused := n.net.route(n.where, there).refused
	n.net.mu.Unlock()
	if refused {
		return nil, fmt.Errorf("dial %s: %w", to.Addr, errRefused)
	}
	c, err := n.Transport.Dial(ctx, to)
	if err != nil {
		return nil, err
	}
	n.add(c, there)
	return c, nil
}

func (n *quicNode) add(c transport.Conn, to string) {
	n.net.mu.Lock()
	defer n.net.mu.Unlock()
	n.net.conns = append(n.net.conns, quicEnd{c, n.where, to})
}

func (n *quicNode) Listen(ctx context.Context, addr string) (transport.Listener, error) {
	ln, err := n.Transport.Listen(ctx, addr)
	if err != nil {
		return nil, err
	}
	return quicDoorway{ln, n}, nil
}

type quicDoorway struct {
	transport.Listener
	node *quicNode
}

func (l quicDoorway) Accept(ctx context.Context) (transport.Conn, error) {
	c, err := l.Listener.Accept(ctx)
	if err != nil {
		return nil, err
	}
	if slow := l.node.net.acceptDelay(l.node.where); slow > 0 {
		timer := time.NewTimer(slow)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
		}
	}
	if at, err := netip.ParseAddrPort(c.Info().RemoteAddr.String()); err == nil {
		l.node.net.mu.Lock()
		from := l.node.net.where[at]
		l.node.net.mu.Unlock()
		l.node.add(c, from)
	}
	return c, nil
}
