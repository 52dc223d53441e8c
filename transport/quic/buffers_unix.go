//go:build unix

package quic

import (
	"net"
	"syscall"
)

// bufferSizes returns the sizes of the socket's buffers in bytes; ok is false if
// pc is no socket.
func bufferSizes(pc net.PacketConn) (receive, send int, ok bool) {
	sc, isSocket := pc.(syscall.Conn)
	if !isSocket {
		return 0, 0, false
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return 0, 0, false
	}
	var errReceive, errSend error
	err = raw.Control(func(fd uintptr) {
		receive, errReceive = syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF)
		send, errSend = syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_SNDBUF)
	})
	return receive, send, err == nil && errReceive == nil && errSend == nil
}
