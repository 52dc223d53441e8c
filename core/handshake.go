package core

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"math"

	"github.com/gridmux/gridmux/core/internal/wire"
	"github.com/gridmux/gridmux/transport"
)

// greeting is one handshake: INIT goes both ways, then HELLO and PROOF of the
// dialler, then those of the acceptor, then READY of the dialler.
type greeting struct {
	m  *Manager
	tc transport.Conn
	//nolint:containedctx // It bounds the whole handshake, the Authenticator included.
	ctx  context.Context
	said hash.Hash // over all frames so far, of both sides
	init wire.Init // what this side said
	peer wire.Init // what the other said
	bind []byte    // of the TLS session, where both ends share one
}

// agreement is what a handshake amounts to for one side.
type agreement struct {
	side     uint8
	checksum bool
	moves    bool // it is to take the place of another session
	remote   wire.Hello
	identity Identity
	told     *codecSet // what our HELLO says that we decode
}

// The roles, as the transcripts name them (W71).
const (
	roleDialler  = "gridmux/1 dialler"
	roleAcceptor = "gridmux/1 acceptor"
)

// greet is the dialler's half. If it fails the connection is closed. turn is
// called before the peer can take the connection for its current one, ready with
// what the peer has said before it can make calls on it.
func (m *Manager) greet(
	ctx context.Context, tc transport.Conn, c *Connection, features wire.Features, turn func() error, ready func(*wire.Hello) error,
) (a agreement, err error) {
	err = m.handshake(ctx, tc, closeWithReason, func(g *greeting) error {
		if err := m.checkLink(tc, 0); err != nil {
			return err
		}
		if err := g.sendInit(); err != nil {
			return err
		}
		if err := g.receiveInit(); err != nil {
			return err
		}
		if err := g.bindLink(); err != nil {
			return err
		}
		own, told := m.hello(tc, c.name)
		own.Features |= features
		hello, proof, err := g.present(&own, roleDialler)
		if err != nil {
			return err
		}
		if err := turn(); err != nil {
			return err
		}
		if err := g.send(hello, proof); err != nil {
			return err
		}
		remote, err := g.receiveHello()
		if err != nil {
			return err
		}
		if remote.From != c.name {
			return reject(wire.CodeName, "the node that was dialled is %q, not %q: check Config.Peers", remote.From, c.name)
		}
		identity, err := g.verify(remote.From, roleAcceptor)
		if err != nil {
			return err
		}
		if m.cfg.Auth == nil && !m.cfg.AllowInsecure {
			if err := provesName(tc.Info(), remote.From); err != nil {
				return err
			}
		}
		if err := m.checkHello(&remote); err != nil {
			return err
		}
		a = agree(0, &own, &remote, identity)
		a.told = told
		if err := ready(&remote); err != nil {
			return err
		}
		return g.send(wire.AppendReady(nil))
	})
	return a, err
}

// welcome is the acceptor's half. If it fails the connection is closed, and the
// dialler told why if it has proved itself. Otherwise it holds the turn of the
// Connection that it returns, until dismiss of n, which it fills in. proved is called as
// soon as the dialler has proved itself.
func (m *Manager) welcome(ctx context.Context, tc transport.Conn, n *newcomer, proved func()) (c *Connection, a agreement, err error) {
	trusted := false
	refuse := func(tc transport.Conn, err error) { refuseDialler(tc, err, trusted) }
	err = m.handshake(ctx, tc, refuse, func(g *greeting) error {
		if err := g.receiveInit(); err != nil {
			return err
		}
		if err := g.sendInit(); err != nil {
			return err
		}
		if err := g.bindLink(); err != nil {
			return err
		}
		remote, err := g.receiveHello()
		if err != nil {
			return err
		}
		identity, err := g.verify(remote.From, roleDialler)
		if err != nil {
			return err
		}
		// Without an Authenticator it is the link that proves, or nothing does.
		if err := m.checkLink(tc, 1); err != nil {
			return err
		}
		trusted = true
		proved()
		if err := m.checkHello(&remote); err != nil {
			return err
		}
		if err := provesName(tc.Info(), remote.From); err != nil {
			return err
		}
		if c = m.members.Load().byName[remote.From]; c == nil || c == m.local {
			c = nil
			return reject(wire.CodeName, "node %q is not among the peers of %q", remote.From, m.cfg.Local.Name)
		}
		n.instance, n.moves = remote.Instance, remote.Features&wire.FeatureMove != 0
		if err := c.admit(ctx, n); err != nil {
			c = nil
			return err
		}
		own, told := m.hello(tc, remote.From)
		a = agree(1, &own, &remote, identity)
		a.told = told
		hello, proof, err := g.present(&own, roleAcceptor)
		if err != nil {
			return err
		}
		if err := g.send(hello, proof); err != nil {
			return err
		}
		// Only now is it sure that the dialler has found no fault either.
		return g.receiveReady()
	})
	if err != nil && c != nil {
		c.dismiss(n)
		c = nil
	}
	return c, a, err
}

