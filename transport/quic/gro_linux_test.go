package quic

import (
	"bytes"
	"encoding/binary"
	"net"
	"slices"
	"testing"
	"unsafe"

	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"
)

// TestCoalesced expects datagrams that the kernel gives as one message to arrive one by one,
// in order, each with its sender and its ECN mark, however few of them the reader has
// place for at a time; and those that come alone, an empty one among them, as they are.
func TestCoalesced(t *testing.T) {
	loopback := &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)}
	to, err := net.ListenUDP("udp4", loopback)
	if err != nil {
		t.Fatal(err)
	}
	defer to.Close()
	from, err := net.ListenUDP("udp4", loopback)
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	conn, ok := withGRO(to).(*groConn)
	if !ok {
		t.Fatal("the kernel coalesces nothing")
	}
	for _, c := range []*net.UDPConn{to, from} {
		raw, err := c.SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		if err := raw.Control(func(fd uintptr) {
			const ect0 = 2 // RFC 3168 section 5
			err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_RECVTOS, 1)
			if err == nil {
				err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_TOS, ect0)
			}
		}); err != nil {
			t.Fatal(err)
		}
		if err != nil {
			t.Fatal(err)
		}
	}

	var want [][]byte
	send := func(segment int, sizes ...int) {
		t.Helper()
		var all []byte
		for _, size := range sizes {
			one := bytes.Repeat([]byte{byte(len(want) + 1)}, size)
			want, all = append(want, one), append(all, one...)
		}
		var oob []byte
		if segment > 0 {
			oob = segmentSize(uint16(segment))
		}
		if _, _, err := from.WriteMsgUDP(all, oob, to.LocalAddr().(*net.UDPAddr)); err != nil {
			t.Fatal(err)
		}
	}
	send(1200, slices.Repeat([]int{1200}, 20)...)
	send(0, 300)
	send(0, 0)
	send(1000, 1000, 1000, 1)
	send(0, 1452)

	messages := make([]ipv4.Message, 8)
	for i := range messages {
		messages[i].Buffers = [][]byte{make([]byte, 1452)}
		messages[i].OOB = make([]byte, 128)
	}
	coalesced := false
	for round := 0; len(want) > 0; round++ {
		ms := messages[:1+round%len(messages)]
		n, err := conn.ReadBatch(ms, 0)
		if err != nil {
			t.Fatal(err)
		}
		coalesced = coalesced || n > groMessages
		for _, m := range ms[:n] {
			if got := m.Buffers[0][:m.N]; len(want) == 0 || !bytes.Equal(got, want[0]) {
				t.Fatalf("%d bytes came in place of the datagram that is %d before the end", len(got), len(want))
			}
			want = want[1:]
			if m.Addr.String() != from.LocalAddr().String() {
				t.Errorf("a datagram is said to be from %v, want %v", m.Addr, from.LocalAddr())
			}
			head, mark, rest, err := unix.ParseOneSocketControlMessage(m.OOB[:m.NN])
			if err != nil || len(rest) > 0 || head.Type != unix.IP_TOS || mark[0]&3 != 2 {
				t.Errorf("a datagram came with the control message %+v %x, then %x, %v; want its ECN mark alone", head, mark, rest, err)
			}
		}
	}
	if !coalesced {
		t.Error("nothing came as one message")
	}
}

// segmentSize is the control message that has the kernel cut what is sent into
// datagrams of so many bytes.
func segmentSize(n uint16) []byte {
	oob := make([]byte, unix.CmsgSpace(2))
	head := (*unix.Cmsghdr)(unsafe.Pointer(&oob[0]))
	head.Level, head.Type = unix.IPPROTO_UDP, unix.UDP_SEGMENT
	head.SetLen(unix.CmsgLen(2))
	binary.NativeEndian.PutUint16(oob[unix.CmsgLen(0):], n)
	return oob
}

// TestSocketIsGivenBack expects a socket of the user's to be read coalesced while the transport
// has it, and to be as it was afterwards.
func TestSocketIsGivenBack(t *testing.T) {
	pc, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer pc.Close()
	raw, err := pc.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	coalesces := func() (value int) {
		if err := raw.Control(func(fd uintptr) {
			value, err = unix.GetsockoptInt(int(fd), unix.IPPROTO_UDP, unix.UDP_GRO)
		}); err != nil {
			t.Fatal(err)
		}
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
	s := New(Options{PacketConn: pc}).newSocket(pc, false)
	if coalesces() != 1 {
		t.Error("the socket is not read coalesced")
	}
	if err := s.release(); err != nil || coalesces() != 0 {
		t.Errorf("the socket given back coalesces: %d, %v", coalesces(), err)
	}
}
