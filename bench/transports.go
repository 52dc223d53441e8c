package main

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/gridmux/gridmux/transport"
	"github.com/gridmux/gridmux/transport/inmem"
)

// kind is a transport that bench knows.
type kind struct {
	name  string
	about string
	// carrier is what of the host it is over.
	carrier carrier
	// tls: its peers prove who they are.
	tls  bool
	open func(at hosts) network
}

// carrier is what a transport is over.
type carrier int

const (
	overMemory carrier = iota // and so over no link
	overTCP
	overUDP
)

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
		{"inmem", "memory of this process", overMemory, false, func(hosts) network { return memory{inmem.NewNetwork()} }},
		{reference, "TCP on the loopback interface", overTCP, false, func(at hosts) network { return tcpNetwork{at, false} }},
		{"wss", "websocket with TLS on the loopback interface", overTCP, true, func(at hosts) network { return tcpNetwork{at, true} }},
		{"quic", "QUIC on the loopback interface", overUDP, true, func(at hosts) network { return udpNetwork{at} }},
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
