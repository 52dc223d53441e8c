package core

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"math"
	"net"

	"github.com/gridmux/gridmux/core/internal/wire"
	"github.com/gridmux/gridmux/transport"
)

// greet is the dialler's half of the handshake: INIT, wait for INIT, HELLO,
// wait for HELLO. If it fails the connection is closed.
func (m *Manager) greet(ctx context.Context, tc transport.Conn, c *Connection) (a agreement, err error) {
	err = m.handshake(ctx, tc, closeWithReason, func() error {
		if err := m.checkLink(tc); err != nil {
			return err
		}
		if err := m.sendInit(tc); err != nil {
			return err
		}
		if err := receiveInit(tc); err != nil {
			return err
		}
		own := m.hello(tc, c.node.Name)
		if err := sendFrame(tc, func(b []byte) []byte { return wire.AppendHello(b, &own) }); err != nil {
			return err
		}
		f, err := receiveFrame(tc)
		if err != nil {
			return err
		}
		remote, err := wire.ParseHello(&f)
		if err != nil {
			return err
		}
		if remote.From != c.node.Name {
			return reject(wire.CodeName, "the node at %s is %q, not %q: check Config.Peers", c.node.Addr, remote.From, c.node.Name)
		}
		a = m.agree(0, own, remote)
		return m.checkHello(&remote)
	})
	return a, err
}

// welcome is the acceptor's half: it answers INIT with INIT and HELLO with
// HELLO, or with the reason why not.
func (m *Manager) welcome(ctx context.Context, tc transport.Conn) (c *Connection, a agreement, err error) {
	proved := false
	refuse := func(tc transport.Conn, err error) { refuseDialler(tc, err, proved) }
	err = m.handshake(ctx, tc, refuse, func() error {
		if err := receiveInit(tc); err != nil {
			return err
		}
		if err := m.sendInit(tc); err != nil {
			return err
		}
		f, err := receiveFrame(tc)
		if err != nil {
			return err
		}
		remote, err := wire.ParseHello(&f)
		if err != nil {
			return err
		}
		proved = true
		if err := m.checkHello(&remote); err != nil {
			return err
		}
		if err := m.checkLink(tc); err != nil {
			return err
		}
		if !provesName(tc.Info(), remote.From) {
			return reject(wire.CodeName, "the link proved the name %q, not %q", tc.Info().PeerName, remote.From)
		}
		if c = m.byName[remote.From]; c == nil || c == m.local {
			return reject(wire.CodeName, "node %q is not among the peers of %q", remote.From, m.cfg.Local.Name)
		}
		own := m.hello(tc, remote.From)
		a = m.agree(1, own, remote)
		return sendFrame(tc, func(b []byte) []byte { return wire.AppendHello(b, &own) })
	})
	return c, a, err
}

// handshake runs one half. When it fails the connection is closed, by refuse or
// because ctx has ended.
func (m *Manager) handshake(ctx context.Context, tc transport.Conn, refuse func(transport.Conn, error), half func() error) error {
	stop := context.AfterFunc(ctx, func() {
		_ = tc.CloseWithError(uint32(wire.CodeTimeout), "the handshake was not finished in time")
	})
	err := half()
	if err != nil && ctx.Err() == nil {
		// Still bounded by ctx: the other side may take nothing.
		refuse(tc, err)
	}
	if !stop() && ctx.Err() != nil {
		if m.ctx.Err() != nil {
			return ErrClosed
		}
		return fmt.Errorf("handshake not finished within %v: %w", m.cfg.ConnectTimeout, ctx.Err())
	}
	return err
}

// reasonFor is what the other side is told of a handshake that failed here.
func reasonFor(err error) (wire.Code, string) {
	if r, ok := errors.AsType[*rejection](err); ok {
		return r.code, r.text
	}
	if errors.Is(err, wire.ErrMalformed) || errors.Is(err, transport.ErrFrameTooLarge) {
		return wire.CodeProtocol, err.Error()
	}
	// The link has failed, or the other side has refused us.
	return wire.CodeNone, err.Error()
}

// closeWithReason is how a dialler refuses an acceptor.
func closeWithReason(tc transport.Conn, err error) {
	code, text := reasonFor(err)
	_ = tc.CloseWithError(uint32(code), text)
}

// refuseDialler is how an acceptor refuses a dialler: one that has not proved
// itself learns nothing but that, or that the versions differ (W57).
func refuseDialler(tc transport.Conn, err error, proved bool) {
	code, text := reasonFor(err)
	if !proved && code != wire.CodeVersion {
		code, text = wire.CodeRejected, ""
	}
	_ = sendFrame(tc, func(b []byte) []byte {
		return wire.AppendStatus(b, wire.TypeReject, 0, wire.Status{Code: code, Message: text})
	})
	_ = tc.CloseWithError(uint32(code), text)
}

