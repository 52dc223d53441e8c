package websocket_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/gridmux/gridmux/internal/memnet"
	"github.com/gridmux/gridmux/transport"
	"github.com/gridmux/gridmux/transport/websocket"
)

var errRevoked = errors.New("the certificate was revoked")

// hooks are the ways in which a tls.Config asks the user about a certificate.
var hooks = map[string]func(c *tls.Config, check func(leaf *x509.Certificate) error){
	"VerifyConnection": func(c *tls.Config, check func(*x509.Certificate) error) {
		c.VerifyConnection = func(s tls.ConnectionState) error { return check(s.PeerCertificates[0]) }
	},
	"VerifyPeerCertificate": func(c *tls.Config, check func(*x509.Certificate) error) {
		c.VerifyPeerCertificate = func(_ [][]byte, chains [][]*x509.Certificate) error { return check(chains[0][0]) }
	},
}

// TestVerifyHook expects the user's own check of certificates to be asked at every
// connection, on either side, also where one was let in before; its refusal to be
// final; and the reason to be there on the side that refuses.
func TestVerifyHook(t *testing.T) {
	for name, hook := range hooks {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			for side, refuses := range []string{"dialler", "listener"} {
				t.Run(name+" "+tls.VersionName(version)+" "+refuses, func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						pki := newPKI(t)
						configs := []*tls.Config{pki.node(t, "b"), pki.node(t, "a")}
						var asked [2]atomic.Int32
						var revoked atomic.Bool
						for i, c := range configs {
							c.MaxVersion = version
							c.ClientSessionCache = tls.NewLRUClientSessionCache(0) // is not to be used
							hook(c, func(leaf *x509.Certificate) error {
								asked[i].Add(1)
								if other := configs[1-i].Certificates[0].Leaf; !leaf.Equal(other) || revoked.Load() && i == side {
									return errRevoked
								}
								return nil
							})
						}
						var book logBook
						mem := memnet.Listen("a:1")
						l := listen(t, websocket.New(websocket.Options{TLS: configs[1], Listener: mem, ErrorLog: log.New(&book, "", 0)}), "")
						dialler := websocket.New(websocket.Options{TLS: configs[0], DialContext: mem.DialContext})
						for n := range int32(3) {
							c, err := dialler.Dial(t.Context(), peerA)
							if err != nil {
								t.Fatal(err)
							}
							defer c.CloseWithError(0, "")
							s := accept(t, l)
							exchange(t, c, s)
							if asked[0].Load() != n+1 || asked[1].Load() != n+1 || c.Info().TLS.DidResume || s.Info().TLS.DidResume {
								t.Errorf("of %d connections the dialler was asked about %d, the listener about %d", n+1, asked[0].Load(), asked[1].Load())
							}
						}
						revoked.Store(true)
						for range 3 {
							_, err := dialler.Dial(t.Context(), peerA)
							synctest.Wait()
							lines := strings.Join(book.lines(), "\n")
							wantDialError(t, err, transport.PhaseTLS)
							if side == 0 {
								if !errors.Is(err, errRevoked) || !strings.Contains(lines, "bad certificate") {
									t.Errorf("the dialler, who refuses, says %v; the log of the listener %q", err, lines)
								}
							} else if !strings.Contains(err.Error(), "bad certificate") || !strings.Contains(lines, errRevoked.Error()) {
								t.Errorf("the log of the listener, who refuses, says %q; the dialler %v", lines, err)
							}
						}
						ctx, cancel := context.WithCancel(t.Context())
						cancel()
						if c, err := l.Accept(ctx); err == nil {
							t.Errorf("the listener accepted %v", c.Info().RemoteAddr)
						}
					})
				})
			}
		}
	}
}

// TestNoResumption plays a client that would resume a session, and expects the
// listener to give it nothing to do so: with every kind of configuration.
func TestNoResumption(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for name, options := range map[string]func(c *tls.Config) websocket.Options{
			"TLS": func(c *tls.Config) websocket.Options { return websocket.Options{TLS: c} },
			"GetTLS": func(c *tls.Config) websocket.Options {
				return websocket.Options{GetTLS: func() (*tls.Config, error) { return c, nil }}
			},
			"GetConfigForClient": func(c *tls.Config) websocket.Options {
				outer := c.Clone()
				outer.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return c, nil }
				return websocket.Options{TLS: outer}
			},
		} {
			t.Run(name+" "+tls.VersionName(version), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					pki := newPKI(t)
					mem := memnet.Listen("a:1")
					opts := options(pki.node(t, "a"))
					opts.Listener = mem
					l := listen(t, websocket.New(opts), "")
					cache := &countingCache{ClientSessionCache: tls.NewLRUClientSessionCache(0)}
					for range 2 {
						// The transport has no cache, so TLS is done beneath it.
						dialler := websocket.New(websocket.Options{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
							nc, err := mem.DialContext(ctx, network, addr)
							if err != nil {
								return nil, err
							}
							cfg := pki.node(t, "b")
							cfg.ServerName, cfg.NextProtos, cfg.MaxVersion, cfg.ClientSessionCache = "a", nil, version, cache
							return tls.Client(nc, cfg), nil
						}})
						c, err := dialler.Dial(t.Context(), peerA)
						if err != nil {
							t.Fatal(err)
						}
						defer c.CloseWithError(0, "")
						s := accept(t, l)
						exchange(t, c, s)
						if s.Info().TLS.DidResume {
							t.Error("a session was resumed")
						}
					}
					if n := cache.put.Load(); n != 0 {
						t.Errorf("the client was given %d tickets", n)
					}
				})
			})
		}
	}
}

type countingCache struct {
	tls.ClientSessionCache
	put atomic.Int32
}

func (c *countingCache) Put(key string, s *tls.ClientSessionState) {
	if s != nil {
		c.put.Add(1)
	}
	c.ClientSessionCache.Put(key, s)
}

// TestDiallerDoesNotResume expects a dialler to verify anew also where the server
// that the listener is mounted on would let it resume a session.
func TestDiallerDoesNotResume(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pki := newPKI(t)
		mem := memnet.Listen("a:1")
		tr := websocket.New(websocket.Options{Mounted: true})
		l := listen(t, tr, "a:1")
		srv := &http.Server{Handler: tr, TLSConfig: pki.node(t, "a")}
		defer srv.Close()
		go srv.ServeTLS(mem, "", "")
		cfg := pki.node(t, "b")
		cfg.ClientSessionCache = tls.NewLRUClientSessionCache(0)
		asked := 0
		cfg.VerifyPeerCertificate = func([][]byte, [][]*x509.Certificate) error { asked++; return nil }
		dialler := websocket.New(websocket.Options{TLS: cfg, DialContext: mem.DialContext})
		for n := range 3 {
			c, err := dialler.Dial(t.Context(), peerA)
			if err != nil {
				t.Fatal(err)
			}
			defer c.CloseWithError(0, "")
			exchange(t, c, accept(t, l))
			if asked != n+1 || c.Info().TLS.DidResume {
				t.Errorf("connection %d: asked %d times, resumed: %v", n+1, asked, c.Info().TLS.DidResume)
			}
		}
	})
}
