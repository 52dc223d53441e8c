package websocket

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"

	"github.com/gobwas/ws"

	"github.com/gridmux/gridmux/transport/internal/tlsname"
)

// ServeHTTP upgrades a request and hands the connection to Accept of the mounted
// listener. Without one it answers 503, and so it does when 128 connections wait
// for Accept; the body of every refusal says what was wrong. It returns when the
// connection is upgraded.
func (t *Transport) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if w == nil || r == nil {
		return
	}
	l := t.mountedListener()
	if l == nil {
		refuse(w, http.StatusServiceUnavailable, "this node is not listening: not started, or closed")
		return
	}
	l.serve(w, r, func(net.Conn) bool { return true })
}

// serve upgrades a request. It reports whether the connection was taken from the
// server, be it to be dropped. upgraded is called when the handshake is over and
// says whether it was so in time.
func (l *listener) serve(w http.ResponseWriter, r *http.Request, upgraded func(net.Conn) bool) (taken bool) {
	if status, why := l.judge(w, r); status != 0 {
		refuse(w, status, why)
		return false
	}
	if !l.queue.Reserve() {
		w.Header().Set("Retry-After", "1")
		refuse(w, http.StatusServiceUnavailable, "this node is not accepting connections right now")
		return false
	}
	c, taken := l.upgrade(w, r, upgraded)
	switch {
	case c == nil:
		l.queue.Release()
	case !l.queue.Deliver(c):
		c.CloseWithError(uint32(ws.StatusGoingAway), "listener closed")
	}
	return taken
}

// judge checks an upgrade request: RFC 6455 section 4.2.1, and what we insist on
// beyond it. It returns the HTTP status of the refusal, 0 if there is none.
func (l *listener) judge(w http.ResponseWriter, r *http.Request) (status int, why string) {
	switch h := r.Header; {
	case r.ProtoMajor > 1:
		return http.StatusUpgradeRequired, "a websocket begins on HTTP/1.1 and this request came over " + r.Proto +
			"; have the client, or the proxy in between, use HTTP/1.1"
	case r.Method != http.MethodGet:
		return http.StatusBadRequest, "a websocket begins with GET"
	case !r.ProtoAtLeast(1, 1):
		return http.StatusBadRequest, "a websocket begins on HTTP/1.1 and this request came over " + r.Proto +
			"; a proxy in between has to use HTTP/1.1 towards this node and to pass the Upgrade and Connection headers on"
	case !hasToken(h, "Upgrade", "websocket"):
		w.Header().Set("Upgrade", "websocket")
		w.Header().Set("Connection", "Upgrade")
		return http.StatusUpgradeRequired, "this path is for websocket connections; if a proxy is in between, " +
			"it has to pass the Upgrade and Connection headers on"
	case !hasToken(h, "Connection", "upgrade"):
		return http.StatusBadRequest, `the Connection header lacks "Upgrade"; if a proxy is in between, it has to pass it on`
	case h.Get("Sec-WebSocket-Version") != "13":
		w.Header().Set("Sec-WebSocket-Version", "13")
		return http.StatusUpgradeRequired, "the websocket version has to be 13"
	case h.Get("Sec-WebSocket-Key") == "":
		return http.StatusBadRequest, "the request has no Sec-WebSocket-Key"
	case !hasToken(h, "Sec-Websocket-Protocol", Subprotocol):
		return http.StatusBadRequest, fmt.Sprintf("the request has to offer the websocket sub-protocol %q; it offers %.64q",
			Subprotocol, strings.Join(h.Values("Sec-WebSocket-Protocol"), ", "))
	case len(h.Values("Origin")) > 0 && !l.allowsOrigin(r):
		return http.StatusForbidden, "the request comes from a web page (it has an Origin header), and none is allowed to connect"
	case l.mutualTLS && (r.TLS == nil || len(r.TLS.VerifiedChains) == 0):
		// The listener promised it. The server that this one is mounted on may
		// be laxer, and so may GetConfigForClient.
		return http.StatusForbidden, "a verified client certificate is required, and this request came " + lacking(r)
	}
	return 0, ""
}

// lacking says what kept a client certificate from being verified here.
func lacking(r *http.Request) string {
	switch {
	case r.TLS == nil:
		return "without TLS; a proxy that ends TLS in front of this node hides the certificate"
	case len(r.TLS.PeerCertificates) == 0:
		return "without one; the server has to ask for it (tls.Config.ClientAuth)"
	}
	return "with one that the server did not verify (tls.Config.ClientAuth)"
}

func (l *listener) allowsOrigin(r *http.Request) bool {
	check := l.transport.opts.CheckOrigin
	return check != nil && check(r)
}

// hasToken reports whether the comma-separated list in the header key has token.
func hasToken(h http.Header, key, token string) bool {
	for _, v := range h.Values(key) {
		for part := range strings.SplitSeq(v, ",") {
			if strings.EqualFold(strings.TrimSpace(part), token) {
				return true
			}
		}
	}
	return false
}

// upgrade takes the connection from the server and answers the handshake. It
// returns nil if that fails, and whether the connection was taken.
func (l *listener) upgrade(w http.ResponseWriter, r *http.Request, upgraded func(net.Conn) bool) (_ *conn, taken bool) {
	nc, rw, err := http.NewResponseController(w).Hijack()
	if errors.Is(err, http.ErrNotSupported) {
		refuse(w, http.StatusInternalServerError, fmt.Sprintf("the connection cannot be taken over: a middleware in front of this handler "+
			"hides http.Hijacker (its http.ResponseWriter is a %T); give it an Unwrap method or mount the handler outside of it", w))
		return nil, false
	}
	if err != nil {
		refuse(w, http.StatusInternalServerError, fmt.Sprintf("the connection cannot be taken over: %v", err))
		return nil, false
	}
	// "gridmux/1" is no token in the sense of RFC 2616, which the library's own
	// selection insists on; judge has selected already.
	up := ws.HTTPUpgrader{
		Timeout: handshakeTimeout,
		Header:  http.Header{"Sec-Websocket-Protocol": {Subprotocol}},
	}
	_, _, _, err = up.Upgrade(r, hijacked{w, nc, rw})
	inTime := upgraded(nc)
	if err != nil || !inTime {
		beneathTLS(nc).Close()
		return nil, true
	}
	s := setup{tls: r.TLS, peerName: tlsname.Certified(r.TLS)}
	if n := rw.Reader.Buffered(); n > 0 {
		early, _ := rw.Reader.Peek(n)
		s.early = bytes.Clone(early)
	}
	return newConn(nc, s), true
}

// hijacked is a ResponseWriter whose connection was already taken over.
type hijacked struct {
	http.ResponseWriter
	conn net.Conn
	rw   *bufio.ReadWriter
}

func (h hijacked) Hijack() (net.Conn, *bufio.ReadWriter, error) { return h.conn, h.rw, nil }

// refuse answers with a status and a sentence for whoever looks into it.
func refuse(w http.ResponseWriter, status int, why string) {
	http.Error(w, "gridmux: "+why, status)
}
