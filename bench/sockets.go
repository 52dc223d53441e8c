package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"

	quicgo "github.com/quic-go/quic-go"

	"github.com/gridmux/gridmux/transport"
	"github.com/gridmux/gridmux/transport/devtls"
	"github.com/gridmux/gridmux/transport/quic"
	"github.com/gridmux/gridmux/transport/websocket"
)

// host is where sockets are made: this machine, or an end of an emulated link.
type host interface {
	Addr() netip.Addr
	Dial(ctx context.Context, network, address string) (net.Conn, error)
	Listen(ctx context.Context, network, address string) (net.Listener, error)
	ListenPacket(ctx context.Context, network, address string) (net.PacketConn, error)
}

// hosts tells where the node of a name runs.
type hosts func(node string) host

// onLoopback is all nodes on this machine.
func onLoopback(string) host { return thisHost{} }

// thisHost is this machine, by its loopback interface.
type thisHost struct{}

func (thisHost) Addr() netip.Addr { return netip.AddrFrom4([4]byte{127, 0, 0, 1}) }

func (thisHost) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, network, address)
}

func (thisHost) Listen(ctx context.Context, network, address string) (net.Listener, error) {
	return new(net.ListenConfig).Listen(ctx, network, address)
}

func (thisHost) ListenPacket(ctx context.Context, network, address string) (net.PacketConn, error) {
	return new(net.ListenConfig).ListenPacket(ctx, network, address)
}

// tuned is a host whose TCP has another congestion control than it would.
type tuned struct {
	host

	congestion string
}

func (h tuned) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	c, err := h.host.Dial(ctx, network, address)
	return tune(c, err, h.congestion)
}

func (h tuned) Listen(ctx context.Context, network, address string) (net.Listener, error) {
	ln, err := h.host.Listen(ctx, network, address)
	return tune(ln, err, h.congestion)
}

// tune returns a socket that was made, unless err, with a congestion control.
func tune[T io.Closer](socket T, err error, congestion string) (T, error) {
	if err == nil {
		if err = setTCPCongestion(socket, congestion); err != nil {
			err = fmt.Errorf("congestion control %s: %w", congestion, err)
			socket.Close()
		}
	}
	return socket, err
}

// anyPort is an address on which the system chooses the port.
func anyPort(h host) string { return netip.AddrPortFrom(h.Addr(), 0).String() }

// tcpNetwork is a network over websocket, with ports that the system chooses.
type tcpNetwork struct {
	at  hosts
	tls bool
}

func (n tcpNetwork) site(name string) (site, error) {
	s := &tcpSite{host: n.at(name)}
	if n.tls {
		s.options.TLS = devtls.Config(name)
	}
	// Bound before any node starts, since all of them have to know its address.
	var err error
	if s.first, err = s.Listen(context.Background(), "tcp", anyPort(s.host)); err != nil {
		return nil, fmt.Errorf("a TCP port: %w", err)
	}
	s.address = s.first.Addr().String()
	return s, nil
}

type tcpSite struct {
	host

	address string
	options websocket.Options
	first   net.Listener // until the first process takes it
	process *tcpProcess
}

func (s *tcpSite) addr() string { return s.address }

func (s *tcpSite) boot() (transport.Transport, error) {
	ln := s.first
	s.first = nil
	if ln == nil {
		var err error
		if ln, err = s.Listen(context.Background(), "tcp", s.address); err != nil {
			return nil, err
		}
	}
	s.process = &tcpProcess{Listener: ln, host: s.host}
	o := s.options
	o.Listener, o.DialContext = s.process, s.process.dial
	return websocket.New(o), nil
}

func (s *tcpSite) kill() {
	if s.first != nil {
		s.first.Close()
	}
	if s.process != nil {
		s.process.kill()
	}
}

// tcpProcess is the sockets of a node, to be closed when it is killed. The
// transport gets them as they are: what it does with a socket that it would not
// do with any net.Conn is a part of what is measured.
type tcpProcess struct {
	net.Listener

	host host

	mu    sync.Mutex
	dead  bool
	conns []net.Conn
}

func (p *tcpProcess) Accept() (net.Conn, error) {
	c, err := p.Listener.Accept()
	return p.adopt(c, err)
}

func (p *tcpProcess) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	c, err := p.host.Dial(ctx, network, addr)
	return p.adopt(c, err)
}

func (p *tcpProcess) adopt(c net.Conn, err error) (net.Conn, error) {
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.dead {
		c.Close()
		return nil, errKilled
	}
	p.conns = append(p.conns, c)
	return c, nil
}

func (p *tcpProcess) kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dead = true
	p.Close()
	for _, c := range p.conns {
		c.Close()
	}
}

// udpNetwork is a network over QUIC, with ports that the system chooses.
type udpNetwork struct{ at hosts }

func (n udpNetwork) site(name string) (site, error) {
	s := &udpSite{host: n.at(name), name: name}
	_, _ = rand.Read(s.resetKey[:]) // never fails
	var err error
	if s.socket, err = s.ListenPacket(context.Background(), "udp", anyPort(s.host)); err != nil {
		return nil, fmt.Errorf("a UDP port: %w", err)
	}
	s.address = s.socket.LocalAddr().String()
	return s, nil
}

type udpSite struct {
	host

	name, address string
	// resetKey is the same for every process here, as a node has it that keeps its
	// private key: by it a restarted one tells its peers that it knows nothing of them.
	resetKey quicgo.StatelessResetKey
	socket   net.PacketConn // nil after the process that it was for was killed
}

func (s *udpSite) addr() string { return s.address }

func (s *udpSite) boot() (transport.Transport, error) {
	if s.socket == nil {
		var err error
		if s.socket, err = s.ListenPacket(context.Background(), "udp", s.address); err != nil {
			return nil, err
		}
	}
	return quic.New(quic.Options{
		TLS: devtls.Config(s.name), PacketConn: s.socket, StatelessResetKey: &s.resetKey,
	}), nil
}

func (s *udpSite) kill() {
	if s.socket != nil {
		s.socket.Close()
		s.socket = nil
	}
}
