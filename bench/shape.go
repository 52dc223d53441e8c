package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"github.com/gridmux/gridmux/bench/internal/link"
)

// Shaping in this process delays what is written to sockets of the loopback interface, and
// lets it through at a rate. It needs no rights and no particular system, and
// it knows bytes, not packets: what it cannot show it refuses.

// honest returns why conditions cannot be shown by shaping in this process.
func honest(c link.Conditions) error {
	var what string
	switch {
	case c.Loss > 0:
		what = "loss: TCP below would never see that anything was lost"
	case c.Reorder > 0:
		what = "reorder: TCP below would never see another order"
	case c.MTU != 0:
		what = "mtu: the packets are those of the loopback interface"
	case c.Queue != 0:
		what = "queue: TCP below would never see that it overflows"
	default:
		return nil
	}
	return errors.New(what + ", so that the figures would be a lie: leave it out, or use emulated links")
}

// openShaped makes a link by shaping. What is random of it depends on the seed.
func openShaped(seed uint64, c link.Conditions) (emulated, error) {
	if err := honest(c); err != nil {
		return nil, fmt.Errorf("shaping: %w", err)
	}
	return shapedLink{seed, c}, nil
}

type shapedLink struct {
	seed       uint64
	conditions link.Conditions
}

// at returns the host of a node, whose side of each direction it shapes.
func (l shapedLink) at(node string) host { return shapedHost{thisHost{}, l, node} }

// stats are unknown: there are no packets to count.
func (shapedLink) stats() (link.Stats, error) { return link.Stats{}, nil }

func (shapedLink) close() {}

type shapedHost struct {
	host

	link shapedLink
	node string
}

// line makes the direction away from this host for one socket.
func (h shapedHost) line() *line {
	seed := h.link.seed
	for _, c := range []byte(h.node) {
		seed = seed*31 + uint64(c)
	}
	return &line{conditions: h.link.conditions, newWaker: newWaker, random: rand.New(rand.NewPCG(seed, 0))}
}

func (h shapedHost) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	c, err := h.host.Dial(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return newShapedConn(c, h.line()), nil
}

func (h shapedHost) Listen(ctx context.Context, network, address string) (net.Listener, error) {
	ln, err := h.host.Listen(ctx, network, address)
	return shapedListener{ln, h}, err
}

