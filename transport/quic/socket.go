package quic

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"

	quicgo "github.com/quic-go/quic-go"
)

// connIDLength is the length of our connection IDs in bytes. A peer that was
// restarted must not take packets for an old connection for those of a new one.
const connIDLength = 8

var errListening = errors.New("quic: the socket has a listener already")

// A socket is a UDP socket with quic-go on it, shared by the dials, the listener
// and the connections of a transport. The last of them to end closes it.
type socket struct {
	t     *Transport
	qt    *quicgo.Transport // nil for the latter, unless the user has set one
	pc    net.PacketConn    // nil if qt is the user's, and for what arrives at a listener of the user's
	ours  bool              // pc was opened here
	local netip.AddrPort    // what pc is bound to, if ours
	door  *door
	gone  chan struct{} // closed when the socket is

	// Guarded by t.mu.
	refs      int  // 0: it is being closed
	listening bool // one of refs is a listener
	broken    bool // it failed and will not carry anything any more
}

// newSocket makes a socket that is held once. It is not in t.sockets yet. It may ask
// the user for the private key, and so is not called with t.mu held.
func (t *Transport) newSocket(pc net.PacketConn, ours bool) *socket {
	s := &socket{
		t:    t,
		qt:   t.opts.Transport,
		pc:   pc,
		ours: ours,
		door: newDoor(t.log),
		gone: make(chan struct{}),
		refs: 1,
	}
	if pc != nil {
		s.qt = &quicgo.Transport{
			Conn:               withGRO(pc),
			ConnectionIDLength: connIDLength,
			StatelessResetKey:  t.opts.resetKey(pc.LocalAddr()),
		}
	}
	if a, ok := localAddr(pc).(*net.UDPAddr); ours && ok {
		bound := a.AddrPort()
		s.local = netip.AddrPortFrom(bound.Addr().Unmap(), bound.Port())
	}
	return s
}

func localAddr(pc net.PacketConn) net.Addr {
	if pc == nil {
		return nil
	}
	return pc.LocalAddr()
}

// given reports whether the user said which socket to use.
func (t *Transport) given() bool { return t.opts.PacketConn != nil || t.opts.Transport != nil }

