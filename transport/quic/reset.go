package quic

import (
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"net"
	"os"

	quicgo "github.com/quic-go/quic-go"
)

// resetKey returns the key that makes the tokens of stateless resets of a socket.
//
// It has to be the same after a restart, and another for every node: where two have
// the same, a third party that sees the packets of one gets the token of a
// connection from the other, which does not know it (RFC 9000, section 21.11). Nodes
// may share a private key. What a process has after a restart and no other node has
// beside it are the names of its host and its socket.
func (o *Options) resetKey(local net.Addr) *quicgo.StatelessResetKey {
	if o.StatelessResetKey != nil {
		key := *o.StatelessResetKey
		return &key
	}
	key := new(quicgo.StatelessResetKey)
	if secret := o.privateKey(); secret != nil && local != nil {
		host, _ := os.Hostname()
		info := "gridmux/1 quic stateless reset\x00" + host + "\x00" + local.String()
		if derived, err := hkdf.Key(sha256.New, secret, nil, info, len(key)); err == nil {
			copy(key[:], derived)
			return key
		}
	}
	rand.Read(key[:])
	return key
}

// privateKey returns the first private key of the configuration, nil if it has none
// or keeps it to itself: as one in a hardware module, or behind GetCertificate,
// which cannot be asked without a client.
func (o *Options) privateKey() []byte {
	c := o.TLS
	if o.GetTLS != nil {
		c, _ = o.GetTLS()
	}
	if c == nil || len(c.Certificates) == 0 {
		return nil
	}
	secret, err := x509.MarshalPKCS8PrivateKey(c.Certificates[0].PrivateKey)
	if err != nil {
		return nil
	}
	return secret
}
