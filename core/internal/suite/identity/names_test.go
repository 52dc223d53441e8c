package identity_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/internal/lab"
	"github.com/gridmux/gridmux/transport"
	"github.com/gridmux/gridmux/transport/devtls"
)

// TestNamesOfAllKinds expects nodes to prove by certificate whatever name the core
// lets them have, in both roles; and one of a name that looks like that of another
// in a certificate, or like a pattern, to stay out.
func TestNamesOfAllKinds(t *testing.T) {
	names := []string{
		"kv-0.kv.example", "köln", "节点", "rack 3/node 1", "node_1", "50%", "*", "*.example", "10.0.0.1:7000", "[fd00::1]:7000", "[fd00::2]", "dc1:n1", "dc1:n2", ":7000",
		strings.Repeat("x", 255), strings.Repeat("ö", 127),
	}
	overSecureLinks(t, func(t *testing.T, l secureLink) {
		for i, name := range names {
			network, ca := l.network(t), devtls.New()
			other := names[(i+1)%len(names)]
			nodes := []core.Node{{Name: name, Addr: "one:1"}, {Name: other, Addr: "two:1"}}
			var caller atomic.Pointer[core.Identity]
			start := func(local core.Node, certified string) *core.Manager {
				config := ca.Config(certified)
				m, err := core.NewManager(core.Config{
					Local: local, Peers: nodes, Logger: new(lab.LogBook).Logger(),
					Transport: network.node(strings.TrimSuffix(local.Addr, ":1"), func() (*tls.Config, error) { return config, nil }, nil, new(lab.LogBook)),
				})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { m.Close() })
				whoami := func(ctx context.Context, _ []byte) ([]byte, error) {
					id := core.CallerFromContext(ctx)
					caller.Store(&id)
					return nil, nil
				}
				if err := errors.Join(m.Handle("whoami", whoami), m.Start(t.Context())); err != nil {
					t.Fatal(err)
				}
				return m
			}
			one, two := start(nodes[0], name), start(nodes[1], other)
			for _, way := range []struct {
				from       *core.Manager
				caller, to string
			}{{one, name, other}, {two, other, name}} {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				if err := way.from.WaitConnected(ctx); err != nil {
					t.Fatalf("%q and %q: %v", name, other, err)
				}
				cancel()
				lab.MustCall(t, way.from.Connection(way.to), "whoami", nil)
				if got := caller.Load(); *got != (core.Identity{Name: way.caller, Method: "mutual TLS"}) {
					t.Errorf("%q is known as %+v", way.caller, got)
				}
			}
			two.Close()
			impostor := start(nodes[1], names[(i+2)%len(names)])
			time.Sleep(10 * time.Second)
			for _, m := range []*core.Manager{one, impostor} {
				for c := range m.Connections() {
					if s := c.State(); s != core.StateConnecting {
						t.Errorf("with a certificate of %q a node connects as %q", names[(i+2)%len(names)], other)
					}
				}
			}
			one.Close()
			impostor.Close()
		}
	})
}

// TestServerNameProvesNoName expects a node with a certificate of its own to be told
// from others though Options.ServerName holds all of them to one name alone: neither
// does who is dialled pass for another one, nor is such a node known by a name where
// anybody may connect (W58, T14).
func TestServerNameProvesNoName(t *testing.T) {
	shared := func(transport.Peer) string { return "grid.example" }
	overSecureLinks(t, func(t *testing.T, l secureLink) {
		for _, insecure := range []bool{false, true} {
			network, ca := l.network(t), devtls.New()
			nodes := []core.Node{{Name: "n1", Addr: "one:1"}, {Name: "n2", Addr: "two:1"}}
			start := func(i int, own string, serverName func(transport.Peer) string) *core.Manager {
				config := lab.Certified(t, ca, own, func(c *x509.Certificate) { c.DNSNames = []string{own, "grid.example"} })
				m, err := core.NewManager(core.Config{
					Local: nodes[i], Peers: nodes, AllowInsecure: insecure, Logger: new(lab.LogBook).Logger(),
					Transport: network.node(strings.TrimSuffix(nodes[i].Addr, ":1"),
						func() (*tls.Config, error) { return config, nil }, serverName, new(lab.LogBook)),
				})
				if err != nil {
					t.Fatal(err)
				}
				whoami := func(ctx context.Context, _ []byte) ([]byte, error) {
					return []byte(core.CallerFromContext(ctx).Name), nil
				}
				t.Cleanup(func() { m.Close() })
				if err := errors.Join(m.Handle("whoami", whoami), m.Start(t.Context())); err != nil {
					t.Fatal(err)
				}
				return m
			}
			victim := start(0, "n1", shared)
			other := start(1, "n2", shared)
			lab.MustCall(t, victim.Connection("n2"), "whoami", nil, core.WaitForConnection())
			if got := lab.MustCall(t, other.Connection("n1"), "whoami", nil); string(got) != "n2" {
				t.Errorf("the node n2 is known as %q", got)
			}
			other.Close()
			time.Sleep(time.Second) // until the victim knows

			// It does not dial n1, which would find out who it is.
			impostor := start(1, "n3", func(transport.Peer) string { return "nobody" })
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			down := victim.Connection("n2").WaitConnected(ctx)
			cancel()
			switch {
			case !insecure && (down == nil || !strings.Contains(down.Error(), `the link proved the name "grid.example", not "n2"`)):
				t.Errorf("a node with the certificate of n3 that is dialled as n2: %v", down)
			case insecure:
				lab.MustCall(t, victim.Connection("n2"), "whoami", nil)
				if got := lab.MustCall(t, impostor.Connection("n1"), "whoami", nil); string(got) != "" {
					t.Errorf("a node with the certificate of n3 is known as %q", got)
				}
			}
			victim.Close()
			impostor.Close()
		}
	})
}