// hold returns the socket that the user gave, and holds it.
func (t *Transport) hold(ctx context.Context) (*socket, error) {
	var made *socket
	for {
		s, closing := t.holdFirst(made)
		switch {
		case s != nil:
			return s, nil
		case closing == nil:
			made = t.newSocket(t.opts.PacketConn, false)
			continue
		}
		// Two of quic-go's transports must not read from one socket.
		select {
		case <-closing:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// holdFirst holds the first socket, or adds made as that, unless it is nil. closing
// is set if there is one that is being closed.
func (t *Transport) holdFirst(made *socket) (_ *socket, closing <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.sockets) == 0 {
		if made != nil {
			t.sockets = append(t.sockets, made)
		}
		return made, nil
	}
	s := t.sockets[0]
	if s.refs == 0 {
		return nil, s.gone
	}
	s.refs++
	return s, nil
}

// socketTo returns the socket to dial to with: that of the listener if packets
// can get there from it, so that a node has one port, else another.
func (t *Transport) socketTo(ctx context.Context, to netip.Addr) (*socket, error) {
	if t.given() {
		return t.hold(ctx)
	}
	if s := t.holdOneTo(to); s != nil {
		return s, nil
	}
	pc, err := new(net.ListenConfig).ListenPacket(ctx, "udp", ":0")
	if err != nil {
		return nil, err
	}
	// Another Dial may have been here meanwhile.
	if s := t.holdOneTo(to); s != nil {
		pc.Close()
		return s, nil
	}
	s := t.newSocket(pc, true)
	t.add(s)
	return s, nil
}

func (t *Transport) add(s *socket) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sockets = append(t.sockets, s)
}

// holdOneTo holds an open socket from which packets get to an address, nil if
// there is none.
func (t *Transport) holdOneTo(to netip.Addr) *socket {
	t.mu.Lock()
	defer t.mu.Unlock()
	var found *socket
	for _, s := range t.sockets {
		if s.refs > 0 && !s.broken && reaches(s.local.Addr(), to) && (found == nil || s.listening) {
			found = s
		}
	}
	if found != nil {
		found.refs++
	}
	return found
}

// reaches reports whether a socket bound to local can send to an address.
func reaches(local, to netip.Addr) bool {
	to = to.Unmap()
	switch {
	case local.IsUnspecified():
		return local.Is6() || to.Is4() // one for IPv6 takes IPv4 too
	case local.Is4() != to.Is4():
		return false
	}
	return !local.IsLoopback() || to.IsLoopback()
}

// bind returns the socket for a listener at addr, held and marked as listening.
func (t *Transport) bind(ctx context.Context, addr string) (*socket, error) {
	if t.given() {
		s, err := t.hold(ctx)
		if err != nil {
			return nil, err
		}
		if !s.listen() {
			_ = s.release()
			return nil, errListening
		}
		return s, nil
	}
	for {
		pc, err := new(net.ListenConfig).ListenPacket(ctx, "udp", addr)
		if err == nil {
			s := t.newSocket(pc, true)
			s.listening = true
			t.add(s)
			return s, nil
		}
		// The connections of an earlier listener may still use the address, and
		// the new one can join them.
		s, closing := t.holdBound(addr)
		switch {
		case s != nil:
			return s, nil
		case closing == nil:
			return nil, err
		}
		select {
		case <-closing:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// holdBound holds a socket that is bound to addr and has no listener, and marks
// it as listening. closing is set if there is one that is being closed.
func (t *Transport) holdBound(addr string) (_ *socket, closing <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, s := range t.sockets {
		switch {
		case !s.boundTo(addr) || s.listening || s.broken:
		case s.refs == 0:
			return nil, s.gone
		default:
			s.refs++
			s.listening = true
			return s, nil
		}
	}
	return nil, nil
}

// boundTo reports whether Listen at addr would bind what s is bound to.
func (s *socket) boundTo(addr string) bool {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n != uint64(s.local.Port()) {
		return false
	}
	if host == "" {
		return s.local.Addr().IsUnspecified()
	}
	ip, err := netip.ParseAddr(host)
	return err != nil || ip.Unmap() == s.local.Addr() // a name may stand for any
}

// open begins to accept connections, past the door. quic-go takes its hooks from the
// transport at that moment, so that one of the user's is left as it was.
func (s *socket) open(cfg *tls.Config) (*quicgo.Listener, error) {
	enter, verify := s.qt.ConnContext, s.qt.VerifySourceAddress
	defer func() { s.qt.ConnContext, s.qt.VerifySourceAddress = enter, verify }()
	s.qt.ConnContext = s.door.guard(enter)
	s.qt.VerifySourceAddress = func(addr net.Addr) bool {
		return verify != nil && verify(addr) || s.door.crowded()
	}
	return s.qt.Listen(cfg, s.t.config)
}

// listen takes the one place for a listener.
func (s *socket) listen() bool {
	s.t.mu.Lock()
	defer s.t.mu.Unlock()
	if s.listening {
		return false
	}
	s.listening = true
	return true
}

// unlisten gives the place for a listener back.
func (s *socket) unlisten() {
	s.t.mu.Lock()
	defer s.t.mu.Unlock()
	s.listening = false
}

// failed keeps new dials away from a socket that has failed.
func (s *socket) failed() {
	s.t.mu.Lock()
	defer s.t.mu.Unlock()
	s.broken = true
}

// release gives the socket up; the last one closes it.
func (s *socket) release() error {
	s.t.mu.Lock()
	s.refs--
	last := s.refs == 0
	s.t.mu.Unlock()
	if !last {
		return nil
	}
	err := s.close()
	s.t.mu.Lock()
	if i := slices.Index(s.t.sockets, s); i >= 0 {
		s.t.sockets = slices.Delete(s.t.sockets, i, i+1)
	}
	s.t.mu.Unlock()
	close(s.gone)
	return err
}

func (s *socket) close() error {
	if s.pc == nil {
		return nil
	}
	err := s.qt.Close()
	withoutGRO(s.qt.Conn)
	if s.ours {
		err = errors.Join(err, s.pc.Close())
	}
	if err != nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("quic: closing the socket: %w", err)
	}
	return nil
}
