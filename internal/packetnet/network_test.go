package packetnet_test

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/internal/packetnet"
)

const a, b, c = "10.0.0.1:1", "10.0.0.2:2", "10.0.0.3:3"

func listen(t *testing.T, n *packetnet.Network, addr string) *packetnet.Conn {
	t.Helper()
	conn, err := n.Listen(addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// receive returns what arrives within d, in order, and where the last came from.
func receive(t *testing.T, conn *packetnet.Conn, d time.Duration) (got []byte, from net.Addr) {
	t.Helper()
	conn.SetReadDeadline(time.Now().Add(d))
	for {
		var buf [10]byte
		n, addr, err := conn.ReadFrom(buf[:])
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return got, from
		}
		if err != nil || n != 1 {
			t.Fatalf("%d bytes, %v", n, err)
		}
		got, from = append(got, buf[0]), addr
	}
}

func send(t *testing.T, from *packetnet.Conn, to net.Addr, count int) {
	t.Helper()
	for i := range count {
		if _, err := from.WriteTo([]byte{byte(i)}, to); err != nil {
			t.Fatal(err)
		}
	}
}

// TestConditions expects each condition to do what it says, about as often as it
// says, and a network without any to deliver everything in order.
func TestConditions(t *testing.T) {
	for _, test := range []struct {
		name        string
		c           packetnet.Conditions
		least, most int
		reordered   bool
	}{
		{"none", packetnet.Conditions{}, 200, 200, false},
		{"latency", packetnet.Conditions{Latency: time.Second}, 200, 200, false},
		{"jitter", packetnet.Conditions{Jitter: time.Second}, 200, 200, true},
		{"loss", packetnet.Conditions{Loss: 0.5}, 60, 140, false},
		{"all lost", packetnet.Conditions{Loss: 1}, 0, 0, false},
		{"duplicates", packetnet.Conditions{Duplicate: 0.5}, 260, 340, false},
		{"MTU", packetnet.Conditions{MTU: 1}, 200, 200, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := packetnet.New(test.c, 1)
				x, y := listen(t, n, a), listen(t, n, b)
				began := time.Now()
				send(t, x, y.LocalAddr(), 200)
				got, _ := receive(t, y, 3*time.Second)
				if len(got) < test.least || len(got) > test.most {
					t.Errorf("%d of 200 arrived", len(got))
				}
				reordered := false
				for i := range got {
					reordered = reordered || i > 0 && got[i] < got[i-1]
				}
				if reordered != test.reordered {
					t.Errorf("reordered: %v", reordered)
				}
				if time.Since(began) < test.c.Latency {
					t.Errorf("arrived after %v", time.Since(began))
				}
			})
		})
	}
}

// TestLost expects what is too long, what is sent into silence or in a direction
// that loses, and what is sent to nobody not to arrive.
func TestLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := packetnet.New(packetnet.Conditions{MTU: 1}, 1)
		x, y := listen(t, n, a), listen(t, n, b)
		x.WriteTo([]byte("long"), y.LocalAddr())
		send(t, x, &net.UDPAddr{IP: net.IPv4(10, 0, 0, 9), Port: 9}, 1)
		n.Silence(time.Second)
		send(t, x, y.LocalAddr(), 1)
		if got, _ := receive(t, y, 2*time.Second); len(got) != 0 {
			t.Errorf("%d arrived", len(got))
		}
		n.Lose(netip.MustParseAddrPort(a), netip.MustParseAddrPort(b), true)
		send(t, x, y.LocalAddr(), 1)
		send(t, y, x.LocalAddr(), 1)
		if got, _ := receive(t, y, time.Second); len(got) != 0 {
			t.Errorf("%d arrived in a direction that loses", len(got))
		}
		if got, _ := receive(t, x, time.Second); len(got) != 1 {
			t.Errorf("%d arrived in the other direction", len(got))
		}
	})
}

// TestRebind expects datagrams to come from the new address, answers to it to
// arrive, and those to the old one not to.
func TestRebind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := packetnet.New(packetnet.Conditions{}, 1)
		x, y := listen(t, n, a), listen(t, n, b)
		n.Rebind(netip.MustParseAddrPort(a), netip.MustParseAddrPort(c))
		send(t, x, y.LocalAddr(), 1)
		_, from := receive(t, y, time.Second)
		if from == nil || from.String() != c {
			t.Fatalf("it came from %v", from)
		}
		send(t, y, from, 1)
		send(t, y, x.LocalAddr(), 1)
		if got, _ := receive(t, x, time.Second); len(got) != 1 {
			t.Errorf("%d of the answers arrived, want the one to the new address", len(got))
		}
	})
}

// TestClose expects Close to end ReadFrom and to free the address, which is taken
// until then.
func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := packetnet.New(packetnet.Conditions{}, 1)
		x := listen(t, n, a)
		if _, err := n.Listen(a); err == nil {
			t.Error("one address was given to two sockets")
		}
		read := make(chan error)
		go func() {
			_, _, err := x.ReadFrom(make([]byte, 1))
			read <- err
		}()
		synctest.Wait()
		x.Close()
		if err := <-read; !errors.Is(err, net.ErrClosed) {
			t.Errorf("ReadFrom: %v", err)
		}
		if _, err := x.WriteTo(nil, x.LocalAddr()); !errors.Is(err, net.ErrClosed) {
			t.Errorf("WriteTo: %v", err)
		}
		listen(t, n, a)
	})
}

// TestCloseWhileOthersSend closes sockets that datagrams are on their way to: nobody
// waits for anybody.
func TestCloseWhileOthersSend(t *testing.T) {
	n := packetnet.New(packetnet.Conditions{}, 1)
	to := net.UDPAddrFromAddrPort(netip.MustParseAddrPort("10.0.0.2:7000"))
	sender := listen(t, n, "10.0.0.1:7000")
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		for range 20_000 {
			_, _ = sender.WriteTo([]byte("x"), to)
		}
	}()
	for over := false; !over; {
		conn, err := n.Listen(to.String())
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.Close()
		select {
		case <-sent:
			over = true
		default:
		}
	}
}

// TestMeddle expects each datagram to travel as the Meddler says: changed without the
// sender's noticing, after its own time, or not at all.
func TestMeddle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := packetnet.New(packetnet.Conditions{Latency: time.Hour}, 1)
		n.Meddle(func(from, to netip.AddrPort, data []byte) (packetnet.Conditions, bool) {
			if from.String() != a || to.String() != b {
				t.Errorf("a datagram from %v to %v", from, to)
			}
			data[0] += 10
			return packetnet.Conditions{Latency: time.Second}, data[0] != 11
		})
		x, y := listen(t, n, a), listen(t, n, b)
		data := []byte{0}
		if _, err := x.WriteTo(data, y.LocalAddr()); err != nil || data[0] != 0 {
			t.Errorf("sent %v: %v", data, err)
		}
		send(t, x, y.LocalAddr(), 3)
		if got, _ := receive(t, y, 2*time.Second); !slices.Equal(got, []byte{10, 10, 12}) {
			t.Errorf("received %v, want 10, 10 and 12", got)
		}
	})
}
