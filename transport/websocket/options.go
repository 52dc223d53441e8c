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
	"github.com/gridmux/gridmux/transport/internal/hook"
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
	// an error, or nil, there is no connection, never one in plaintext. It must not
	// block, since the context of Dial does not reach it, and handshakes, Dial,
	// Listen and Close wait for it: return the configuration that you hold, and
	// renew it elsewhere.
	GetTLS func() (*tls.Config, error)

	// ServerName returns the name that the certificate of a dialled peer must be
	// valid for. nil: transport.CertificateName of the peer's Name. Where certificates
	// prove who a node is, which is without Config.Auth and Config.AllowInsecure of the
	// core, that of every node has to be valid for that one as well; so has, with mutual
	// TLS, that of a node which dials.
	// It may be called by several goroutines at once; a panic is a dial that fails, and
	// so is one that it takes longer for than the context of Dial lasts.
	ServerName func(transport.Peer) string

	// DialContext connects to a peer's Addr; network is always "tcp". nil: a
	// net.Dialer. Dial does not wait for it when ctx has ended, and closes what it
	// returns after that.
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
	// a panic of CheckOrigin. They are written from a goroutine of their own, which
	// Close does not wait for; ten of a kind wait for a logger that is slow, and the
	// others are counted. nil: discarded.
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

// tls is where the configurations come from.
func (o *Options) tls() tlsname.Source {
	return tlsname.Source{TLS: o.TLS, Get: o.GetTLS, Adapt: forceHTTP1}
}

// clientTLS returns the configuration to dial a peer with, nil for plaintext.
func (o *Options) clientTLS(ctx context.Context, to transport.Peer) (_ *tls.Config, err error) {
	name := tlsname.Expected(to.Name, to.Addr)
	if o.ServerName != nil && (o.TLS != nil || o.GetTLS != nil) {
		name, err = hook.Call(ctx, "Options.ServerName", func() (string, error) { return o.ServerName(to), nil }, nil)
		if err != nil {
			return nil, err
		}
	}
	return o.tls().Client(name)
}

// forceHTTP1 keeps the ends from agreeing on h2, which users' configurations
// commonly offer and on which no websocket can begin.
func forceHTTP1(c *tls.Config) { c.NextProtos = []string{"http/1.1"} }
