package websocket

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"

	"github.com/gobwas/ws"

	"github.com/gridmux/gridmux/transport"
)

// maxPending bounds the upgraded connections that nobody accepted yet.
const maxPending = 128

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
		queue:     make(chan *conn, maxPending),
		done:      make(chan struct{}),
		drained:   make(chan struct{}),
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

	queue   chan *conn
	done    chan struct{} // closed when Close begins or the own server fails
	drained chan struct{} // closed when Close is through

	mu      sync.Mutex
	pending int   // guarded by mu; connections in the queue or about to be
	ended   bool  // guarded by mu; done is closed
	failure error // guarded by mu; why the own server ended, if by itself
	closing bool  // guarded by mu; Close was called
}

// Accept returns the next upgraded connection.
func (l *listener) Accept(ctx context.Context) (transport.Conn, error) {
	if ctx == nil {
		return nil, errNilContext
	}
	select {
	case <-l.done:
		return nil, l.acceptError()
	default:
	}
	select {
	case c := <-l.queue:
		l.release()
		return c, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-l.done:
		return nil, l.acceptError()
	}
}

func (l *listener) acceptError() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failure != nil && !l.closing {
		return fmt.Errorf("websocket: accept: %w", l.failure)
	}
	return errClosed
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
	l.mu.Lock()
	if l.closing {
		l.mu.Unlock()
		<-l.drained
		return nil
	}
	l.closing = true
	l.mu.Unlock()

	l.end(nil)
	l.transport.unmount(l)
	if l.own != nil {
		l.own.close()
	}
	// No connection enters the queue any more.
	var wg sync.WaitGroup
	for len(l.queue) > 0 {
		select {
		case c := <-l.queue:
			wg.Go(func() { c.CloseWithError(uint32(ws.StatusGoingAway), "listener closed") })
		default:
		}
	}
	wg.Wait()
	close(l.drained)
	return nil
}

// end makes Accept return and new connections be refused.
func (l *listener) end(failure error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return
	}
	l.ended, l.failure = true, failure
	close(l.done)
}

// reserve takes a place in the queue for a connection that is about to be
// upgraded. It fails when the queue is full or the listener has ended.
func (l *listener) reserve() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended || l.pending == maxPending {
		return false
	}
	l.pending++
	return true
}

func (l *listener) release() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pending--
}

// deliver puts c into its reserved place, unless the listener has ended.
func (l *listener) deliver(c *conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return false
	}
	l.queue <- c // never blocks: the place is reserved
	return true
}
