package quic

import (
	"context"
	"errors"
	"fmt"
	"io"

	quicgo "github.com/quic-go/quic-go"

	"github.com/gridmux/gridmux/transport/internal/tlsname"
)

var (
	errOtherService = errors.New("another service is there")
	errGreeting     = errors.New("the first stream does not begin with BEGIN")
	errNotListening = errors.New("this node is not listening: not started, or closed")
	errNoPlace      = errors.New("this node is not accepting connections right now")
	errNoClientCert = errors.New("a verified client certificate is required")
	errEarlyData    = errors.New("0-RTT was used, which can be replayed: leave Allow0RTT off at the listener")
	errGreetTimeout = fmt.Errorf("the client opened no stream within %v", handshakeTimeout)
)

// serve takes what the own listener accepts.
func (l *listener) serve() {
	for {
		// Ended by closing the listener, and then not before what quic-go has queued
		// has been here and is closed, too.
		qc, err := l.own.Accept(context.Background())
		if err != nil {
			l.queue.Fail(plain(err))
			return
		}
		l.transport.retain(l.socket)
		l.wg.Go(func() {
			if logged, err := l.greet(qc, visitorOf(qc)); err != nil && !logged && l.life.Err() == nil {
				l.transport.log.stranger(qc.RemoteAddr(), err)
			}
		})
	}
}

// retain holds a socket that is held already.
func (t *Transport) retain(s *socket) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s.refs++
}

// ServeConn hands a connection that the user's own listener accepted to Accept of
// the mounted one. The connection must have the ALPN name [Protocol], and must not
// have used 0-RTT; its handshake need not be over. ServeConn returns when the
// connection is in the queue, or why it was closed, after at most five seconds.
func (t *Transport) ServeConn(qc *quicgo.Conn) error {
	if qc == nil {
		return errors.New("quic: ServeConn: the connection is nil")
	}
	l := t.mountedListener()
	if l == nil {
		return refuseConn(qc, errNotListening)
	}
	v, err := l.socket.door.enter(qc.Context(), qc.RemoteAddr())
	if err != nil {
		_ = l.socket.release()
		return refuseConn(qc, errNoPlace)
	}
	if _, err := l.greet(qc, v); err != nil {
		return fmt.Errorf("quic: ServeConn: %w", err)
	}
	return nil
}

func refuseConn(qc *quicgo.Conn, why error) error {
	_ = qc.CloseWithError(codeTryAgain, why.Error())
	return fmt.Errorf("quic: ServeConn: %w", why)
}

// greet ends the handshake of a connection and delivers it, or closes it. It
// takes over a hold on the socket of l.
func (l *listener) greet(qc *quicgo.Conn, v *visitor) (logged bool, _ error) {
	defer v.leave()
	code, first, err := l.begin(qc)
	if err != nil {
		logged = !v.leave() // the door logs connections that end before they have left
		_ = qc.CloseWithError(quicgo.ApplicationErrorCode(code), err.Error())
		_ = l.socket.release()
		return logged, err
	}
	state := qc.ConnectionState().TLS
	c := newConn(qc, first, l.socket, tlsname.Certified(&state))
	if !l.queue.Deliver(c) {
		return false, c.CloseWithError(codeGoingAway, "listener closed")
	}
	return false, nil
}

// judge checks what TLS has agreed on.
func (l *listener) judge(quic quicgo.ConnectionState) error {
	state := quic.TLS
	switch {
	case state.NegotiatedProtocol != Protocol:
		return alpnError(state.NegotiatedProtocol)
	case quic.Used0RTT:
		return errEarlyData
	case l.mutualTLS && len(state.VerifiedChains) == 0:
		// The listener promised it. GetConfigForClient, or the listener that this
		// one is mounted on, may be laxer.
		return errNoClientCert
	}
	return nil
}

func alpnError(got string) error {
	return fmt.Errorf("%w: TLS agreed on the protocol %q in place of %q (ALPN)", errOtherService, got, Protocol)
}

// begin waits for the end of the handshake of TLS, judges it, and exchanges BEGIN on
// the first stream. The answer says that there is a place in the queue, which is then
// reserved.
func (l *listener) begin(qc *quicgo.Conn) (code uint32, _ *quicgo.Stream, err error) {
	ctx, cancel := context.WithTimeoutCause(l.life, handshakeTimeout, errGreetTimeout)
	defer cancel()
	defer func() {
		if err != nil && ctx.Err() != nil {
			code, err = codeGoingAway, context.Cause(ctx)
		}
	}()
	// A quic.EarlyListener of the user's is ahead of it.
	select {
	case <-qc.HandshakeComplete():
	case <-qc.Context().Done():
		return codePolicy, nil, plain(context.Cause(qc.Context()))
	case <-ctx.Done():
		return codeGoingAway, nil, context.Cause(ctx)
	}
	if err := l.judge(qc.ConnectionState()); err != nil {
		return codePolicy, nil, err
	}
	s, err := qc.AcceptStream(ctx)
	if err != nil {
		return codePolicy, nil, plain(err)
	}
	stop := context.AfterFunc(ctx, func() { s.CancelRead(0) })
	err = readBegin(s)
	if !stop() && err == nil {
		err = errGreetTimeout
	}
	if err != nil {
		return codePolicy, nil, plain(err)
	}
	if !l.queue.Reserve() {
		return codeTryAgain, nil, errNoPlace
	}
	if _, err := s.Write(beginRecord()); err != nil {
		l.queue.Release()
		return codePolicy, nil, plain(err)
	}
	return 0, s, nil
}

// readBegin reads the first record of the first lane.
func readBegin(s *quicgo.Stream) error {
	var b [headroom]byte
	if _, err := io.ReadFull(s, b[:]); err != nil {
		return err
	}
	var r record
	if _, err := r.parse(b[:]); err != nil || r.mark != markBegin {
		return errGreeting
	}
	return nil
}