// ListenPacket returns a socket that shapes datagrams. It hides the methods of a UDP socket
// that would go past it.
func (h shapedHost) ListenPacket(ctx context.Context, network, address string) (net.PacketConn, error) {
	pc, err := h.host.ListenPacket(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return newShapedPackets(pc, h.line(), h.link.conditions.BlockUDP), nil
}

type shapedListener struct {
	net.Listener

	host shapedHost
}

func (l shapedListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return newShapedConn(c, l.host.line()), nil
}

// line decides when what is sent arrives. It belongs to whoever holds the lock of its socket.
type line struct {
	conditions link.Conditions
	random     *rand.Rand
	free       time.Time // when it has sent what it was given
	last       time.Time // when the last of it arrives
	newWaker   func() waker
}

// arrival returns when so many bytes arrive that are sent now.
func (l *line) arrival(now time.Time, size int) time.Time {
	start := now
	if l.free.After(start) {
		start = l.free
	}
	sent := start
	if rate := l.conditions.Rate; rate > 0 {
		sent = start.Add(time.Duration(float64(size) * 8 / rate * float64(time.Second)))
		l.free = sent
	}
	jitter := time.Duration((l.random.Float64() - 0.5) * float64(l.conditions.Jitter))
	if at := sent.Add(l.conditions.RTT/2 + jitter); at.After(l.last) { // nothing overtakes
		l.last = at
	}
	return l.last
}

const (
	// lineQueue is how long what is sent may wait for the line. A stream then waits to
	// write, and a datagram is dropped.
	lineQueue = 100 * time.Millisecond
	// onTheWay bounds the parts that are under way on one socket.
	onTheWay = 4096
	// closeTime bounds how long a socket that was closed still delivers.
	closeTime = 2 * time.Second
)

// parcel is what arrives at once.
type parcel struct {
	data []byte
	to   net.Addr // of a datagram
	at   time.Time
}

// shaper delivers parcels in their time.
type shaper struct {
	parcels chan parcel
	deliver func(parcel) error
	ended   chan struct{} // closed when nothing is delivered any more

	mu     sync.Mutex // guards what follows, and sending on parcels; a leaf
	line   *line
	closed bool
}

func newShaper(l *line, deliver func(parcel) error) *shaper {
	s := &shaper{parcels: make(chan parcel, onTheWay), deliver: deliver, ended: make(chan struct{}), line: l}
	go s.run()
	return s
}

func (s *shaper) run() {
	defer close(s.ended)
	w := s.line.newWaker()
	defer w.close()
	for p := range s.parcels {
		if w.wait(context.Background(), p.at, nil) != nil || s.deliver(p) != nil {
			return
		}
	}
}

// send takes a copy of the data. Who is patient waits while there is too much under way, and
// what others send is dropped then.
func (s *shaper) send(data []byte, to net.Addr, patient bool) error {
	for {
		sent, wait, err := s.try(data, to)
		if sent || err != nil || !patient {
			return err
		}
		select {
		case <-time.After(max(wait, time.Millisecond)):
		case <-s.ended:
			return net.ErrClosed
		}
	}
}

// try sends, or tells how long it is until there may be room.
func (s *shaper) try(data []byte, to net.Addr) (sent bool, wait time.Duration, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	wait = max(s.line.free.Sub(now), 0) - lineQueue // free is the zero time at first
	switch {
	case s.closed:
		return false, 0, net.ErrClosed
	case wait > 0 || len(s.parcels) == cap(s.parcels):
		return false, wait, nil
	}
	// Nobody else adds any, so that there is room.
	s.parcels <- parcel{append([]byte(nil), data...), to, s.line.arrival(now, len(data))}
	return true, 0, nil
}

// close ends it when what is under way has arrived.
func (s *shaper) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.closed = true
		close(s.parcels)
	}
}

// shapedConn is a TCP connection of which this end shapes what it sends.
type shapedConn struct {
	net.Conn

	shaper *shaper
	once   sync.Once
}

func newShapedConn(c net.Conn, l *line) *shapedConn {
	return &shapedConn{Conn: c, shaper: newShaper(l, func(p parcel) error {
		_, err := c.Write(p.data)
		return err
	})}
}

func (c *shapedConn) Write(p []byte) (int, error) {
	if err := c.shaper.send(p, nil, true); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Close ends reading at once, and the connection when what was written has arrived.
func (c *shapedConn) Close() error {
	c.once.Do(func() {
		_ = c.Conn.SetReadDeadline(time.Unix(1, 0))
		c.shaper.close()
		late := time.AfterFunc(closeTime, func() { _ = c.Conn.Close() })
		go func() {
			<-c.shaper.ended
			late.Stop()
			_ = c.Conn.Close()
		}()
	})
	return nil
}

// shapedPackets is a UDP socket that shapes what it sends.
type shapedPackets struct {
	net.PacketConn

	shaper  *shaper
	blocked bool
}

func newShapedPackets(pc net.PacketConn, l *line, blocked bool) *shapedPackets {
	return &shapedPackets{pc, newShaper(l, func(p parcel) error {
		if _, err := pc.WriteTo(p.data, p.to); errors.Is(err, net.ErrClosed) {
			return err
		}
		return nil // of one datagram
	}), blocked}
}

func (c *shapedPackets) WriteTo(p []byte, to net.Addr) (int, error) {
	if c.blocked {
		return len(p), nil
	}
	if err := c.shaper.send(p, to, false); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (c *shapedPackets) Close() error {
	c.shaper.close()
	return c.PacketConn.Close()
}
