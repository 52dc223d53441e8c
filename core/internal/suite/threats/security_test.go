package threats_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/url"
	"testing"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/internal/lab"
	"github.com/gridmux/gridmux/transport"
	"github.com/gridmux/gridmux/transport/devtls"
	"github.com/gridmux/gridmux/transport/inmem"
	"github.com/gridmux/gridmux/transport/websocket"
)

// member is a node of a test of who may talk to whom, over TCP.
type member struct {
	*core.Manager
	addr string
	log  *lab.LogBook
	opts websocket.Options
}

// newMember makes a node that listens already but is not started. configure may
// set its peers, whose addresses are known by then.
func newMember(t *testing.T, name string, conf *tls.Config) *member {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("listening failed: %v", err)
	}
	t.Cleanup(func() { ln.Close() })
	return &member{addr: ln.Addr().String(), log: new(lab.LogBook), opts: websocket.Options{Listener: ln, TLS: conf}}
}

// start makes and starts the Manager.
func (n *member) start(t *testing.T, cfg core.Config, peers ...core.Node) error {
	t.Helper()
	cfg.Local.Addr, cfg.Peers, cfg.Logger, cfg.MaxBackoff = n.addr, peers, n.log.Logger(), 10*time.Millisecond
	cfg.Transport = websocket.New(n.opts)
	m, err := core.NewManager(cfg)
	if err != nil {
		t.Fatalf("making a node failed: %v", err)
	}
	t.Cleanup(func() { m.Close() })
	if err := lab.RegisterEchoes(m); err != nil {
		t.Fatal(err)
	}
	n.Manager = m
	return m.Start(t.Context())
}

