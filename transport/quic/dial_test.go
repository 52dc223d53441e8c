package quic_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	quicgo "github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/qlogwriter"

	"github.com/gridmux/gridmux/internal/packetnet"
	"github.com/gridmux/gridmux/transport"
	"github.com/gridmux/gridmux/transport/devtls"
	"github.com/gridmux/gridmux/transport/quic"
)

// loopbackPair returns a transport to dial with and a listener of another, over
// sockets that they open themselves.
func loopbackPair(t testing.TB, addr string) (client *quic.Transport, ln transport.Listener) {
	t.Helper()
	pki := newPKI(t)
	ln = listen(t, quic.New(quic.Options{TLS: pki.node(t, "server")}), addr)
	return quic.New(quic.Options{TLS: pki.node(t, "client")}), ln
}

func portOf(a net.Addr) string {
	_, port, _ := net.SplitHostPort(a.String())
	return port
}

// TestDialClosedPort expects a port where nobody listens to be told at once, on
// the word of its host, over IPv4 and IPv6.
func TestDialClosedPort(t *testing.T) {
	for _, addr := range []string{"127.0.0.1:0", "[::1]:0"} {
		client, ln := loopbackPair(t, addr)
		to := transport.Peer{Name: "server", Addr: ln.Addr().String()}
		ln.Close()
		began := time.Now()
		_, err := client.Dial(t.Context(), to)
		wantDialError(t, err, transport.PhaseDial, "connection refused")
		if d := time.Since(began); d > time.Second {
			t.Errorf("the dial took %v", d)
		}
	}
}

// TestDialSilence expects a peer that says nothing, as where UDP is blocked, to be
// given up after a second and a half, or what the configuration says.
func TestDialSilence(t *testing.T) {
	for _, test := range []struct {
		config *quicgo.Config
		want   time.Duration
		says   string
	}{
		{nil, 1500 * time.Millisecond, "no answer within 1.5s: the host is down, UDP is blocked on the way to it, or the node is shutting down"},
		{&quicgo.Config{HandshakeIdleTimeout: 300 * time.Millisecond}, 300 * time.Millisecond, "300ms"},
		{&quicgo.Config{HandshakeIdleTimeout: time.Minute}, 5 * time.Second, "5s"},
	} {
		inLab(t, func(l *lab) {
			open(l.T, l.net, serverAddr)
			tr := l.transport(clientAddr, quic.Options{TLS: l.pki.node(l.T, "client"), Config: test.config})
			began := time.Now()
			_, err := tr.Dial(l.Context(), transport.Peer{Name: "server", Addr: serverAddr})
			wantDialError(l.T, err, transport.PhaseDial, test.says)
			if d := time.Since(began); d < test.want || d > test.want+50*time.Millisecond {
				l.Errorf("the dial took %v, want %v", d, test.want)
			}
		})
	}
}

// TestDialContext expects the cause of a context that ends to be the error.
func TestDialContext(t *testing.T) {
	inLab(t, func(l *lab) {
		open(l.T, l.net, serverAddr)
		tr := l.transport(clientAddr, quic.Options{TLS: l.pki.node(l.T, "client")})
		why := errors.New("no longer wanted")
		ctx, cancel := context.WithCancelCause(l.Context())
		time.AfterFunc(100*time.Millisecond, func() { cancel(why) })
		_, err := tr.Dial(ctx, transport.Peer{Name: "server", Addr: serverAddr})
		wantDialError(l.T, err, transport.PhaseDial, "no longer wanted")
		if !errors.Is(err, why) || !errors.Is(err, context.Canceled) {
			l.Errorf("neither cause nor context in %v", err)
		}
	})
}

