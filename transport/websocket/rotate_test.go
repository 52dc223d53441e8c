package websocket_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/gridmux/gridmux/internal/memnet"
	"github.com/gridmux/gridmux/transport"
	"github.com/gridmux/gridmux/transport/websocket"
)

// rotating is a configuration that is replaced at run time.
type rotating struct {
	config atomic.Pointer[tls.Config]
	broken atomic.Bool
}

var errBroken = errors.New("half a key")

func (r *rotating) get() (*tls.Config, error) {
	if r.broken.Load() {
		return nil, errBroken
	}
	return r.config.Load(), nil
}

// rotatingNode is a listener, or a dialler, with such a configuration.
type rotatingNode struct {
	rotating
	t *websocket.Transport
}

// serialOf is the serial number of the certificate that the other end has shown.
func serialOf(c transport.Conn) string { return c.Info().TLS.PeerCertificates[0].SerialNumber.String() }

// TestRotation takes two nodes from one authority to another while connections
// exist: each handshake uses what is in force, in both roles, connections that
// exist go on, and what is not trusted any more, or not yet, gets nobody in.
func TestRotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		before, after := newPKI(t), newPKI(t)
		both := x509.NewCertPool()
		both.AddCert(before.Certificate())
		both.AddCert(after.Certificate())
		mem := memnet.Listen("a:1")
		var a, b rotatingNode
		// Everything is in the hands of GetTLS: who issued, and who is trusted.
		set := func(issuer *pki, trust *x509.CertPool) {
			for node, name := range map[*rotatingNode]string{&a: "a", &b: "b"} {
				c := issuer.node(t, name)
				c.RootCAs, c.ClientCAs = trust, trust
				node.config.Store(c)
			}
		}
		set(before, before.pool)
		a.t = websocket.New(websocket.Options{GetTLS: a.get, Listener: mem})
		b.t = websocket.New(websocket.Options{GetTLS: b.get, DialContext: mem.DialContext})
		l := listen(t, a.t, "")
		if !l.Info().MutualTLS {
			t.Error("the listener does not announce mutual TLS")
		}
		connect := func() (c, s transport.Conn) {
			t.Helper()
			c, err := b.t.Dial(t.Context(), peerA)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { c.CloseWithError(0, "") })
			s = accept(t, l)
			if c.Info().PeerName != "a" || s.Info().PeerName != "b" || !s.Info().PeerVerified() {
				t.Errorf("proved: %q and %q", c.Info().PeerName, s.Info().PeerName)
			}
			return c, s
		}
		type pair struct{ c, s transport.Conn }
		var all []pair
		serials := map[string]bool{}
		for _, step := range []func(){
			func() {},
			func() { set(before, before.pool) },
			func() { set(before, both) },
			func() { set(after, both) },
			func() { set(after, after.pool) },
		} {
			step()
			c, s := connect()
			serials[serialOf(c)], serials[serialOf(s)] = true, true
			all = append(all, pair{c, s})
			for _, p := range all {
				exchange(t, p.c, p.s)
			}
		}
		if len(serials) != 2*5 {
			t.Errorf("in five steps the two nodes showed %d certificates, want a new one each at every step", len(serials))
		}

		// One node was left behind.
		c := before.node(t, "b")
		c.RootCAs = both
		b.config.Store(c)
		_, err := b.t.Dial(t.Context(), peerA)
		wantDialError(t, err, transport.PhaseTLS, "unknown certificate authority")
		b.config.Store(before.node(t, "b"))
		_, err = b.t.Dial(t.Context(), peerA)
		wantDialError(t, err, transport.PhaseTLS, "unknown authority")
	})
}

