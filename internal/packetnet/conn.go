package packetnet

import (
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"
)

// queueLength is how many datagrams wait for ReadFrom; further ones are lost.
const queueLength = 8192

// Conn is a socket: a net.PacketConn.
type Conn struct {
	net   *Network
	at    netip.AddrPort
	queue chan datagram

	mu      sync.Mutex
	closed  bool          // guarded by mu
	changed chan struct{} // guarded by mu; closed and replaced with every change of the deadline, and by Close
	until   time.Time     // guarded by mu; the deadline of ReadFrom
	coming  []datagram    // guarded by mu; on their way, in the order of arrival
}

var _ net.PacketConn = (*Conn)(nil)

func newConn(n *Network, at netip.AddrPort) *Conn {
	return &Conn{net: n, at: at, queue: make(chan datagram, queueLength), changed: make(chan struct{})}
}

// travel queues a datagram when its time has come.
func (c *Conn) travel(d datagram, delay time.Duration) {
	d.due = time.Now().Add(delay)
	c.mu.Lock()
	// Behind those that are due at the same instant: they do not overtake.
	i, _ := slices.BinarySearchFunc(c.coming, d.due, func(d datagram, due time.Time) int {
		if d.due.After(due) {
			return 1
		}
		return -1
	})
	c.coming = slices.Insert(c.coming, i, d)
	c.mu.Unlock()
	if delay == 0 {
		c.arrive()
		return
	}
	time.AfterFunc(delay, c.arrive)
}

// arrive queues what is due, and loses what does not fit.
func (c *Conn) arrive() {
	c.mu.Lock()
	defer c.mu.Unlock()
	n, now := 0, time.Now()
	for ; n < len(c.coming) && !c.coming[n].due.After(now); n++ {
		select {
		case c.queue <- c.coming[n]:
		default:
		}
	}
	c.coming = slices.Delete(c.coming, 0, n)
}

func (c *Conn) state() (closed bool, until time.Time, changed <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed, c.until, c.changed
}

// ReadFrom waits for a datagram and copies what of it fits into p.
func (c *Conn) ReadFrom(p []byte) (int, net.Addr, error) {
	for {
		d, ok, err := c.receive()
		if err != nil {
			return 0, nil, c.wrap("read", err)
		}
		if ok {
			return copy(p, d.data), d.from, nil
		}
	}
}

// receive waits for a datagram, or for a change of what to wait for.
func (c *Conn) receive() (d datagram, ok bool, err error) {
	closed, until, changed := c.state()
	if closed {
		return d, false, net.ErrClosed
	}
	var expired <-chan time.Time
	if !until.IsZero() {
		left := time.Until(until)
		if left <= 0 {
			return d, false, os.ErrDeadlineExceeded
		}
		timer := time.NewTimer(left)
		defer timer.Stop()
		expired = timer.C
	}
	select {
	case d = <-c.queue:
		return d, true, nil
	case <-expired:
	case <-changed:
	}
	return d, false, nil
}

// WriteTo sends a datagram. Whether it arrives does not show.
func (c *Conn) WriteTo(p []byte, addr net.Addr) (int, error) {
	if closed, _, _ := c.state(); closed {
		return 0, c.wrap("write", net.ErrClosed)
	}
	to, err := netip.ParseAddrPort(addr.String())
	if err != nil {
		return 0, c.wrap("write", err)
	}
	c.net.send(c, to, p)
	return len(p), nil
}

// Close frees the address and ends ReadFrom.
func (c *Conn) Close() error {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return c.wrap("close", net.ErrClosed)
	}
	c.closed = true
	close(c.changed)
	c.mu.Unlock()
	c.net.remove(c) // whose lock comes first
	return nil
}

// LocalAddr returns the address that the socket was opened at.
func (c *Conn) LocalAddr() net.Addr { return net.UDPAddrFromAddrPort(c.at) }

// SetDeadline sets the deadline of ReadFrom; WriteTo never waits.
func (c *Conn) SetDeadline(t time.Time) error { return c.SetReadDeadline(t) }

// SetReadDeadline also takes effect on a ReadFrom in progress.
func (c *Conn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return c.wrap("set", net.ErrClosed)
	}
	c.until = t
	close(c.changed)
	c.changed = make(chan struct{})
	return nil
}

// SetWriteDeadline does nothing: WriteTo never waits.
func (c *Conn) SetWriteDeadline(time.Time) error { return nil }

// SetReadBuffer does nothing. That it exists keeps a QUIC library from warning of
// sockets whose buffers it cannot set.
func (c *Conn) SetReadBuffer(int) error { return nil }

// SetWriteBuffer does nothing; see SetReadBuffer.
func (c *Conn) SetWriteBuffer(int) error { return nil }

func (c *Conn) wrap(op string, err error) error {
	return &net.OpError{Op: op, Net: "udp", Source: c.LocalAddr(), Err: err}
}
