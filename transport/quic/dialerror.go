package quic

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"

	quicgo "github.com/quic-go/quic-go"

	"github.com/gridmux/gridmux/transport"
	"github.com/gridmux/gridmux/transport/internal/tlsname"
)

// alertNoProtocol is the TLS alert of a server that does not know what we asked
// for in ALPN (RFC 7301 section 3.2).
const alertNoProtocol = 120

var errBusy = errors.New("the peer refuses connections right now: it is closing, or too many arrive at once")

// explain returns the phase in which an attempt failed, and what it means.
func (t *Transport) explain(err error) (phase string, _ error) {
	if te, ok := errors.AsType[*quicgo.TransportError](err); ok {
		return t.explainTransport(te)
	}
	if ae, ok := errors.AsType[*quicgo.ApplicationError](err); ok && ae.Remote {
		return transport.PhaseUpgrade, closeOfCode(uint64(ae.ErrorCode), ae.ErrorMessage)
	}
	if _, ok := errors.AsType[*quicgo.VersionNegotiationError](err); ok {
		return transport.PhaseUpgrade, plain(err)
	}
	if _, ok := errors.AsType[*quicgo.IdleTimeoutError](err); ok {
		return transport.PhaseDial, fmt.Errorf(
			"no answer within %v: the host is down, UDP is blocked on the way to it, or the node is shutting down",
			t.config.HandshakeIdleTimeout)
	}
	if _, ok := errors.AsType[*quicgo.HandshakeTimeoutError](err); ok {
		return transport.PhaseTLS, fmt.Errorf("the handshake was not over within %v", 2*t.config.HandshakeIdleTimeout)
	}
	switch {
	case errors.Is(err, errOtherService):
		return transport.PhaseTLS, err
	case errors.Is(err, errGreeting):
		return transport.PhaseUpgrade, err
	}
	return transport.PhaseDial, plain(err)
}

func (t *Transport) explainTransport(te *quicgo.TransportError) (phase string, _ error) {
	switch {
	case te.ErrorCode == quicgo.ConnectionRefused && te.Remote:
		return transport.PhaseUpgrade, errBusy
	case te.ErrorCode == quicgo.InternalError && !te.Remote: // sending failed
		return transport.PhaseDial, plain(te)
	case !te.ErrorCode.IsCryptoError():
		return transport.PhaseUpgrade, plain(te)
	case te.Remote && te.ErrorCode&0xff == alertNoProtocol:
		return transport.PhaseTLS, fmt.Errorf("%w: it does not speak %q (ALPN)", errOtherService, Protocol)
	case te.Remote:
		return transport.PhaseTLS, tlsname.Refused(fmt.Errorf("remote error: %w", tls.AlertError(te.ErrorCode&0xff)))
	}
	// Our own verification failed; why is of interest to callers.
	for _, inner := range te.Unwrap() {
		if inner != nil && !errors.Is(inner, net.ErrClosed) {
			return transport.PhaseTLS, inner
		}
	}
	return transport.PhaseTLS, plain(te)
}
