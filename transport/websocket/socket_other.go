//go:build !unix

package websocket

import "net"

// socket is for systems whose descriptors cannot be read without waiting; there
// every link is read as a net.Conn.
type socket struct{}

func rawSocket(net.Conn) socket { return socket{} }

func (*socket) isSocket() bool { return false }

func (*conn) pullSocket() error { return net.ErrClosed }

func discard(net.Conn) {}
