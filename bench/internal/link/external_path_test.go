//go:build external && linux

package link_test

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gridmux/gridmux/bench/internal/link"
)

// TestBlock expects a blocked direction to deliver nothing, the other to be as it
// was, a connection attempt to get no answer, and all to be well when it ends.
func TestBlock(t *testing.T) {
	l := newLink(t, link.Conditions{})
	b, a := connectUDP(t, l)
	peer := b.LocalAddr()
	block(t, l, link.BToA, true)
	write(t, b, []byte("blocked"))
	if _, err := a.WriteTo([]byte("open"), peer); err != nil {
		t.Fatal(err)
	}
	expect(t, b, "open")

	ln := listen(t, l, "tcp")
	for _, end := range []*link.End{l.B(), l.A()} { // its request is lost, or the answer
		if end == l.A() {
			ln, _ = l.B().Listen(t.Context(), "tcp", ":0")
		}
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		c, err := end.Dial(ctx, "tcp", at(t, other(l, end).Addr(), ln.Addr()))
		if netErr, ok := errors.AsType[net.Error](err); !ok || !netErr.Timeout() {
			t.Errorf("a connection over a blocked direction: %v, %v", c, err)
		}
	}

	block(t, l, link.BToA, false)
	write(t, b, []byte("after"))
	buf := make([]byte, 64)
	if n := readPacket(t, a, buf); string(buf[:n]) != "after" {
		t.Errorf("after the block, %q arrived", buf[:n])
	}
	if s := stats(t, l, link.BToA); s.Blocked < 3 || s.Delivered == 0 {
		t.Errorf("the counters are %+v", s)
	}
}

// TestUDPBlocked expects the preset of that name to carry TCP and no UDP, of IPv4 and
// IPv6, without an answer to the sender.
func TestUDPBlocked(t *testing.T) {
	c, err := link.Parse("udp-blocked,rtt=1ms,jitter=0s,loss=0")
	if err != nil {
		t.Fatal(err)
	}
	l := newLink(t, c)
	for _, addr := range []netip.Addr{l.A().Addr(), l.A().Addr6()} {
		echo(t, dialEcho(t, l, "tcp", addr))
		udp := dialEcho(t, l, "udp", addr)
		write(t, udp, []byte("hello"))
		udp.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		n, err := udp.Read(make([]byte, 64))
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("UDP to %v: %d octets came, %v", addr, n, err)
		}
	}
	if s := stats(t, l, link.BToA); s.Blocked != 2 {
		t.Errorf("of two datagrams, %d were blocked", s.Blocked)
	}
}

// TestSet expects conditions to change while connections are open, in both
// directions and in one, and those that the link cannot have to be refused.
func TestSet(t *testing.T) {
	l := newLink(t, link.Conditions{})
	c := dialEcho(t, l, "tcp", l.A().Addr())
	round := func() time.Duration {
		least := time.Hour
		for range 3 {
			began := time.Now()
			echo(t, c)
			least = min(least, time.Since(began))
		}
		return least
	}
	round()
	slow := link.Conditions{RTT: 100 * time.Millisecond}
	if err := l.Set(slow); err != nil {
		t.Fatal(err)
	}
	if took := round(); took < 99*time.Millisecond {
		t.Errorf("with an RTT of 100 ms, a round trip takes %v", took)
	}
	if err := l.SetDirection(link.AToB, link.Conditions{}); err != nil {
		t.Fatal(err)
	}
	if took := round(); took < 49*time.Millisecond || took > 99*time.Millisecond {
		t.Errorf("with 50 ms in one direction, a round trip takes %v", took)
	}
	for want, err := range map[string]error{
		"link: the mtu of this link is at most 1500, not 9000": l.Set(link.Conditions{MTU: 9000}),
		"link: loss is 200%, not from 0% to 100%":              l.Set(link.Conditions{Loss: 2}),
		"link: there is no direction 2":                        l.SetDirection(2, link.Conditions{}),
	} {
		if err == nil || err.Error() != want {
			t.Errorf("the error is %v, not %s", err, want)
		}
	}
}

