package websocket

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/gobwas/ws"

	"github.com/gridmux/gridmux/transport"
	"github.com/gridmux/gridmux/transport/internal/hook"
	"github.com/gridmux/gridmux/transport/internal/tlsname"
)

const (
	// maxResponse is how much of the answer to an upgrade request is read
	// before the connection is taken for something else.
	maxResponse = 16 << 10
	// maxBody is how much of the body of a refusal an error quotes.
	maxBody = 256
)

var (
	errHandshakeTimeout = fmt.Errorf("no answer within %v: %w", handshakeTimeout, os.ErrDeadlineExceeded)
	errLongResponse     = fmt.Errorf("the answer is no upgrade: over %d bytes of header", maxResponse)
)

// Dial connects to to.Addr, a host and port, and upgrades the connection. TLS
// and upgrade together end after five seconds even if ctx does not. An upgrade
// that is refused gives an error with the HTTP status and the beginning of the
// body.
func (t *Transport) Dial(ctx context.Context, to transport.Peer) (transport.Conn, error) {
	c, phase, err := t.dial(ctx, to)
	if err != nil {
		return nil, &transport.DialError{Transport: name, Peer: to, Phase: phase, Err: err}
	}
	return c, nil
}

// connect makes the connection below everything else.
func (t *Transport) connect(ctx context.Context, addr string) (net.Conn, error) {
	dial := t.opts.DialContext
	if dial == nil {
		return new(net.Dialer).DialContext(ctx, "tcp", addr)
	}
	return hook.Call(ctx, "Options.DialContext", func() (net.Conn, error) {
		nc, err := dial(ctx, "tcp", addr)
		if err == nil && nc == nil {
			err = errors.New("Options.DialContext returned no connection")
		}
		return nc, err
	}, func(nc net.Conn) { nc.Close() })
}

func (t *Transport) dial(ctx context.Context, to transport.Peer) (_ *conn, phase string, err error) {
	if err := t.check(ctx); err != nil {
		return nil, transport.PhaseDial, err
	}
	// Before the peer is troubled.
	cfg, err := t.opts.clientTLS(ctx, to)
	if err != nil {
		return nil, transport.PhaseTLS, err
	}
	raw, err := t.connect(ctx, to.Addr)
	if err != nil {
		return nil, transport.PhaseDial, because(ctx, err)
	}
	defer func() {
		if err != nil {
			raw.Close()
		}
	}()

	hctx, cancel := context.WithTimeoutCause(ctx, handshakeTimeout, errHandshakeTimeout)
	defer cancel()
	nc, scheme := raw, "ws"
	s := setup{client: true}
	if cfg != nil {
		scheme = "wss"
		tc := tls.Client(raw, cfg)
		if err := tc.HandshakeContext(hctx); err != nil {
			if isAlert(err) {
				err = tlsname.Refused(err)
			}
			return nil, transport.PhaseTLS, because(hctx, err)
		}
		state := tc.ConnectionState()
		nc, s.tls = tc, &state
		if len(state.VerifiedChains) > 0 {
			s.peerName = cfg.ServerName
		}
	}

	// Cancellation closes the connection instead of setting a deadline: it
	// works for every net.Conn, and there is nothing to undo.
	closed := make(chan struct{})
	stop := context.AfterFunc(hctx, func() {
		defer close(closed)
		raw.Close()
	})
	s.early, err = t.upgrade(nc, &url.URL{Scheme: scheme, Host: hostHeader(to.Addr), Path: t.opts.path()})
	if !stop() {
		<-closed
		err = because(hctx, err)
	}
	if err != nil {
		phase := transport.PhaseUpgrade
		// In TLS 1.3 the server judges our certificate after our side of the
		// handshake is done, and its alert comes in place of the first answer.
		if isAlert(err) {
			phase, err = transport.PhaseTLS, tlsname.Refused(err)
		}
		return nil, phase, err
	}
	return newConn(nc, s), "", nil
}

