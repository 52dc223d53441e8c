package link

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"
)

// A Link is an emulated link between two ends. Its methods may be called
// concurrently.
type Link struct {
	helper *helper
	ends   [2]End
}

// New makes a link that is c in both directions. Links of the same seed decide
// the same about the packets with the same numbers of each direction. It takes some ten
// milliseconds. The error wraps [ErrUnavailable] where the machine, or the
// user, cannot have emulated links.
func New(seed uint64, c Conditions) (*Link, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	h, v6, err := startHelper(setup{Seed: seed, Conditions: c})
	if err != nil {
		return nil, err
	}
	l := &Link{helper: h}
	for i := range l.ends {
		l.ends[i] = End{helper: h, number: i, addr: addrs4[i]}
		if v6 {
			l.ends[i].addr6 = addrs6[i]
		}
	}
	return l, nil
}

// A returns one end of the link.
func (l *Link) A() *End { return &l.ends[0] }

// B returns the other end.
func (l *Link) B() *End { return &l.ends[1] }

// Set changes the conditions of both directions for what is sent from now on. What is
// under way arrives when it would have. An MTU above 1500 is possible only up to
// the one that the link was made with.
func (l *Link) Set(c Conditions) error {
	return l.change(c, AToB, BToA)
}

// SetDirection is Set for one direction.
func (l *Link) SetDirection(d Direction, c Conditions) error {
	if err := d.validate(); err != nil {
		return err
	}
	return l.change(c, d)
}

func (l *Link) change(c Conditions, directions ...Direction) error {
	if err := c.Validate(); err != nil {
		return err
	}
	for _, d := range directions {
		if _, err := l.helper.call(request{Op: opSet, Direction: d, Conditions: c}); err != nil {
			return err
		}
	}
	return nil
}

// Block drops everything in a direction until it is called with false. The
// conditions stay as they are.
func (l *Link) Block(d Direction, blocked bool) error {
	if err := d.validate(); err != nil {
		return err
	}
	_, err := l.helper.call(request{Op: opBlock, Direction: d, Blocked: blocked})
	return err
}

// Stats returns what has happened in a direction since the link was made.
func (l *Link) Stats(d Direction) (Stats, error) {
	if err := d.validate(); err != nil {
		return Stats{}, err
	}
	answer, err := l.helper.call(request{Op: opStats, Direction: d})
	return answer.Stats, err
}

// Close ends the link and what belongs to it, and returns when nothing is left
// of it. Sockets that are still open reach nobody from then on. A second call does nothing.
func (l *Link) Close() error { return l.helper.close() }

// An End is one end of a link: a host with a loopback device and the link, and no
// route to anywhere else. Its methods may be called concurrently.
//
// The addresses of an end are the same for all links; ends of different
// links do not reach each other.
type End struct {
	helper *helper
	number int
	addr   netip.Addr
	addr6  netip.Addr
}

// Addr returns the IPv4 address of the end.
func (e *End) Addr() netip.Addr { return e.addr }

// Addr6 returns the IPv6 address of the end, or the zero Addr where the kernel has
// no IPv6.
func (e *End) Addr6() netip.Addr { return e.addr6 }

// Capture writes what passes the device of this end to a file from now on, in the pcap
// format that Wireshark and tcpdump read: what the end sends, also what is lost on the way,
// and what reaches it. Captures of both ends of a link show what happened between them; their
// times are those of one clock. The file is written from another process, to its end, until
// the link is closed, a write fails, or the end gets another file; the caller may close it
// at once.
func (e *End) Capture(file *os.File) error { return e.helper.capture(e.number, file) }

// Control moves a socket that was just made to this end. It is for
// [net.Dialer.Control] and [net.ListenConfig.Control], which call it at the right
// time, and makes any use of those a use of the link. Options that the program set
// before are lost, except those that the net package sets itself. The networks
// are those of TCP and UDP.
func (e *End) Control(network, _ string, c syscall.RawConn) error {
	var err error
	outer := c.Control(func(fd uintptr) { err = e.helper.transplant(e.number, int(fd)) })
	if err == nil {
		err = outer
	}
	if err != nil {
		return fmt.Errorf("link: %s socket on end %c: %w", network, "AB"[e.number], err)
	}
	return nil
}

// Dial is [net.Dialer.DialContext] from this end. Names are resolved outside of the link.
func (e *End) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	d := net.Dialer{Control: e.Control}
	return d.DialContext(ctx, network, address)
}

// Listen is [net.ListenConfig.Listen] on this end. Without a host in address it
// listens on all addresses of the end.
func (e *End) Listen(ctx context.Context, network, address string) (net.Listener, error) {
	lc := net.ListenConfig{Control: e.Control}
	return lc.Listen(ctx, network, address)
}

// ListenPacket is [net.ListenConfig.ListenPacket] on this end. Of a UDP network, it
// returns a [*net.UDPConn].
func (e *End) ListenPacket(ctx context.Context, network, address string) (net.PacketConn, error) {
	lc := net.ListenConfig{Control: e.Control}
	return lc.ListenPacket(ctx, network, address)
}