// dialOrder returns two names of which the first dials the second. Who dials is
// decided by the names, so candidates are tried on nodes that cannot connect.
func dialOrder(t *testing.T) (dialler, acceptor string) {
	t.Helper()
	for _, names := range [][2]string{{"node-0", "node-1"}, {"node-1", "node-0"}} {
		network := inmem.NewNetwork()
		m, err := core.NewManager(core.Config{
			Local: core.Node{Name: names[0], Addr: "here"}, Peers: []core.Node{{Name: names[1], Addr: "nowhere"}},
			Transport: network.Node("x"),
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		err = m.WaitConnected(ctx)
		m.Close()
		if !lab.Mentions(err, "to connect to us") {
			return names[0], names[1]
		}
	}
	t.Fatal("of two nodes neither dials the other")
	panic("unreachable")
}

// refusedWith waits until a node says that it is not connected to the peer and
// mentions the texts.
func refusedWith(t *testing.T, n *member, peer string, texts ...string) {
	t.Helper()
	var last error
	for began := time.Now(); ; {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		last = n.Connection(peer).WaitConnected(ctx)
		cancel()
		all := last != nil
		for _, text := range texts {
			all = all && lab.Mentions(last, text)
		}
		if all {
			break
		}
		if last == nil || time.Since(began) > lab.Patience {
			t.Fatalf("waiting for %s: got %v, want an error that mentions %q", peer, last, texts)
		}
	}
	if _, err := n.Connection(peer).Request(t.Context(), "echo", nil); !errors.Is(err, core.ErrDisconnected) {
		t.Errorf("a call to a peer that was refused returned %v, want ErrDisconnected", err)
	}
}

// learns waits until the log of a node mentions the texts.
func learns(t *testing.T, n *member, texts ...string) {
	t.Helper()
	for _, text := range texts {
		lab.Until(t, "the log of the other side mentions "+text, func() bool {
			return lab.Mentions(errors.New(n.log.String()), text)
		})
	}
}

// TestAllowInsecureAtStart holds that a node which would believe anybody does
// not start unless told to (T17).
func TestAllowInsecureAtStart(t *testing.T) {
	mutual := devtls.Config("a")
	serverOnly := mutual.Clone()
	serverOnly.ClientAuth = tls.NoClientCert
	optional := mutual.Clone()
	optional.ClientAuth = tls.VerifyClientCertIfGiven
	unverified := mutual.Clone()
	unverified.ClientAuth = tls.RequireAnyClientCert
	clientOnly := mutual.Clone()
	clientOnly.GetCertificate = nil
	for _, test := range []struct {
		name   string
		opts   websocket.Options
		secure bool
	}{
		{"plaintext", websocket.Options{}, false},
		{"TLS without client certificates", websocket.Options{TLS: serverOnly}, false},
		{"TLS with optional client certificates", websocket.Options{TLS: optional}, false},
		{"TLS with unverified client certificates", websocket.Options{TLS: unverified}, false},
		{"TLS for dialling alone", websocket.Options{TLS: clientOnly}, false},
		{"mounted, whose server is unknown", websocket.Options{Mounted: true, TLS: mutual}, false},
		{"mounted, with client certificates", websocket.Options{Mounted: true, TLS: mutual, RequireClientCert: true}, true},
		{"mutual TLS", websocket.Options{TLS: mutual}, true},
	} {
		for _, allowed := range []bool{false, true} {
			m, err := core.NewManager(core.Config{
				Local: core.Node{Name: "a", Addr: "127.0.0.1:0"}, Transport: websocket.New(test.opts), AllowInsecure: allowed,
			})
			if err != nil {
				t.Fatal(err)
			}
			err = m.Start(t.Context())
			m.Close()
			switch {
			case test.secure || allowed:
				if err != nil {
					t.Errorf("%s, AllowInsecure %v: Start failed: %v", test.name, allowed, err)
				}
			default:
				lab.WantText(t, test.name, err, "mutual TLS", "Config.AllowInsecure", "127.0.0.1:0")
			}
		}
	}
	m, err := core.NewManager(core.Config{Local: core.Node{Addr: "a"}, Transport: inmem.NewNetwork().Node("a")})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if err := m.Start(t.Context()); err != nil {
		t.Errorf("a node that never leaves the process does not start: %v", err)
	}
}

// TestDiallerRefuses has a dialler meet acceptors that prove nothing, or not to
// be who they should be.
func TestDiallerRefuses(t *testing.T) {
	dialler, acceptor := dialOrder(t)
	blind := devtls.Config(dialler)
	blind.InsecureSkipVerify = true // nothing is proved, as the dialler has to notice
	forOther := devtls.Config("other")
	for _, test := range []struct {
		name         string
		dials, takes *tls.Config
		insecure     bool // of the dialler
		texts        []string
	}{
		{"TLS meets plaintext", devtls.Config(dialler), nil, false, []string{"tls"}},
		{"certificate of another node", devtls.Config(dialler), forOther, false, []string{"tls", "other", acceptor}},
		{"certificate of another node, insecure allowed", devtls.Config(dialler), forOther, true, []string{"tls", "other"}},
		{"certificate that is not verified", blind, devtls.Config(acceptor), false, []string{"hello", "proves nothing", "Config.AllowInsecure"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			d, a := newMember(t, dialler, test.dials), newMember(t, acceptor, test.takes)
			if err := a.start(t, core.Config{Local: core.Node{Name: acceptor}, AllowInsecure: true}, core.Node{Name: dialler, Addr: d.addr}); err != nil {
				t.Fatal(err)
			}
			if err := d.start(t, core.Config{Local: core.Node{Name: dialler}, AllowInsecure: test.insecure}, core.Node{Name: acceptor, Addr: a.addr}); err != nil {
				t.Fatal(err)
			}
			refusedWith(t, d, acceptor, test.texts...)
			if s := a.Connection(dialler).State(); s != core.StateConnecting {
				t.Errorf("the acceptor's state is %v, want connecting", s)
			}
		})
	}
}

// plainDialler listens with mutual TLS, as a node without AllowInsecure must,
// and dials without TLS all the same.
type plainDialler struct {
	transport.Transport // listens
	plain               *websocket.Transport
}

func (p plainDialler) Dial(ctx context.Context, to transport.Peer) (transport.Conn, error) {
	return p.plain.Dial(ctx, to)
}

// TestDiallerRefusesPlaintext holds a node without AllowInsecure to it on links
// that it dials itself.
func TestDiallerRefusesPlaintext(t *testing.T) {
	dialler, acceptor := dialOrder(t)
	d, a := newMember(t, dialler, devtls.Config(dialler)), newMember(t, acceptor, nil)
	if err := a.start(t, core.Config{Local: core.Node{Name: acceptor}, AllowInsecure: true}, core.Node{Name: dialler, Addr: d.addr}); err != nil {
		t.Fatal(err)
	}
	m, err := core.NewManager(core.Config{
		Local: core.Node{Name: dialler, Addr: d.addr}, Peers: []core.Node{{Name: acceptor, Addr: a.addr}},
		Transport: plainDialler{websocket.New(d.opts), websocket.New(websocket.Options{})}, MaxBackoff: 10 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	if err := m.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	d.Manager = m
	refusedWith(t, d, acceptor, "proves nothing", "use mutual TLS, or set Config.AllowInsecure")
	learns(t, a, "inbound connection refused", "proves nothing")
}

// TestMutualTLSBindsNames lets a node in only under a name that its certificate
// is valid for as a subject alternative name, which is what a dialler takes, too; and
// leaves the real one alone (T14).
func TestMutualTLSBindsNames(t *testing.T) {
	dialler, acceptor := dialOrder(t)
	ca := devtls.New()
	certificate := func(change func(*x509.Certificate)) *tls.Config {
		return lab.Certified(t, ca, "nobody", func(c *x509.Certificate) {
			c.DNSNames, c.Subject.CommonName = nil, ""
			change(c)
		})
	}
	named := func(names ...string) func(*x509.Certificate) {
		return func(c *x509.Certificate) { c.DNSNames = names }
	}
	for _, test := range []struct {
		name string
		cert func(*x509.Certificate)
		good bool
	}{
		{"its name", named(dialler), true},
		{"many names, its own last", named("x", "y", dialler), true},
		{"a common name alone", func(c *x509.Certificate) { c.Subject.CommonName = dialler }, false},
		{"another name", named("other"), false},
		{"another name beside its common name", func(c *x509.Certificate) {
			c.DNSNames, c.Subject.CommonName = []string{"other"}, dialler
		}, false},
		{"no name", func(*x509.Certificate) {}, false},
		{"an address alone", func(c *x509.Certificate) { c.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)} }, false},
		{"a URI alone", func(c *x509.Certificate) { c.URIs = []*url.URL{{Scheme: "spiffe", Host: "x", Path: "/" + dialler}} }, false},
	} {
		for _, insecure := range []bool{false, true} {
			a := newMember(t, acceptor, certificate(named("spare", acceptor)))
			honest, claims := newMember(t, dialler, ca.Config(dialler)), newMember(t, dialler, certificate(test.cert))
			if err := a.start(t, core.Config{Local: core.Node{Name: acceptor}, AllowInsecure: insecure}, core.Node{Name: dialler, Addr: honest.addr}); err != nil {
				t.Fatal(err)
			}
			if !test.good {
				if err := honest.start(t, core.Config{Local: core.Node{Name: dialler}}, core.Node{Name: acceptor, Addr: a.addr}); err != nil {
					t.Fatal(err)
				}
				connected(t, a, dialler)
			}
			if err := claims.start(t, core.Config{Local: core.Node{Name: dialler}}, core.Node{Name: acceptor, Addr: a.addr}); err != nil {
				t.Fatal(err)
			}
			if test.good {
				connected(t, a, dialler)
				connected(t, claims, acceptor)
				continue
			}
			refusedWith(t, claims, acceptor, "the link proved", "name", dialler)
			learns(t, a, "inbound connection refused", "the link proved")
			lab.MustCall(t, a.Connection(dialler), "echo", []byte("still there"))
			if got := a.log.String(); lab.Mentions(errors.New(got), "state=connecting error=\"") {
				t.Errorf("with a certificate for %s a stranger disturbed the real node: %s", test.name, got)
			}
		}
	}
}

func connected(t *testing.T, n *member, peer string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), lab.Patience)
	defer cancel()
	if err := n.Connection(peer).WaitConnected(ctx); err != nil {
		t.Fatalf("no connection: %v", err)
	}
	lab.MustCall(t, n.Connection(peer), "echo", []byte("hello"), core.WaitForConnection())
}

