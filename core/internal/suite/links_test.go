package suite_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/coretest"
	"github.com/gridmux/gridmux/internal/memnet"
	"github.com/gridmux/gridmux/transport"
	"github.com/gridmux/gridmux/transport/inmem"
	"github.com/gridmux/gridmux/transport/websocket"
)

// link is a way to connect nodes. Every test of behaviour runs over each link
// that it can run over.
type link struct {
	name string
	// bubble: it works in a synctest bubble, and tests over it run in one.
	bubble bool
	// secure: nodes connect without Config.AllowInsecure.
	secure bool
	make   func(t testing.TB) network
}

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

var links = []*link{
	{name: "inmem", bubble: true, secure: true, make: func(testing.TB) network { return memoryNetwork{inmem.NewNetwork()} }},
	{name: "websocket-memnet", bubble: true, make: func(t testing.TB) network { return &socketNetwork{t: t, memory: new(memnet.Network)} }},
	{name: "websocket-tcp", make: func(t testing.TB) network { return &socketNetwork{t: t} }},
	{name: "wss-tcp", secure: true, make: func(t testing.TB) network { return &socketNetwork{t: t, tls: true} }},
}

// overLinks runs a test over every link, in a bubble where the link works in
// one. Over the others time is real: a test waits for events, never for time.
func overLinks(t *testing.T, f func(t *testing.T, l *link)) {
	for _, l := range links {
		t.Run(l.name, func(t *testing.T) {
			if l.bubble {
				synctest.Test(t, func(t *testing.T) { f(t, l) })
			} else {
				f(t, l)
			}
		})
	}
}

// inBubbles runs a test of times over the links that work in a bubble.
func inBubbles(t *testing.T, f func(t *testing.T, l *link)) {
	for _, l := range links {
		if l.bubble {
			t.Run(l.name, func(t *testing.T) { synctest.Test(t, func(t *testing.T) { f(t, l) }) })
		}
	}
}

// overSockets runs a test over the links that are no simulation.
func overSockets(t *testing.T, f func(t *testing.T, l *link)) {
	for _, l := range links {
		if !l.bubble {
			t.Run(l.name, func(t *testing.T) { f(t, l) })
		}
	}
}

// cluster is a coretest.Cluster over a link, with a ledger whose handlers, and
// a few echoes, all nodes have.
type cluster struct {
	*coretest.Cluster
	t      testing.TB
	link   *link
	net    network
	ledger *coretest.Ledger
}

// cluster starts n nodes.
func (l *link) cluster(t testing.TB, n int, opts ...coretest.Option) *cluster {
	t.Helper()
	c := &cluster{t: t, link: l, net: l.make(t), ledger: coretest.NewLedger()}
	opts = append([]coretest.Option{
		coretest.WithTransport(c.net.node),
		coretest.WithConfig(func(_ int, cfg *core.Config) { cfg.AllowInsecure = !l.secure }),
		coretest.WithHandlers(func(_ int, m *core.Manager) error { return registerEchoes(m) }),
		coretest.WithHandlers(func(_ int, m *core.Manager) error { return c.ledger.Register(m) }),
	}, opts...)
	c.Cluster = coretest.NewCluster(t, n, opts...)
	return c
}

func (c *cluster) cut(a, b int)       { c.net.cut(c.Node(a).Name, c.Node(b).Name) }
func (c *cluster) stall(from, to int) { c.net.stall(c.Node(from).Name, c.Node(to).Name) }

// silence makes the present connections between two nodes dead in both
// directions, without either noticing.
func (c *cluster) silence(a, b int) {
	c.stall(a, b)
	c.stall(b, a)
}

// checkLedger closes all nodes, waits for the handlers of the ledger, and fails
// the test if anybody was lied to.
func (c *cluster) checkLedger() {
	c.t.Helper()
	for i := range c.Len() {
		c.Manager(i).Close()
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := c.ledger.WaitIdle(ctx); err != nil {
		c.t.Error(err)
	}
	if err := c.ledger.Check(); err != nil {
		c.t.Errorf("the ledger disagrees with what callers were told: %v", err)
	}
}

// memoryNetwork is the simulated network of package inmem.
type memoryNetwork struct{ n *inmem.Network }

func (m memoryNetwork) node(_ int, name string) (transport.Transport, string) {
	return m.n.Node(name), name
}
func (m memoryNetwork) cut(a, b string)       { m.n.Cut(a, b) }
func (m memoryNetwork) stall(from, to string) { m.n.Stall(from, to) }

// socketNetwork connects nodes by websocket, over TCP or over memnet.
type socketNetwork struct {
	t      testing.TB
	memory *memnet.Network // nil: TCP on the loopback device
	opts   []memnet.Option
	tls    bool

	mu       sync.Mutex
	addrs    map[string]string       // by name of the node
	conns    []*socketConnection     // all ever made
	accepted map[string]*memnet.Conn // by where they come from; memnet only
}

// socketConnection is one connection as the network sees it.
type socketConnection struct {
	from, to    string
	near        net.Conn // of the node that dialled
	listener    string
	dialledFrom string
}

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
		ln, err := net.Listen("tcp", addr)
		if err != nil {
			s.t.Fatalf("listening for %s failed: %v", name, err)
		}
		addr = ln.Addr().String()
		opts.Listener = ln
		s.t.Cleanup(func() { ln.Close() })
	}
	if s.tls {
		opts.TLS = certificates().config(s.t, name)
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
		w.net.accepted = map[string]*memnet.Conn{}
	}
	w.net.accepted[w.Addr().String()+" "+nc.RemoteAddr().String()] = nc.(*memnet.Conn)
	return nc, nil
}

// between returns the connections between two nodes.
func (s *socketNetwork) between(a, b string) (found []*socketConnection) {
	for _, c := range s.conns {
		if c.from == a && c.to == b || c.from == b && c.to == a {
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
			tcp.SetLinger(0)
		}
		c.near.Close()
	}
}

func (s *socketNetwork) stall(from, to string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.between(from, to) {
		far := s.accepted[c.listener+" "+c.dialledFrom]
		switch {
		case c.from == from && far != nil:
			far.StallReads(true)
		case c.to == from && s.memory != nil:
			c.near.(*memnet.Conn).StallReads(true)
		}
	}
}

// authority issues the certificates of the nodes.
type authority struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
	pool *x509.CertPool

	mu     sync.Mutex
	issued map[string]tls.Certificate
}

// certificates is the authority of all tests.
var certificates = sync.OnceValue(func() *authority {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "gridmux tests"},
		NotBefore: time.Unix(0, 0), NotAfter: time.Now().AddDate(10, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		panic(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return &authority{key: key, cert: cert, pool: pool, issued: map[string]tls.Certificate{}}
})

// config returns the configuration for mutual TLS of the node with that name.
func (a *authority) config(t testing.TB, name string) *tls.Config {
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, ok := a.issued[name]; !ok {
		cert, err := a.issue(name)
		if err != nil {
			t.Fatalf("issuing a certificate for %s failed: %v", name, err)
		}
		a.issued[name] = cert
	}
	return &tls.Config{
		Certificates: []tls.Certificate{a.issued[name]},
		RootCAs:      a.pool,
		ClientCAs:    a.pool,
		ClientAuth:   tls.RequireAndVerifyClientCert,
	}
}

func (a *authority) issue(name string) (cert tls.Certificate, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return cert, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(int64(len(a.issued) + 2)), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: a.cert.NotBefore, NotAfter: a.cert.NotAfter, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		return cert, fmt.Errorf("sign: %w", err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}