// TestDialOtherAnswers expects a server that breaks the greeting, one that goes
// silent after the handshake, and addresses that are none, to be told apart.
func TestDialOtherAnswers(t *testing.T) {
	dialServer := func(l *lab) error {
		tr := l.transport(clientAddr, quic.Options{TLS: l.pki.node(l.T, "client")})
		_, err := tr.Dial(l.Context(), transport.Peer{Name: "server", Addr: serverAddr})
		return err
	}
	inLab(t, func(l *lab) {
		l.bare(serverAddr, []string{quic.Protocol}, nil, func(qc *quicgo.Conn) {
			s, err := qc.AcceptStream(l.Context())
			if err == nil {
				s.Write([]byte("HTTP/1.1 200 OK\r\n"))
			}
			<-qc.Context().Done()
		})
		wantDialError(l.T, dialServer(l), transport.PhaseUpgrade, "BEGIN")
	})
	inLab(t, func(l *lab) {
		l.bare(serverAddr, []string{quic.Protocol}, nil, func(qc *quicgo.Conn) { <-qc.Context().Done() })
		wantDialError(l.T, dialServer(l), transport.PhaseDial, "no answer within 5s")
	})
	inLab(t, func(l *lab) {
		l.bare(serverAddr, []string{quic.Protocol}, nil, func(qc *quicgo.Conn) { qc.CloseWithError(77, "no") })
		err := dialServer(l)
		wantDialError(l.T, err, transport.PhaseUpgrade, "77", "no")
		if ce, ok := errors.AsType[*transport.CloseError](err); !ok || ce.Code != 77 {
			l.Errorf("no CloseError with code 77: %v", err)
		}
	})
	for _, addr := range []string{"", "host", "host:port:more", "127.0.0.1:70000", "does-not-exist.invalid:1"} {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		_, err := quic.New(quic.Options{TLS: newPKI(t).node(t, "client")}).Dial(ctx, transport.Peer{Name: "n", Addr: addr})
		wantDialError(t, err, transport.PhaseDial)
		cancel()
	}
}

// TestBothFamilies expects IPv4 and IPv6 to work, with sockets of one family and
// of both, and a name that stands for both to reach a listener of one.
func TestBothFamilies(t *testing.T) {
	for _, test := range []struct{ listen, host string }{
		{"127.0.0.1:0", "127.0.0.1"},
		{"[::1]:0", "::1"},
		{":0", "127.0.0.1"},
		{":0", "::1"},
		{"127.0.0.1:0", "localhost"},
		{"[::1]:0", "::1"},
		{":0", ""},
	} {
		t.Run(test.listen+" "+test.host, func(t *testing.T) {
			client, ln := loopbackPair(t, test.listen)
			addr := net.JoinHostPort(test.host, portOf(ln.Addr()))
			c := dial(t, client, transport.Peer{Name: "server", Addr: addr})
			exchange(t, c, accept(t, ln))
		})
	}
}

// TestOneSocket expects a node to dial from the port that it listens on, where
// packets get from there to the peer.
func TestOneSocket(t *testing.T) {
	pki := newPKI(t)
	node := func(name, addr string) (*quic.Transport, transport.Listener) {
		tr := quic.New(quic.Options{TLS: pki.node(t, name)})
		return tr, listen(t, tr, addr)
	}
	a, lnA := node("a", ":0")
	b, lnB := node("b", "127.0.0.1:0")
	_, lnC := node("c", "[::1]:0")
	for _, test := range []struct {
		from   *quic.Transport
		own    transport.Listener
		to     transport.Listener
		name   string
		shared bool
	}{
		{a, lnA, lnB, "b", true},
		{a, lnA, lnC, "c", true},
		{b, lnB, lnA, "a", true},
		{b, lnB, lnC, "c", false}, // from an IPv4 address to one of IPv6
	} {
		host := "127.0.0.1"
		if test.to == lnC {
			host = "::1"
		}
		c := dial(t, test.from, transport.Peer{Name: test.name, Addr: net.JoinHostPort(host, portOf(test.to.Addr()))})
		s := accept(t, test.to)
		exchange(t, c, s)
		if got := portOf(s.Info().RemoteAddr) == portOf(test.own.Addr()); got != test.shared {
			t.Errorf("to %s: from %v, listening on %v", test.name, s.Info().RemoteAddr, test.own.Addr())
		}
	}
}

// TestListenAgain expects a port that connections of an earlier listener still use
// to be there for another Listen of the same transport, beside them.
func TestListenAgain(t *testing.T) {
	pki := newPKI(t)
	client := quic.New(quic.Options{TLS: pki.node(t, "client")})
	server := quic.New(quic.Options{TLS: pki.node(t, "server")})
	ln := listen(t, server, "127.0.0.1:0")
	to := transport.Peer{Name: "server", Addr: ln.Addr().String()}
	c, s := dial(t, client, to), accept(t, ln)
	for range 3 {
		ln.Close()
		ln = listen(t, server, to.Addr)
		exchange(t, dial(t, client, to), accept(t, ln))
		exchange(t, c, s)
	}
	if _, err := quic.New(quic.Options{TLS: pki.node(t, "other")}).Listen(t.Context(), to.Addr); err == nil {
		t.Error("another transport listens on the same port")
	}
}

