package threats_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/internal/wire"
	"github.com/gridmux/gridmux/transport"
	"github.com/gridmux/gridmux/transport/devtls"
	"github.com/gridmux/gridmux/transport/websocket"
)

// tlsProxy passes on what arrives at it, over links of its own.
type tlsProxy struct {
	addr string
	wg   sync.WaitGroup

	mu    sync.Mutex
	conns []net.Conn
	over  bool
}

// newTLSProxy starts a proxy in front of target. It speaks TLS towards those who
// connect if accept is not nil, and towards the target if dial is not nil.
func newTLSProxy(t *testing.T, target string, accept, dial *tls.Config) *tlsProxy {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("listening failed: %v", err)
	}
	p := &tlsProxy{addr: ln.Addr().String()}
	p.wg.Go(func() {
		for {
			in, err := ln.Accept()
			if err != nil {
				return
			}
			p.wg.Go(func() { p.pass(in, target, accept, dial) })
		}
	})
	t.Cleanup(func() {
		ln.Close()
		p.mu.Lock()
		p.over = true
		for _, c := range p.conns {
			c.Close()
		}
		p.mu.Unlock()
		p.wg.Wait()
	})
	return p
}

func (p *tlsProxy) pass(in net.Conn, target string, accept, dial *tls.Config) {
	out, err := net.Dial("tcp", target)
	if err != nil {
		in.Close()
		return
	}
	p.mu.Lock()
	if p.over {
		in.Close()
		out.Close()
	}
	p.conns = append(p.conns, in, out)
	p.mu.Unlock()
	if accept != nil {
		in = tls.Server(in, accept)
	}
	if dial != nil {
		out = tls.Client(out, dial)
	}
	var both sync.WaitGroup
	for _, way := range [][2]net.Conn{{in, out}, {out, in}} {
		both.Go(func() {
			_, _ = io.Copy(way[0], way[1])
			in.Close()
			out.Close()
		})
	}
	both.Wait()
}

// TestProofsAreBoundToTLS puts somebody between two nodes who ends TLS: with a
// certificate of his own that is valid, and TLS on both legs, or on one leg
// only. The nodes find out, although both have the key, and what they say leads
// to the option that permits it. Where both nodes set it they connect (T16,
// T17).
func TestProofsAreBoundToTLS(t *testing.T) {
	dialler, acceptor := dialOrder(t)
	server := func(name string) *tls.Config {
		c := devtls.Config(name)
		c.ClientAuth = tls.NoClientCert
		return c
	}
	client := &tls.Config{RootCAs: devtls.Config("").RootCAs, ServerName: acceptor}
	for _, test := range []struct {
		name         string
		takes        *tls.Config // of the acceptor
		dials        *tls.Config // of the dialler
		accept, dial *tls.Config // of the proxy
		dialler      []string    // what it says
		acceptor     []string
	}{
		{
			"TLS on both legs", server(acceptor), server(dialler), server(acceptor), client,
			[]string{"code 20", "tells strangers no reason", "Config.Auth"},
			[]string{"inbound connection refused", "proof was not accepted", "ends TLS", "Config.AllowTLSProxy"},
		},
		{
			"TLS at the dialler", nil, server(dialler), server(acceptor), nil,
			[]string{"one end of the link speaks TLS", "Config.AllowTLSProxy on both"},
			[]string{"inbound connection refused", "one end of the link speaks TLS", "Config.AllowTLSProxy on both"},
		},
		{
			"TLS at the acceptor", server(acceptor), nil, nil, client,
			[]string{"one end of the link speaks TLS", "Config.AllowTLSProxy on both"},
			[]string{"inbound connection refused", "one end of the link speaks TLS", "Config.AllowTLSProxy on both"},
		},
	} {
		for _, allowed := range [][2]bool{{false, false}, {true, false}, {false, true}, {true, true}} {
			t.Run(test.name+allowedName(allowed), func(t *testing.T) {
				d, a := newMember(t, dialler, test.dials), newMember(t, acceptor, test.takes)
				proxy := newTLSProxy(t, a.addr, test.accept, test.dial)
				config := func(name string, allow bool) core.Config {
					return core.Config{Local: core.Node{Name: name}, Auth: core.SharedKey(testKey), AllowTLSProxy: allow}
				}
				// The acceptor cannot reach the dialler past the proxy.
				if err := a.start(t, config(acceptor, allowed[1]), core.Node{Name: dialler, Addr: closedPort(t)}); err != nil {
					t.Fatal(err)
				}
				if err := d.start(t, config(dialler, allowed[0]), core.Node{Name: acceptor, Addr: proxy.addr}); err != nil {
					t.Fatal(err)
				}
				if allowed == [2]bool{true, true} {
					connected(t, d, acceptor)
					connected(t, a, dialler)
					return
				}
				refusedWith(t, d, acceptor, test.dialler...)
				learns(t, a, test.acceptor...)
			})
		}
	}
}

