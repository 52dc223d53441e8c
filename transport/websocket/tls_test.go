package websocket_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"

	"github.com/gridmux/gridmux/internal/memnet"
	"github.com/gridmux/gridmux/transport"
	"github.com/gridmux/gridmux/transport/websocket"
)

// tlsPair dials a listener with the given configurations and returns the
// connection's two ends. The peer's name is "server".
func tlsPair(t *testing.T, client, server websocket.Options) (c, s transport.Conn, l transport.Listener, err error) {
	t.Helper()
	mem := memnet.Listen("a:1")
	server.Listener = mem
	client.DialContext = mem.DialContext
	l = listen(t, websocket.New(server), "")
	c, err = websocket.New(client).Dial(t.Context(), transport.Peer{Name: "server", Addr: "a:1"})
	if err != nil {
		return nil, nil, l, err
	}
	t.Cleanup(func() { c.CloseWithError(0, "") })
	return c, accept(t, l), l, nil
}

// TestMutualTLS: both configurations offer h2, as node does.
func TestMutualTLS(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pki := newPKI(t)
		c, s, l, err := tlsPair(t,
			websocket.Options{TLS: pki.node(t, "client", "client.example")},
			websocket.Options{TLS: pki.node(t, "server")})
		if err != nil {
			t.Fatal(err)
		}
		exchange(t, c, s)
		if !l.Info().MutualTLS {
			t.Error("the listener does not announce mutual TLS")
		}
		for _, end := range []struct {
			conn transport.Conn
			peer string
		}{{c, "server"}, {s, "client"}} {
			info := end.conn.Info()
			if info.PeerName != end.peer || info.TLS == nil || !info.Integrity || !info.PeerVerified() {
				t.Errorf("Info: peer %q, TLS %v, integrity %v; want %q", info.PeerName, info.TLS != nil, info.Integrity, end.peer)
			}
			if info.TLS != nil && info.TLS.NegotiatedProtocol != "http/1.1" {
				t.Errorf("ALPN %q", info.TLS.NegotiatedProtocol)
			}
		}
		// The two ends share the session, on which authenticators may rely.
		a, errA := c.Info().TLS.ExportKeyingMaterial("test", nil, 16)
		b, errB := s.Info().TLS.ExportKeyingMaterial("test", nil, 16)
		if errA != nil || errB != nil || !bytes.Equal(a, b) {
			t.Errorf("exported keying material: %x %v, %x %v", a, errA, b, errB)
		}
	})
}

func TestServerTLSAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pki := newPKI(t)
		server := pki.node(t, "server")
		server.ClientAuth = tls.NoClientCert
		c, s, l, err := tlsPair(t, websocket.Options{TLS: &tls.Config{RootCAs: pki.pool}}, websocket.Options{TLS: server})
		if err != nil {
			t.Fatal(err)
		}
		exchange(t, c, s)
		if l.Info().MutualTLS || s.Info().PeerName != "" || s.Info().PeerVerified() || !s.Info().Integrity {
			t.Errorf("listener %+v, connection peer %q", l.Info(), s.Info().PeerName)
		}
		if c.Info().PeerName != "server" {
			t.Errorf("the dialler verified %q", c.Info().PeerName)
		}
	})
}

// TestPlaintextListener: TLS options without a certificate, as behind a proxy.
func TestPlaintextListener(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, s, l, err := tlsPair(t, websocket.Options{}, websocket.Options{TLS: &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert}})
		if err != nil {
			t.Fatal(err)
		}
		exchange(t, c, s)
		if info := s.Info(); l.Info().MutualTLS || info.TLS != nil || info.Integrity || info.PeerName != "" {
			t.Errorf("listener %+v, connection %+v", l.Info(), info)
		}
	})
}