// TestRefusalsSayWhy gives the dialling side the reason why it is not wanted
// (D25).
func TestRefusalsSayWhy(t *testing.T) {
	dialler, acceptor := dialOrder(t)
	for _, test := range []struct {
		name   string
		change func(d, a *core.Config, of *[]core.Node)
		texts  []string
	}{
		{
			"cluster", func(d, a *core.Config, _ *[]core.Node) { d.Cluster, a.Cluster = "staging", "production" },
			[]string{`"staging"`, `"production"`, "Config.Cluster"},
		},
		{
			"unknown node", func(_, _ *core.Config, of *[]core.Node) { (*of)[0].Name = "somebody" },
			[]string{dialler, "not among the peers", acceptor},
		},
		{
			"wrong node", func(_, a *core.Config, _ *[]core.Node) { a.Local.Name = "somebody" },
			[]string{acceptor, "somebody", "Config.Peers"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			d, a := newMember(t, dialler, nil), newMember(t, acceptor, nil)
			dc := core.Config{Local: core.Node{Name: dialler}, AllowInsecure: true}
			ac := core.Config{Local: core.Node{Name: acceptor}, AllowInsecure: true}
			of := []core.Node{{Name: dialler, Addr: d.addr}}
			test.change(&dc, &ac, &of)
			if err := a.start(t, ac, of...); err != nil {
				t.Fatal(err)
			}
			if err := d.start(t, dc, core.Node{Name: acceptor, Addr: a.addr}); err != nil {
				t.Fatal(err)
			}
			refusedWith(t, d, acceptor, test.texts...)
			learns(t, a, "inbound connection refused")
		})
	}
}