func allowedName(allowed [2]bool) string {
	switch allowed {
	case [2]bool{true, true}:
		return ", both allow it"
	case [2]bool{true, false}:
		return ", the dialler allows it"
	case [2]bool{false, true}:
		return ", the acceptor allows it"
	default:
		return ""
	}
}

// closedPort is an address that nobody listens at.
func closedPort(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("listening failed: %v", err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// TestAuthOverTLS is the twin: with nobody in between proofs that are bound to
// TLS are good, with the versions of TLS that there are.
func TestAuthOverTLS(t *testing.T) {
	dialler, acceptor := dialOrder(t)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for _, kind := range identityKinds {
			conf := func(name string) *tls.Config {
				c := devtls.Config(name)
				c.ClientAuth, c.MinVersion, c.MaxVersion = tls.NoClientCert, version, version
				return c
			}
			d, a := newMember(t, dialler, conf(dialler)), newMember(t, acceptor, conf(acceptor))
			if err := a.start(t, core.Config{Local: core.Node{Name: acceptor}, Auth: kind.auth(acceptor)}, core.Node{Name: dialler, Addr: d.addr}); err != nil {
				t.Fatal(err)
			}
			if err := d.start(t, core.Config{Local: core.Node{Name: dialler}, Auth: kind.auth(dialler)}, core.Node{Name: acceptor, Addr: a.addr}); err != nil {
				t.Fatal(err)
			}
			connected(t, d, acceptor)
			connected(t, a, dialler)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			if err := d.WaitConnected(ctx); err != nil {
				t.Errorf("%s over TLS %#x: %v", kind.name, version, err)
			}
			cancel()
		}
	}
}

// TestProtocolBinding holds both TLS versions to the binding of W70, made here
// once more from the TLS session of a link, and the proof to it.
func TestProtocolBinding(t *testing.T) {
	_, acceptor := dialOrder(t)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for name, good := range map[string]bool{"EXPORTER-gridmux-1": true, "EXPORTER-gridmux-2": false, "": false} {
			conf := devtls.Config(acceptor)
			conf.ClientAuth, conf.MinVersion, conf.MaxVersion = tls.NoClientCert, version, version
			a := newMember(t, acceptor, conf)
			if err := a.start(t, core.Config{Local: core.Node{Name: acceptor}, Auth: core.SharedKey(testKey)}, core.Node{Name: "raw", Addr: closedPort(t)}); err != nil {
				t.Fatal(err)
			}
			tr := websocket.New(websocket.Options{TLS: &tls.Config{RootCAs: devtls.Config("").RootCAs}})
			tc, err := tr.Dial(t.Context(), transport.Peer{Name: acceptor, Addr: a.addr})
			if err != nil {
				t.Fatalf("dialling failed: %v", err)
			}
			defer tc.CloseWithError(0, "")
			var binding []byte
			if name != "" {
				if binding, err = tc.Info().TLS.ExportKeyingMaterial(name, nil, 32); err != nil {
					t.Fatal(err)
				}
			}
			write := func(b []byte) []byte {
				t.Helper()
				if err := tc.WriteFrames([][]byte{append(make([]byte, tc.Info().Headroom), b...)}); err != nil {
					t.Fatalf("writing failed: %v", err)
				}
				return b
			}
			read := func() []byte {
				t.Helper()
				b, err := tc.ReadFrame(wire.MaxHandshakeFrame)
				if err != nil {
					t.Fatalf("reading failed: %v", err)
				}
				return bytes.Clone(b)
			}
			said := write(wire.AppendInit(nil, &wire.Init{MinVersion: 1, MaxVersion: 1, Link: wire.LinkTLS}))
			said = append(said, read()...)
			said = append(said, write(wire.AppendHello(nil, &wire.Hello{
				From: "raw", To: acceptor, Instance: [16]byte{1}, MaxFrame: wire.MinMaxFrame, MaxMsg: 1, Window: wire.DefaultWindow, MaxCalls: 1,
			}))...)
			write(wire.AppendProof(nil, rawIdentity{shared: testKey}.prove(rawTranscript(rawDialler, said, binding))))
			answer := read()
			if got, _ := wire.PeekType(answer); (got == wire.TypeHello) != good {
				t.Errorf("W70: a proof with a binding made with the label %q over TLS %#x is answered with %v", name, version, got)
			}
		}
	}
}
