package core

import (
	"github.com/gridmux/gridmux/core/internal/wire"
	"github.com/gridmux/gridmux/transport"
)

// linkIdentity is who the peer is as far as the link has proved it.
func linkIdentity(info transport.Info, claimed string) Identity {
	if !info.PeerVerified() || provesName(info, claimed) != nil {
		return Identity{}
	}
	return Identity{Name: claimed, Method: "mutual TLS"}
}

// checkLink refuses a link that proves nothing, where the configuration asks
// for that and has no other means, and one that is plain where another transport
// of the node speaks TLS. side is that of this node.
func (m *Manager) checkLink(tc transport.Conn, side uint8) error {
	info := tc.Info()
	switch {
	case m.cfg.AllowInsecure || info.Local:
		return nil
	case m.cfg.Auth == nil && !info.PeerVerified():
		return reject(wire.CodeRejected,
			"the link proves nothing about who is at the other end: set Config.Auth, use mutual TLS, or set Config.AllowInsecure")
	case len(m.transports) > 1 && info.TLS == nil && m.encrypts.Load() && (side == 0 || !m.cfg.AllowTLSProxy):
		return errPlainLink
	}
	return nil
}

// errPlainLink refuses to fall back from TLS: who can block one transport could
// then read what goes over another.
var errPlainLink = &rejection{code: wire.CodeRejected, text: "the link does not speak TLS, and another transport of this node does: " +
	"use TLS on all, or set Config.AllowInsecure"}

// provesName refuses a peer that claims another name than the link proved, if it
// proved any. A certificate that was verified is held to the claimed name by the rule
// of all of TLS: one of the subject alternative names has to match, and the common
// name does not count. One without any proves nothing about who claims a name. The
// transport has held a link that we dialled to a name as well, but that may be one
// that all nodes have.
func provesName(info transport.Info, claimed string) error {
	proved := info.PeerName == "" || info.PeerName == claimed
	if info.PeerVerified() {
		name := transport.CertificateName(claimed)
		proved = info.TLS.PeerCertificates[0].VerifyHostname(name) == nil
		if info.PeerName == "" && !proved {
			return reject(wire.CodeName, "the link proved no name: give the certificate the subject alternative name %q", name)
		}
	}
	if !proved {
		return reject(wire.CodeName, "the link proved the name %q, not %q: it has to be a subject alternative name of the certificate",
			info.PeerName, claimed)
	}
	return nil
}
