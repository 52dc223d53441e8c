package identity_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/internal/lab"
	"github.com/gridmux/gridmux/transport"
	"github.com/gridmux/gridmux/transport/devtls"
)

// told is what one node says while it has no connection: in Stats, and in the log.
type told struct {
	down, log []string
}

// failures are the ways in which the certificates of two nodes, good and bad, keep
// them from connecting. Both dial.
var failures = []struct {
	name      string
	bad       func(t *testing.T, ca *devtls.Authority) *tls.Config // nil: without TLS
	good      func(c *tls.Config)                                  // changes the other one, if not nil
	says      func(l secureLink) (good, bad told)
	endsAfter time.Duration // of itself; 0: never
}{
	{
		name: "another authority",
		bad:  func(*testing.T, *devtls.Authority) *tls.Config { return devtls.New().Config("bad") },
		says: func(secureLink) (good, bad told) {
			return told{down: []string{"tls: ", "signed by unknown authority"}, log: []string{"bad certificate"}},
				told{down: []string{"tls: ", "signed by unknown authority"}, log: []string{"bad certificate"}}
		},
	},
	{
		name: "an authority that only one of them trusts",
		bad: func(_ *testing.T, ca *devtls.Authority) *tls.Config {
			c := devtls.New().Config("bad")
			c.RootCAs, c.ClientCAs = ca.Config("bad").RootCAs, ca.Config("bad").RootCAs
			return c
		},
		says: func(secureLink) (good, bad told) {
			return told{down: []string{"tls: ", "signed by unknown authority"}, log: []string{"signed by unknown authority"}},
				told{down: []string{"tls: ", "refuses the certificate of this node", "unknown certificate authority"}, log: []string{"bad certificate"}}
		},
	},
	{
		name: "expired",
		bad: func(t *testing.T, ca *devtls.Authority) *tls.Config {
			return lab.Certified(t, ca, "bad", func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) })
		},
		says: func(secureLink) (good, bad told) {
			return told{down: []string{"tls: ", "certificate has expired"}, log: []string{"certificate has expired"}},
				told{down: []string{"tls: ", "refuses the certificate of this node", "expired certificate"}, log: []string{"bad certificate"}}
		},
	},
	{
		name: "not yet valid",
		bad: func(t *testing.T, ca *devtls.Authority) *tls.Config {
			return lab.Certified(t, ca, "bad", func(c *x509.Certificate) { c.NotBefore = time.Now().Add(2 * time.Minute) })
		},
		says: func(secureLink) (good, bad told) {
			return told{down: []string{"tls: ", "not yet valid"}, log: []string{"not yet valid"}},
				told{down: []string{"tls: ", "refuses the certificate of this node", "expired certificate"}, log: []string{"bad certificate"}}
		},
		endsAfter: 2 * time.Minute,
	},
	{
		name: "another name",
		bad:  func(_ *testing.T, ca *devtls.Authority) *tls.Config { return ca.Config("other") },
		says: func(secureLink) (good, bad told) {
			return told{down: []string{"tls: ", "valid for other, not bad"}, log: []string{"inbound connection refused", `the link proved the name \"other\", not \"bad\"`}},
				told{down: []string{"hello: ", `the link proved the name "other", not "bad"`}, log: []string{"bad certificate"}}
		},
	},
	{
		name: "a common name alone",
		bad: func(t *testing.T, ca *devtls.Authority) *tls.Config {
			return lab.Certified(t, ca, "bad", func(c *x509.Certificate) { c.DNSNames = nil })
		},
		says: func(secureLink) (good, bad told) {
			return told{down: []string{"tls: ", "relies on legacy Common Name"}, log: []string{"inbound connection refused", "the link proved no name"}},
				told{down: []string{"hello: ", `give the certificate the subject alternative name "bad"`}, log: []string{"bad certificate"}}
		},
	},
	{
		name: "no certificate",
		bad: func(_ *testing.T, ca *devtls.Authority) *tls.Config {
			return &tls.Config{RootCAs: ca.Config("bad").RootCAs}
		},
		says: func(l secureLink) (good, bad told) {
			return told{down: []string{"tls: ", l.noTLS}, log: []string{"client didn't provide a certificate"}},
				told{down: []string{"tls: ", "requires a certificate of this node"}}
		},
	},
	{
		name: "no TLS",
		bad:  func(*testing.T, *devtls.Authority) *tls.Config { return nil },
		says: func(l secureLink) (good, bad told) {
			return told{down: []string{"tls: ", l.noTLS}, log: []string{"client sent an HTTP request to an HTTPS server"}},
				told{down: []string{"upgrade: ", l.noPlain}}
		},
	},
	{
		name: "a check of the user's",
		bad:  func(_ *testing.T, ca *devtls.Authority) *tls.Config { return ca.Config("bad") },
		good: func(c *tls.Config) {
			c.VerifyConnection = func(s tls.ConnectionState) error {
				if s.PeerCertificates[0].VerifyHostname("bad") == nil {
					return errRevoked
				}
				return nil
			}
		},
		says: func(secureLink) (good, bad told) {
			return told{down: []string{"tls: ", errRevoked.Error()}, log: []string{errRevoked.Error()}},
				told{down: []string{"tls: ", "refuses the certificate of this node", "bad certificate"}, log: []string{"bad certificate"}}
		},
	},
}

