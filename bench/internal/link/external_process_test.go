//go:build external && linux

package link_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/gridmux/gridmux/bench/internal/link"
)

// roleVariable tells a process that a test started from this binary what it is.
const roleVariable = "GRIDMUX_LINK_TEST"

const (
	roleHold     = "hold"     // has a link until it is told to end, or killed
	roleUser     = "user"     // becomes an ordinary user of an ordinary machine, and runs the tests
	roleNoDevice = "nodevice" // has no TUN device
	roleNoSpaces = "nospaces" // may make no namespace
	roleNew      = "new"      // prints what New returns
)

// nobody is a user without rights.
const nobody = 65534

func TestMain(m *testing.M) {
	var err error
	switch role := os.Getenv(roleVariable); role {
	case "":
		hurry()
		os.Exit(m.Run())
	case roleHold:
		err = hold()
	case roleNew:
		_, newErr := link.New(1, link.Conditions{})
		fmt.Println(errors.Is(newErr, link.ErrUnavailable), newErr)
	default:
		err = become(role)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// hurry gives this process and those that it starts precedence over others, where it may: times are
// measured, and the machine may have other things to do.
func hurry() {
	threads, _ := filepath.Glob("/proc/self/task/*")
	for _, path := range threads {
		if thread, err := strconv.Atoi(filepath.Base(path)); err == nil {
			_ = unix.Setpriority(unix.PRIO_PROCESS, thread, -20)
		}
	}
}

// become changes what the kernel allows to this process, which has mounts of its own, and starts
// another one as an ordinary user.
func become(role string) error {
	next, args := "", os.Args[1:]
	// Otherwise the mount would be seen outside.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("mounts: %w", err)
	}
	if err := unix.Mount("tmpfs", "/dev/net", "tmpfs", 0, "mode=755"); err != nil {
		return fmt.Errorf("a directory for the device: %w", err)
	}
	switch role {
	case roleNoDevice:
		next, args = roleNew, nil
	case roleNoSpaces:
		next, args = roleNew, nil
		// Of the user namespace that this process is in.
		if err := os.WriteFile("/proc/sys/user/max_user_namespaces", []byte("0"), 0); err != nil {
			return err
		}
	}
	if role != roleNoDevice {
		// As on most machines, where it is for everybody.
		unix.Umask(0)
		if err := unix.Mknod("/dev/net/tun", unix.S_IFCHR|0o666, int(unix.Mkdev(10, 200))); err != nil && role == roleUser {
			return fmt.Errorf("the device: %w", err)
		}
	}
	cmd := self(next, args...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	id := uint32(nobody)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: id, Gid: id, NoSetGroups: role == roleNoSpaces}}
	return cmd.Run()
}

// hold makes a link, says so, and uses it again after an interrupt.
func hold() error {
	interrupts := make(chan os.Signal, 1)
	signal.Notify(interrupts, os.Interrupt)
	l, err := link.New(1, link.Conditions{})
	if err != nil {
		return err
	}
	fmt.Println("ready")
	<-interrupts
	s, err := l.Stats(link.AToB)
	fmt.Println(s.Sent, err, l.Close())
	return nil
}

// self returns a command that runs this binary in a role.
func self(role string, args ...string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Env = append(os.Environ(), roleVariable+"="+role)
	return cmd
}

// helpers returns the processes of links that the process with the given number has
// started.
func helpers(t *testing.T, parent int) (pids []int) {
	t.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range stats {
		stat, err := os.ReadFile(path)
		name, err2 := os.ReadFile(filepath.Join(filepath.Dir(path), "cmdline"))
		if err != nil || err2 != nil || !bytes.Equal(name, []byte("gridmux-link\x00")) {
			continue // ended meanwhile, or is another
		}
		// Behind the name, in parentheses, are the state and the parent.
		fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		if fields[1] == strconv.Itoa(parent) {
			pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			if err != nil {
				t.Fatal(err)
			}
			pids = append(pids, pid)
		}
	}
	return pids
}

// TestCloseLeavesNothing expects the one process of a link to be gone after Close, and with it
// the namespaces and devices, which nothing else holds; what uses the link then to fail; and a
// second Close to do nothing.
func TestCloseLeavesNothing(t *testing.T) {
	before := len(helpers(t, os.Getpid()))
	l, err := link.New(1, link.Conditions{})
	if err != nil {
		t.Fatal(err)
	}
	if got := len(helpers(t, os.Getpid())); got != before+1 {
		t.Errorf("a link has %d processes", got-before)
	}
	for range 2 {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}
	if got := helpers(t, os.Getpid()); len(got) != before {
		t.Errorf("the processes of closed links are %v", got)
	}
	if _, err := l.Stats(link.AToB); err == nil || err.Error() != "link: use of closed network connection" {
		t.Errorf("counters of a closed link: %v", err)
	}
	if c, err := l.A().Dial(t.Context(), "tcp", "198.18.0.2:9"); err == nil {
		t.Errorf("dialled %v on a closed link", c.RemoteAddr())
	}
}

