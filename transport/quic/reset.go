package quic

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"

	quicgo "github.com/quic-go/quic-go"
)

// resetKey returns the key that makes the tokens of stateless resets.
func (o *Options) resetKey() *quicgo.StatelessResetKey {
	if o.StatelessResetKey != nil {
		key := *o.StatelessResetKey
		return &key
	}
	key := new(quicgo.StatelessResetKey)
	if o.TLS != nil && len(o.TLS.Certificates) > 0 {
		// What is in a hardware module cannot be marshalled.
		if secret, err := x509.MarshalPKCS8PrivateKey(o.TLS.Certificates[0].PrivateKey); err == nil {
			mac := hmac.New(sha256.New, secret)
			mac.Write([]byte("gridmux/1 quic stateless reset"))
			mac.Sum(key[:0])
			return key
		}
	}
	rand.Read(key[:])
	return key
}
