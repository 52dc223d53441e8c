package link

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// init takes over in a process that was started to be that of a link: whatever
// program it is, its main must not run, and would not know that it must not.
//
//nolint:gochecknoinits // a program could forget to call a function instead, and would then start itself without end
func init() {
	if len(os.Args) != 1 || os.Args[0] != helperName {
		return
	}
	code := 0
	if err := serve(os.NewFile(3, helperName)); err != nil {
		fmt.Fprintln(os.Stderr, "link:", err)
		code = 1
	}
	os.Exit(code) //nolint:forbidigo // this is the end of the main of this process
}

// serve is the process of a link. It returns when the program closes its end of
// control or has ended.
func serve(control *os.File) error {
	conn, err := unixConn(control)
	control.Close()
	if err != nil {
		return err
	}
	// A thread of each direction and of the control always finds a processor, so
	// none waits for another in the scheduler of Go; that of the kernel is fairer.
	runtime.GOMAXPROCS(max(runtime.GOMAXPROCS(0), 4))

	var s setup
	if _, err := receive(conn, &s); err != nil {
		return ended(err)
	}
	srv, first := newServer(s)
	if err := send(conn, first, -1); err != nil || srv == nil {
		return ended(err)
	}
	for {
		var r request
		file, err := receive(conn, &r)
		if err != nil {
			return ended(err)
		}
		a, fd := srv.answer(r, file)
		err = send(conn, a, fd)
		if fd >= 0 {
			_ = unix.Close(fd) // its copy is with the program
		}
		if err != nil {
			return ended(err)
		}
	}
}

// ended returns nil if err says that the program is gone or has closed the link.
func ended(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, unix.EPIPE) || errors.Is(err, unix.ECONNRESET) || errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

type server struct {
	mtu        int // of the devices
	ends       [2]*namespace
	directions [2]*forwarder
	captures   [2]int // the files of the ends, or 0
}

// newServer makes the link. If it cannot, the answer says why and the server is nil.
func newServer(s setup) (*server, answer) {
	srv := &server{mtu: max(s.Conditions.mtu(), DefaultMTU)}
	v6 := true
	for i := range srv.ends {
		n, err := newNamespace(i, srv.mtu)
		if err != nil {
			return nil, answer{Error: err.Error()}
		}
		srv.ends[i] = n
		v6 = v6 && n.v6
	}
	for _, d := range []Direction{AToB, BToA} {
		f, err := newForwarder(s.Seed, d, s.Conditions, srv.ends[d].tun, srv.ends[1-d].tun, srv.mtu)
		if err != nil {
			return nil, answer{Error: err.Error()}
		}
		srv.directions[d] = f
		go f.run()
	}
	return srv, answer{IPv6: v6}
}

// answer carries out a request, which came with a file unless that is negative. So
// does the answer go with the returned descriptor.
func (srv *server) answer(r request, file int) (answer, int) {
	switch r.Op {
	case opSet:
		if mtu := r.Conditions.mtu(); mtu > srv.mtu {
			return answer{Error: fmt.Sprintf("the mtu of this link is at most %d, not %d", srv.mtu, mtu)}, -1
		}
		f := srv.directions[r.Direction]
		f.do(func() { f.conditions = r.Conditions })
	case opBlock:
		f := srv.directions[r.Direction]
		f.do(func() { f.blocked = r.Blocked })
	case opStats:
		f := srv.directions[r.Direction]
		var stats Stats
		f.do(func() { stats = f.counts })
		stats.Overrun += srv.ends[r.Direction].dropped()
		return answer{Stats: stats}, -1
	case opSocket:
		fd, err := srv.ends[r.End].socket(r.Domain, r.Type, r.Protocol)
		if err != nil {
			errno, _ := errors.AsType[syscall.Errno](err)
			return answer{Error: err.Error(), Errno: int(errno)}, -1
		}
		return answer{}, fd
	case opCapture:
		if err := srv.capture(r.End, file); err != nil {
			return answer{Error: err.Error()}, -1
		}
	default:
		return answer{Error: fmt.Sprintf("no request %q", r.Op)}, -1
	}
	return answer{}, -1
}

// capture makes both directions write down what passes an end.
func (srv *server) capture(end, file int) error {
	if err := startCapture(file); err != nil {
		_ = unix.Close(file) // err says more
		return err
	}
	out, in := srv.directions[end], srv.directions[1-end]
	out.do(func() { out.from.capture = file })
	in.do(func() { in.to.capture = file })
	if before := srv.captures[end]; before != 0 {
		_ = unix.Close(before) // everything has been written
	}
	srv.captures[end] = file
	return nil
}
