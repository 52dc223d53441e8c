package lab

import (
	"context"
	"net"
	"slices"
	"sync"
	"testing"

	"github.com/gridmux/gridmux/internal/memnet"
	"github.com/gridmux/gridmux/transport"
	"github.com/gridmux/gridmux/transport/devtls"
	"github.com/gridmux/gridmux/transport/inmem"
	"github.com/gridmux/gridmux/transport/websocket"
)

// network connects the nodes of one cluster.
type network interface {
	// node returns a transport for node i and its address.
	node(i int, name string) (transport.Transport, string)
	// cut ends the connections between two nodes abruptly.
	cut(a, b string)
	// stall holds what the present connections carry from one node to another.
	// Only networks of bubbles can.
	stall(from, to string)
}

// memoryNetwork is the simulated network of package inmem.
type memoryNetwork struct{ n *inmem.Network }

func (m memoryNetwork) node(_ int, name string) (transport.Transport, string) {
	return m.n.Node(name), name
}

func (m memoryNetwork) cut(a, b string) { m.n.Cut(a, b) }

func (m memoryNetwork) stall(from, to string) { m.n.Stall(from, to) }

// socketNetwork connects nodes by websocket, over TCP or over memnet.
type socketNetwork struct {
	t      testing.TB
	memory *memnet.Network // nil: TCP on the loopback device
	opts   []memnet.Option
	tls    bool

	mu       sync.Mutex
	addrs    map[string]string   // by name of the node
	conns    []*socketConnection // all ever made, but for those that were cut
	accepted map[string]net.Conn // by where they come from; memnet only
}

// socketConnection is one connection as the network sees it.
type socketConnection struct {
	from, to    string
	near        net.Conn // of the node that dialled
	listener    string
	dialledFrom string
}

func (c *socketConnection) between(a, b string) bool {
	return c.from == a && c.to == b || c.from == b && c.to == a
}

// acceptedAs is the name of its far end in socketNetwork.accepted.
func (c *socketConnection) acceptedAs() string { return c.listener + " " + c.dialledFrom }

func (s *socketNetwork) node(_ int, name string) (transport.Transport, string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	opts := websocket.Options{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		return s.dial(ctx, name, network, addr)
	}}
	addr := s.addrs[name]
	if s.memory != nil {
		addr = name + ":80"
		ln, err := s.memory.Listen(addr, s.opts...)
		if err != nil {
			s.t.Fatalf("listening for %s failed: %v", name, err)
		}
		opts.Listener = &watchedListener{ln, s}
	} else {
		if addr == "" {
			addr = "127.0.0.1:0"
		}
		ln, err := new(net.ListenConfig).Listen(s.t.Context(), "tcp", addr)
		if err != nil {
			s.t.Fatalf("listening for %s failed: %v", name, err)
		}
		addr = ln.Addr().String()
		opts.Listener = ln
		s.t.Cleanup(func() { ln.Close() })
	}
	if s.tls {
		opts.TLS = devtls.Config(name)
	}
	if s.addrs == nil {
		s.addrs = map[string]string{}
	}
	s.addrs[name] = addr
	return websocket.New(opts), addr
}

func (s *socketNetwork) dial(ctx context.Context, from, network, addr string) (net.Conn, error) {
	c := &socketConnection{from: from, listener: addr}
	var err error
	if s.memory != nil {
		c.near, err = s.memory.DialContext(ctx, network, addr)
	} else {
		c.near, err = new(net.Dialer).DialContext(ctx, network, addr)
	}
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c.dialledFrom = c.near.LocalAddr().String()
	for name, a := range s.addrs {
		if a == addr {
			c.to = name
		}
	}
	s.conns = append(s.conns, c)
	return c.near, nil
}

// watchedListener tells the network of the far ends of its connections.
type watchedListener struct {
	*memnet.Listener
	net *socketNetwork
}

func (w *watchedListener) Accept() (net.Conn, error) {
	nc, err := w.Listener.Accept()
	if err != nil {
		return nil, err
	}
	w.net.mu.Lock()
	defer w.net.mu.Unlock()
	// The dialler may not have told of it yet.
	if w.net.accepted == nil {
		w.net.accepted = map[string]net.Conn{}
	}
	w.net.accepted[w.Addr().String()+" "+nc.RemoteAddr().String()] = nc
	return nc, nil
}

// between returns the connections between two nodes.
func (s *socketNetwork) between(a, b string) (found []*socketConnection) {
	for _, c := range s.conns {
		if c.between(a, b) {
			found = append(found, c)
		}
	}
	return found
}

func (s *socketNetwork) cut(a, b string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.between(a, b) {
		if tcp, ok := c.near.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
		c.near.Close()
		delete(s.accepted, c.acceptedAs())
	}
	// A link that is cut ten thousand times would be ever slower to cut.
	s.conns = slices.DeleteFunc(s.conns, func(c *socketConnection) bool { return c.between(a, b) })
}

func (s *socketNetwork) stall(from, to string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.between(from, to) {
		reads := c.near
		if c.from == from {
			reads = s.accepted[c.acceptedAs()]
		}
		if conn, ok := reads.(*memnet.Conn); ok {
			conn.StallReads(true)
		}
	}
}
