package quic_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	quicgo "github.com/quic-go/quic-go"

	"github.com/gridmux/gridmux/transport"
	"github.com/gridmux/gridmux/transport/quic"
)

func udpAddr(t *testing.T, addr string) *net.UDPAddr {
	t.Helper()
	a, err := net.ResolveUDPAddr("udp", addr)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// TestMutualTLS expects both ends to prove their names to each other and to share
// one session, on TLS 1.3 and our ALPN name alone.
func TestMutualTLS(t *testing.T) {
	inLab(t, func(l *lab) {
		client, server := l.pki.node(l.T, "client", "client.example"), l.pki.node(l.T, "server")
		client.MaxVersion = tls.VersionTLS12
		ln := listen(l.T, l.transport(serverAddr, quic.Options{TLS: server}), "")
		c := dial(l.T, l.transport(clientAddr, quic.Options{TLS: client}), transport.Peer{Name: "server", Addr: serverAddr})
		s := accept(l.T, ln)
		exchange(l.T, c, s)
		if !ln.Info().MutualTLS {
			t.Error("the listener does not announce mutual TLS")
		}
		for _, end := range []struct {
			conn transport.Conn
			peer string
		}{{c, "server"}, {s, "client"}} {
			info := end.conn.Info()
			if info.PeerName != end.peer || info.TLS == nil || !info.Integrity || !info.PeerVerified() || info.Local {
				t.Errorf("Info: peer %q, TLS %v, integrity %v; want %q", info.PeerName, info.TLS != nil, info.Integrity, end.peer)
			}
			if info.TLS != nil && (info.TLS.NegotiatedProtocol != "gridmux/1" || info.TLS.Version != tls.VersionTLS13) {
				t.Errorf("ALPN %q, TLS %x", info.TLS.NegotiatedProtocol, info.TLS.Version)
			}
		}
		a, errA := c.Info().TLS.ExportKeyingMaterial("test", nil, 16)
		b, errB := s.Info().TLS.ExportKeyingMaterial("test", nil, 16)
		if errA != nil || errB != nil || !bytes.Equal(a, b) {
			t.Errorf("exported keying material: %x %v, %x %v", a, errA, b, errB)
		}
		if client.NextProtos[0] != "h2" || client.ServerName != "" || server.NextProtos[0] != "h2" || client.MaxVersion != tls.VersionTLS12 {
			t.Error("the user's configuration was changed")
		}
	})
}

// TestServerTLSAlone expects a listener that asks for no certificate to promise
// none.
func TestServerTLSAlone(t *testing.T) {
	inLab(t, func(l *lab) {
		server := l.pki.node(l.T, "server")
		server.ClientAuth = tls.NoClientCert
		c, s := l.pair(quic.Options{TLS: &tls.Config{RootCAs: l.pki.pool}}, quic.Options{TLS: server})
		exchange(l.T, c, s)
		if s.Info().PeerName != "" || s.Info().PeerVerified() || !s.Info().Integrity || c.Info().PeerName != "server" {
			t.Errorf("peers %q and %q", s.Info().PeerName, c.Info().PeerName)
		}
	})
}

// TestServerName expects the name of the peer, not its address, to be what the
// certificate has to be valid for.
func TestServerName(t *testing.T) {
	byName := func(p transport.Peer) string { return p.Name + ".grid.example" }
	for _, test := range []struct {
		name, peer string
		override   func(transport.Peer) string
		cert       string
		verified   string // empty: refused
	}{
		{"name", "n1", nil, "n1", "n1"},
		{"name, not address", "n1", nil, "10.0.0.2", ""},
		{"no name", "", nil, "10.0.0.2", "10.0.0.2"},
		{"name with a port", "10.0.0.2:7000", nil, "10.0.0.2", "10.0.0.2"},
		{"override", "n1", byName, "n1.grid.example", "n1.grid.example"},
		{"override, other node", "n1", byName, "n2.grid.example", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			inLab(t, func(l *lab) {
				ln := listen(l.T, l.transport(serverAddr, quic.Options{TLS: l.pki.node(l.T, test.cert)}), "")
				client := l.pki.node(l.T, "client")
				client.ServerName = "ignored.example"
				tr := l.transport(clientAddr, quic.Options{TLS: client, ServerName: test.override})
				c, err := tr.Dial(l.Context(), transport.Peer{Name: test.peer, Addr: serverAddr})
				if test.verified == "" {
					wantDialError(l.T, err, transport.PhaseTLS, "certificate")
					if _, ok := errors.AsType[x509.HostnameError](err); !ok {
						l.Errorf("no x509.HostnameError: %v", err)
					}
					return
				}
				if err != nil {
					l.Fatal(err)
				}
				defer c.CloseWithError(0, "")
				exchange(l.T, c, accept(l.T, ln))
				if got := c.Info().PeerName; got != test.verified {
					l.Errorf("PeerName %q, want %q", got, test.verified)
				}
			})
		})
	}
}

