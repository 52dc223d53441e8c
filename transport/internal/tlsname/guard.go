package tlsname

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
)

// guard makes a panic in a function of the user's the end of the handshake: over QUIC
// it would be on a goroutine of package tls, and end the process.
func guard(c *tls.Config) {
	if f := c.VerifyConnection; f != nil {
		c.VerifyConnection = func(s tls.ConnectionState) error {
			return caught(func() error { return f(s) })
		}
	}
	if f := c.VerifyPeerCertificate; f != nil {
		c.VerifyPeerCertificate = func(raw [][]byte, chains [][]*x509.Certificate) error {
			return caught(func() error { return f(raw, chains) })
		}
	}
	if f := c.GetCertificate; f != nil {
		c.GetCertificate = guarded(f)
	}
	if f := c.GetClientCertificate; f != nil {
		c.GetClientCertificate = guarded(f)
	}
}

// guarded is guard for one function.
func guarded[A, R any](f func(A) (R, error)) func(A) (R, error) {
	return func(a A) (r R, err error) {
		err = caught(func() (err error) {
			r, err = f(a)
			return err
		})
		return r, err
	}
}

func caught(f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("a function of the TLS configuration panicked: %v", v)
		}
	}()
	return f()
}
