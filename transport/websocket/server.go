package websocket

import (
	"crypto/tls"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/gridmux/gridmux/transport"
)

const (
	// maxHeader bounds the header of a request to an own listener, in bytes.
	maxHeader = 16 << 10
	// maxFresh bounds the connections to an own listener that are not yet
	// upgraded.
	maxFresh = 256
)

// server is the HTTP server of an own listener. What strangers can hold of it is
// maxFresh connections for handshakeTimeout each.
type server struct {
	l    *listener
	http http.Server
	wg   sync.WaitGroup // Serve, and every connection that is not yet upgraded

	mu       sync.Mutex
	fresh    map[net.Conn]*freshConn // guarded by mu; not yet upgraded, at most maxFresh
	held     map[string]int          // guarded by mu; how many of them each host has
	accepted uint64                  // guarded by mu; connections ever
	closed   bool                    // guarded by mu
}

// freshConn is a connection that is not yet upgraded.
type freshConn struct {
	raw      net.Conn
	host     string
	number   uint64      // in the order of acceptance
	deadline *time.Timer // closes raw
}

// newServer serves on ln, which is TLS already if it is to be.
func newServer(l *listener, ln net.Listener) *server {
	s := &server{l: l, fresh: make(map[net.Conn]*freshConn), held: make(map[string]int)}
	s.http = http.Server{
		Handler:           http.HandlerFunc(s.serveHTTP),
		ReadHeaderTimeout: handshakeTimeout,
		MaxHeaderBytes:    maxHeader,
		TLSNextProto:      map[string]func(*http.Server, *tls.Conn, http.Handler){},
		ConnState:         s.track,
		ErrorLog:          newErrorLog(l.transport.opts.ErrorLog),
	}
	s.http.SetKeepAlivesEnabled(false)
	s.wg.Go(func() { l.queue.Fail(s.http.Serve(ln)) })
	return s
}

// track follows the connections of the server until they are upgraded.
// ReadHeaderTimeout alone would count anew after TLS, so that five seconds would
// be ten. The server reports a new connection before it accepts the next one.
func (s *server) track(nc net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		s.wg.Add(1)
		if out := s.remember(nc); out != nil {
			out.Close()
		}
	case http.StateClosed:
		s.forget(nc)
		s.wg.Done()
	}
}

// remember gives nc its deadline. It returns a connection that has to be closed,
// if there is one.
func (s *server) remember(nc net.Conn) (out net.Conn) {
	f := &freshConn{raw: beneathTLS(nc), host: transport.RemoteHost(nc.RemoteAddr())}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed { // accepted just before, and unknown to http.Server.Close
		return f.raw
	}
	if len(s.fresh) >= maxFresh {
		out = s.evict()
	}
	s.accepted++
	f.number = s.accepted
	f.deadline = time.AfterFunc(handshakeTimeout, func() { f.raw.Close() })
	s.fresh[nc] = f
	s.held[f.host]++
	return out
}

// evict makes room: of the host that has the most connections the oldest goes,
// the one that had the most time. So neither one host with any number of
// connections nor many hosts with one each keep newcomers out: those would have
// to be pushed out by maxFresh others while they shake hands. The caller holds
// mu.
func (s *server) evict() net.Conn {
	var out *freshConn
	var key net.Conn
	for nc, f := range s.fresh {
		if out == nil || s.held[f.host] > s.held[out.host] || s.held[f.host] == s.held[out.host] && f.number < out.number {
			out, key = f, nc
		}
	}
	s.drop(key, out)
	return out.raw
}

// drop forgets f and reports whether its deadline had not passed. The caller
// holds mu.
func (s *server) drop(nc net.Conn, f *freshConn) bool {
	delete(s.fresh, nc)
	s.held[f.host]--
	if s.held[f.host] == 0 {
		delete(s.held, f.host)
	}
	return f.deadline.Stop()
}

// forget ends the watch over nc and reports whether nc was left alone: neither
// its deadline has passed nor did it make room for another.
func (s *server) forget(nc net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.fresh[nc]
	return f != nil && s.drop(nc, f)
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
	for _, f := range s.fresh {
		f.raw.Close()
	}
	s.mu.Unlock()
	s.http.Close()
	s.wg.Wait()
}