// TestTLSFailures expects each to be told apart, on the side that can act: the
// dialler by its error, the listener by its log. Nothing is left, and the next
// node gets in (F27).
func TestTLSFailures(t *testing.T) {
	for _, test := range []struct {
		name           string
		client, server func(l *lab, node *tls.Config) *tls.Config
		says, logged   string
	}{
		{name: "no client certificate", client: func(l *lab, node *tls.Config) *tls.Config {
			node.Certificates = nil
			return node
		}, says: "certificate required", logged: "didn't provide a certificate"},
		{name: "client certificate of another authority", client: func(l *lab, node *tls.Config) *tls.Config {
			other := newPKI(l.T).node(l.T, "client")
			// Sent although the server did not ask for its issuer.
			node.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &other.Certificates[0], nil }
			return node
		}, says: "unknown certificate authority", logged: "unknown authority"},
		{name: "client certificate that has expired", client: func(l *lab, node *tls.Config) *tls.Config {
			return l.pki.expired(l.T, "client")
		}, says: "expired certificate", logged: "has expired"},
		{name: "server of another authority", server: func(l *lab, node *tls.Config) *tls.Config {
			return newPKI(l.T).node(l.T, "server")
		}, says: "unknown authority", logged: "bad certificate"},
		{name: "server whose certificate has expired", server: func(l *lab, node *tls.Config) *tls.Config {
			return l.pki.expired(l.T, "server")
		}, says: "has expired", logged: "bad certificate"},
		{name: "server of another name", server: func(l *lab, node *tls.Config) *tls.Config {
			return l.pki.node(l.T, "someone else")
		}, says: "valid for someone else, not server", logged: "bad certificate"},
	} {
		t.Run(test.name, func(t *testing.T) {
			inLab(t, func(l *lab) {
				client, server := l.pki.node(l.T, "client"), l.pki.node(l.T, "server")
				if test.client != nil {
					client = test.client(l, client)
				}
				if test.server != nil {
					server = test.server(l, server)
				}
				var log logBuffer
				ln := listen(l.T, l.transport(serverAddr, quic.Options{TLS: server, Logger: slog.New(slog.NewTextHandler(&log, nil))}), "")
				_, err := l.transport(clientAddr, quic.Options{TLS: client}).Dial(l.Context(), transport.Peer{Name: "server", Addr: serverAddr})
				wantDialError(l.T, err, transport.PhaseTLS, test.says)
				if errors.Is(err, net.ErrClosed) {
					l.Errorf("as if we had closed: %v", err)
				}

				l.settle()
				good := l.transport(otherAddr, quic.Options{TLS: l.pki.node(l.T, "client")})
				if test.server == nil {
					c := dial(l.T, good, transport.Peer{Name: "server", Addr: serverAddr})
					exchange(l.T, c, accept(l.T, ln))
				}
				ln.Close()
				synctest.Wait()
				if got := log.String(); !strings.Contains(got, test.logged) || !strings.Contains(got, clientAddr) {
					l.Errorf("the listener's log does not say %q of %s: %s", test.logged, clientAddr, got)
				}
			})
		})
	}
}

