package websocket

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/textproto"
	"strings"
	"time"

	"github.com/gridmux/gridmux/transport"
	"github.com/gridmux/gridmux/transport/internal/tlsname"
)

const (
	// DefaultPath is the request path when [Options].Path is empty. Its version
	// changes when the protocol of the core changes incompatibly.
	DefaultPath = "/gridmux/v1"

	// Subprotocol is the websocket sub-protocol that both ends insist on.
	Subprotocol = "gridmux/1"
)

// handshakeTimeout bounds TLS and upgrade together, from connect or accept on.
const handshakeTimeout = 5 * time.Second

// Options sets a [Transport] up. The zero value dials and listens on plain TCP
// at [DefaultPath].
type Options struct {
	// Path is the request path: where Dial asks for the upgrade and where an
	// own listener answers. It begins with a slash. Empty: DefaultPath.
	Path string

	// TLS makes Dial use wss, and Listen too if it has a server certificate
	// (Certificates, GetCertificate or GetConfigForClient); without one Listen
	// is plaintext, as behind a proxy that ends TLS. The configuration is
	// cloned for each use, with NextProtos http/1.1 and without sessions to be
	// resumed: every connection is verified anew, VerifyConnection and
	// VerifyPeerCertificate included, which may refuse whatever else the user
	// asks of a certificate. Its ServerName is ignored, see below. A mounted
	// transport uses it for Dial only. nil: plaintext.
	TLS *tls.Config

	// GetTLS stands in for TLS where certificates and authorities are replaced
	// while the node runs. It is called for every handshake of either role, by
	// several goroutines at once; connections that exist are left alone. Listen
	// calls it once for itself, and what it returns then decides whether the
	// listener is plaintext and whether client certificates are required. With
	// an error, or nil, there is no connection, never one in plaintext.
	GetTLS func() (*tls.Config, error)

	// ServerName returns the name that the certificate of a dialled peer must
	// be valid for. nil: transport.CertificateName of the peer's Name.
	ServerName func(transport.Peer) string

	// DialContext connects to a peer's Addr; network is always "tcp". nil: a
	// net.Dialer.
	DialContext func(ctx context.Context, network, addr string) (net.Conn, error)

	// Header is added to the upgrade requests of Dial, as for a proxy that
	// wants a token. It may set Host, but none of the headers that make up the
	// upgrade.
	Header http.Header

	// Listen opens what the transport's Listen serves on, given its context and
	// address; network is always "tcp". nil: a net.ListenConfig. What it returns
	// must not speak TLS by itself if TLS has a certificate.
	Listen func(ctx context.Context, network, addr string) (net.Listener, error)

	// Listener is a listener that exists already, as one inherited from a
	// supervisor. The transport serves on it in place of opening one, whatever
	// the address, and closes it, so it lasts for one Listen.
	Listener net.Listener

	// Mounted says that the transport is a handler of a server that exists
	// already: Listen opens no port but makes ServeHTTP accept.
	Mounted bool

	// RequireClientCert makes a mounted transport refuse, with status 403, every
	// request whose client certificate the server did not verify, and so lets its
	// listener promise mutual TLS. The server's tls.Config has to ask for
	// certificates, of everybody (tls.RequireAndVerifyClientCert) or of whoever
	// has one (tls.VerifyClientCertIfGiven). An own listener does this by itself
	// if TLS requires and verifies client certificates.
	RequireClientCert bool

	// CheckOrigin decides about an upgrade request with an Origin header, which
	// is one that a web page made. nil: all are refused.
	CheckOrigin func(*http.Request) bool

	// ErrorLog receives what the server of an own listener has to say about
	// clients that failed in the TLS or HTTP handshake. Strangers can cause that
	// at any rate, so that of each kind of message at most ten a second are
	// passed on, without control characters and cut to 256 bytes, or 4 KiB for
	// a panic of CheckOrigin. nil: discarded.
	ErrorLog *log.Logger
}

// check returns what makes o unusable.
func (o *Options) check() error {
	if o.Path != "" && o.Path[0] != '/' || strings.ContainsAny(o.Path, "?#\r\n") {
		return fmt.Errorf("websocket: invalid Options.Path %q: it must begin with a slash and have no query", o.Path)
	}
	if o.Mounted && (o.Listener != nil || o.Listen != nil) || o.Listener != nil && o.Listen != nil {
		return errors.New("websocket: of Options.Mounted, Listener and Listen at most one may be set")
	}
	if o.TLS != nil && o.GetTLS != nil {
		return errors.New("websocket: of Options.TLS and GetTLS at most one may be set")
	}
	if o.RequireClientCert && !o.Mounted {
		return errors.New("websocket: Options.RequireClientCert is for a Mounted transport: " +
			"an own listener requires certificates with Options.TLS.ClientAuth = tls.RequireAndVerifyClientCert")
	}
	for key := range o.Header {
		switch k := textproto.CanonicalMIMEHeaderKey(key); {
		case k == "Upgrade", k == "Connection", strings.HasPrefix(k, "Sec-Websocket-"):
			return fmt.Errorf("websocket: Options.Header must not set %s, which belongs to the upgrade", key)
		}
	}
	return nil
}

func (o *Options) path() string {
	if o.Path == "" {
		return DefaultPath
	}
	return o.Path
}

// tlsConfig returns the present configuration of the user, nil for plaintext.
func (o *Options) tlsConfig() (*tls.Config, error) {
	if o.GetTLS == nil {
		return o.TLS, nil
	}
	c, err := o.GetTLS()
	if err == nil && c == nil {
		err = errors.New("it returned no configuration")
	}
	if err != nil {
		return nil, fmt.Errorf("Options.GetTLS: %w", err)
	}
	return c, nil
}

// clientTLS returns the configuration to dial a peer with, nil for plaintext.
func (o *Options) clientTLS(to transport.Peer) (*tls.Config, error) {
	c, err := o.tlsConfig()
	if c == nil {
		return nil, err
	}
	c = adapted(c)
	if o.ServerName != nil {
		c.ServerName = o.ServerName(to)
	} else {
		c.ServerName = tlsname.Expected(to.Name, to.Addr)
	}
	return c, nil
}

// serverTLS returns the configuration of an own listener, nil for plaintext.
func (o *Options) serverTLS() (*tls.Config, error) {
	first, err := o.tlsConfig()
	if first == nil || !serves(first) {
		return nil, err
	}
	if o.GetTLS == nil && first.GetConfigForClient == nil {
		return adapted(first), nil
	}
	c := adapted(first)
	c.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		now, err := o.tlsConfig()
		if err != nil {
			return nil, err
		}
		if choose := now.GetConfigForClient; choose != nil {
			if chosen, err := choose(hello); chosen != nil || err != nil {
				return adapted(chosen), err
			}
		}
		return adapted(now), nil
	}
	return c, nil
}

// serves reports whether c has a certificate for a listener.
func serves(c *tls.Config) bool {
	return len(c.Certificates) > 0 || c.GetCertificate != nil || c.GetConfigForClient != nil
}

// adapted returns c, unless it is nil, as it is used. It keeps the ends from
// agreeing on h2, which users' configurations commonly offer and on which no
// websocket can begin. A resumed session would be one whose peer was verified when
// other authorities may have been trusted, and VerifyPeerCertificate is not called
// for it.
func adapted(c *tls.Config) *tls.Config {
	if c == nil {
		return nil
	}
	c = c.Clone()
	c.NextProtos = []string{"http/1.1"}
	c.SessionTicketsDisabled = true
	return c
}
