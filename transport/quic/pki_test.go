package quic_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"log"
	"math/big"
	"net"
	"testing"
	"time"
)

// pki is a certificate authority for one test.
type pki struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

func newPKI(t testing.TB) *pki {
	t.Helper()
	p, err := makePKI()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func makePKI() (*pki, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "test authority"},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(24 * time.Hour),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return &pki{cert, key, pool}, nil
}

// node returns the configuration of a node of that name for mutual TLS. It
// offers h2, as configurations shared with an API server do.
func (p *pki) node(t testing.TB, names ...string) *tls.Config {
	t.Helper()
	return p.config(t, time.Now().Add(24*time.Hour), names)
}

// expired is node with a certificate that is valid no more.
func (p *pki) expired(t testing.TB, names ...string) *tls.Config {
	t.Helper()
	return p.config(t, time.Now().Add(-time.Minute), names)
}

func (p *pki) config(t testing.TB, until time.Time, names []string) *tls.Config {
	t.Helper()
	cert, err := p.issue(until, names)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{
		Certificates: []tls.Certificate{cert},
		RootCAs:      p.pool,
		ClientCAs:    p.pool,
		ClientAuth:   tls.RequireAndVerifyClientCert,
		NextProtos:   []string{"h2", "http/1.1"},
	}
}

func (p *pki) issue(until time.Time, names []string) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2),
		Subject:      pkix.Name{CommonName: "common " + names[0]},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     until,
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, p.cert, key.Public(), p.key)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

// exampleAuthority stands for the authority of a cluster in an example.
func exampleAuthority() *pki {
	p, err := makePKI()
	if err != nil {
		log.Fatal(err)
	}
	return p
}

// certificate stands for reading the certificate of a node.
func (p *pki) certificate(name string) tls.Certificate {
	cert, err := p.issue(time.Now().Add(time.Hour), []string{name})
	if err != nil {
		log.Fatal(err)
	}
	return cert
}