// logBuffer holds what was logged.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer // guarded by mu
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// TestALPN expects neither a dialler nor a listener to talk to whoever does not
// name our protocol, be it that the other end names another or none.
func TestALPN(t *testing.T) {
	for name, protocols := range map[string][]string{"another": {"h3"}, "none": nil} {
		t.Run(name+" at the server", func(t *testing.T) {
			inLab(t, func(l *lab) {
				l.bare(serverAddr, protocols, nil, func(qc *quicgo.Conn) { <-qc.Context().Done() })
				tr := l.transport(clientAddr, quic.Options{TLS: l.pki.node(l.T, "client")})
				_, err := tr.Dial(l.Context(), transport.Peer{Name: "server", Addr: serverAddr})
				wantDialError(l.T, err, transport.PhaseTLS, "ALPN")
			})
		})
		t.Run(name+" at the client", func(t *testing.T) {
			inLab(t, func(l *lab) {
				listen(l.T, l.transport(serverAddr, quic.Options{TLS: l.pki.node(l.T, "server")}), "")
				if _, err := l.bareDial(clientAddr, serverAddr, protocols...); err == nil {
					l.Error("the handshake succeeded")
				}
			})
		})
	}
}

// TestGetConfigForClient expects configurations that a callback chooses to be
// held to the same: our ALPN name, and the promise of mutual TLS.
func TestGetConfigForClient(t *testing.T) {
	inLab(t, func(l *lab) {
		chosen := l.pki.node(l.T, "server")
		choose := func(*tls.ClientHelloInfo) (*tls.Config, error) { return chosen, nil }
		c, s := l.pair(quic.Options{}, quic.Options{TLS: &tls.Config{GetConfigForClient: choose, ClientAuth: tls.RequireAndVerifyClientCert}})
		exchange(l.T, c, s)
		if chosen.NextProtos[0] != "h2" {
			l.Error("the user's configuration was changed")
		}

		chosen.ClientAuth = tls.RequestClientCert
		tr := l.transport(otherAddr, quic.Options{TLS: &tls.Config{RootCAs: l.pki.pool}})
		_, err := tr.Dial(l.Context(), transport.Peer{Name: "server", Addr: serverAddr})
		wantDialError(l.T, err, transport.PhaseUpgrade, "a verified client certificate is required")
	})
}

// TestCertificateReload expects callbacks of the configuration to be asked for
// every connection, on both sides, so that certificates and authorities change
// without a restart, and connections that exist to live on (F27).
func TestCertificateReload(t *testing.T) {
	inLab(t, func(l *lab) {
		// A rotation: nodes trust the new authority before anybody uses it.
		later := newPKI(l.T)
		both := x509.NewCertPool()
		both.AddCert(l.pki.Certificate())
		both.AddCert(later.Certificate())
		reloading := func(name string) (*tls.Config, func()) {
			current := l.pki.node(l.T, name)
			cert := func() *tls.Certificate { return &current.Certificates[0] }
			return &tls.Config{
				RootCAs: both, ClientCAs: both, ClientAuth: tls.RequireAndVerifyClientCert,
				GetCertificate:       func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return cert(), nil },
				GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return cert(), nil },
			}, func() { current = later.node(l.T, name) }
		}
		client, renewClient := reloading("client")
		server, renewServer := reloading("server")
		ln := listen(l.T, l.transport(serverAddr, quic.Options{TLS: server}), "")
		tr := l.transport(clientAddr, quic.Options{TLS: client})
		to := transport.Peer{Name: "server", Addr: serverAddr}
		c := dial(l.T, tr, to)
		s := accept(l.T, ln)
		issuer := func(c transport.Conn) *x509.Certificate { return c.Info().TLS.VerifiedChains[0][1] }
		for _, renew := range []func(){renewClient, renewServer} {
			renew()
			again := dial(l.T, tr, to)
			againFar := accept(l.T, ln)
			exchange(l.T, again, againFar)
			exchange(l.T, c, s)
			if !issuer(againFar).Equal(later.Certificate()) {
				l.Error("the client showed its old certificate")
			}
		}
		last := dial(l.T, tr, to)
		accept(l.T, ln)
		if !issuer(last).Equal(later.Certificate()) {
			l.Error("the server showed its old certificate")
		}
	})
}

