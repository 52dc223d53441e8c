package websocket

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"

	"github.com/gobwas/ws"

	"github.com/gridmux/gridmux/transport"
	"github.com/gridmux/gridmux/transport/internal/backlog"
)

var errListenerUsed = errors.New("websocket: Options.Listener was used by an earlier Listen")

// Listen opens a TCP port at addr, a host and port, and answers requests for the
// path of the options there. With Options.Listener it uses that instead, and
// with Options.Mounted it opens nothing: both ignore addr, except that a mounted
// listener gives it back as its Addr.
func (t *Transport) Listen(ctx context.Context, addr string) (transport.Listener, error) {
	if err := t.check(ctx); err != nil {
		return nil, err
	}
	if err := context.Cause(ctx); err != nil {
		return nil, fmt.Errorf("websocket: listen: %w", err)
	}
	l := &listener{
		transport: t,
		queue:     backlog.New[*conn](name),
	}
	if t.opts.Mounted {
		l.addr = mountedAddr(addr)
		l.mutualTLS = t.opts.RequireClientCert
		l.tls = l.mutualTLS
		if err := t.mount(l); err != nil {
			return nil, err
		}
		return l, nil
	}
	cfg, err := t.opts.tls().Server()
	if err != nil {
		return nil, fmt.Errorf("websocket: listen: %w", err)
	}
	ln, err := t.bind(ctx, addr)
	if err != nil {
		return nil, err
	}
	l.addr = nonNil(ln.Addr())
	if cfg != nil {
		l.tls = true
		l.mutualTLS = cfg.ClientAuth == tls.RequireAndVerifyClientCert
		ln = tls.NewListener(ln, cfg)
	}
	l.own = newServer(l, ln)
	return l, nil
}

func (t *Transport) bind(ctx context.Context, addr string) (net.Listener, error) {
	if t.opts.Listener != nil {
		t.mu.Lock()
		defer t.mu.Unlock()
		if t.listenerUsed {
			return nil, errListenerUsed
		}
		t.listenerUsed = true
		return t.opts.Listener, nil
	}
	listen := t.opts.Listen
	if listen == nil {
		listen = new(net.ListenConfig).Listen
	}
	ln, err := listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("websocket: %w", err)
	}
	return ln, nil
}

// mountedAddr is the address of a listener that binds none.
type mountedAddr string

func (mountedAddr) Network() string  { return name }
func (a mountedAddr) String() string { return string(a) }

// listener is a transport.Listener: a queue that upgraded requests enter.
type listener struct {
	transport *Transport
	addr      net.Addr
	tls       bool
	mutualTLS bool
	own       *server // nil if mounted
	queue     *backlog.Queue[*conn]
}

// Accept returns the next upgraded connection.
func (l *listener) Accept(ctx context.Context) (transport.Conn, error) {
	if ctx == nil {
		return nil, errNilContext
	}
	return l.queue.Accept(ctx)
}

// Addr returns what the listener is bound to.
func (l *listener) Addr() net.Addr { return l.addr }

// Info describes the connections to come. Those of a mounted listener are
// announced as TLS, and mutual, only with Options.RequireClientCert, since
// otherwise another server decides who gets in.
func (l *listener) Info() transport.ListenerInfo {
	return transport.ListenerInfo{TLS: l.tls, MutualTLS: l.mutualTLS}
}

// Close ends the listener; see transport.Listener.
func (l *listener) Close() error {
	if !l.queue.Close() {
		return nil
	}
	defer l.queue.Finish()
	l.transport.unmount(l)
	if l.own != nil {
		l.own.close()
	}
	l.queue.Drain(uint32(ws.StatusGoingAway))
	return nil
}
