package websocket

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/gobwas/ws"

	"github.com/gridmux/gridmux/transport"
)

const (
	// maxPending bounds the upgraded connections that nobody accepted yet.
	maxPending = 128
	// maxHeader bounds the header of a request to an own listener, in bytes.
	maxHeader = 16 << 10
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
		queue:     make(chan *conn, maxPending),
		done:      make(chan struct{}),
		drained:   make(chan struct{}),
	}
	if t.opts.Mounted {
		l.addr = mountedAddr(addr)
		if err := t.mount(l); err != nil {
			return nil, err
		}
		return l, nil
	}
	ln, err := t.bind(ctx, addr)
	if err != nil {
		return nil, err
	}
	l.addr = nonNil(ln.Addr())
	if cfg := t.opts.serverTLS(); cfg != nil {
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

// Info describes the connections to come. Those of a mounted listener are never
// announced as mutual TLS, since another server decides who gets in.
func (l *listener) Info() transport.ListenerInfo {
	return transport.ListenerInfo{MutualTLS: l.mutualTLS}
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

// server is the HTTP server of an own listener.
type server struct {
	l    *listener
	http http.Server
	wg   sync.WaitGroup // Serve, and every connection that is not yet upgraded

	mu     sync.Mutex
	fresh  map[net.Conn]*time.Timer // guarded by mu; not yet upgraded, each with its deadline
	closed bool                     // guarded by mu
}

// newServer serves on ln, which is TLS already if it is to be.
func newServer(l *listener, ln net.Listener) *server {
	s := &server{l: l, fresh: make(map[net.Conn]*time.Timer)}
	logger := l.transport.opts.ErrorLog
	if logger == nil {
		logger = log.New(io.Discard, "", 0)
	}
	s.http = http.Server{
		Handler:           http.HandlerFunc(s.serveHTTP),
		ReadHeaderTimeout: handshakeTimeout,
		MaxHeaderBytes:    maxHeader,
		TLSNextProto:      map[string]func(*http.Server, *tls.Conn, http.Handler){},
		ConnState:         s.track,
		ErrorLog:          logger,
	}
	s.http.SetKeepAlivesEnabled(false)
	s.wg.Go(func() { l.end(s.http.Serve(ln)) })
	return s
}

// track follows the connections of the server until they are upgraded.
// ReadHeaderTimeout alone would count anew after TLS, so that five seconds would
// be ten.
func (s *server) track(nc net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		s.wg.Add(1)
		raw := beneathTLS(nc)
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.closed { // accepted just before, and unknown to http.Server.Close
			raw.Close()
			return
		}
		s.fresh[nc] = time.AfterFunc(handshakeTimeout, func() { raw.Close() })
	case http.StateClosed:
		s.forget(nc)
		s.wg.Done()
	}
}

// forget stops the deadline of nc and reports whether it had not passed.
func (s *server) forget(nc net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	timer := s.fresh[nc]
	delete(s.fresh, nc)
	return timer == nil || timer.Stop()
}

func (s *server) serveHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != s.l.transport.opts.path() {
		http.NotFound(w, r)
		return
	}
	if s.l.serve(w, r, s.forget) {
		// An upgraded connection is never reported as closed.
		s.wg.Done()
	}
}

// close ends the server and the connections that are not yet upgraded. It waits
// for all goroutines.
func (s *server) close() {
	// Beneath TLS first: http.Server.Close would wait for alerts to be sent.
	s.mu.Lock()
	s.closed = true
	for nc := range s.fresh {
		beneathTLS(nc).Close()
	}
	s.mu.Unlock()
	s.http.Close()
	s.wg.Wait()
}
