package identity_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/coretest"
	"github.com/gridmux/gridmux/core/internal/lab"
	"github.com/gridmux/gridmux/transport/devtls"
)

// byURI is an Authenticator that goes by the URI in the certificate of the peer.
type byURI struct{}

func (byURI) Prove(context.Context, string, []byte) ([]byte, error) { return nil, nil }

func (byURI) Verify(ctx context.Context, claimed string, _, _ []byte) (core.Identity, error) {
	state := core.TLSFromContext(ctx)
	if state == nil {
		return core.Identity{}, errors.New("the link has no TLS")
	}
	if got := fmt.Sprint(state.PeerCertificates[0].URIs); got != "[spiffe://prod.example/grid/"+claimed+"]" {
		return core.Identity{}, fmt.Errorf("the certificate is for %s, not %s", got, claimed)
	}
	return core.Identity{Name: claimed, Method: "SPIFFE"}, nil
}

// withURI returns the configuration of a node whose certificate has a URI and no
// other name, and which leaves the names of its peers to somebody else.
func withURI(t *testing.T, ca *devtls.Authority, node string) *tls.Config {
	t.Helper()
	roots := ca.Config(node).RootCAs
	c := lab.Certified(t, ca, node, func(c *x509.Certificate) {
		c.DNSNames, c.Subject.CommonName = nil, ""
		c.URIs = []*url.URL{{Scheme: "spiffe", Host: "prod.example", Path: "/grid/" + node}}
	})
	c.ClientAuth, c.InsecureSkipVerify = tls.RequireAnyClientCert, true
	c.VerifyConnection = func(s tls.ConnectionState) error {
		_, err := s.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
		return err
	}
	return c
}

// TestIdentityOfTheUsers expects nodes whose certificates name them in a way that
// only the user knows, as by a SPIFFE id, to prove it to each other by an
// Authenticator alone; and no other to get in, whose certificate is of another node
// or of nobody.
func TestIdentityOfTheUsers(t *testing.T) {
	for _, test := range []struct {
		name    string
		bad     func(t *testing.T, ca *devtls.Authority) *tls.Config
		good    []string // what the good node says of the bad one; nil: they connect
		badSays []string
	}{
		{"its own id", func(t *testing.T, ca *devtls.Authority) *tls.Config { return withURI(t, ca, "bad") }, nil, nil},
		{
			"the id of another node", func(t *testing.T, ca *devtls.Authority) *tls.Config { return withURI(t, ca, "other") },
			[]string{"hello: ", "the certificate is for [spiffe://prod.example/grid/other], not bad"},
			[]string{"hello: ", "it tells strangers no reason"},
		},
		{
			"a DNS name alone", func(t *testing.T, ca *devtls.Authority) *tls.Config {
				c := withURI(t, ca, "bad")
				c.GetCertificate, c.GetClientCertificate = ca.Config("bad").GetCertificate, ca.Config("bad").GetClientCertificate
				return c
			},
			[]string{"hello: ", "the certificate is for [], not bad"},
			[]string{"hello: ", "it tells strangers no reason"},
		},
		{
			"another authority", func(t *testing.T, ca *devtls.Authority) *tls.Config {
				c := withURI(t, devtls.New(), "bad")
				c.VerifyConnection = withURI(t, ca, "bad").VerifyConnection
				return c
			},
			[]string{"tls: ", "unknown authority"},
			[]string{"tls: ", "refuses the certificate of this node"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			overSecureLinks(t, func(t *testing.T, l secureLink) {
				var caller atomic.Pointer[core.Identity]
				note := core.WithAuthorization(func(id core.Identity) error { caller.Store(&id); return nil })
				ca, network := devtls.New(), l.network(t)
				good := newNodeWithAuth(t, network, "good", withURI(t, ca, "good"), byURI{}, note)
				bad := newNodeWithAuth(t, network, "bad", test.bad(t, ca), byURI{})
				time.Sleep(20 * time.Second)
				if test.good != nil {
					good.says(t, "bad", told{down: test.good})
					bad.says(t, "good", told{down: test.badSays})
					return
				}
				lab.MustCall(t, good.Connection("bad"), "echo", []byte("hello"))
				lab.MustCall(t, bad.Connection("good"), "guarded", nil)
				if got := caller.Load(); got == nil || *got != (core.Identity{Name: "bad", Method: "SPIFFE"}) {
					t.Errorf("the caller is %+v", got)
				}
			})
		})
	}
}

// TestTLSFromContext expects no TLS where there is none, and the same session as the
// other end where there is.
func TestTLSFromContext(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		var asked, secure atomic.Int32
		look := core.SharedKey([]byte("the key of the whole cluster"))
		l.Cluster(t, 2, lab.Configure(func(cfg *core.Config) { cfg.Auth = lookingAuth{look, &asked, &secure} }), coretest.WithConfig(func(_ int, cfg *core.Config) {
			cfg.AllowInsecure = false
		}))
		want := int32(0)
		if l.TLS {
			want = asked.Load()
		}
		if asked.Load() < 4 || secure.Load() != want {
			t.Errorf("of %d questions %d came with a TLS session", asked.Load(), secure.Load())
		}
	})
	if core.TLSFromContext(t.Context()) != nil {
		t.Error("there is a TLS session outside of an Authenticator")
	}
}

// lookingAuth counts how often it is asked, and how often over TLS.
type lookingAuth struct {
	core.Authenticator
	asked, secure *atomic.Int32
}

func (a lookingAuth) Prove(ctx context.Context, peer string, transcript []byte) ([]byte, error) {
	a.look(ctx)
	return a.Authenticator.Prove(ctx, peer, transcript)
}

func (a lookingAuth) Verify(ctx context.Context, claimed string, transcript, proof []byte) (core.Identity, error) {
	a.look(ctx)
	return a.Authenticator.Verify(ctx, claimed, transcript, proof)
}

func (a lookingAuth) look(ctx context.Context) {
	a.asked.Add(1)
	if s := core.TLSFromContext(ctx); s != nil && len(s.PeerCertificates) > 0 {
		a.secure.Add(1)
	}
}
