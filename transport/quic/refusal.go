package quic

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"syscall"
)

var errRefused = errors.New("connection refused: no UDP port is open there")

// watchRefusal calls refused when the host at addr says that the port is closed.
// It says so by ICMP, and the system passes that on to sockets that are connected
// to the address, not to one that serves many peers as that of quic-go does. So
// an empty datagram goes out from a socket of its own: whoever listens at addr
// ignores it, and nobody answers it but a host whose port is closed. stop waits
// until refused will not be called any more.
func watchRefusal(local netip.Addr, addr netip.AddrPort, refused func()) (stop func()) {
	var from *net.UDPAddr
	if !local.IsUnspecified() {
		from = net.UDPAddrFromAddrPort(netip.AddrPortFrom(local, 0))
	}
	probe, err := net.DialUDP("udp", from, net.UDPAddrFromAddrPort(addr))
	if err != nil {
		return func() {} // quic-go's attempt will tell
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer probe.Close()
		if _, err := probe.Write(nil); err != nil {
			return // quic-go's attempt will tell
		}
		var b [1]byte
		_, err := probe.Read(b[:])
		switch {
		case err == nil, errors.Is(err, net.ErrClosed), errors.Is(err, os.ErrDeadlineExceeded):
		case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH), errors.Is(err, os.ErrPermission):
			// A router or a firewall on the way. What it says of this datagram need
			// not hold for those of QUIC.
		default:
			refused()
		}
	}()
	return func() {
		probe.Close()
		<-done
	}
}