func TestServerName(t *testing.T) {
	byName := func(p transport.Peer) string { return p.Name + ".grid.example" }
	for _, c := range []struct {
		name     string
		peer     transport.Peer
		override func(transport.Peer) string
		cert     string
		verified string // empty: refused
	}{
		{"name", transport.Peer{Name: "n1", Addr: "a:1"}, nil, "n1", "n1"},
		{"name, not address", transport.Peer{Name: "n1", Addr: "a:1"}, nil, "a", ""},
		{"address for a name", transport.Peer{Name: "a:1", Addr: "a:1"}, nil, "a", "a"},
		{"no name", transport.Peer{Addr: "a:1"}, nil, "a", "a"},
		{"IP address", transport.Peer{Name: "10.0.0.1:1", Addr: "a:1"}, nil, "10.0.0.1", "10.0.0.1"},
		{"IPv6 address", transport.Peer{Name: "[fd00::1]:1", Addr: "a:1"}, nil, "fd00::1", "fd00::1"},
		{"override", transport.Peer{Name: "n1", Addr: "a:1"}, byName, "n1.grid.example", "n1.grid.example"},
		{"override, other node", transport.Peer{Name: "n1", Addr: "a:1"}, byName, "n2.grid.example", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				pki := newPKI(t)
				mem := memnet.Listen("a:1")
				l := listen(t, websocket.New(websocket.Options{Listener: mem, TLS: pki.node(t, c.cert)}), "")
				cfg := pki.node(t, "client")
				cfg.ServerName = "ignored.example"
				conn, err := websocket.New(websocket.Options{DialContext: mem.DialContext, TLS: cfg, ServerName: c.override}).Dial(t.Context(), c.peer)
				if c.verified == "" {
					wantDialError(t, err, transport.PhaseTLS, "certificate")
					if _, ok := errors.AsType[x509.HostnameError](err); !ok {
						t.Errorf("no x509.HostnameError: %v", err)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				defer conn.CloseWithError(0, "")
				exchange(t, conn, accept(t, l))
				if got := conn.Info().PeerName; got != c.verified {
					t.Errorf("PeerName %q, want %q", got, c.verified)
				}
				if cfg.ServerName != "ignored.example" || cfg.NextProtos[0] != "h2" {
					t.Error("the user's configuration was changed")
				}
			})
		})
	}
}

func TestTLSFailures(t *testing.T) {
	for _, c := range []struct {
		name   string
		client func(t *testing.T, pki *pki) *tls.Config
		server func(t *testing.T, pki *pki) *tls.Config
		says   string
		phase  string
	}{
		{
			"no client certificate",
			func(t *testing.T, pki *pki) *tls.Config { return &tls.Config{RootCAs: pki.pool} },
			func(t *testing.T, pki *pki) *tls.Config { return pki.node(t, "server") }, "certificate required", transport.PhaseTLS,
		},
		{
			"strange client certificate",
			func(t *testing.T, pki *pki) *tls.Config {
				c := newPKI(t).node(t, "client")
				c.RootCAs = pki.pool
				// Sent although the server did not ask for its issuer.
				c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &c.Certificates[0], nil }
				return c
			},
			func(t *testing.T, pki *pki) *tls.Config { return pki.node(t, "server") }, "unknown certificate authority", transport.PhaseTLS,
		},
		{
			"strange client certificate, TLS 1.2",
			func(t *testing.T, pki *pki) *tls.Config {
				c := pki.node(t, "client")
				c.MaxVersion = tls.VersionTLS12
				c.Certificates = nil
				return c
			},
			func(t *testing.T, pki *pki) *tls.Config { return pki.node(t, "server") }, "", transport.PhaseTLS,
		},
		{
			"unknown authority",
			func(t *testing.T, pki *pki) *tls.Config { return newPKI(t).node(t, "client") },
			func(t *testing.T, pki *pki) *tls.Config { return pki.node(t, "server") }, "unknown authority", transport.PhaseTLS,
		},
		{
			"plaintext server",
			func(t *testing.T, pki *pki) *tls.Config { return pki.node(t, "client") },
			func(t *testing.T, pki *pki) *tls.Config { return nil }, "does not look like a TLS handshake", transport.PhaseTLS,
		},
		{
			"plaintext client",
			func(t *testing.T, pki *pki) *tls.Config { return nil },
			func(t *testing.T, pki *pki) *tls.Config { return pki.node(t, "server") }, "HTTP request to an HTTPS server", transport.PhaseUpgrade,
		},
		{
			"laxer GetConfigForClient",
			func(t *testing.T, pki *pki) *tls.Config { return &tls.Config{RootCAs: pki.pool} },
			func(t *testing.T, pki *pki) *tls.Config {
				strict := pki.node(t, "server")
				lax := strict.Clone()
				lax.ClientAuth = tls.RequestClientCert
				strict.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return lax, nil }
				return strict
			}, "403", transport.PhaseUpgrade,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				pki := newPKI(t)
				_, _, _, err := tlsPair(t, websocket.Options{TLS: c.client(t, pki)}, websocket.Options{TLS: c.server(t, pki)})
				wantDialError(t, err, c.phase, c.says)
				if errors.Is(err, io.EOF) {
					t.Errorf("a bare EOF: %v", err)
				}
			})
		})
	}
}