// because returns why ctx ended if it did, since err is then no more than a
// consequence, and else err.
func because(ctx context.Context, err error) error {
	cause := context.Cause(ctx)
	switch {
	case cause == nil:
		return err
	case errors.Is(cause, errHandshakeTimeout):
		return cause
	case cause != ctx.Err(): //nolint:errorlint // Identity is meant: a cause of its own says more.
		return fmt.Errorf("%w: %w", ctx.Err(), cause)
	case errors.Is(err, cause):
		return err // says more, such as which address did not answer
	}
	return cause
}

// isAlert reports whether err is an alert of TLS that the server sent.
func isAlert(err error) bool {
	oe, ok := errors.AsType[*net.OpError](err)
	return ok && oe.Op == "remote error"
}

// upgrade does the client's side of the opening handshake (RFC 6455 section
// 4.1) and returns the bytes that arrived behind the answer.
func (t *Transport) upgrade(nc net.Conn, u *url.URL) (early []byte, err error) {
	header := t.opts.Header
	d := ws.Dialer{Protocols: []string{Subprotocol}}
	if host := header.Get("Host"); host != "" {
		d.Host = host
		header = header.Clone()
		header.Del("Host")
	}
	if len(header) > 0 {
		d.Header = ws.HandshakeHeaderHTTP(header)
	}

	answer := &recorder{conn: nc}
	br, hs, err := d.Upgrade(answer, u)
	if err != nil {
		return nil, answer.explain(err)
	}
	if br != nil {
		early, _ = br.Peek(br.Buffered())
		early = bytes.Clone(early)
		ws.PutReader(br)
	}
	if hs.Protocol != Subprotocol {
		return nil, fmt.Errorf("the server did not select the sub-protocol %q: %s%s is another websocket service",
			Subprotocol, u.Host, u.Path)
	}
	return early, nil
}

// hostHeader returns addr as a Host header, or a stand-in where addr is the
// address of something else than a TCP port, such as a file.
func hostHeader(addr string) string {
	const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_:[]%"
	if addr == "" || strings.TrimLeft(addr, plain) != "" {
		return "localhost"
	}
	return addr
}

// recorder is the connection during the upgrade. It bounds what is read and
// remembers it, for the sake of the error if the answer is not an upgrade.
type recorder struct {
	conn net.Conn
	seen []byte
}

func (r *recorder) Write(p []byte) (int, error) { return r.conn.Write(p) }

func (r *recorder) Read(p []byte) (int, error) {
	room := maxResponse - len(r.seen)
	if room <= 0 {
		return 0, errLongResponse
	}
	n, err := r.conn.Read(p[:min(len(p), room)])
	r.seen = append(r.seen, p[:n]...)
	return n, err
}

// explain returns what an answer that was not an upgrade says, instead of err.
// The connection is closed next.
func (r *recorder) explain(err error) error {
	if errors.Is(err, ws.ErrHandshakeBadExtensions) {
		return errors.New("the server selected a websocket extension, and none was offered (RFC 6455 section 4.1)")
	}
	// What is still to come, such as the rest of a body, is not worth a long
	// wait.
	r.conn.SetReadDeadline(time.Now().Add(time.Second))
	if len(r.seen) == 0 {
		// The request may not have gone out because the server had said
		// something already, and closed.
		if _, e := r.Read(make([]byte, maxBody)); isAlert(e) {
			return e
		}
	}
	if !bytes.HasPrefix(r.seen, []byte("HTTP/")) {
		if errors.Is(err, io.EOF) {
			err = fmt.Errorf("the connection was closed without an answer: %w", io.ErrUnexpectedEOF)
		}
		return err
	}
	all := io.MultiReader(bytes.NewReader(bytes.Clone(r.seen)), r)
	resp, parseErr := http.ReadResponse(bufio.NewReader(all), nil)
	if parseErr != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return fmt.Errorf("invalid HTTP answer: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusSwitchingProtocols {
		return fmt.Errorf("invalid websocket handshake: %w", err)
	}
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxBody))
	if len(body) == 0 {
		return fmt.Errorf("refused with HTTP status %.64q", resp.Status)
	}
	return fmt.Errorf("refused with HTTP status %.64q: %q", resp.Status, body)
}
