package identity_test

import (
	"context"
	"crypto/tls"
	"log"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/core/internal/lab"
	"github.com/gridmux/gridmux/internal/memnet"
	"github.com/gridmux/gridmux/internal/packetnet"
	"github.com/gridmux/gridmux/transport"
	"github.com/gridmux/gridmux/transport/quic"
	"github.com/gridmux/gridmux/transport/websocket"
)

// secureLink is a transport over TLS, on a network that works in a bubble.
type secureLink struct {
	name    string
	network func(t *testing.T) secureNetwork
	// What nodes say, where transports have words of their own.
	noTLS   string // the dialler, of a peer that does not speak TLS
	noPlain string // the dialler, when it does not speak TLS and the peer does; empty: there is no such dialler
	noCert  string // Start, of a node without a certificate; empty: such a node does without TLS
}

type secureNetwork interface {
	// node returns a transport for the node at that host, which takes its configuration from get, or does
	// without TLS if get is nil, and tells book which strangers have failed. Whom it dials it holds to the
	// name that serverName returns, if that is not nil.
	node(host string, get func() (*tls.Config, error), serverName func(transport.Peer) string, book *lab.LogBook) transport.Transport
	// cut ends all connections abruptly.
	cut()
	// open returns how many ends of connections are not closed.
	open() int
}

// secureLinks are all the transports over TLS.
var secureLinks = []secureLink{
	{
		name: "wss", network: func(*testing.T) secureNetwork { return new(wssNetwork) },
		noTLS: "first record does not look like a TLS handshake", noPlain: "Client sent an HTTP request to an HTTPS server",
	},
	{
		name: "quic", network: func(t *testing.T) secureNetwork {
			return quicNetwork{lab.NewQUICNetwork(t, packetnet.Conditions{Latency: time.Millisecond}, 1)}
		},
		noCert: "no certificate to listen with",
	},
}

// overSecureLinks runs a test over each of them, in a bubble.
func overSecureLinks(t *testing.T, f func(t *testing.T, l secureLink)) {
	for _, l := range secureLinks {
		t.Run(l.name, func(t *testing.T) { synctest.Test(t, func(t *testing.T) { f(t, l) }) })
	}
}

// wssNetwork is websocket over TLS over simulated sockets.
type wssNetwork struct {
	memory memnet.Network

	mu    sync.Mutex
	conns map[*endOfConn]struct{} // that are open
}

func (n *wssNetwork) node(
	_ string, get func() (*tls.Config, error), serverName func(transport.Peer) string, book *lab.LogBook,
) transport.Transport {
	return websocket.New(websocket.Options{
		GetTLS:      get,
		ServerName:  serverName,
		ErrorLog:    log.New(book, "", 0),
		DialContext: n.dial,
		Listen: func(ctx context.Context, network, addr string) (net.Listener, error) {
			ln, err := n.memory.ListenContext(ctx, network, addr)
			return &watchedListener{ln, n}, err
		},
	})
}

func (n *wssNetwork) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	nc, err := n.memory.DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	return n.watch(nc), nil
}

func (n *wssNetwork) watch(nc net.Conn) net.Conn {
	c := &endOfConn{nc, n}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.conns == nil {
		n.conns = map[*endOfConn]struct{}{}
	}
	n.conns[c] = struct{}{}
	return c
}

func (n *wssNetwork) cut() {
	n.mu.Lock()
	var all []*endOfConn
	for c := range n.conns {
		all = append(all, c)
	}
	n.mu.Unlock()
	for _, c := range all {
		c.Close()
	}
}

func (n *wssNetwork) open() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.conns)
}

type watchedListener struct {
	net.Listener
	n *wssNetwork
}

func (l *watchedListener) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return l.n.watch(nc), nil
}

// endOfConn is one end of a connection.
type endOfConn struct {
	net.Conn
	n *wssNetwork
}

func (c *endOfConn) Close() error {
	c.n.mu.Lock()
	delete(c.n.conns, c)
	c.n.mu.Unlock()
	return c.Conn.Close()
}

// quicNetwork is QUIC over a simulated network of datagrams.
type quicNetwork struct{ *lab.QUICNetwork }

func (n quicNetwork) node(
	host string, get func() (*tls.Config, error), serverName func(transport.Peer) string, book *lab.LogBook,
) transport.Transport {
	return n.Node(host, quic.Options{GetTLS: get, ServerName: serverName, Logger: book.Logger()})
}

func (n quicNetwork) cut() { n.Cut() }

func (n quicNetwork) open() int { return n.Open() }