// TestGetConfigForClientOffersH2: configurations that a callback chooses are
// kept from agreeing on h2, too.
func TestGetConfigForClientOffersH2(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pki := newPKI(t)
		chosen := pki.node(t, "server")
		c, s, _, err := tlsPair(t,
			websocket.Options{TLS: pki.node(t, "client")},
			websocket.Options{TLS: &tls.Config{
				GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return chosen, nil },
				ClientAuth:         tls.RequireAndVerifyClientCert,
			}})
		if err != nil {
			t.Fatal(err)
		}
		exchange(t, c, s)
		if chosen.NextProtos[0] != "h2" {
			t.Error("the user's configuration was changed")
		}
	})
}

// TestSkippedVerification proves no name.
func TestSkippedVerification(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pki := newPKI(t)
		client := pki.node(t, "client")
		client.InsecureSkipVerify = true
		c, s, _, err := tlsPair(t, websocket.Options{TLS: client}, websocket.Options{TLS: pki.node(t, "someone else")})
		if err != nil {
			t.Fatal(err)
		}
		exchange(t, c, s)
		if got := c.Info().PeerName; got != "" {
			t.Errorf("PeerName %q without verification", got)
		}
	})
}

// TestMountedOnAnHTTP2Server: one port for the transport and an API over h2.
func TestMountedOnAnHTTP2Server(t *testing.T) {
	pki := newPKI(t)
	tr := websocket.New(websocket.Options{Mounted: true})
	l := listen(t, tr, "here")
	mux := http.NewServeMux()
	mux.Handle(websocket.DefaultPath, tr)
	mux.HandleFunc("/api", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.Proto) })
	srv := httptest.NewUnstartedServer(mux)
	srv.TLS = pki.node(t, "server")
	srv.EnableHTTP2 = true
	srv.StartTLS()
	defer srv.Close()

	api := &http.Client{Transport: &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: func() *tls.Config {
		c := pki.node(t, "client")
		c.ServerName = "server"
		return c
	}()}}
	defer api.CloseIdleConnections()
	get := func(path string) (int, string) {
		resp, err := api.Get(srv.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, string(b)
	}
	if _, proto := get("/api"); proto != "HTTP/2.0" {
		t.Fatalf("the API speaks %s", proto)
	}
	if status, body := get(websocket.DefaultPath); status != 426 || len(body) < 50 {
		t.Errorf("over HTTP/2: %d %q", status, body)
	}

	c, err := websocket.New(websocket.Options{TLS: pki.node(t, "client")}).Dial(t.Context(), transport.Peer{Name: "server", Addr: srv.Listener.Addr().String()})
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseWithError(0, "")
	s := accept(t, l)
	exchange(t, c, s)
	if info := s.Info(); info.PeerName != "client" || !info.PeerVerified() || !info.Integrity {
		t.Errorf("mounted: peer %q", info.PeerName)
	}
	if l.Info().MutualTLS {
		t.Error("a mounted listener announces mutual TLS")
	}
}

// TestCloseOverTLSWithAPeerThatIsStuck: crypto/tls would spend five seconds on
// its alert.
func TestCloseOverTLSWithAPeerThatIsStuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pki := newPKI(t)
		mem := memnet.Listen("a:1", memnet.WithBuffer(8192))
		l := listen(t, websocket.New(websocket.Options{Listener: mem, TLS: pki.node(t, "server")}), "")
		var link *memnet.Conn
		conn, err := websocket.New(websocket.Options{TLS: pki.node(t, "client"), DialContext: recordLink(mem, &link)}).
			Dial(t.Context(), transport.Peer{Name: "server", Addr: "a:1"})
		if err != nil {
			t.Fatal(err)
		}
		s := accept(t, l)
		link.StallReads(true)
		// Leaves room for the close frame at most, which takes 60 bytes with
		// its record, but not for the alert behind it.
		const room = 70
		for free := 8192 - link.Buffered(); free > room; free = 8192 - link.Buffered() {
			size := min(free-room, 1000)
			if err := send(s, string(make([]byte, max(size-30, 1)))); err != nil {
				t.Fatal(err)
			}
		}
		closeQuickly(t, s)
		closeQuickly(t, conn)
	})
}

// tlsClient is a client in the test's own hands.
func tlsClient(t *testing.T, pki *pki, nc net.Conn) *tls.Conn {
	cfg := pki.node(t, "client")
	cfg.ServerName = "a"
	cfg.NextProtos = nil
	return tls.Client(nc, cfg)
}
