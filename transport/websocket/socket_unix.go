//go:build unix

package websocket

import (
	"io"
	"net"
	"os"
	"syscall"
)

// socket reads from a descriptor directly. That is what allows the reader to
// wait without a buffer: the net package's Read wants one before it waits.
type socket struct {
	sc syscall.RawConn // nil if the link is no socket
	// step is (*conn).readSocket, bound once since binding allocates.
	step func(fd uintptr) bool
	// failed is what step ended with.
	failed error
}

func rawSocket(nc net.Conn) socket {
	sc, ok := nc.(syscall.Conn)
	if !ok {
		return socket{}
	}
	s, err := sc.SyscallConn()
	if err != nil {
		return socket{}
	}
	return socket{sc: s}
}

func (s *socket) isSocket() bool { return s.sc != nil }

// pullSocket is pull for a socket.
func (c *conn) pullSocket() error {
	if c.in.step == nil {
		c.in.step = c.readSocket
	}
	c.in.failed = nil
	if err := c.in.sc.Read(c.in.step); err != nil {
		return err
	}
	return c.in.failed
}

// readSocket reads until satisfied, or until nothing is there: then it returns
// false, and sc.Read calls it again when something is.
//
// It waits only after a read has said EAGAIN. The poller reports changes, and
// each call of sc.Read forgets the last report. After a read that returned less
// than it could there is likely nothing left, but if the end of the stream came
// together with those bytes it was reported together with them, and nothing
// would ever wake us up again.
func (c *conn) readSocket(fd uintptr) bool {
	in := &c.in
	for !c.closed.Load() {
		n, err := syscall.Read(int(fd), in.room())
		switch {
		case n > 0:
			in.advance(n)
			if in.satisfied() {
				return true
			}
		case err == nil:
			in.failed = io.EOF
			return true
		case err == syscall.EAGAIN:
			in.letGo()
			return false
		case err != syscall.EINTR:
			in.failed = os.NewSyscallError("read", err)
			return true
		}
	}
	in.failed = net.ErrClosed
	return true
}

// maxDiscard bounds what is read on the way out.
const maxDiscard = 1 << 20

// discard empties the receive buffer of a socket without waiting.
func discard(nc net.Conn) {
	if !isSocket(nc) {
		return
	}
	s := rawSocket(nc)
	if s.sc == nil {
		return
	}
	buf := getChunk()
	defer putChunk(buf)
	_ = s.sc.Control(func(fd uintptr) {
		for total := 0; total < maxDiscard; {
			n, err := syscall.Read(int(fd), buf[:])
			if n <= 0 && err != syscall.EINTR {
				return
			}
			total += max(n, 0)
		}
	})
}
