package quic_test

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	quicgo "github.com/quic-go/quic-go"

	"github.com/gridmux/gridmux/internal/packetnet"
	"github.com/gridmux/gridmux/transport"
	"github.com/gridmux/gridmux/transport/quic"
)

// Where the nodes of a lab are.
const (
	clientAddr = "10.0.0.1:7000"
	serverAddr = "10.0.0.2:7000"
	otherAddr  = "10.0.0.3:7000"
)

// lab is a simulated network with an authority for its nodes, inside a bubble.
type lab struct {
	*testing.T
	net *packetnet.Network
	pki *pki
}

// inLab runs a test in a bubble, on a network with a round trip of 2 ms.
func inLab(t *testing.T, test func(l *lab)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		packetnet.CatchUp()
		test(&lab{t, packetnet.New(packetnet.Conditions{Latency: time.Millisecond}, 1), newPKI(t)})
	})
}

// transport returns one with a socket at addr.
func (l *lab) transport(addr string, o quic.Options) *quic.Transport {
	l.Helper()
	o.PacketConn = open(l.T, l.net, addr)
	return quic.New(o)
}

// pair connects a client to a server named "server" and returns both ends.
func (l *lab) pair(client, server quic.Options) (c, s transport.Conn) {
	l.Helper()
	setTLS(&client, l.pki.node(l.T, "client"))
	setTLS(&server, l.pki.node(l.T, "server"))
	ln := listen(l.T, l.transport(serverAddr, server), "")
	c = dial(l.T, l.transport(clientAddr, client), transport.Peer{Name: "server", Addr: serverAddr})
	return c, accept(l.T, ln)
}

// settle lets everything arrive that is on its way, without a wait in the world
// outside.
func (l *lab) settle() { <-time.After(time.Second) }

func setTLS(o *quic.Options, c *tls.Config) {
	if o.TLS == nil {
		o.TLS = c
	}
}

func listen(t testing.TB, tr *quic.Transport, addr string) transport.Listener {
	t.Helper()
	l, err := tr.Listen(t.Context(), addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func dial(t testing.TB, tr *quic.Transport, to transport.Peer) transport.Conn {
	t.Helper()
	c, err := tr.Dial(t.Context(), to)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.CloseWithError(0, "") })
	return c
}

func accept(t testing.TB, l transport.Listener) transport.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	c, err := l.Accept(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.CloseWithError(0, "") })
	return c
}

func send(c transport.Conn, payload string) error {
	return c.WriteFrames([][]byte{append(make([]byte, c.Info().Headroom), payload...)})
}

// exchange checks that the connection works both ways.
func exchange(t *testing.T, a, b transport.Conn) {
	t.Helper()
	for _, ends := range [][2]transport.Conn{{a, b}, {b, a}} {
		if err := send(ends[0], "hello"); err != nil {
			t.Fatal(err)
		}
		if p, err := ends[1].ReadFrame(100); err != nil || string(p) != "hello" {
			t.Fatalf("%q, %v", p, err)
		}
	}
}

func wantDialError(t *testing.T, err error, phase string, says ...string) {
	t.Helper()
	de, ok := errors.AsType[*transport.DialError](err)
	if !ok {
		t.Fatalf("%v is no *transport.DialError", err)
	}
	if de.Phase != phase {
		t.Errorf("phase %q, want %q: %v", de.Phase, phase, err)
	}
	for _, s := range says {
		if !strings.Contains(err.Error(), s) {
			t.Errorf("the error does not say %s: %v", s, err)
		}
	}
}

// bare listens with quic-go alone, offering the given ALPN names, and hands every
// connection to serve, from when gate is closed if there is one.
func (l *lab) bare(addr string, protocols []string, gate <-chan struct{}, serve func(*quicgo.Conn)) {
	l.Helper()
	tr := &quicgo.Transport{Conn: open(l.T, l.net, addr)}
	l.Cleanup(func() { tr.Close() })
	cfg := l.pki.node(l.T, "server")
	cfg.NextProtos = protocols
	ln, err := tr.Listen(cfg, nil)
	if err != nil {
		l.Fatal(err)
	}
	go func() {
		if gate != nil {
			<-gate
		}
		for {
			qc, err := ln.Accept(context.Background())
			if err != nil {
				return
			}
			go serve(qc)
		}
	}()
}

// bareDial connects with quic-go alone.
func (l *lab) bareDial(addr, to string, protocols ...string) (*quicgo.Conn, error) {
	l.Helper()
	tr := &quicgo.Transport{Conn: open(l.T, l.net, addr)}
	l.Cleanup(func() { tr.Close() })
	cfg := l.pki.node(l.T, "client")
	cfg.ServerName = "server"
	cfg.NextProtos = protocols
	return tr.Dial(l.Context(), udpAddr(l.T, to), cfg, nil)
}

// open opens a socket in a simulated network.
func open(t *testing.T, nw *packetnet.Network, addr string) *packetnet.Conn {
	t.Helper()
	pc, err := nw.Listen(addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pc.Close() })
	return pc
}

// udpSocket opens a socket that nothing happens on.
func udpSocket(t *testing.T) *net.UDPConn {
	t.Helper()
	pc, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pc.Close() })
	return pc
}

// leastMTU is what UDP can carry over IPv6 at its least MTU of 1280 bytes.
const leastMTU = 1280 - 40 - 8
