package lab

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"sync"
	"testing"
	"time"
)

// Authority issues the certificates of the nodes on links with TLS. What it has
// is for tests that issue others.
type Authority struct {
	Key  *ecdsa.PrivateKey
	Cert *x509.Certificate
	Pool *x509.CertPool

	mu     sync.Mutex
	issued map[string]tls.Certificate
}

// Certificates returns the authority of all tests.
func Certificates(t testing.TB) *Authority {
	t.Helper()
	a, err := theAuthority()
	if err != nil {
		t.Fatalf("making an authority failed: %v", err)
	}
	return a
}

var theAuthority = sync.OnceValues(func() (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "gridmux tests"},
		NotBefore: time.Unix(0, 0), NotAfter: time.Now().AddDate(10, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("parse: %w", err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return &Authority{Key: key, Cert: cert, Pool: pool, issued: map[string]tls.Certificate{}}, nil
})

// Config returns the configuration for mutual TLS of the node with that name.
func (a *Authority) Config(t testing.TB, name string) *tls.Config {
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, ok := a.issued[name]; !ok {
		cert, err := a.issue(name)
		if err != nil {
			t.Fatalf("issuing a certificate for %s failed: %v", name, err)
		}
		a.issued[name] = cert
	}
	return &tls.Config{
		Certificates: []tls.Certificate{a.issued[name]},
		RootCAs:      a.Pool,
		ClientCAs:    a.Pool,
		ClientAuth:   tls.RequireAndVerifyClientCert,
	}
}

func (a *Authority) issue(name string) (cert tls.Certificate, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return cert, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(int64(len(a.issued) + 2)), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: a.Cert.NotBefore, NotAfter: a.Cert.NotAfter, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.Cert, key.Public(), a.Key)
	if err != nil {
		return cert, fmt.Errorf("sign: %w", err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}
