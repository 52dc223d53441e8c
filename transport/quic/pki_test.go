package quic_test

import (
	"crypto/tls"
	"crypto/x509"
	"testing"
	"time"

	"github.com/gridmux/gridmux/transport/devtls"
)

// pki is a certificate authority for one test.
type pki struct {
	*devtls.Authority
	pool *x509.CertPool
}

func newPKI(t testing.TB) *pki {
	t.Helper()
	ca := devtls.New()
	return &pki{ca, ca.Config("").RootCAs}
}

// node returns the configuration of a node of that name for mutual TLS, with a
// certificate that is there from the start. It offers h2, as configurations shared
// with an API server do.
func (p *pki) node(t testing.TB, name string, more ...string) *tls.Config {
	t.Helper()
	return p.config(t, name, func(c *x509.Certificate) { c.DNSNames = append(c.DNSNames, more...) })
}

// expired is node with a certificate that is valid no more.
func (p *pki) expired(t testing.TB, name string) *tls.Config {
	t.Helper()
	return p.config(t, name, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) })
}

func (p *pki) config(t testing.TB, name string, change func(*x509.Certificate)) *tls.Config {
	t.Helper()
	cert, err := p.Issue(name, change)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{
		Certificates: []tls.Certificate{*cert},
		RootCAs:      p.pool,
		ClientCAs:    p.pool,
		ClientAuth:   tls.RequireAndVerifyClientCert,
		NextProtos:   []string{"h2", "http/1.1"},
	}
}