var errRevoked = errors.New("the certificate is on the list of revoked ones")

// TestTLSFailures expects two nodes of which one has no good certificate never to
// connect, neither in plaintext nor by the other one's dialling; both to be told
// why, as far as they can do something about it; calls to fail unsent; and nothing
// to be left behind. Where the cause goes away they connect of themselves (F27).
func TestTLSFailures(t *testing.T) {
	for _, f := range failures {
		t.Run(f.name, func(t *testing.T) {
			overSecureLinks(t, func(t *testing.T, l secureLink) {
				network, ca := l.network(t), devtls.New()
				goodConfig, badConfig := ca.Config("good"), f.bad(t, ca)
				if f.good != nil {
					f.good(goodConfig)
				}
				if badConfig == nil && l.noPlain == "" {
					return // it has no form without TLS
				}
				if badConfig != nil && badConfig.GetCertificate == nil && len(badConfig.Certificates) == 0 && l.noCert != "" {
					lab.WantText(t, "Start without a certificate", newManager(t, network, "bad", badConfig, nil).Start(t.Context()), l.noCert)
					return
				}
				good, bad := newNode(t, network, "good", goodConfig), newNode(t, network, "bad", badConfig)
				time.Sleep(20 * time.Second)
				wantGood, wantBad := f.says(l)
				good.says(t, "bad", wantGood)
				bad.says(t, "good", wantBad)
				for _, n := range []*node{good, bad} {
					for peer := range n.Connections() {
						_, err := peer.Request(t.Context(), "echo", nil)
						lab.WantFailure(t, "a call without a connection", err, core.ErrDisconnected, core.OutcomeNotSent)
					}
				}
				if f.endsAfter > 0 {
					time.Sleep(f.endsAfter)
					lab.MustCall(t, good.Connection("bad"), "echo", []byte("hello"))
					lab.MustCall(t, bad.Connection("good"), "echo", []byte("hello"))
				}
				good.Close()
				bad.Close()
				if n := network.open(); n != 0 {
					t.Errorf("%d ends of connections are left", n)
				}
			})
		})
	}
}

// node is a node of two that are named by what becomes of them.
type node struct {
	*core.Manager
	book *lab.LogBook
}

// newNode starts a node, with a handler "guarded" that has the options. Without a
// configuration it does without TLS, and without any proof.
func newNode(t *testing.T, network secureNetwork, name string, config *tls.Config, guard ...core.HandlerOption) *node {
	t.Helper()
	return newNodeWithAuth(t, network, name, config, nil, guard...)
}

// newNodeWithAuth is newNode with an Authenticator.
func newNodeWithAuth(
	t *testing.T, network secureNetwork, name string, config *tls.Config, auth core.Authenticator, guard ...core.HandlerOption,
) *node {
	t.Helper()
	m := newManager(t, network, name, config, auth)
	if err := errors.Join(lab.RegisterEchoes(m.Manager), m.Handle("guarded", lab.Echo, guard...), m.Start(t.Context())); err != nil {
		t.Fatal(err)
	}
	return m
}

func newManager(t *testing.T, network secureNetwork, name string, config *tls.Config, auth core.Authenticator) *node {
	t.Helper()
	n := &node{book: new(lab.LogBook)}
	var get func() (*tls.Config, error)
	if config != nil {
		get = func() (*tls.Config, error) { return config, nil }
	}
	m, err := core.NewManager(core.Config{
		Local: core.Node{Name: name, Addr: name + ":1"}, Peers: []core.Node{{Name: "good", Addr: "good:1"}, {Name: "bad", Addr: "bad:1"}},
		Transport: network.node(name, get, nil, n.book), Logger: n.book.Logger(),
		Auth: auth, AllowInsecure: config == nil || config.ClientAuth == tls.NoClientCert,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	n.Manager = m
	return n
}

// says holds what a node tells of a peer.
func (n *node) says(t *testing.T, peer string, want told) {
	t.Helper()
	for _, p := range n.Stats().Peers {
		if p.Peer != peer {
			continue
		}
		if p.State != core.StateConnecting {
			t.Fatalf("%s is %v", peer, p.State)
		}
		lab.WantText(t, "what Stats says of "+peer, p.Down, want.down...)
		if _, ok := errors.AsType[*transport.DialError](p.Down); !ok {
			t.Errorf("what Stats says of %s is no DialError: %v", peer, p.Down)
		}
	}
	for _, text := range want.log {
		if !strings.Contains(n.book.String(), text) {
			t.Errorf("the log of the node beside %s does not mention %q:\n%s", peer, text, n.book)
		}
	}
}
