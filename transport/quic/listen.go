package quic

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"

	quicgo "github.com/quic-go/quic-go"

	"github.com/gridmux/gridmux/transport"
	"github.com/gridmux/gridmux/transport/internal/backlog"
)

// Codes that a connection nobody accepts is closed with, numbered as those of
// RFC 6455 section 7.4.1.
const (
	codeGoingAway = 1001
	codePolicy    = 1008
	codeTryAgain  = 1013
)

var errNoCertificate = errors.New("quic: Options.TLS has no certificate to listen with: " +
	"set Certificates, GetCertificate or GetConfigForClient")

// Listen opens a UDP port at addr, a host and port. With Options.PacketConn or
// Transport it uses that instead, and with Options.Mounted it opens nothing: all
// of them ignore addr, except that a mounted listener gives it back as its Addr.
func (t *Transport) Listen(ctx context.Context, addr string) (transport.Listener, error) {
	if err := t.check(ctx); err != nil {
		return nil, err
	}
	if err := context.Cause(ctx); err != nil {
		return nil, fmt.Errorf("quic: listen: %w", err)
	}
	l := &listener{
		transport: t,
		queue:     backlog.New[*conn](name),
	}
	l.life, l.expire = context.WithCancel(context.Background())
	if t.opts.Mounted {
		l.addr = mountedAddr(addr)
		l.mutualTLS = t.opts.RequireClientCert
		l.socket = t.newSocket(nil, false)
		if err := t.mount(l); err != nil {
			return nil, err
		}
		return l, nil
	}
	cfg, err := t.opts.tls().Server()
	if err != nil {
		return nil, fmt.Errorf("quic: listen: %w", err)
	}
	if cfg == nil {
		return nil, errNoCertificate
	}
	l.mutualTLS = cfg.ClientAuth == tls.RequireAndVerifyClientCert
	s, err := t.bind(ctx, addr)
	if err != nil {
		return nil, fmt.Errorf("quic: listen: %w", err)
	}
	own, err := s.open(cfg)
	if err != nil {
		s.unlisten()
		_ = s.release()
		return nil, fmt.Errorf("quic: listen: %w", plain(err))
	}
	t.checkBuffers(s)
	t.opened()
	l.socket, l.own, l.addr = s, own, own.Addr()
	l.wg.Go(l.serve)
	return l, nil
}

// mountedAddr is the address of a listener that binds none.
type mountedAddr string

func (mountedAddr) Network() string  { return name }
func (a mountedAddr) String() string { return string(a) }

// listener is a transport.Listener: a queue that connections enter when their
// handshake is over.
type listener struct {
	transport *Transport
	addr      net.Addr
	mutualTLS bool
	socket    *socket
	own       *quicgo.Listener // nil if mounted

	life   context.Context //nolint:containedctx // It is the listener's own; ends when Close begins.
	expire context.CancelFunc
	wg     sync.WaitGroup // serve, and handshakes

	queue *backlog.Queue[*conn]
}

// Accept returns the next connection.
func (l *listener) Accept(ctx context.Context) (transport.Conn, error) {
	if ctx == nil {
		return nil, errNilContext
	}
	return l.queue.Accept(ctx)
}

// Addr returns what the listener is bound to.
func (l *listener) Addr() net.Addr { return l.addr }

// Info describes the connections to come. Those of a mounted listener are
// announced as mutual TLS only with Options.RequireClientCert, since otherwise
// another listener decides who gets in.
func (l *listener) Info() transport.ListenerInfo {
	return transport.ListenerInfo{TLS: true, MutualTLS: l.mutualTLS}
}

// Close ends the listener; see transport.Listener. The port is free for others
// when the connections that were made over it are closed too, and at once for
// another Listen of this transport.
func (l *listener) Close() error {
	if !l.queue.Close() {
		return nil
	}
	defer l.queue.Finish()
	l.expire()
	l.transport.unmount(l)
	if l.own != nil {
		l.own.Close()
	}
	l.wg.Wait()
	l.queue.Drain(codeGoingAway)
	l.socket.unlisten()
	// All of them together, so no timer's channel, which ends one wait alone.
	over, cancel := context.WithTimeout(context.Background(), portTime)
	defer cancel()
	for _, c := range l.transport.closed() {
		c.waitUntilGone(over)
	}
	return l.socket.release()
}