// TestKilled expects the process of a link to end when that of the program is killed.
func TestKilled(t *testing.T) {
	cmd, _ := startHold(t)
	if pids := helpers(t, cmd.Process.Pid); len(pids) != 1 {
		t.Fatalf("a program with a link has the processes %v", pids)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	// Both have the pipe, so Wait waits for both.
	cmd.WaitDelay = patience
	if err := cmd.Wait(); errors.Is(err, exec.ErrWaitDelay) {
		t.Error("the process of the link has not ended")
	}
}

// TestProcessDies expects a program whose link has gone to be told so.
func TestProcessDies(t *testing.T) {
	before := helpers(t, os.Getpid())
	l, err := link.New(1, link.Conditions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, pid := range newer(t, before) {
		syscall.Kill(pid, syscall.SIGKILL)
	}
	if _, err := l.Stats(link.AToB); err == nil || !strings.HasPrefix(err.Error(), "link: the process of the link has ended: ") {
		t.Errorf("counters of a link that has gone: %v", err)
	}
	if _, err := l.A().Listen(t.Context(), "tcp", ":0"); err == nil {
		t.Error("a link that has gone has sockets")
	}
	if err := l.Close(); err == nil || err.Error() != "link: the process of the link: signal: killed" {
		t.Errorf("closing a link that has gone: %v", err)
	}
}

// TestOverrun expects what the machine was too busy to take to be counted apart from what the
// link drops: here, the process of the link does not run at all for a while.
func TestOverrun(t *testing.T) {
	before := helpers(t, os.Getpid())
	l := newLink(t, link.Conditions{})
	from, _ := connectUDP(t, l)
	pids := newer(t, before)
	for _, pid := range pids {
		syscall.Kill(pid, syscall.SIGSTOP)
	}
	const n, room = 12000, 10000
	for range n {
		write(t, from, []byte("x"))
	}
	for _, pid := range pids {
		syscall.Kill(pid, syscall.SIGCONT)
	}
	// Some got through until it stopped.
	if s := stats(t, l, link.BToA); s.Overrun == 0 || s.Overrun > n-room+10 || s.Sent+s.Overrun != n {
		t.Errorf("of %d packets %d crossed and %d overran the device, which has room for %d", n, s.Sent, s.Overrun, room)
	}
}

// newer returns the processes of links that are not among those of before.
func newer(t *testing.T, before []int) []int {
	t.Helper()
	return slices.DeleteFunc(helpers(t, os.Getpid()), func(pid int) bool { return slices.Contains(before, pid) })
}

// TestInterrupt expects the interrupt that a terminal sends to all of a program's processes to leave
// the link to the program, which may need it until it has ended.
func TestInterrupt(t *testing.T) {
	cmd, out := startHold(t)
	if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if !out.Scan() || out.Text() != "0 <nil> <nil>" {
		t.Errorf("after the interrupt: %q", out.Text())
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

// startHold starts a program with a link, in a process group of its own.
func startHold(t *testing.T) (*exec.Cmd, *bufio.Scanner) {
	t.Helper()
	cmd := self(roleHold)
	cmd.Stderr = new(bytes.Buffer) // by a pipe
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill() })
	out := bufio.NewScanner(stdout)
	if !out.Scan() || out.Text() != "ready" {
		cmd.Process.Kill()
		cmd.Wait()
		t.Fatalf("the program said %q, %v", out.Text(), cmd.Stderr)
	}
	return cmd, out
}

// TestOrdinaryUser expects everything that root can do to work for an ordinary user, on a machine with
// user namespaces and a TUN device for everybody. For an ordinary user it is done already.
func TestOrdinaryUser(t *testing.T) {
	if os.Geteuid() != 0 {
		return
	}
	cmd := self(roleUser, "-test.v", "-test.run", "^Test")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	out, err := cmd.CombinedOutput()
	if passed := strings.Count(string(out), "--- PASS: Test"); err != nil || passed < 20 {
		t.Errorf("%v, and %d tests passed:\n%s", err, passed, out)
	}
}

// TestUnavailable expects a machine without the device, and one that allows no namespaces, to
// be told apart from a failure, with the reason.
func TestUnavailable(t *testing.T) {
	if os.Geteuid() != 0 {
		return // takes root to make such a machine
	}
	for role, want := range map[string]string{
		roleNoDevice: "true link: no emulated links on this machine: in a user namespace: " +
			"the TUN device: open /dev/net/tun: no such file or directory; " +
			"as the user that this is: a new network namespace: unshare: operation not permitted\n",
		roleNoSpaces: "true link: no emulated links on this machine: in a user namespace: " +
			"fork/exec /proc/self/exe: no space left on device; " +
			"as the user that this is: a new network namespace: unshare: operation not permitted\n",
	} {
		cmd := self(role)
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
		if role == roleNoSpaces {
			cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
			ids := []syscall.SysProcIDMap{{Size: nobody + 1}}
			cmd.SysProcAttr.UidMappings, cmd.SysProcAttr.GidMappings = ids, ids
		}
		out, err := cmd.CombinedOutput()
		if err != nil || string(out) != want {
			t.Errorf("%s: %v\n%s not\n%s", role, err, out, want)
		}
	}
}
