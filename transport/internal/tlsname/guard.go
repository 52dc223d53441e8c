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
		c.VerifyConnection = func(s tls.ConnectionState) (err error) {
			defer caught(&err)
			return f(s)
		}
	}
	if f := c.VerifyPeerCertificate; f != nil {
		c.VerifyPeerCertificate = func(raw [][]byte, chains [][]*x509.Certificate) (err error) {
			defer caught(&err)
			return f(raw, chains)
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
		defer caught(&err)
		return f(a)
	}
}

func caught(err *error) {
	if v := recover(); v != nil {
		*err = fmt.Errorf("a function of the TLS configuration panicked: %v", v)
	}
}
