//go:build !unix

package quic

import "net"

// bufferSizes returns the sizes of the socket's buffers in bytes, where there is
// a way to ask for them.
func bufferSizes(net.PacketConn) (receive, send int, ok bool) { return 0, 0, false }
