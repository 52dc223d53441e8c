//go:build external && linux

package proxytest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"testing"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/transport/websocket"
)

// newNode is the example of docs/nginx.md.
func newNode(local core.Node, listen string, peers []core.Node, roots *x509.CertPool, keepAlive time.Duration) (*core.Manager, error) {
	ws := websocket.New(websocket.Options{
		// The authorities that issued nginx's certificates. There is no
		// certificate of our own, so Dial uses TLS and Listen does not.
		TLS: &tls.Config{RootCAs: roots},
	})
	return core.NewManager(core.Config{
		Local:     local,  // Addr is that of nginx, which the others dial: "10.0.0.1:443"
		Listen:    listen, // what nginx passes connections to: "127.0.0.1:7000"
		Peers:     peers,  // the other nodes, with their names and nginx's addresses
		Transport: ws,
		// Twice this and once that must be less than proxy_read_timeout. 0 for
		// the defaults, which are 5 s each.
		KeepAlive: keepAlive, KeepAliveTimeout: keepAlive,
		// The node cannot see who is at the other end of the proxy.
		AllowInsecure: true,
	})
}

// cluster is two nodes, each behind nginx.
type cluster struct {
	nodes [2]*core.Manager
	names [2]string
}

// start makes and starts the nodes, and nginx in front of them with its
// configuration changed by edit.
func start(t *testing.T, keepAlive time.Duration, edit func(conf string) string) *cluster {
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
		m, err := newNode(members[i], "127.0.0.1:0", members, authority.pool, keepAlive)
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
	startNginx(t, servers, edit)
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
