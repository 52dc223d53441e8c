package proctest_test

import (
	"net"
	"syscall"
)

func childAttributes() *syscall.SysProcAttr { return nil }

// bindPort only finds a port: without SO_REUSEPORT on both sockets nobody could
// listen where another one is bound. The descriptor that it returns is none.
func bindPort() (fd int, addr string, err error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return -1, "", err
	}
	return -1, ln.Addr().String(), ln.Close()
}

// limitMemory has nothing to do: no test of this system asks for a limit.
func limitMemory(uint64) error { return nil }