// TestGetTLSFails expects no connection, and no plaintext, where there is no
// configuration, and the reason where it can be mended.
func TestGetTLSFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pki := newPKI(t)
		mem := memnet.Listen("a:1")
		var book logBook
		var a, b rotatingNode
		a.config.Store(pki.node(t, "a"))
		b.config.Store(pki.node(t, "b"))
		a.t = websocket.New(websocket.Options{GetTLS: a.get, Listener: mem, ErrorLog: log.New(&book, "", 0)})
		var link *memnet.Conn
		b.t = websocket.New(websocket.Options{GetTLS: b.get, DialContext: recordLink(mem, &link)})
		listen(t, a.t, "")

		b.broken.Store(true)
		_, err := b.t.Dial(t.Context(), peerA)
		wantDialError(t, err, transport.PhaseTLS, "Options.GetTLS: half a key")
		if !errors.Is(err, errBroken) || link != nil {
			t.Errorf("%v; the peer was troubled: %v", err, link != nil)
		}
		b.broken.Store(false)
		b.config.Store(nil)
		_, err = b.t.Dial(t.Context(), peerA)
		wantDialError(t, err, transport.PhaseTLS, "Options.GetTLS: it returned no configuration")
		b.config.Store(pki.node(t, "b"))

		a.broken.Store(true)
		_, err = b.t.Dial(t.Context(), peerA)
		wantDialError(t, err, transport.PhaseTLS, "internal error")
		a.broken.Store(false)
		a.config.Store(&tls.Config{})
		_, err = b.t.Dial(t.Context(), peerA)
		wantDialError(t, err, transport.PhaseTLS)
		lax := pki.node(t, "a")
		lax.ClientAuth = tls.NoClientCert
		a.config.Store(lax)
		_, err = b.t.Dial(t.Context(), peerA)
		wantDialError(t, err, transport.PhaseUpgrade, "403", "a verified client certificate is required")
		synctest.Wait() // until the listener has written it
		lines := strings.Join(book.lines(), "\n")
		for _, want := range []string{"Options.GetTLS: half a key", "no certificates configured"} {
			if !strings.Contains(lines, want) {
				t.Errorf("the log of the listener says %q, want %q", lines, want)
			}
		}
	})

	broken := func() (*tls.Config, error) { return nil, errBroken }
	if _, err := websocket.New(websocket.Options{GetTLS: broken}).Listen(t.Context(), "127.0.0.1:0"); !errors.Is(err, errBroken) {
		t.Errorf("Listen without a configuration: %v", err)
	}
	_, err := websocket.New(websocket.Options{GetTLS: broken, TLS: new(tls.Config)}).Listen(t.Context(), "127.0.0.1:0")
	if err == nil || !strings.Contains(err.Error(), "at most one") {
		t.Errorf("TLS and GetTLS: %v", err)
	}
}

// TestGetTLSAndGetConfigForClient expects the two to work together, and what
// GetConfigForClient leaves to the configuration to be that of GetTLS.
func TestGetTLSAndGetConfigForClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pki := newPKI(t)
		mem := memnet.Listen("a:1")
		var chosen atomic.Pointer[tls.Config]
		server := pki.node(t, "a")
		server.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return chosen.Load(), nil }
		a := websocket.New(websocket.Options{GetTLS: func() (*tls.Config, error) { return server, nil }, Listener: mem})
		b := websocket.New(websocket.Options{TLS: pki.node(t, "b"), DialContext: mem.DialContext})
		l := listen(t, a, "")
		shown := func() []byte {
			t.Helper()
			c, err := b.Dial(t.Context(), peerA)
			if err != nil {
				t.Fatal(err)
			}
			defer c.CloseWithError(0, "")
			exchange(t, c, accept(t, l))
			return c.Info().TLS.PeerCertificates[0].Raw
		}
		if !bytes.Equal(shown(), server.Certificates[0].Certificate[0]) {
			t.Error("the certificate is not the one of GetTLS")
		}
		chosen.Store(pki.node(t, "a"))
		if !bytes.Equal(shown(), chosen.Load().Certificates[0].Certificate[0]) {
			t.Error("the certificate is not the one that was chosen")
		}
	})
}