// TestNetworkOfAnEnd expects an end to reach itself and the other end, a closed port to be
// refused at once, and nothing else to be there.
func TestNetworkOfAnEnd(t *testing.T) {
	l := newLink(t, link.Conditions{})
	own := listen(t, l, "tcp")
	c, err := l.A().Dial(t.Context(), "tcp", at(t, netip.MustParseAddr("127.0.0.1"), own.Addr()))
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	for addr, want := range map[string]error{
		net.JoinHostPort(l.A().Addr().String(), "9"):  syscall.ECONNREFUSED,
		net.JoinHostPort(l.A().Addr6().String(), "9"): syscall.ECONNREFUSED,
		"192.0.2.1:9":     syscall.ENETUNREACH,
		"[2001:db8::1]:9": syscall.ENETUNREACH,
	} {
		if _, err := l.B().Dial(t.Context(), "tcp", addr); !errors.Is(err, want) {
			t.Errorf("dialling %s: %v, not %v", addr, err, want)
		}
	}
	// What the net package sets on its sockets holds for those of the link: that
	// this one is for IPv6 alone, and that two cannot have a port.
	six, err := l.A().Listen(t.Context(), "tcp6", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer six.Close()
	four, err := l.A().Listen(t.Context(), "tcp4", at(t, l.A().Addr(), six.Addr()))
	if err != nil {
		t.Fatal(err)
	}
	four.Close()
	again, err := l.A().Listen(t.Context(), "tcp", own.Addr().String())
	if !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("a port is listened on twice: %v, %v", again, err)
	}
	two := newLink(t, link.Conditions{})
	same, err := two.A().Listen(t.Context(), "tcp", own.Addr().String())
	if err != nil {
		t.Fatalf("another link has no such port: %v", err)
	}
	same.Close()
}

// TestPathMTU expects a narrow link to carry TCP, whose ends find its MTU, and
// datagrams that may be fragmented, and to tell the sender of one that may not.
func TestPathMTU(t *testing.T) {
	l := newLink(t, link.Conditions{MTU: 1300})
	for _, addr := range []netip.Addr{l.A().Addr(), l.A().Addr6()} {
		c := dialEcho(t, l, "tcp", addr)
		data := make([]byte, 256<<10)
		go c.Write(data)
		read(t, c, len(data))

		udp := dialEcho(t, l, "udp", addr)
		raw, err := udp.(*net.UDPConn).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		level, option := unix.IPPROTO_IP, unix.IP_MTU_DISCOVER
		if addr.Is6() {
			level, option = unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER
		}
		// Says to probe, so that what the kernel remembers of TCP does not count.
		raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), level, option, unix.IP_PMTUDISC_PROBE) })
		if err != nil {
			t.Fatal(err)
		}
		write(t, udp, make([]byte, 1400))
		if n, err := udp.Read(data); !errors.Is(err, unix.EMSGSIZE) {
			t.Errorf("to %v, a datagram of 1400 octets: %d came back, %v", addr, n, err)
		}
		if _, err := udp.Write(make([]byte, 1600)); !errors.Is(err, unix.EMSGSIZE) {
			t.Errorf("to %v, a datagram larger than the device's MTU: %v", addr, err)
		}

		raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), level, option, unix.IP_PMTUDISC_DONT) })
		if err != nil {
			t.Fatal(err)
		}
		payload := slices.Repeat([]byte("datagram"), 1000)
		write(t, udp, payload)
		if n, err := udp.Read(data); string(data[:n]) != string(payload) || err != nil {
			t.Errorf("to %v, a datagram of %d octets came back as one of %d, %v", addr, len(payload), n, err)
		}
	}
	if s := stats(t, l, link.BToA); s.TooBig < 4 {
		t.Errorf("%d packets were too big", s.TooBig)
	}
}