// TestMounted expects a transport to share a port with another protocol, on a
// listener of the user's, to take nothing that speaks the other one, and to dial from
// there.
func TestMounted(t *testing.T) {
	pki := newPKI(t)
	shared := &quicgo.Transport{Conn: udpSocket(t)}
	defer shared.Close()
	cfg := pki.node(t, "server")
	cfg.NextProtos = []string{"h3", quic.Protocol}
	own, err := shared.Listen(cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	server := quic.New(quic.Options{TLS: pki.node(t, "server"), Transport: shared, Mounted: true, RequireClientCert: true})
	served := make(chan error, 10)
	go func() {
		for {
			qc, err := own.Accept(t.Context())
			if err != nil {
				return
			}
			served <- server.ServeConn(qc)
		}
	}()

	client := quic.New(quic.Options{TLS: pki.node(t, "client")})
	to := transport.Peer{Name: "server", Addr: own.Addr().String()}
	_, err = client.Dial(t.Context(), to)
	wantDialError(t, err, transport.PhaseUpgrade, "not listening")
	if err := <-served; err == nil {
		t.Error("ServeConn succeeded without a listener")
	}

	ln := listen(t, server, "the port of the API")
	if ln.Addr().String() != "the port of the API" || !ln.Info().MutualTLS {
		t.Errorf("listener at %v, %+v", ln.Addr(), ln.Info())
	}
	if _, err := server.Listen(t.Context(), "again"); err == nil {
		t.Error("a mounted transport listens twice")
	}
	c := dial(t, client, to)
	exchange(t, c, accept(t, ln))
	if err := <-served; err != nil {
		t.Errorf("ServeConn: %v", err)
	}

	cfg = pki.node(t, "client")
	cfg.ServerName, cfg.NextProtos = "server", []string{"h3"}
	qc, err := quicgo.DialAddr(t.Context(), to.Addr, cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	<-qc.Context().Done()
	if err := <-served; err == nil {
		t.Error("ServeConn took a connection of another protocol")
	}

	other, lnOther := loopbackPair(t, "127.0.0.1:0")
	_ = other
	_, err = server.Dial(t.Context(), transport.Peer{Name: "server", Addr: lnOther.Addr().String()})
	wantDialError(t, err, transport.PhaseTLS, "unknown authority") // it got there, from the shared port
}

// TestCrowd expects more clients at once than may shake hands without showing
// that their address is their own to get in all the same.
func TestCrowd(t *testing.T) {
	inLab(t, func(l *lab) {
		l.net.Set(packetnet.Conditions{Latency: 20 * time.Millisecond})
		ln := listen(l.T, l.transport(serverAddr, quic.Options{TLS: l.pki.node(l.T, "server")}), "")
		client := l.transport(clientAddr, quic.Options{TLS: l.pki.node(l.T, "client")})
		const clients = 100
		dialled := make(chan transport.Conn, clients)
		for range clients {
			go func() {
				c, err := client.Dial(l.Context(), transport.Peer{Name: "server", Addr: serverAddr})
				if err != nil {
					l.Errorf("dial: %v", err)
				}
				dialled <- c
			}()
		}
		for range clients {
			accept(l.T, ln)
		}
		for range clients {
			if c := <-dialled; c != nil {
				c.CloseWithError(0, "")
			}
		}
	})
}

// TestBusyPeer expects a dial to be patient with a peer that quic-go makes refuse
// connections, as it does when 32 wait to be accepted, and not for long.
func TestBusyPeer(t *testing.T) {
	for _, accepts := range []bool{true, false} {
		inLab(t, func(l *lab) {
			gate := make(chan struct{})
			l.bare(serverAddr, []string{quic.Protocol}, gate, func(qc *quicgo.Conn) {
				s, err := qc.AcceptStream(l.Context())
				if err != nil {
					return
				}
				io.ReadFull(s, make([]byte, len(begin)))
				s.Write(begin)
			})
			client := l.transport(clientAddr, quic.Options{TLS: l.pki.node(l.T, "client")})
			const clients = 40
			dialled := make(chan error, clients)
			for range clients {
				go func() {
					c, err := client.Dial(l.Context(), transport.Peer{Name: "server", Addr: serverAddr})
					if err == nil {
						c.CloseWithError(0, "")
					}
					dialled <- err
				}()
			}
			if accepts {
				time.AfterFunc(20*time.Millisecond, func() { close(gate) })
			} else {
				time.AfterFunc(2*time.Second, func() { close(gate) })
			}
			refused := 0
			for range clients {
				err := <-dialled
				if err != nil {
					refused++
					wantDialError(l.T, err, transport.PhaseUpgrade, "refuses connections right now")
				}
			}
			if want := clients - 32; accepts && refused != 0 || !accepts && refused != want {
				l.Errorf("accepting soon %v: %d were refused", accepts, refused)
			}
		})
	}
}

// TestConfig expects what the user sets in Config to reach quic-go, such as a
// tracer for qlog, to be left as it was, and 0-RTT and what else is off to be so.
func TestConfig(t *testing.T) {
	inLab(t, func(l *lab) {
		var clients, servers atomic.Int32
		config := &quicgo.Config{
			MaxIncomingStreams: 2, EnableDatagrams: true, Allow0RTT: true,
			Tracer: func(_ context.Context, isClient bool, _ quicgo.ConnectionID) qlogwriter.Trace {
				if isClient {
					clients.Add(1)
				} else {
					servers.Add(1)
				}
				return nil
			},
		}
		c, s := l.pair(quic.Options{Config: config}, quic.Options{Config: config})
		exchange(l.T, c, s)
		if clients.Load() != 1 || servers.Load() != 1 {
			l.Errorf("the tracer was asked for %d clients and %d servers", clients.Load(), servers.Load())
		}
		near, far := c.(transport.LaneConn), s.(transport.LaneConn)
		for n, want := range []bool{true, false} {
			ctx, cancel := context.WithTimeout(l.Context(), time.Second)
			_, err := near.OpenLane(ctx)
			cancel()
			if (err == nil) != want {
				l.Errorf("lane %d from the dialler: %v", n+1, err)
			}
		}
		for n := range 2 { // the first lane is none of the acceptor's
			if _, err := far.OpenLane(l.Context()); err != nil {
				l.Errorf("lane %d from the acceptor: %v", n+1, err)
			}
		}
		if config.MaxIdleTimeout != 0 || !config.EnableDatagrams || !config.Allow0RTT {
			l.Errorf("the user's configuration was changed: %+v", config)
		}
	})
}

// TestDialWhoseTimeIsOver has the context end while the name of the peer is looked up,
// which brings several addresses: Dial fails, and has tried none of them.
func TestDialWhoseTimeIsOver(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	tr := quic.New(quic.Options{TLS: devtls.Config("a"), Resolve: func(context.Context, string) ([]netip.AddrPort, error) {
		cancel()
		return []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:9"), netip.MustParseAddrPort("127.0.0.2:9")}, nil
	}})
	c, err := tr.Dial(ctx, transport.Peer{Name: "b", Addr: "b:9"})
	if !errors.Is(err, context.Canceled) || c != nil {
		t.Errorf("Dial returned %v, %v; want that its context has ended", c, err)
	}
}

// TestNoNameToVerify expects a peer without any name not to be dialled: its address,
// which is all that is left, must not stand in for it.
func TestNoNameToVerify(t *testing.T) {
	tr := quic.New(quic.Options{TLS: devtls.Config("a"), ServerName: func(transport.Peer) string { return "" }})
	_, err := tr.Dial(t.Context(), transport.Peer{Name: "b", Addr: "127.0.0.1:9"})
	if err == nil || !strings.Contains(err.Error(), "no name to verify") {
		t.Errorf("Dial returned %v", err)
	}
}

// TestListenerCloseBesideSilentPeers closes a listener while connections wait for
// peers that say nothing any more: all of them together cost one moment.
func TestListenerCloseBesideSilentPeers(t *testing.T) {
	inLab(t, func(l *lab) {
		ln := listen(l.T, l.transport(serverAddr, quic.Options{TLS: l.pki.node(l.T, "server")}), "")
		tr := l.transport(clientAddr, quic.Options{TLS: l.pki.node(l.T, "client")})
		var conns []transport.Conn
		for range 5 {
			dial(l.T, tr, transport.Peer{Name: "server", Addr: serverAddr})
			conns = append(conns, accept(l.T, ln))
		}
		l.net.Silence(time.Hour)
		for _, c := range conns {
			c.CloseWithError(0, "")
		}
		began := time.Now()
		ln.Close()
		if took := time.Since(began); took > 150*time.Millisecond {
			l.Errorf("Close beside five silent peers took %v", took)
		}
	})
}
