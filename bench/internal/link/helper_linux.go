package link

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// A helper is the process of a link, as the program sees it. The process ends
// when the socket to it is closed, be it by close or because the program ended.
type helper struct {
	cmd *exec.Cmd

	mu     sync.Mutex // held during a call; a leaf
	conn   *net.UnixConn
	closed bool
}

// startHelper starts the process of a link and reports whether its ends have
// IPv6. Root needs no user namespace, and everybody else does, but root of a
// container may be less than that, and a program may have been given capabilities.
func startHelper(s setup) (*helper, bool, error) {
	ways := []bool{false, true}
	if os.Geteuid() != 0 {
		ways = []bool{true, false}
	}
	var refused []error
	for _, userNamespace := range ways {
		h, v6, err := startHelperAs(s, userNamespace)
		if err == nil {
			return h, v6, nil
		}
		how := "as the user that this is"
		if userNamespace {
			how = "in a user namespace"
		}
		refused = append(refused, fmt.Errorf("%s: %w", how, err))
	}
	return nil, false, fmt.Errorf("link: %w: %w; %w", ErrUnavailable, refused[0], refused[1])
}

func startHelperAs(s setup, userNamespace bool) (*helper, bool, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, false, os.NewSyscallError("socketpair", err)
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), helperName), os.NewFile(uintptr(pair[1]), helperName)
	defer ours.Close()
	defer theirs.Close()
	conn, err := unixConn(ours)
	if err != nil {
		return nil, false, err
	}

	h := &helper{conn: conn, cmd: &exec.Cmd{
		Path:       "/proc/self/exe",
		Args:       []string{helperName},
		Stderr:     os.Stderr, // of a crash, the trace
		ExtraFiles: []*os.File{theirs},
		// In a group of its own it gets no signals from the terminal: the program may
		// still need its link while it ends.
		SysProcAttr: &syscall.SysProcAttr{Setpgid: true},
	}}
	if userNamespace {
		h.cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWUSER
		h.cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}}
		h.cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}
	}
	if err := h.cmd.Start(); err != nil {
		conn.Close()
		return nil, false, err
	}
	theirs.Close() // so that its end is seen here

	a, _, err := h.exchange(s, -1)
	if err == nil && a.Error != "" {
		err = errors.New(a.Error)
	}
	if err != nil {
		_ = h.close() // err says more
		return nil, false, err
	}
	return h, a.IPv6, nil
}

// call returns the answer to a request. Its error is for whoever called the
// link.
func (h *helper) call(r request) (answer, error) { return h.callWith(r, -1) }

// capture makes the process write what passes an end to a file.
func (h *helper) capture(end int, file *os.File) error {
	c, err := file.SyscallConn()
	if err != nil {
		return err
	}
	outer := c.Control(func(fd uintptr) { _, err = h.callWith(request{Op: opCapture, End: end}, int(fd)) })
	if err == nil {
		err = outer
	}
	return err
}

// callWith is call with a descriptor that goes along, unless it is negative.
func (h *helper) callWith(r request, fd int) (answer, error) {
	a, _, err := h.exchange(r, fd)
	switch {
	case err != nil:
		return answer{}, fmt.Errorf("link: %w", err)
	case a.Error != "":
		return answer{}, errors.New("link: " + a.Error)
	default:
		return a, nil
	}
}

// exchange sends a message, with a descriptor unless that is negative, and returns
// the answer and the socket that came with it, or -1.
func (h *helper) exchange(message any, along int) (answer, int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return answer{}, -1, net.ErrClosed
	}
	if err := send(h.conn, message, along); err != nil {
		return answer{}, -1, fmt.Errorf("the process of the link has ended: %w", err)
	}
	var a answer
	fd, err := receive(h.conn, &a)
	if err != nil {
		return answer{}, -1, fmt.Errorf("the process of the link has ended: %w", err)
	}
	return a, fd, nil
}

