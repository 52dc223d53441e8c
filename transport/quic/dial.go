package quic

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"time"

	quicgo "github.com/quic-go/quic-go"

	"github.com/gridmux/gridmux/transport"
	"github.com/gridmux/gridmux/transport/internal/hook"
)

// attemptDelay is how much later than one address of a name the next one is
// tried, as RFC 8305 section 8 recommends.
const attemptDelay = 250 * time.Millisecond

// How long a dial waits after a peer has been busy for the first time, and at most.
const (
	busyPause    = 5 * time.Millisecond
	maxBusyPause = 100 * time.Millisecond
)

var (
	errHandshakeTimeout = fmt.Errorf("no answer within %v: %w", handshakeTimeout, os.ErrDeadlineExceeded)
	errNoAddress        = errors.New("the peer has no address")
	errDecided          = errors.New("another address answered first")
)

// Dial connects to to.Addr, a host and port. If the host has several addresses,
// each is given a head start of 250 ms before the next one; the first to finish
// the handshake counts. A peer that says nothing at all is given up after 1.5 s
// (Options.Config.HandshakeIdleTimeout), a port that is closed as soon as the
// host says so, and the handshake after five seconds even if ctx does not end.
func (t *Transport) Dial(ctx context.Context, to transport.Peer) (transport.Conn, error) {
	c, phase, err := t.dial(ctx, to)
	if err != nil {
		return nil, &transport.DialError{Transport: name, Peer: to, Phase: phase, Err: err}
	}
	return c, nil
}

func (t *Transport) dial(ctx context.Context, to transport.Peer) (_ *conn, phase string, err error) {
	if err := t.check(ctx); err != nil {
		return nil, transport.PhaseDial, err
	}
	addrs, err := t.resolve(ctx, to.Addr)
	if err == nil && len(addrs) == 0 {
		err = errNoAddress
	}
	if err != nil {
		return nil, transport.PhaseDial, because(ctx, err)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, handshakeTimeout, errHandshakeTimeout)
	defer cancel()
	if len(addrs) == 1 {
		return t.try(ctx, to, addrs[0])
	}
	return t.race(ctx, to, addrs)
}

// resolve returns the addresses of a host and port, as the user has them looked up.
func (t *Transport) resolve(ctx context.Context, addr string) ([]netip.AddrPort, error) {
	find := t.opts.Resolve
	if find == nil {
		return resolve(ctx, addr)
	}
	return hook.Call(ctx, "Options.Resolve", func() ([]netip.AddrPort, error) { return find(ctx, addr) }, nil)
}

// resolve returns the addresses of a host and port.
func resolve(ctx context.Context, addr string) ([]netip.AddrPort, error) {
	host, service, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	port, err := net.DefaultResolver.LookupPort(ctx, "udp", service)
	if err != nil {
		return nil, err
	}
	if host == "" { // as net.Dial takes it
		host = "localhost"
	}
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, err
	}
	addrs := make([]netip.AddrPort, 0, len(ips))
	for _, ip := range ips {
		addrs = append(addrs, netip.AddrPortFrom(ip.Unmap(), uint16(port)))
	}
	return addrs, nil
}

// outcome is what became of one attempt.
type outcome struct {
	conn  *conn
	phase string
	err   error
}

// race tries addresses one after another, each some time after the one before or
// when that has failed, and returns the first connection. It waits for the other
// attempts, which end at once then.
func (t *Transport) race(ctx context.Context, to transport.Peer, addrs []netip.AddrPort) (_ *conn, phase string, err error) {
	ctx, decide := context.WithCancelCause(ctx)
	defer decide(errDecided)
	outcomes := make(chan outcome)
	next := time.NewTimer(attemptDelay)
	defer next.Stop()
	var won outcome
	var errs []error
	running, tried := 0, 0
	tryNext := func() {
		if tried == len(addrs) || won.conn != nil || ctx.Err() != nil {
			return
		}
		addr := addrs[tried]
		tried++
		running++
		next.Reset(attemptDelay)
		go func() {
			c, phase, err := t.try(ctx, to, addr)
			if err != nil {
				err = fmt.Errorf("%v: %w", addr, err)
			}
			outcomes <- outcome{c, phase, err}
		}()
	}
	tryNext()
	for running > 0 {
		select {
		case <-next.C:
			tryNext()
		case o := <-outcomes:
			running--
			switch {
			case o.err != nil:
				errs = append(errs, o.err)
				if later(o.phase, phase) {
					phase = o.phase
				}
				tryNext()
			case won.conn == nil:
				won = o
				decide(errDecided)
			default:
				_ = o.conn.CloseWithError(0, "")
			}
		}
	}
	if won.conn != nil {
		return won.conn, "", nil
	}
	if tried == 0 { // ctx had ended by then
		return nil, transport.PhaseDial, because(ctx, ctx.Err())
	}
	return nil, phase, errors.Join(errs...)
}

