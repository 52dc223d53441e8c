package transporttest

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/gridmux/gridmux/transport"
)

func testInfo(e *env) {
	l := e.listener()
	dialled, accepted := e.connect(l)
	for _, c := range []transport.Conn{dialled, accepted} {
		info := c.Info()
		if info.Transport == "" {
			e.Errorf("Info names the transport")
		}
		if info.Headroom < 0 || info.Headroom > 64 {
			e.Errorf("Headroom is 0 to 64 bytes: %d", info.Headroom)
		}
		if info.MaxFrame < 64<<10 {
			e.Errorf("MaxFrame is at least 64 KiB: %d", info.MaxFrame)
		}
		if info.LocalAddr == nil || info.RemoteAddr == nil {
			e.Fatalf("both addresses are known: local %v, remote %v", info.LocalAddr, info.RemoteAddr)
		}
	}
	if d, a := dialled.Info(), accepted.Info(); d.Transport != a.Transport || d.Local != a.Local {
		e.Errorf("both ends agree on the transport and on Local: %q %v and %q %v", d.Transport, d.Local, a.Transport, a.Local)
	}
	if li, ci := l.Info(), accepted.Info(); li.Local != ci.Local {
		e.Errorf("the listener's Local holds for its connections: %v and %v", li.Local, ci.Local)
	} else if li.MutualTLS && !ci.PeerVerified() {
		e.Errorf("a listener that says MutualTLS accepts only connections whose certificate it verified")
	}

	before := []transport.Info{dialled.Info(), accepted.Info()}
	constant := func(when string) {
		e.Helper()
		for i, c := range []transport.Conn{dialled, accepted} {
			if now := c.Info(); !sameInfo(now, before[i]) {
				e.Errorf("Info is constant: %s it is %+v, before %+v", when, now, before[i])
			}
		}
	}
	e.exchange("a connection carries frames both ways", dialled, accepted)
	constant("after frames")
	e.close(dialled, 0, "")
	e.close(accepted, 0, "")
	constant("after the end")
}

func sameInfo(a, b transport.Info) bool {
	addrs := func(i transport.Info) []string { return []string{i.LocalAddr.String(), i.RemoteAddr.String()} }
	same := slices.Equal(addrs(a), addrs(b))
	a.LocalAddr, a.RemoteAddr = b.LocalAddr, b.RemoteAddr
	return same && a == b
}

// wantDialError checks a failure of Dial.
func (e *env) wantDialError(rule string, r connResult, to transport.Peer) {
	e.Helper()
	if r.err == nil {
		e.closeAtEnd(r.conn)
		e.Fatalf("%s: it gave a connection", rule)
	}
	de, ok := errors.AsType[*transport.DialError](r.err)
	if !ok {
		e.Fatalf("%s: failures of Dial are a *transport.DialError, got %T: %v", rule, r.err, r.err)
	}
	phases := []string{transport.PhaseDial, transport.PhaseTLS, transport.PhaseUpgrade}
	if !slices.Contains(phases, de.Phase) {
		e.Errorf("%s: a DialError names the phase, one of %q: got %q", rule, phases, de.Phase)
	}
	if de.Err == nil || de.Transport == "" || de.Peer != to {
		e.Errorf("%s: a DialError is complete and tells the peer %v: got %#v", rule, to, de)
	}
	if r.conn != nil {
		e.Errorf("%s: there is no connection beside the error", rule)
	}
}

func testDialEndedContext(e *env) {
	l := e.listener()
	to := e.peerAt(l)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	rule := "Dial with a context that has ended fails"
	for range 5 {
		e.wantDialError(rule, wait(e, e.startDial(ctx, to), rule), to)
	}
	dialled, accepted := e.connect(l)
	e.exchange("a Dial that fails leaves nothing behind for Accept", dialled, accepted)
}

func testDialContextEndsDuring(e *env) {
	rule := "Dial fails when its context ends, whatever it waits for"
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	e.wantDialError(rule, wait(e, e.startDial(ctx, e.Silent), rule), e.Silent)

	ctx, cancel = context.WithCancel(context.Background())
	dialling := e.startDial(ctx, e.Silent)
	e.settle()
	cancel()
	e.wantDialError(rule, wait(e, dialling, rule), e.Silent)
}

