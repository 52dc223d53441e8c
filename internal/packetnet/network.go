// Package packetnet is a network of datagrams in memory that behaves like UDP:
// datagrams are delayed, lost, duplicated, overtake one another and may be too
// large. It needs no sockets and starts no goroutines that wait, so that tests of
// whatever takes a net.PacketConn run in a testing/synctest bubble.
package packetnet

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// Conditions is what the network does to each datagram. The zero value delivers
// every one at once.
type Conditions struct {
	Latency   time.Duration // each way
	Jitter    time.Duration // at most so much more, evenly distributed: later ones may arrive earlier
	Loss      float64       // share of the datagrams that are lost, 0 to 1
	Duplicate float64       // share that arrives twice, the copies on their own
	MTU       int           // longer ones are lost, in bytes of payload; 0: none is too long
}

// A Network connects sockets. The zero value is not usable, see New. All methods
// may be called concurrently.
type Network struct {
	mu     sync.Mutex
	c      Conditions
	draw   *rand.Rand
	conns  map[netip.AddrPort]*Conn
	out    map[netip.AddrPort]netip.AddrPort // what a socket's datagrams come from, by its address, if not from there
	silent time.Time                         // until then everything is lost
	lost   map[[2]netip.AddrPort]bool        // directions in which everything is lost
	meddle Meddler                           // nil: none
}

// New returns a network. What it does at random depends on seed and on the order
// in which datagrams are sent.
func New(c Conditions, seed uint64) *Network {
	return &Network{
		c:     c,
		draw:  rand.New(rand.NewPCG(seed, 0)),
		conns: make(map[netip.AddrPort]*Conn),
		out:   make(map[netip.AddrPort]netip.AddrPort),
		lost:  make(map[[2]netip.AddrPort]bool),
	}
}

// Set changes the conditions for what is sent from now on.
func (n *Network) Set(c Conditions) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.c = c
}

// Silence loses everything that is sent within the next d.
func (n *Network) Silence(d time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.silent = time.Now().Add(d)
}

// Lose loses everything that the socket at one address sends to another, or, with
// on false, no longer does.
func (n *Network) Lose(from, to netip.AddrPort, on bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lost[[2]netip.AddrPort{from, to}] = on
}

// A Meddler looks at a datagram before it sets out from one socket's address to
// another. It may change data, and says under which conditions the datagram travels,
// and whether it does so at all.
type Meddler func(from, to netip.AddrPort, data []byte) (c Conditions, carry bool)

// Meddle has f look at every datagram from now on, in place of the conditions of the
// network. f is called with a lock of the network held, in the order of sending.
func (n *Network) Meddle(f Meddler) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.meddle = f
}

// Rebind makes the datagrams of the socket at one address come from another, as a
// router does that translates addresses and has forgotten what it had assigned.
// What is sent to the address before gets lost from now on.
func (n *Network) Rebind(socket, seen netip.AddrPort) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.out[socket] = seen
}

var errInUse = errors.New("address already in use")

// Listen opens a socket at an address, such as "10.0.0.1:7000".
func (n *Network) Listen(addr string) (*Conn, error) {
	at, err := netip.ParseAddrPort(addr)
	if err != nil {
		return nil, fmt.Errorf("packetnet: %w", err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.conns[at] != nil {
		return nil, &net.OpError{Op: "listen", Net: "udp", Addr: net.UDPAddrFromAddrPort(at), Err: errInUse}
	}
	c := newConn(n, at)
	n.conns[at] = c
	return c, nil
}

func (n *Network) remove(c *Conn) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.conns[c.at] == c {
		delete(n.conns, c.at)
	}
}

// datagram is one on its way.
type datagram struct {
	from net.Addr
	data []byte
	due  time.Time
}

// send carries a datagram, of which it makes a copy.
func (n *Network) send(from *Conn, to netip.AddrPort, data []byte) {
	n.mu.Lock()
	defer n.mu.Unlock()
	c, carry := n.c, true
	if n.meddle != nil {
		data = slices.Clone(data)
		c, carry = n.meddle(from.at, n.behind(to), data)
	}
	// Every datagram draws the same numbers, whatever becomes of it.
	lost, twice := n.draw.Float64() < c.Loss, n.draw.Float64() < c.Duplicate
	delays := [2]time.Duration{n.delay(&c), n.delay(&c)}
	seen := from.at
	if other, ok := n.out[from.at]; ok {
		seen = other
	}
	dest := n.conns[n.behind(to)]
	if lost || !carry || dest == nil || c.MTU > 0 && len(data) > c.MTU || time.Now().Before(n.silent) ||
		n.lost[[2]netip.AddrPort{from.at, dest.at}] {
		return
	}
	d := datagram{from: net.UDPAddrFromAddrPort(seen), data: slices.Clone(data)}
	for i, delay := range delays {
		if i == 0 || twice {
			dest.travel(d, delay)
		}
	}
}

// delay draws how long a datagram travels. The caller holds mu.
func (n *Network) delay(c *Conditions) time.Duration {
	return c.Latency + time.Duration(n.draw.Float64()*float64(c.Jitter))
}

// behind returns the socket whose datagrams come from an address. The caller
// holds mu.
func (n *Network) behind(seen netip.AddrPort) netip.AddrPort {
	for socket, as := range n.out {
		if as == seen {
			return socket
		}
	}
	if _, rebound := n.out[seen]; rebound {
		return netip.AddrPort{}
	}
	return seen
}
