package suite_test

import (
	"context"
	"crypto/x509"
	"net"
	"sync/atomic"
	"testing"
	"time"

	quicgo "github.com/quic-go/quic-go"

	"github.com/gridmux/gridmux/internal/packetnet"
	"github.com/gridmux/gridmux/transport"
	"github.com/gridmux/gridmux/transport/devtls"
	"github.com/gridmux/gridmux/transport/quic"
	"github.com/gridmux/gridmux/transport/transporttest"
)

// impatient lets both ends notice within five seconds, which is as soon as QUIC
// allows, that nothing arrives any more, and a dial outlast the six seconds of
// silence that a Cut is.
var impatient = &quicgo.Config{MaxIdleTimeout: 5 * time.Second, HandshakeIdleTimeout: 10 * time.Second}

const cutTime = 6 * time.Second

// stray returns clients that begin a handshake and go no further: with a datagram
// that is no QUIC, with the start of a handshake, and with all of it but a
// stream, in turn. open opens their sockets.
func stray(t *testing.T, open func() net.PacketConn) func(addr string) {
	n := 0
	return func(addr string) {
		pc := open()
		t.Cleanup(func() { pc.Close() })
		to, err := net.ResolveUDPAddr("udp", addr)
		if err != nil {
			t.Error(err)
			return
		}
		tr := &quicgo.Transport{Conn: pc}
		t.Cleanup(func() { tr.Close() })
		cfg := devtls.Config("stray")
		cfg.NextProtos = []string{quic.Protocol}
		cfg.ServerName = "listener"
		small := &quicgo.Config{InitialPacketSize: 1200}
		switch n++; n % 3 {
		case 0:
			pc.WriteTo([]byte("GET / HTTP/1.1\r\n\r\n"), to)
		case 1:
			ctx, cancel := context.WithCancel(t.Context())
			cfg.VerifyPeerCertificate = func([][]byte, [][]*x509.Certificate) error { cancel(); return nil }
			tr.Dial(ctx, to, cfg, small)
			cancel()
		case 2:
			if _, err := tr.Dial(t.Context(), to, cfg, small); err != nil {
				t.Error(err)
			}
		}
	}
}

// silent opens a UDP port whose clients get no answer.
func silent(t *testing.T) transport.Peer {
	pc := udpSocket(t)
	return transport.Peer{Name: "silent", Addr: pc.LocalAddr().String()}
}

func udpSocket(t *testing.T) *net.UDPConn {
	t.Helper()
	pc, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pc.Close() })
	return pc
}

// TestConformance runs over sockets that the transports open.
func TestConformance(t *testing.T) {
	transporttest.Run(t, func(t *testing.T) transporttest.Fixture {
		return transporttest.Fixture{
			Dialer:   quic.New(quic.Options{TLS: devtls.Config("dialler")}),
			Listener: quic.New(quic.Options{TLS: devtls.Config("listener")}),
			Addr:     "127.0.0.1:0",
			Peer:     transport.Peer{Name: "listener"},
			Silent:   silent(t),
			Stray:    stray(t, func() net.PacketConn { return udpSocket(t) }),
			Lanes:    true,
		}
	})
}

// cuttable is a UDP socket that can be made to lose what it sends.
type cuttable struct {
	*net.UDPConn
	until atomic.Int64
}

func (c *cuttable) WriteMsgUDP(b, oob []byte, addr *net.UDPAddr) (n, oobn int, err error) {
	if time.Now().UnixNano() < c.until.Load() {
		return len(b), len(oob), nil
	}
	return c.UDPConn.WriteMsgUDP(b, oob, addr)
}

func (c *cuttable) cut() { c.until.Store(time.Now().Add(cutTime).UnixNano()) }

// TestConformanceGivenSocket runs over sockets that the user gave, and that lose
// everything for a while when they are cut.
func TestConformanceGivenSocket(t *testing.T) {
	transporttest.Run(t, func(t *testing.T) transporttest.Fixture {
		near, far := &cuttable{UDPConn: udpSocket(t)}, &cuttable{UDPConn: udpSocket(t)}
		return transporttest.Fixture{
			Dialer:   quic.New(quic.Options{TLS: devtls.Config("dialler"), PacketConn: near, Config: impatient}),
			Listener: quic.New(quic.Options{TLS: devtls.Config("listener"), PacketConn: far, Config: impatient}),
			Peer:     transport.Peer{Name: "listener"},
			Lanes:    true,
			Cut:      func() { near.cut(); far.cut() },
		}
	})
}

// inBubble runs the suite over a simulated network under the given conditions.
func inBubble(t *testing.T, conditions packetnet.Conditions, seed uint64) {
	transporttest.RunInBubble(t, func(t *testing.T) transporttest.Fixture {
		packetnet.CatchUp()
		nw := packetnet.New(conditions, seed)
		const dialler, listener = "10.0.0.1:7000", "10.0.0.2:7000"
		strays := 0
		return transporttest.Fixture{
			Dialer:   quic.New(quic.Options{TLS: devtls.Config("dialler"), PacketConn: open(t, nw, dialler), Config: impatient}),
			Listener: quic.New(quic.Options{TLS: devtls.Config("listener"), PacketConn: open(t, nw, listener), Config: impatient}),
			Peer:     transport.Peer{Name: "listener"},
			Silent:   transport.Peer{Name: "silent", Addr: open(t, nw, "10.0.0.3:7000").LocalAddr().String()},
			Stray: stray(t, func() net.PacketConn {
				strays++
				return open(t, nw, net.JoinHostPort("10.0.1."+string(rune('0'+strays)), "1"))
			}),
			Lanes: true,
			Cut:   func() { nw.Silence(cutTime) },
		}
	})
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

func TestConformanceInBubble(t *testing.T) {
	inBubble(t, packetnet.Conditions{Latency: time.Millisecond}, 1)
}

// TestConformanceOnBadLinks runs the suite where datagrams are lost, duplicated
// and overtake one another, and none is longer than an IPv6 link has to take (F30).
func TestConformanceOnBadLinks(t *testing.T) {
	inBubble(t, packetnet.Conditions{
		Latency: 5 * time.Millisecond, Jitter: 10 * time.Millisecond, Loss: 0.1, Duplicate: 0.05, MTU: leastMTU,
	}, 1)
}

// leastMTU is what UDP can carry over IPv6 at its least MTU of 1280 bytes.
const leastMTU = 1280 - 40 - 8