func testDialContextEndsAfter(e *env) {
	rule := "once Dial and Accept have returned, their contexts have no influence on the connection"
	l := e.listener()
	ctx, cancel := context.WithCancel(context.Background())
	accepting := startAccept(ctx, l)
	dialled := wait(e, e.startDial(ctx, e.peerAt(l)), "Dial of a listener returns")
	e.check("Dial of a listener succeeds", dialled.err)
	e.closeAtEnd(dialled.conn)
	accepted := wait(e, accepting, "Accept returns a connection that was dialled")
	e.check("Accept succeeds while the listener is open", accepted.err)
	e.closeAtEnd(accepted.conn)

	e.exchange(rule, dialled.conn, accepted.conn)
	reading := startRead(dialled.conn)
	e.settle()
	cancel()
	e.settle()
	for range 50 {
		e.exchangeOneWay(rule, dialled.conn, accepted.conn)
	}
	select {
	case err := <-reading:
		e.Errorf("%s: ReadFrame returned %v", rule, err)
	default:
	}
	e.close(accepted.conn, 8, "bye")
	e.wantPeerClose(rule, wait(e, reading, rule), 8, "bye")
}

func testDialNobody(e *env) {
	rule := "Dial of an address where nobody listens fails"
	l := e.listener()
	to := e.peerAt(l)
	dialled, accepted := e.connect(l)
	e.exchange("a connection carries frames both ways", dialled, accepted)
	e.close(dialled, 0, "")
	e.close(accepted, 0, "")
	e.closeListener(l)
	for range 2 {
		// Where nobody refuses, as over UDP, only the context ends the wait.
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		e.wantDialError(rule, wait(e, e.startDial(ctx, to), rule), to)
		cancel()
	}
}

func testDialBeforeAccept(e *env) {
	rule := "connections may arrive, and frames be written to them, before the first Accept"
	l := e.listener()
	dialled := e.dial(l)
	want := pattern(1, 1000)
	written := start(func() error { return write(dialled, want) })
	e.settle()
	accepted := e.accept(l)
	e.check(rule, wait(e, start(func() error { return read(accepted, want) }), rule))
	e.check(rule, wait(e, written, rule))
	e.exchange(rule, dialled, accepted)
}

func testListenContextEndsAfter(e *env) {
	ctx, cancel := context.WithCancel(context.Background())
	l, err := e.Listener.Listen(ctx, e.Addr)
	e.check("Listen succeeds on an address that is free", err)
	e.Cleanup(func() { e.closeListener(l) })
	accepting := startAccept(context.Background(), l)
	e.settle()
	cancel()
	e.settle()
	rule := "the context of Listen bounds Listen alone"
	dialled := wait(e, e.startDial(context.Background(), e.peerAt(l)), rule)
	e.check(rule, dialled.err)
	e.closeAtEnd(dialled.conn)
	accepted := wait(e, accepting, rule)
	e.check(rule, accepted.err)
	e.closeAtEnd(accepted.conn)
	e.exchange(rule, dialled.conn, accepted.conn)
}

func testListenTwice(e *env) {
	l := e.listener()
	second, err := e.Listener.Listen(context.Background(), l.Addr().String())
	if err == nil {
		_ = second.Close()
		e.Errorf("Listen on an address where the node already listens fails")
	}
	dialled, accepted := e.connect(l)
	e.exchange("a Listen that fails leaves the listener at the address alone", dialled, accepted)
}

func testListenAgain(e *env) {
	l := e.listener()
	addr := l.Addr().String()
	dialled, accepted := e.connect(l)
	e.close(dialled, 0, "")
	e.close(accepted, 0, "")
	e.closeListener(l)
	again := e.listen(addr)
	dialled, accepted = e.connect(again)
	e.exchange("Close of a listener frees its address", dialled, accepted)
}

func testListenerAddr(e *env) {
	l := e.listener()
	addr := l.Addr()
	if addr == nil || addr.String() == "" {
		e.Fatalf("Addr is the bound address: got %v", addr)
	}
	to := transport.Peer{Name: e.Peer.Name, Addr: addr.String()}
	rule := "Addr is an address that can be dialled"
	r := wait(e, e.startDial(context.Background(), to), rule)
	e.check(rule, r.err)
	e.closeAtEnd(r.conn)
	e.exchange(rule, r.conn, e.accept(l))
	if now := l.Addr(); now.String() != addr.String() {
		e.Errorf("Addr stays the same: it was %v and is %v", addr, now)
	}
}
