package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// nodeTLS reads the certificate at every handshake, so that a new one is used
// without a restart. The authorities are read once.
func nodeTLS(dir string) (*tls.Config, error) {
	pem, err := fs.ReadFile(os.DirFS(dir), "ca.crt")
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("ca.crt in %s has no certificate", dir)
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
