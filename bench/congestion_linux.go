package main

import (
	"context"
	"syscall"

	"golang.org/x/sys/unix"
)

// tcpCongestion returns the congestion control that TCP has on a host by default, or
// "" if the kernel does not tell. A socket is asked, not /proc/sys, where an end of a
// link may have another than this program.
func tcpCongestion(h host) (name string) {
	ln, err := h.Listen(context.Background(), "tcp", anyPort(h))
	if err != nil {
		return ""
	}
	defer ln.Close()
	socket, ok := ln.(syscall.Conn)
	if !ok {
		return ""
	}
	c, err := socket.SyscallConn()
	if err != nil {
		return ""
	}
	_ = c.Control(func(fd uintptr) {
		name, _ = unix.GetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION)
	})
	return name
}