// checkLink refuses a link that proves nothing, where the configuration does
// not allow that.
func (m *Manager) checkLink(tc transport.Conn) error {
	if info := tc.Info(); !m.cfg.AllowInsecure && !info.Local && !info.PeerVerified() {
		return reject(wire.CodeRejected,
			"the link proves nothing about who is at the other end: use mutual TLS or set Config.AllowInsecure")
	}
	return nil
}

// provesName reports whether what an inbound link proved, if anything, is the
// name that the peer claims. A certificate may be valid for several names, and
// one without any proves nothing about who claims one. A link that we dialled
// was held to the name by the transport.
func provesName(info transport.Info, claimed string) bool {
	if info.PeerName == claimed || info.PeerName == "" && !info.PeerVerified() {
		return true
	}
	if !info.PeerVerified() {
		return false
	}
	host, _, err := net.SplitHostPort(claimed)
	if err != nil {
		host = claimed
	}
	return info.TLS.PeerCertificates[0].VerifyHostname(host) == nil
}

// checkHello refuses a peer that is not meant for us.
func (m *Manager) checkHello(h *wire.Hello) error {
	switch {
	case h.Cluster != m.cfg.Cluster:
		return reject(wire.CodeCluster, "cluster %q met cluster %q: set Config.Cluster alike, or keep the two apart",
			h.Cluster, m.cfg.Cluster)
	case h.To != m.cfg.Local.Name:
		return reject(wire.CodeName, "node %q was meant, this is %q: check Config.Peers of %q", h.To, m.cfg.Local.Name, h.From)
	}
	return nil
}

// hello is what this node says of itself on this link. The proof is empty until
// nodes authenticate each other beyond what the transport does.
func (m *Manager) hello(tc transport.Conn, to string) wire.Hello {
	h := wire.Hello{
		Cluster:   m.cfg.Cluster,
		From:      m.cfg.Local.Name,
		To:        to,
		Instance:  m.instance,
		MaxFrame:  ownMaxFrame,
		MaxMsg:    uint64(m.cfg.MaxMessage),
		MaxCalls:  uint32(m.cfg.MaxCalls),
		KeepAlive: uint32(min(m.cfg.KeepAlive.Milliseconds(), math.MaxUint32)),
		Catalogue: m.handlers.digest(),
	}
	if !tc.Info().Integrity {
		h.Features |= wire.FeatureChecksum
	}
	return h
}

// agree derives what is in force from the two hellos.
func (m *Manager) agree(side uint8, own, remote wire.Hello) agreement {
	return agreement{
		side:     side,
		checksum: (own.Features|remote.Features)&wire.FeatureChecksum != 0,
		remote:   remote,
	}
}

func (m *Manager) sendInit(tc transport.Conn) error {
	i := wire.Init{MinVersion: wire.Version, MaxVersion: wire.Version}
	_, _ = rand.Read(i.Nonce[:])
	return sendFrame(tc, func(b []byte) []byte { return wire.AppendInit(b, &i) })
}

func receiveInit(tc transport.Conn) error {
	f, err := receiveFrame(tc)
	if err != nil {
		return err
	}
	i, err := wire.ParseInit(&f)
	if err != nil {
		return err
	}
	if i.MinVersion > wire.Version || i.MaxVersion < wire.Version {
		return reject(wire.CodeVersion, "no common protocol version: %d to %d there, %d here", i.MinVersion, i.MaxVersion, wire.Version)
	}
	return nil
}

// sendFrame sends one frame of the handshake in a transport frame of its own.
func sendFrame(tc transport.Conn, appendTo func([]byte) []byte) error {
	b := appendTo(make([]byte, tc.Info().Headroom, wire.MaxHandshakeFrame))
	if err := tc.WriteFrames([][]byte{b}); err != nil {
		return linkError("write", err)
	}
	return nil
}

// receiveFrame reads one frame of the handshake. A REJECT becomes an error.
func receiveFrame(tc transport.Conn) (wire.Frame, error) {
	b, err := tc.ReadFrame(wire.MaxHandshakeFrame)
	if err != nil {
		return wire.Frame{}, linkError("read", err)
	}
	f, rest, err := wire.Next(b)
	if err == nil && len(rest) > 0 {
		err = fmt.Errorf("%w: %d bytes after %v", wire.ErrMalformed, len(rest), f.Type)
	}
	if err != nil {
		return wire.Frame{}, err
	}
	if f.Type != wire.TypeReject {
		return f, nil
	}
	st, err := wire.ParseStatus(&f)
	if err != nil {
		return wire.Frame{}, err
	}
	return wire.Frame{}, fmt.Errorf("rejected by the peer with code %d: %s", st.Code, st.Message)
}
