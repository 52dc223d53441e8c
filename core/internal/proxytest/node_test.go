//go:build external && linux

package proxytest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"testing"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/transport/websocket"
)

// nodeConfig is the example of docs/nginx.md.
func nodeConfig(local core.Node, listen string, peers []core.Node, roots *x509.CertPool, key []byte) core.Config {
	ws := websocket.New(websocket.Options{
		// The authorities that issued nginx's certificates. There is no
		// certificate of our own, so Dial uses TLS and Listen does not.
		TLS: &tls.Config{RootCAs: roots},
	})
	return core.Config{
		Local:     local,  // Addr is that of nginx, which the others dial: "10.0.0.1:443"
		Listen:    listen, // what nginx passes connections to: "127.0.0.1:7000"
		Peers:     peers,  // the other nodes, with their names and nginx's addresses
		Transport: ws,
		// Nodes prove who they are by themselves, since TLS ends at nginx: here
		// with a secret of at least 16 random bytes that all of them have.
		Auth:          core.SharedKey(key),
		AllowTLSProxy: true,
	}
}

// cluster is two nodes, each behind nginx.
type cluster struct {
	nodes [2]*core.Manager
	names [2]string
}

// setup says what differs from the page.
type setup struct {
	conf func(conf string) string         // nil: nothing
	node func(cfg *core.Config, node int) // nil: nothing
}

// start makes and starts the nodes, and nginx in front of them.
func start(t *testing.T, s setup) *cluster {
	t.Helper()
	authority := newAuthority(t)
	c := &cluster{names: [2]string{"node1", "node2"}}
	var members []core.Node
	var servers [2]server
	for i, name := range c.names {
		servers[i].listener = listen(t)
		servers[i].cert, servers[i].key = authority.issue(t, name)
		members = append(members, core.Node{Name: name, Addr: servers[i].listener.Addr().String()})
	}
	for i := range c.nodes {
		cfg := nodeConfig(members[i], "127.0.0.1:0", members, authority.pool, []byte("a key of the whole cluster"))
		if s.node != nil {
			s.node(&cfg, i)
		}
		m, err := core.NewManager(cfg)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { m.Close() })
		if err := errors.Join(m.Handle("echo", echo), m.Handle("wait", wait)); err != nil {
			t.Fatal(err)
		}
		if err := m.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		c.nodes[i] = m
		servers[i].upstream = m.Addr()
	}
	if s.conf == nil {
		s.conf = func(conf string) string { return conf }
	}
	startNginx(t, servers, s.conf)
	return c
}

func echo(_ context.Context, req []byte) ([]byte, error) { return req, nil }

// wait ends with its call.
func wait(ctx context.Context, _ []byte) ([]byte, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// links returns the connection of each node to the other.
func (c *cluster) links() [2]*core.Connection {
	return [2]*core.Connection{c.nodes[0].Connection(c.names[1]), c.nodes[1].Connection(c.names[0])}
}
