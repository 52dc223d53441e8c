package main

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base32"
	"fmt"
	"io"
	"math/big"
	"os"
	"strings"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/transport"
)

// leastKey is how long a key is at least, whatever it consists of: both ends take whoever
// has it for each other. That it is random, and so cannot be guessed, only its maker knows.
const leastKey = 16

// maxKeyFile bounds what is read of a file with a key.
const maxKeyFile = 4096

// secret is what two ends of a real path share. Everything that they prove to each other
// with follows from it: the key of the authority that issues their certificates, so
// that each makes its own and trusts that of the other, and what is proved within.
type secret struct{ key string }

// newSecret makes one that nobody can guess.
func newSecret() secret {
	b := make([]byte, 16)
	_, _ = rand.Read(b) // never fails
	return secret{strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(b))}
}

// parseSecret reads the value of -key: the key, or @ and a file with it, where it does not
// stand in the list of processes. Its errors do not tell the key, and so it must not be
// called by package flag, whose errors tell the value.
func parseSecret(s string) (secret, error) {
	key := s
	if name, ok := strings.CutPrefix(s, "@"); ok {
		f, err := os.Open(name)
		if err != nil {
			return secret{}, fmt.Errorf("flag -key: %w", err)
		}
		defer f.Close()
		text, err := io.ReadAll(io.LimitReader(f, maxKeyFile))
		if err != nil {
			return secret{}, fmt.Errorf("flag -key: %w", err)
		}
		key = strings.TrimSpace(string(text))
	}
	if len(key) < leastKey {
		return secret{}, fmt.Errorf("flag -key: it has %d characters: use the one that bench serve prints, or at least %d random ones",
			len(key), leastKey)
	}
	return secret{key}, nil
}

// derive returns 32 bytes for a purpose.
func (s secret) derive(purpose string) ([]byte, error) {
	return hkdf.Key(sha256.New, []byte(s.key), nil, "gridmux bench "+purpose, sha256.Size)
}

// auth proves within a connection that this end has the secret.
func (s secret) auth() (core.Authenticator, error) {
	key, err := s.derive("connection")
	if err != nil {
		return nil, err
	}
	return core.SharedKey(key), nil
}

// How long certificates are valid: the authority's for good, for both ends have to come to
// the same one, and the others from a day ago on, for clocks differ.
var (
	authorityFrom = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	authorityTo   = time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)
)

const certificateLife = 24 * time.Hour

// tls returns a configuration of mutual TLS for a node, in both its roles.
func (s secret) tls(node string) (*tls.Config, error) {
	seed, err := s.derive("authority")
	if err != nil {
		return nil, err
	}
	key := ed25519.NewKeyFromSeed(seed)
	authority := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "gridmux bench"},
		NotBefore:    authorityFrom, NotAfter: authorityTo,
		KeyUsage: x509.KeyUsageCertSign,
		IsCA:     true, BasicConstraintsValid: true,
	}
	authority, err = issued(authority, authority, key.Public(), key)
	if err != nil {
		return nil, err
	}
	own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	leaf, err := issued(&x509.Certificate{
		Subject:   pkix.Name{CommonName: node},
		NotBefore: now.Add(-certificateLife), NotAfter: now.Add(30 * certificateLife),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		DNSNames:    []string{transport.CertificateName(node)},
	}, authority, own.Public(), key)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AddCert(authority)
	return &tls.Config{
		MinVersion:   tls.VersionTLS13,
		Certificates: []tls.Certificate{{Certificate: [][]byte{leaf.Raw}, PrivateKey: own, Leaf: leaf}},
		RootCAs:      pool,
		ClientCAs:    pool,
		ClientAuth:   tls.RequireAndVerifyClientCert,
	}, nil
}

func issued(template, by *x509.Certificate, public any, key ed25519.PrivateKey) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, by, public, key)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}