// TestGetTLS expects GetTLS to be asked at every handshake, in both roles, and
// whatever it fails with to end that handshake alone (F27).
func TestGetTLS(t *testing.T) {
	inLab(t, func(l *lab) {
		var mu sync.Mutex
		var fails error
		asked := map[string]int{}
		get := func(name string) func() (*tls.Config, error) {
			return func() (*tls.Config, error) {
				mu.Lock()
				defer mu.Unlock()
				asked[name]++
				return l.pki.node(l.T, name), fails
			}
		}
		ln := listen(l.T, l.transport(serverAddr, quic.Options{GetTLS: get("server")}), "")
		tr := l.transport(clientAddr, quic.Options{GetTLS: get("client")})
		to := transport.Peer{Name: "server", Addr: serverAddr}
		for range 3 {
			exchange(l.T, dial(l.T, tr, to), accept(l.T, ln))
		}
		if asked["client"] != 4 || asked["server"] != 5 {
			l.Errorf("asked %v; want once for each handshake and for the socket, and once more to listen", asked)
		}
		mu.Lock()
		fails = errors.New("the file is not there")
		mu.Unlock()
		_, err := tr.Dial(l.Context(), to)
		wantDialError(l.T, err, transport.PhaseTLS, "the file is not there")
		_, err = l.transport(otherAddr, quic.Options{TLS: l.pki.node(l.T, "client")}).Dial(l.Context(), to)
		wantDialError(l.T, err, transport.PhaseTLS)
		mu.Lock()
		fails = nil
		mu.Unlock()
		exchange(l.T, dial(l.T, tr, to), accept(l.T, ln))
	})
}

// TestSkippedVerification expects no name to count as proved.
func TestSkippedVerification(t *testing.T) {
	inLab(t, func(l *lab) {
		client := l.pki.node(l.T, "client")
		client.InsecureSkipVerify = true
		c, s := l.pair(quic.Options{TLS: client}, quic.Options{TLS: l.pki.node(l.T, "someone else")})
		exchange(l.T, c, s)
		if got := c.Info().PeerName; got != "" || c.Info().PeerVerified() {
			l.Errorf("PeerName %q without verification", got)
		}
	})
}

// TestEarlyData expects a listener to take no 0-RTT data, which could be replayed,
// even from a client whose ticket and configuration would allow it.
func TestEarlyData(t *testing.T) {
	inLab(t, func(l *lab) {
		ln := listen(l.T, l.transport(serverAddr, quic.Options{
			TLS: l.pki.node(l.T, "server"), Config: &quicgo.Config{Allow0RTT: true},
		}), "")
		tr := &quicgo.Transport{Conn: open(l.T, l.net, clientAddr)}
		l.Cleanup(func() { tr.Close() })
		cfg := l.pki.node(l.T, "client")
		cfg.ServerName = "server"
		cfg.NextProtos = []string{quic.Protocol}
		cfg.ClientSessionCache = tls.NewLRUClientSessionCache(1)
		for range 2 {
			qc, err := tr.DialEarly(l.Context(), udpAddr(l.T, serverAddr), cfg, nil)
			if err != nil {
				l.Fatal(err)
			}
			s, err := qc.OpenStream()
			if err != nil {
				l.Fatal(err)
			}
			s.Write([]byte{0xfe, 0xff, 0xff, 0xff})
			<-qc.HandshakeComplete()
			accept(l.T, ln)
			if qc.ConnectionState().Used0RTT {
				l.Error("the server took 0-RTT data")
			}
			l.settle() // the ticket arrives
			qc.CloseWithError(0, "")
		}
	})
}

