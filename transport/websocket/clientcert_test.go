package websocket_test

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/gridmux/gridmux/internal/memnet"
	"github.com/gridmux/gridmux/transport"
	"github.com/gridmux/gridmux/transport/websocket"
)

// TestMountedWithClientCertificates expects a mounted transport that requires
// client certificates to promise mutual TLS and to refuse, in words, whatever
// its server lets through without.
func TestMountedWithClientCertificates(t *testing.T) {
	for _, c := range []struct {
		name   string
		auth   tls.ClientAuthType // of the server
		client func(t *testing.T, pki *pki) *tls.Config
		says   string // empty: accepted
	}{
		{"required and verified", tls.RequireAndVerifyClientCert, func(t *testing.T, pki *pki) *tls.Config { return pki.node(t, "client") }, ""},
		{"verified if given", tls.VerifyClientCertIfGiven, func(t *testing.T, pki *pki) *tls.Config { return pki.node(t, "client") }, ""},
		{"none given", tls.VerifyClientCertIfGiven, func(t *testing.T, pki *pki) *tls.Config { return &tls.Config{RootCAs: pki.pool} }, "came without one"},
		{"none asked for", tls.NoClientCert, func(t *testing.T, pki *pki) *tls.Config { return pki.node(t, "client") }, "has to ask for it"},
		{"not verified", tls.RequireAnyClientCert, func(t *testing.T, pki *pki) *tls.Config { return pki.node(t, "client") }, "did not verify"},
		{"no TLS", -1, func(*testing.T, *pki) *tls.Config { return nil }, "without TLS; a proxy"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				pki := newPKI(t)
				mem := memnet.Listen("a:1")
				tr := websocket.New(websocket.Options{Mounted: true, RequireClientCert: true})
				l := listen(t, tr, "a:1")
				if !l.Info().MutualTLS {
					t.Error("the listener does not promise mutual TLS")
				}
				srv := &http.Server{Handler: tr}
				defer srv.Close()
				if c.auth < 0 {
					go srv.Serve(mem)
				} else {
					srv.TLSConfig = pki.node(t, "a")
					srv.TLSConfig.ClientAuth = c.auth
					go srv.ServeTLS(mem, "", "")
				}
				conn, err := websocket.New(websocket.Options{DialContext: mem.DialContext, TLS: c.client(t, pki)}).Dial(t.Context(), peerA)
				if c.says != "" {
					wantDialError(t, err, transport.PhaseUpgrade, "403 Forbidden", "a verified client certificate is required", c.says)
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				defer conn.CloseWithError(0, "")
				s := accept(t, l)
				exchange(t, conn, s)
				if info := s.Info(); !info.PeerVerified() || info.PeerName != "client" {
					t.Errorf("the connection proves %q, want the client's name", info.PeerName)
				}
			})
		})
	}
	// A listener of the transport's own has another way to say it.
	_, err := websocket.New(websocket.Options{RequireClientCert: true}).Listen(t.Context(), "127.0.0.1:0")
	if err == nil || !strings.Contains(err.Error(), "Mounted") || !strings.Contains(err.Error(), "RequireAndVerifyClientCert") {
		t.Errorf("RequireClientCert without Mounted: %v, want an error that says what to do", err)
	}
}

// TestMountedWithoutARequirement expects a mounted transport to promise nothing
// about certificates unless told to.
func TestMountedWithoutARequirement(t *testing.T) {
	tr := websocket.New(websocket.Options{Mounted: true})
	if listen(t, tr, "here").Info().MutualTLS {
		t.Error("the listener promises mutual TLS")
	}
	w := httptest.NewRecorder()
	tr.ServeHTTP(w, upgradeRequest())
	if w.Code == http.StatusForbidden {
		t.Errorf("a request without a certificate is forbidden: %s", w.Body)
	}
}
