package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
)

// nodeTLS reads the certificate at every handshake, so that a new one is used
// without a restart. The authorities are read once.
func nodeTLS(dir string) (*tls.Config, error) {
	file := filepath.Join(dir, "ca.crt")
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s has no certificate", file)
	}
	load := func() (*tls.Certificate, error) {
		c, err := tls.LoadX509KeyPair(filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key"))
		return &c, err
	}
	if _, err := load(); err != nil {
		return nil, err // now, not at the first handshake
	}
	return &tls.Config{
		MinVersion:     tls.VersionTLS13,
		RootCAs:        roots,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return load() },
	}, nil
}
