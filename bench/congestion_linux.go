package main

import (
	"context"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// tcpCongestion returns the congestion control that TCP has on a host, or "" if the
// kernel does not tell. A socket is asked, not /proc/sys, where an end of a link may
// have another than this program.
func tcpCongestion(h host) (name string) {
	ln, err := h.Listen(context.Background(), "tcp", anyPort(h))
	if err != nil {
		return ""
	}
	defer ln.Close()
	_ = onSocket(ln, func(fd int) (err error) {
		name, err = unix.GetsockoptString(fd, unix.IPPROTO_TCP, unix.TCP_CONGESTION)
		return err
	})
	return name
}

// setTCPCongestion gives a socket another congestion control. Those that a listener
// accepts have the listener's.
func setTCPCongestion(socket any, name string) error {
	return onSocket(socket, func(fd int) error {
		return os.NewSyscallError("setsockopt", unix.SetsockoptString(fd, unix.IPPROTO_TCP, unix.TCP_CONGESTION, name))
	})
}

func onSocket(socket any, do func(fd int) error) error {
	s, ok := socket.(syscall.Conn)
	if !ok {
		return syscall.ENOTSOCK
	}
	c, err := s.SyscallConn()
	if err != nil {
		return err
	}
	if outer := c.Control(func(fd uintptr) { err = do(int(fd)) }); outer != nil {
		return outer
	}
	return err
}

// tcpCongestions returns what the kernel has to choose from.
func tcpCongestions() []string {
	text, err := os.ReadFile("/proc/sys/net/ipv4/tcp_available_congestion_control")
	if err != nil {
		return nil
	}
	return strings.Fields(string(text))
}
