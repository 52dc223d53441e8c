package lab

import (
	"crypto/tls"
	"crypto/x509"
	"testing"

	"github.com/gridmux/gridmux/transport/devtls"
)

// Certified returns the configuration of devtls.Config for the node of that name,
// with a certificate that is changed before it is signed.
func Certified(t testing.TB, ca *devtls.Authority, node string, change func(*x509.Certificate)) *tls.Config {
	t.Helper()
	cert, err := ca.Issue(node, change)
	if err != nil {
		t.Fatalf("issuing a certificate for %q failed: %v", node, err)
	}
	c := ca.Config(node)
	c.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return cert, nil }
	c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return cert, nil }
	return c
}
