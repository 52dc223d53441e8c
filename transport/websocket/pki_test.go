package websocket_test

import (
	"crypto/tls"
	"crypto/x509"
	"testing"

	"github.com/gridmux/gridmux/transport/devtls"
)

// pki is a certificate authority for one test.
type pki struct {
	*devtls.Authority
	pool *x509.CertPool
}

func newPKI(t *testing.T) *pki {
	t.Helper()
	ca := devtls.New()
	return &pki{ca, ca.Config("").RootCAs}
}

// node returns the configuration of a node of that name for mutual TLS, with a
// certificate that is there from the start. It offers h2, as configurations shared
// with an API server do.
func (p *pki) node(t *testing.T, name string, more ...string) *tls.Config {
	t.Helper()
	cert, err := p.Issue(name, func(c *x509.Certificate) {
		c.Subject.CommonName = "common " + name
		c.DNSNames = append(c.DNSNames, more...)
	})
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

// clusterRoots stands for reading the cluster's authority in an example.
func clusterRoots() *x509.CertPool { return x509.NewCertPool() }