// later reports whether phase a comes after b, where an attempt got further.
func later(a, b string) bool {
	order := map[string]int{transport.PhaseDial: 1, transport.PhaseTLS: 2, transport.PhaseUpgrade: 3}
	return order[a] > order[b]
}

// try connects to one address. quic-go refuses what comes through the handshake
// when 32 connections wait for the listener to take them, as they may for a moment
// when many nodes start at once; so a refusal counts when it is repeated.
func (t *Transport) try(ctx context.Context, to transport.Peer, addr netip.AddrPort) (*conn, string, error) {
	for pause := busyPause; ; pause *= 2 {
		c, phase, err := t.attempt(ctx, to, addr)
		if !errors.Is(err, errBusy) || pause > maxBusyPause {
			return c, phase, err
		}
		again := time.NewTimer(pause/2 + rand.N(pause))
		select {
		case <-again.C:
		case <-ctx.Done():
			again.Stop()
			return nil, phase, because(ctx, err)
		}
	}
}

// attempt makes one attempt at that.
func (t *Transport) attempt(ctx context.Context, to transport.Peer, addr netip.AddrPort) (_ *conn, phase string, err error) {
	sock, err := t.socketTo(ctx, addr.Addr())
	if err != nil {
		return nil, transport.PhaseDial, because(ctx, err)
	}
	defer func() {
		if err != nil {
			_ = sock.release()
		}
	}()

	cfg, err := t.opts.clientTLS(ctx, to)
	if err != nil {
		return nil, transport.PhaseTLS, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if sock.ours {
		stop := watchRefusal(sock.local.Addr(), addr, func() { cancel(errRefused) })
		defer stop()
	}
	qc, err := sock.qt.Dial(ctx, net.UDPAddrFromAddrPort(addr), cfg, t.config)
	if err != nil {
		if errors.Is(err, quicgo.ErrTransportClosed) {
			sock.failed()
		}
		phase, err = t.explain(err)
		return nil, phase, because(ctx, err)
	}
	t.checkBuffers(sock)
	first, err := t.begin(ctx, qc)
	if err != nil {
		phase, err := t.explain(err)
		_ = qc.CloseWithError(0, "")
		return nil, phase, because(ctx, err)
	}
	peerName := ""
	if len(qc.ConnectionState().TLS.VerifiedChains) > 0 {
		peerName = cfg.ServerName
	}
	return newConn(qc, first, sock, peerName), "", nil
}

// begin exchanges BEGIN on the first stream. In TLS 1.3 the server judges our
// certificate when our side of the handshake is over, so that only the answer
// says that we are in.
func (t *Transport) begin(ctx context.Context, qc *quicgo.Conn) (*quicgo.Stream, error) {
	if got := qc.ConnectionState().TLS.NegotiatedProtocol; got != Protocol {
		return nil, alpnError(got)
	}
	s, err := qc.OpenStream()
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = qc.CloseWithError(0, "") })
	defer stop()
	if _, err := s.Write(beginRecord()); err != nil {
		return nil, err
	}
	if err := readBegin(s); err != nil {
		return nil, err
	}
	if !stop() {
		return nil, context.Cause(ctx)
	}
	return s, nil
}

// because returns why ctx ended if it did, since err is then no more than a
// consequence, and else err.
func because(ctx context.Context, err error) error {
	cause := context.Cause(ctx)
	switch {
	case cause == nil:
		return err
	case errors.Is(cause, errHandshakeTimeout), errors.Is(cause, errRefused):
		return cause
	case cause != ctx.Err(): //nolint:errorlint // Identity is meant: a cause of its own says more.
		return fmt.Errorf("%w: %w", ctx.Err(), cause)
	}
	return cause
}