// handshake runs one half. When it fails the connection is closed, by refuse or
// because ctx has ended.
func (m *Manager) handshake(ctx context.Context, tc transport.Conn, refuse func(transport.Conn, error), half func(*greeting) error) error {
	giveUp := func() {
		code, reason := wire.CodeTimeout, "the handshake was not finished in time"
		if r, ok := errors.AsType[*rejection](context.Cause(ctx)); ok {
			code, reason = r.code, r.text
		}
		_ = tc.CloseWithError(uint32(code), reason)
	}
	stop := context.AfterFunc(ctx, giveUp)
	err := half(&greeting{m: m, tc: tc, ctx: ctx, said: sha256.New()})
	timedOut := err != nil && ctx.Err() != nil
	switch {
	case timedOut:
		// ctx says so before it calls giveUp, and stop may come in between.
		giveUp()
	case err != nil:
		// Still bounded by ctx: the other side may take nothing.
		refuse(tc, err)
	}
	if !stop() || timedOut {
		switch {
		case m.ctx.Err() != nil:
			return ErrClosed
		case errors.Is(ctx.Err(), context.Canceled):
			return errOutrun
		}
		return fmt.Errorf("handshake not finished within %v: %w", m.cfg.ConnectTimeout, ctx.Err())
	}
	return err
}

// sendInit sends INIT.
func (g *greeting) sendInit() error {
	g.init = wire.Init{MinVersion: wire.Version, MaxVersion: wire.Version}
	if g.tc.Info().TLS != nil {
		g.init.Link |= wire.LinkTLS
	}
	if g.m.cfg.AllowTLSProxy {
		g.init.Link |= wire.LinkProxy
	}
	_, _ = rand.Read(g.init.Nonce[:])
	frame := wire.AppendInit(nil, &g.init)
	_, _ = g.said.Write(frame)
	return g.send(frame)
}

// receiveInit reads the INIT of the other side.
func (g *greeting) receiveInit() error {
	f, err := g.receive()
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
	g.peer = i
	return nil
}

// errTLSProxy is what both ends of a link say that speaks TLS at one end only.
var errTLSProxy = &rejection{code: wire.CodeRejected, text: "one end of the link speaks TLS and the other does not: " +
	"something in between ends TLS. If that is a proxy of yours, set Config.AllowTLSProxy on both nodes; if not, somebody listens in"}

// bindLink finds out what the two ends share beneath the handshake (W70): the
// TLS session, unless both allow that a proxy comes between them.
func (g *greeting) bindLink() error {
	own, peer := g.init.Link, g.peer.Link
	switch {
	case own&peer&wire.LinkProxy != 0:
		return nil
	case (own^peer)&wire.LinkTLS != 0:
		return errTLSProxy
	case own&wire.LinkTLS == 0:
		return nil
	}
	bind, err := g.tc.Info().TLS.ExportKeyingMaterial(exporterLabel, nil, sha256.Size)
	if err != nil {
		return fmt.Errorf("binding the handshake to the TLS session: %w", err)
	}
	g.bind = bind
	return nil
}

// exporterLabel names what is exported from the TLS session (RFC 5705 section
// 4, RFC 8446 section 7.5).
const exporterLabel = "EXPORTER-gridmux-1"

// transcript is what a proof of a role covers (W71).
func (g *greeting) transcript(role string) []byte {
	h := sha256.New()
	_, _ = io.WriteString(h, role)
	_, _ = h.Write([]byte{0})
	_, _ = h.Write(g.said.Sum(nil))
	_, _ = h.Write(g.bind)
	return h.Sum(nil)
}

// present returns this side's HELLO and PROOF, to be sent next.
func (g *greeting) present(own *wire.Hello, role string) (hello, proof []byte, err error) {
	hello = wire.AppendHello(nil, own)
	_, _ = g.said.Write(hello)
	var p []byte
	if auth := g.m.cfg.Auth; auth != nil {
		t := g.transcript(role)
		ctx := g.authContext()
		p, err = authenticate(ctx, func() ([]byte, error) { return auth.Prove(ctx, own.To, t) })
		if err == nil && len(p) > wire.MaxProof {
			err = fmt.Errorf("the proof has %d bytes: at most %d travel", len(p), wire.MaxProof)
		}
		if err != nil {
			return nil, nil, fmt.Errorf("proving this node's identity: %w", err)
		}
	}
	proof = wire.AppendProof(nil, p)
	_, _ = g.said.Write(proof)
	return hello, proof, nil
}