// TestMountedEarly expects a transport that is mounted on a quic.EarlyListener to
// hold to the end of the handshake, mutual TLS included, and to refuse 0-RTT, which
// could be replayed, saying so.
func TestMountedEarly(t *testing.T) {
	inLab(t, func(l *lab) {
		ln := l.mounted(quic.Options{TLS: l.pki.node(l.T, "server"), RequireClientCert: true}, []string{quic.Protocol}, true)
		c := dial(l.T, l.transport(otherAddr, quic.Options{TLS: l.pki.node(l.T, "client")}), transport.Peer{Name: "server", Addr: serverAddr})
		s := accept(l.T, ln)
		exchange(l.T, c, s)
		if info := s.Info(); info.PeerName != "client" || !info.PeerVerified() || !info.TLS.HandshakeComplete {
			t.Errorf("the peer is %q, verified %v", info.PeerName, info.PeerVerified())
		}

		tr := &quicgo.Transport{Conn: open(l.T, l.net, clientAddr)}
		l.Cleanup(func() { tr.Close() })
		cfg := l.pki.node(l.T, "client")
		cfg.ServerName, cfg.NextProtos = "server", []string{quic.Protocol}
		cfg.ClientSessionCache = tls.NewLRUClientSessionCache(1)
		for _, early := range []bool{false, true} {
			qc, err := tr.DialEarly(l.Context(), udpAddr(l.T, serverAddr), cfg, nil)
			if err != nil {
				l.Fatal(err)
			}
			stream, err := qc.OpenStream()
			if err != nil {
				l.Fatal(err)
			}
			stream.Write(begin)
			if !early {
				accept(l.T, ln)
				l.settle() // the ticket arrives
				qc.CloseWithError(0, "")
				continue
			}
			<-qc.Context().Done()
			if ae, ok := errors.AsType[*quicgo.ApplicationError](context.Cause(qc.Context())); !ok || !ae.Remote || !strings.Contains(ae.ErrorMessage, "0-RTT") {
				t.Errorf("with 0-RTT %v: %v", qc.ConnectionState().Used0RTT, context.Cause(qc.Context()))
			}
		}
	})
}

// TestOptions expects what makes no sense to be said by Dial and Listen.
func TestOptions(t *testing.T) {
	pki := newPKI(t)
	node := pki.node(t, "node")
	for _, test := range []struct {
		opts quic.Options
		says string
	}{
		{quic.Options{}, "Options.TLS"},
		{quic.Options{TLS: node, PacketConn: udpSocket(t), Transport: new(quicgo.Transport)}, "at most one"},
		{quic.Options{TLS: node, GetTLS: func() (*tls.Config, error) { return node, nil }}, "at most one"},
		{quic.Options{TLS: node, RequireClientCert: true}, "Mounted"},
	} {
		tr := quic.New(test.opts)
		_, err := tr.Dial(t.Context(), transport.Peer{Name: "n", Addr: "127.0.0.1:1"})
		wantDialError(t, err, transport.PhaseDial, test.says)
		if _, err := tr.Listen(t.Context(), "127.0.0.1:0"); err == nil {
			t.Error("Listen succeeded")
		}
	}
	if _, err := quic.New(quic.Options{TLS: &tls.Config{}}).Listen(t.Context(), "127.0.0.1:0"); err == nil {
		t.Error("Listen without a certificate succeeded")
	}
	var none *quic.Transport
	if _, err := none.Dial(t.Context(), transport.Peer{}); err == nil {
		t.Error("Dial of nil succeeded")
	}
	var nilContext context.Context
	if _, err := quic.New(quic.Options{TLS: node}).Listen(nilContext, "127.0.0.1:0"); err == nil {
		t.Error("Listen without a context succeeded")
	}
}
