package proctest_test

import (
	"fmt"
	"net"
	"os"
	"syscall"
)

// childAttributes makes a child end with this process, also where it was stopped
// and would not notice.
func childAttributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }

// bindPort binds a port without listening. Linux lets another socket with
// SO_REUSEADDR, which Go sets, listen there, but gives the port to nobody who
// asks for any.
func bindPort() (fd int, addr string, err error) {
	fd, err = syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, "", err
	}
	defer func() {
		if err != nil {
			syscall.Close(fd)
		}
	}()
	if err = syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1); err != nil {
		return 0, "", err
	}
	if err = syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return 0, "", err
	}
	sa, err := syscall.Getsockname(fd)
	if err != nil {
		return 0, "", err
	}
	in4, ok := sa.(*syscall.SockaddrInet4)
	if !ok {
		return 0, "", fmt.Errorf("unexpected address %v", sa)
	}
	return fd, net.JoinHostPort("127.0.0.1", fmt.Sprint(in4.Port)), nil
}

// limitMemory bounds the address space of the process to what it has already and
// so many bytes more; 0 is no bound.
func limitMemory(more uint64) error {
	if more == 0 {
		return nil
	}
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return fmt.Errorf("reading the size of the address space: %w", err)
	}
	var pages uint64
	if _, err := fmt.Sscan(string(text), &pages); err != nil {
		return fmt.Errorf("reading the size of the address space: %w", err)
	}
	size := pages*uint64(os.Getpagesize()) + more
	if err := syscall.Setrlimit(syscall.RLIMIT_AS, &syscall.Rlimit{Cur: size, Max: size}); err != nil {
		return fmt.Errorf("limiting the address space: %w", err)
	}
	return nil
}