// TestJumboMTU expects a link with a larger MTU to carry larger packets.
func TestJumboMTU(t *testing.T) {
	l := newLink(t, link.Conditions{MTU: 9000})
	c := dialEcho(t, l, "udp", l.A().Addr())
	write(t, c, make([]byte, 8900))
	if n := readPacket(t, c, make([]byte, 9000)); n != 8900 {
		t.Errorf("%d of 8900 octets came back", n)
	}
	if s := stats(t, l, link.BToA); s.Delivered != 1 || s.DeliveredOctets != 8928 {
		t.Errorf("one packet of 8928 octets is counted as %+v", s)
	}

	l = newLink(t, link.Conditions{MTU: link.MaxMTU})
	c = dialEcho(t, l, "udp", l.A().Addr())
	write(t, c, make([]byte, 65507))
	if n := readPacket(t, c, make([]byte, link.MaxMTU)); n != 65507 {
		t.Errorf("%d octets of the largest datagram came back", n)
	}
}

// TestCapture expects the captures of the two ends to show what each sent and got, when, and
// nothing else: what is lost on the way is in one alone.
func TestCapture(t *testing.T) {
	const rtt = 20 * time.Millisecond
	l := newLink(t, link.Conditions{RTT: rtt})
	b, a := connectUDP(t, l)
	files := make(map[*link.End]string)
	for _, end := range []*link.End{l.A(), l.B()} {
		f, err := os.Create(filepath.Join(t.TempDir(), "pcap"))
		if err != nil {
			t.Fatal(err)
		}
		if err := end.Capture(f); err != nil {
			t.Fatal(err)
		}
		f.Close()
		files[end] = f.Name()
	}
	for _, payload := range []string{"first", "lost", "last"} {
		block(t, l, link.BToA, payload == "lost")
		write(t, b, []byte(payload))
	}
	buf := make([]byte, 64)
	readPacket(t, a, buf)
	readPacket(t, a, buf)
	if _, err := a.WriteTo([]byte("answer"), b.LocalAddr()); err != nil {
		t.Fatal(err)
	}
	readPacket(t, b, buf)

	atA, timesA := readCapture(t, files[l.A()])
	atB, timesB := readCapture(t, files[l.B()])
	if want := []string{"first", "last", "answer"}; !slices.Equal(atA, want) {
		t.Errorf("the capture of A has %q, not %q", atA, want)
	}
	if want := []string{"first", "lost", "last", "answer"}; !slices.Equal(atB, want) {
		t.Fatalf("the capture of B has %q, not %q", atB, want)
	}
	if took := timesA[0].Sub(timesB[0]); took < rtt/2 || took > time.Second || time.Since(timesB[0]) > time.Minute {
		t.Errorf("the first datagram was sent at %v and came %v later", timesB[0], took)
	}
	if took := timesB[3].Sub(timesA[2]); took < rtt/2 || took > time.Second {
		t.Errorf("the answer came after %v", took)
	}
}

// readCapture returns the payloads of the datagrams in a file, and their times.
func readCapture(t *testing.T, path string) (payloads []string, times []time.Time) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	order := binary.NativeEndian
	for at, want := range map[int]uint32{0: 0xa1b23c4d, 8: 0, 12: 0, 16: 65535, 20: 101} {
		if got := order.Uint32(data[at:]); got != want {
			t.Fatalf("at %d in the head of the file is %x, not %x", at, got, want)
		}
	}
	for data = data[24:]; len(data) > 0; {
		size := int(order.Uint32(data[8:]))
		times = append(times, time.Unix(int64(order.Uint32(data)), int64(order.Uint32(data[4:]))))
		payloads = append(payloads, string(data[16+28:16+size]))
		data = data[16+size:]
	}
	return payloads, times
}