// transplant makes fd a socket of the given end, of the same kind as it was.
// The socket must not be bound, connected or known to a poller.
func (h *helper) transplant(end, fd int) error {
	var kind [3]int
	for i, option := range []int{unix.SO_DOMAIN, unix.SO_TYPE, unix.SO_PROTOCOL} {
		var err error
		if kind[i], err = unix.GetsockoptInt(fd, unix.SOL_SOCKET, option); err != nil {
			return os.NewSyscallError("getsockopt", err)
		}
	}
	a, moved, err := h.exchange(request{Op: opSocket, End: end, Domain: kind[0], Type: kind[1], Protocol: kind[2]}, -1)
	switch {
	case err != nil:
		return err
	case a.Errno != 0:
		return os.NewSyscallError("socket", syscall.Errno(a.Errno))
	case a.Error != "":
		return errors.New(a.Error)
	case moved < 0:
		return errors.New("the process of the link sent no socket")
	}
	defer unix.Close(moved)

	options := [][2]int{{unix.SOL_SOCKET, unix.SO_REUSEADDR}, {unix.SOL_SOCKET, unix.SO_BROADCAST}}
	if kind[0] == unix.AF_INET6 {
		options = append(options, [2]int{unix.IPPROTO_IPV6, unix.IPV6_V6ONLY})
	}
	for _, o := range options {
		value, err := unix.GetsockoptInt(fd, o[0], o[1])
		if err != nil {
			return os.NewSyscallError("getsockopt", err)
		}
		if err := unix.SetsockoptInt(moved, o[0], o[1], value); err != nil {
			return os.NewSyscallError("setsockopt", err)
		}
	}
	return os.NewSyscallError("dup3", unix.Dup3(moved, fd, unix.O_CLOEXEC))
}

// close ends the process and waits for it.
func (h *helper) close() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil
	}
	h.closed = true
	h.conn.Close()
	if err := h.cmd.Wait(); err != nil {
		return fmt.Errorf("link: the process of the link: %w", err)
	}
	return nil
}

// unixConn returns the connection over a file, which the caller closes too.
func unixConn(f *os.File) (*net.UnixConn, error) {
	c, err := net.FileConn(f)
	if err != nil {
		return nil, err
	}
	conn, ok := c.(*net.UnixConn)
	if !ok {
		c.Close()
		return nil, fmt.Errorf("%s is no Unix socket", f.Name())
	}
	return conn, nil
}

// send sends message, and fd with it unless it is negative.
func send(conn *net.UnixConn, message any, fd int) error {
	data, err := json.Marshal(message)
	if err != nil {
		return err
	}
	var rights []byte
	if fd >= 0 {
		rights = unix.UnixRights(fd)
	}
	_, _, err = conn.WriteMsgUnix(data, rights, nil)
	return err
}

// receive reads a message and returns the descriptor that came with it, or -1.
func receive(conn *net.UnixConn, message any) (int, error) {
	data, rights := make([]byte, maxMessage), make([]byte, unix.CmsgSpace(4))
	n, rn, _, _, err := conn.ReadMsgUnix(data, rights)
	if err == nil && n == 0 {
		err = io.EOF
	}
	if err != nil {
		return -1, err
	}
	fd := -1
	if rn > 0 {
		if fd, err = parseRights(rights[:rn]); err != nil {
			return -1, err
		}
	}
	if err := json.Unmarshal(data[:n], message); err != nil {
		if fd >= 0 {
			_ = unix.Close(fd) // what it was for is not known
		}
		return -1, err
	}
	return fd, nil
}

func parseRights(data []byte) (int, error) {
	messages, err := unix.ParseSocketControlMessage(data)
	if err != nil {
		return -1, os.NewSyscallError("recvmsg", err)
	}
	for _, m := range messages {
		if fds, err := unix.ParseUnixRights(&m); err == nil && len(fds) == 1 {
			return fds[0], nil
		}
	}
	return -1, errors.New("a descriptor was promised and none came")
}
