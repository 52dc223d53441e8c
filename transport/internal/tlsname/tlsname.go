// Package tlsname says where the configurations of a transport over TLS come from,
// and which names the certificates of nodes are about, in the same way for every
// such transport. A dialler knows beforehand which name it wants proved. A listener
// learns later, in the handshake of the core, which one the other end claims, and so
// passes on what the certificate says. Both go by the subject alternative names.
package tlsname

import (
	"crypto/tls"
	"fmt"
	"strings"

	"github.com/gridmux/gridmux/transport"
)

// Expected returns the name that the certificate of a dialled peer must be valid
// for: that of its name, or of its address if it has none, since a node that was
// given no name has its address for one.
func Expected(name, addr string) string {
	if name == "" {
		name = addr
	}
	return transport.CertificateName(name)
}

// Certified returns the name in the certificate that the other end presented, if
// it was verified: the first DNS name in its subject alternative names, else the
// first address. The common name is for people, and proves nothing to a dialler
// either (RFC 9525, section 2). It is empty for no TLS, no certificate, and one that
// nobody verified or that has neither.
func Certified(state *tls.ConnectionState) string {
	if state == nil || len(state.VerifiedChains) == 0 {
		return ""
	}
	switch leaf := state.VerifiedChains[0][0]; {
	case len(leaf.DNSNames) > 0:
		return leaf.DNSNames[0]
	case len(leaf.IPAddresses) > 0:
		return leaf.IPAddresses[0].String()
	}
	return ""
}

// Refused says what an alert of TLS means that the peer has sent, where it is about
// the certificate of this node: whoever reads the error would look for the fault at
// the other end. Any other error comes back as it is.
func Refused(alert error) error {
	switch text := alert.Error(); {
	case strings.Contains(text, "certificate required"):
		return fmt.Errorf("the peer requires a certificate of this node: %w", alert)
	case strings.Contains(text, "certificate"):
		return fmt.Errorf("the peer refuses the certificate of this node, and its log says why: %w", alert)
	default:
		return alert
	}
}
