package devtls

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/gridmux/gridmux/transport"
)

const (
	// lifetime is how long a certificate is valid from when it is issued.
	lifetime = 24 * time.Hour
	// leeway is how much earlier it begins, for clocks that are slow.
	leeway = time.Hour
)

// Authority issues the certificates of nodes. Its key never leaves memory, so it
// lives no longer than the process. It may be used concurrently, by any number of
// clusters, and in and out of testing/synctest bubbles alike.
type Authority struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
	pool *x509.CertPool // of cert alone; never changed
}

// New makes an Authority with a key of its own.
func New() *Authority {
	key, cert, err := newRoot()
	if err != nil {
		//nolint:forbidigo // A key of a curve that is there, and a template that is always the same.
		panic(fmt.Sprintf("devtls: making an authority failed: %v", err))
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return &Authority{key: key, cert: cert, pool: pool}
}

func newRoot() (*ecdsa.PrivateKey, *x509.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: "gridmux development authority"},
		// In a bubble it is the year 2000, and outside it is not. What bounds the
		// life of an authority is that of the process.
		NotBefore: time.Unix(0, 0), NotAfter: time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, nil, err
	}
	cert, err := x509.ParseCertificate(der)
	return key, cert, err
}

// theAuthority is that of the package's Config.
var theAuthority = sync.OnceValue(New)

// Config is [Authority.Config] of one authority for the whole process.
func Config(node string) *tls.Config { return theAuthority().Config(node) }

// Certificate returns the certificate of the authority itself, for whoever is to
// trust it beside others:
//
//	both := x509.NewCertPool()
//	both.AddCert(old.Certificate())
//	both.AddCert(new.Certificate())
//
// It must not be modified.
func (a *Authority) Certificate() *x509.Certificate { return a.cert }

// Config returns a configuration of mutual TLS 1.3 for the node of that name, in
// both its roles: it proves the name, and takes peers with a certificate of the
// same authority. It is the caller's, and may be modified.
//
// The certificate is issued at the first handshake and again when half of its time
// is over, without an end to what runs; another Config has another certificate.
func (a *Authority) Config(node string) *tls.Config {
	s := &supply{a: a, node: node}
	return &tls.Config{
		MinVersion:     tls.VersionTLS13,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return s.get() },
		// Whatever authorities the server names: one that does not know this one
		// shall say so, instead of missing a certificate.
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return s.get() },
		RootCAs:              a.pool.Clone(),
		ClientCAs:            a.pool.Clone(),
		ClientAuth:           tls.RequireAndVerifyClientCert,
	}
}

// supply keeps the certificate of a node.
type supply struct {
	a    *Authority
	node string

	mu   sync.Mutex
	cert *tls.Certificate // the present one; nil before the first handshake
}

func (s *supply) get() (*tls.Certificate, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	// A bubble may be earlier than what was issued before it.
	if now := time.Now(); s.cert == nil || now.Before(s.cert.Leaf.NotBefore) || now.After(s.cert.Leaf.NotAfter.Add(-lifetime/2)) {
		cert, err := s.a.Issue(s.node, nil)
		if err != nil {
			return nil, err
		}
		s.cert = cert
	}
	return s.cert, nil
}

// Issue makes a certificate with a new key for the node of that name, for both
// roles and valid from an hour ago to a day ahead. change, unless nil, may make it
// a different one before it is signed: an expired one, one for further names, one
// with a SPIFFE id.
func (a *Authority) Issue(node string, change func(*x509.Certificate)) (*tls.Certificate, error) {
	name := transport.CertificateName(node)
	if name == "" {
		return nil, errors.New("devtls: a certificate needs the name of a node")
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("devtls: key for node %q: %w", node, err)
	}
	now := time.Now()
	template := &x509.Certificate{
		Subject:   pkix.Name{CommonName: node}, // for people who read it
		NotBefore: now.Add(-leeway), NotAfter: now.Add(lifetime),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if ip := net.ParseIP(name); ip != nil {
		template.IPAddresses = []net.IP{ip}
	} else {
		template.DNSNames = []string{name}
	}
	if change != nil {
		change(template)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		return nil, fmt.Errorf("devtls: certificate for node %q: %w", node, err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("devtls: certificate for node %q: %w", node, err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, nil
}