// authContext is what the Authenticator gets.
func (g *greeting) authContext() context.Context {
	return context.WithValue(g.ctx, tlsKey{}, g.tc.Info().TLS)
}

func (g *greeting) receiveHello() (h wire.Hello, err error) {
	f, err := g.receive()
	if err != nil {
		return h, err
	}
	return wire.ParseHello(&f)
}

func (g *greeting) receiveReady() error {
	f, err := g.receive()
	if err != nil {
		return err
	}
	return wire.ParseReady(&f)
}

// verify reads the PROOF of the other side and holds it to what that side
// claims. A node without an Authenticator leaves proving to the link.
func (g *greeting) verify(claimed, role string) (Identity, error) {
	transcript := g.transcript(role)
	f, err := g.receive()
	if err != nil {
		return Identity{}, err
	}
	proof, err := wire.ParseProof(&f)
	if err != nil {
		return Identity{}, err
	}
	auth := g.m.cfg.Auth
	if auth == nil {
		return linkIdentity(g.tc.Info(), claimed), nil
	}
	// The frame is the transport's.
	proof = append([]byte(nil), proof...)
	ctx := g.authContext()
	id, err := authenticate(ctx, func() (Identity, error) { return auth.Verify(ctx, claimed, transcript, proof) })
	if err == nil && id.Name != claimed {
		err = fmt.Errorf("it proves the name %q", id.Name)
	}
	if err == nil {
		return id, nil
	}
	switch {
	case len(proof) == 0:
		err = fmt.Errorf("it is empty: that node has no Config.Auth, or its Authenticator sends nothing: %w", err)
	case len(g.bind) > 0:
		err = fmt.Errorf("%w; or else something in between ends TLS, which a proxy of yours may "+
			"if Config.AllowTLSProxy is set on both nodes", err)
	}
	return Identity{}, &rejection{
		code: wire.CodeRejected, text: "the proof of identity was not accepted",
		detail: fmt.Sprintf("a node claims to be %q, and its proof was not accepted", claimed), err: err,
	}
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

// hello is what this node says of itself on this link.
func (m *Manager) hello(tc transport.Conn, to string) (h wire.Hello, told *codecSet) {
	h = wire.Hello{
		Cluster:   m.cfg.Cluster,
		From:      m.cfg.Local.Name,
		To:        to,
		Instance:  m.instance,
		MaxFrame:  ownMaxFrame,
		MaxMsg:    uint64(m.cfg.MaxMessage),
		MaxCalls:  uint32(m.cfg.MaxCalls),
		Window:    uint64(m.cfg.StreamWindow),
		KeepAlive: uint32(min(m.cfg.KeepAlive.Milliseconds(), math.MaxUint32)),
		Lanes:     ownLanes(tc),
		Catalogue: m.digest(),
	}
	told = m.codecs.set.Load()
	h.Codecs, h.Dicts = told.announcement(0, 0)
	if !tc.Info().Integrity {
		h.Features |= wire.FeatureChecksum
	}
	return h, told
}

// agree derives what is in force from the two hellos.
func agree(side uint8, own, remote *wire.Hello, identity Identity) agreement {
	return agreement{
		side:     side,
		checksum: (own.Features|remote.Features)&wire.FeatureChecksum != 0,
		moves:    [2]*wire.Hello{own, remote}[side].Features&wire.FeatureMove != 0,
		remote:   *remote,
		identity: identity,
	}
}

// send sends frames of the handshake, each in a transport frame of its own.
func (g *greeting) send(frames ...[]byte) error {
	out := make([][]byte, len(frames))
	for i, f := range frames {
		out[i] = append(make([]byte, g.tc.Info().Headroom, g.tc.Info().Headroom+len(f)), f...)
	}
	if err := g.tc.WriteFrames(out); err != nil {
		return linkError("write", err)
	}
	return nil
}

// receive reads one frame of the handshake. A REJECT becomes an error.
func (g *greeting) receive() (wire.Frame, error) {
	b, err := g.tc.ReadFrame(wire.MaxHandshakeFrame)
	if err != nil {
		return wire.Frame{}, linkError("read", err)
	}
	_, _ = g.said.Write(b)
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
	return wire.Frame{}, &rejectedError{code: st.Code, text: printable(st.Message)}
}
