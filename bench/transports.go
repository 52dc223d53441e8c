package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"

	"github.com/gridmux/gridmux/transport"
	"github.com/gridmux/gridmux/transport/inmem"
	"github.com/gridmux/gridmux/transport/websocket"
)

// kind is a transport that bench knows.
type kind struct {
	name  string
	about string
	open  func() network
}

// network is what joins the nodes of one cluster.
type network interface {
	// site makes room for the node called name.
	site(name string) (site, error)
}

// site is where a node runs: the machine that is still there when the process
// on it is killed.
type site interface {
	// addr is what the other nodes dial.
	addr() string
	// boot returns the transport of a process that starts here.
	boot() (transport.Transport, error)
	// kill ends the links of that process as the operating system does for one
	// that dies: the peers are told nothing but that. What no process has taken
	// yet is freed too.
	kill()
}

// reference is the transport that the others are compared with.
const reference = "websocket"

// kinds returns the transports in the order of the table.
func kinds() []kind {
	return []kind{
		{"inmem", "memory of this process", func() network { return memory{inmem.NewNetwork()} }},
		{reference, "TCP on the loopback interface", func() network { return loopback{} }},
	}
}

var errKilled = errors.New("the process was killed")

// memory is a network over inmem.
type memory struct{ net *inmem.Network }

func (m memory) site(name string) (site, error) { return &memorySite{net: m.net, name: name}, nil }

type memorySite struct {
	net     *inmem.Network
	name    string
	process *memoryProcess
}

func (s *memorySite) addr() string { return s.name }

func (s *memorySite) boot() (transport.Transport, error) {
	s.process = &memoryProcess{Transport: s.net.Node(s.name)}
	return s.process, nil
}

func (s *memorySite) kill() {
	if s.process != nil {
		s.process.dead.Store(true)
	}
	s.net.Crash(s.name)
}

// memoryProcess is a node's transport until the node is killed. It keeps the
// killed one, which has yet to be closed, from dialling.
type memoryProcess struct {
	transport.Transport

	dead atomic.Bool
}

func (p *memoryProcess) Dial(ctx context.Context, to transport.Peer) (transport.Conn, error) {
	if p.dead.Load() {
		return nil, errKilled
	}
	return p.Transport.Dial(ctx, to)
}

// loopback is a network over websocket, with ports that the system chooses.
type loopback struct{}

func (loopback) site(string) (site, error) {
	// Bound before any node starts, since all of them have to know its address.
	ln, err := listenTCP("127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("a port on the loopback interface: %w", err)
	}
	return &loopbackSite{address: ln.Addr().String(), first: ln}, nil
}

type loopbackSite struct {
	address string
	first   net.Listener // until the first process takes it
	process *loopbackProcess
}

func (s *loopbackSite) addr() string { return s.address }

func (s *loopbackSite) boot() (transport.Transport, error) {
	ln := s.first
	s.first = nil
	if ln == nil {
		var err error
		if ln, err = listenTCP(s.address); err != nil {
			return nil, err
		}
	}
	s.process = &loopbackProcess{Listener: ln}
	return websocket.New(websocket.Options{Listener: s.process, DialContext: s.process.dial}), nil
}

func (s *loopbackSite) kill() {
	if s.first != nil {
		s.first.Close()
	}
	if s.process != nil {
		s.process.kill()
	}
}

func listenTCP(addr string) (net.Listener, error) {
	return new(net.ListenConfig).Listen(context.Background(), "tcp", addr)
}

// loopbackProcess is the sockets of a node, to be closed when it is killed. The
// transport gets them as they are: what it does with a socket that it would not
// do with any net.Conn is a part of what is measured.
type loopbackProcess struct {
	net.Listener

	mu    sync.Mutex
	dead  bool
	conns []net.Conn
}

func (p *loopbackProcess) Accept() (net.Conn, error) {
	c, err := p.Listener.Accept()
	return p.adopt(c, err)
}

func (p *loopbackProcess) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	c, err := new(net.Dialer).DialContext(ctx, network, addr)
	return p.adopt(c, err)
}

func (p *loopbackProcess) adopt(c net.Conn, err error) (net.Conn, error) {
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

func (p *loopbackProcess) kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dead = true
	p.Close()
	for _, c := range p.conns {
		c.Close()
	}
}
