//go:build linux || darwin

package proctest_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// child is a process of the test, and ends with it.
type child struct {
	t      testing.TB
	spec   spec
	cmd    *exec.Cmd
	in     io.WriteCloser
	events chan event // what was not asked for; closed when the process is over
	gone   chan struct{}
	stderr bytes.Buffer // read it when the process is gone

	mu      sync.Mutex
	last    int                // number of commands
	replies map[int]chan event // those that are awaited
}

// launch starts a child without waiting for it. listener is what it inherits if
// its spec says so.
func launch(t testing.TB, s spec, listener *net.TCPListener) *child {
	t.Helper()
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatalf("encoding the spec of a child failed: %v", err)
	}
	c := &child{
		t: t, spec: s, cmd: exec.Command(os.Args[0]),
		events: make(chan event, 1<<12), gone: make(chan struct{}), replies: map[int]chan event{},
	}
	// Under the race detector a process would sleep before it exits.
	c.cmd.Env = append(os.Environ(), childVariable+"="+string(text), "GORACE=atexit_sleep_ms=0")
	c.cmd.Stderr = &c.stderr
	c.cmd.SysProcAttr = childAttributes()
	if s.Inherited {
		f, err := listener.File()
		if err != nil {
			t.Fatalf("handing a listener on failed: %v", err)
		}
		defer f.Close()
		c.cmd.ExtraFiles = []*os.File{f}
	}
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		t.Fatalf("starting a child failed: %v", err)
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		t.Fatalf("starting a child failed: %v", err)
	}
	if err := c.cmd.Start(); err != nil {
		t.Fatalf("starting a child failed: %v", err)
	}
	go c.listen(out)
	t.Cleanup(func() {
		c.kill()
		c.checkSane()
	})
	return c
}

// startChild starts a child and waits until it listens.
func startChild(t testing.TB, s spec, listener *net.TCPListener) *child {
	t.Helper()
	c := launch(t, s, listener)
	c.await("the child listens", func(e event) bool { return e.Kind == listening })
	return c
}

// listen reads what the child says until it is over.
func (c *child) listen(out io.Reader) {
	defer close(c.gone)
	defer close(c.events)
	for lines := bufio.NewScanner(out); lines.Scan(); {
		var e event
		if json.Unmarshal(lines.Bytes(), &e) != nil {
			// A process that is killed may leave half a line.
			continue
		}
		if e.Kind != replied {
			c.events <- e
			continue
		}
		c.mu.Lock()
		ch := c.replies[e.ID]
		delete(c.replies, e.ID)
		c.mu.Unlock()
		ch <- e
	}
	c.cmd.Wait()
}

// await returns the next event that is meant, passing over others.
func (c *child) await(sentence string, meant func(event) bool) event {
	c.t.Helper()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for {
		select {
		case e, ok := <-c.events:
			if !ok {
				c.t.Fatalf("%s: the child ended instead: %v\n%s", sentence, c.cmd.ProcessState, c.stderr.String())
			}
			if meant(e) {
				return e
			}
		case <-timer.C:
			// What it waits for is the first thing to know.
			c.cmd.Process.Signal(syscall.SIGQUIT)
			for range c.events {
				continue // until it is over
			}
			<-c.gone
			c.t.Fatalf("%s: nothing happened for %v; it was in\n%s", sentence, patience, c.stderr.String())
		}
	}
}

// command tells the child to do something; the reply comes on the channel.
func (c *child) command(cmd command) <-chan event {
	c.t.Helper()
	ch := make(chan event, 1)
	c.mu.Lock()
	c.last++
	cmd.ID = c.last
	c.replies[cmd.ID] = ch
	c.mu.Unlock()
	c.tell(cmd)
	return ch
}

// tell sends a command that has no reply.
func (c *child) tell(cmd command) {
	c.t.Helper()
	line, err := json.Marshal(cmd)
	if err != nil {
		c.t.Fatalf("encoding a command failed: %v", err)
	}
	if _, err := c.in.Write(append(line, '\n')); err != nil {
		c.t.Fatalf("the child takes no commands: %v", err)
	}
}

// do carries a command out and returns the reply.
func (c *child) do(cmd command) event {
	c.t.Helper()
	return wait(c.t, c.command(cmd), fmt.Sprintf("the child answers the command %q", cmd.Op))
}

// kill ends the child as a crash does, and returns when it is gone.
func (c *child) kill() {
	c.cmd.Process.Kill()
	for range c.events {
		continue // until it is over
	}
	<-c.gone
	c.in.Close()
}

// terminate asks the child to end in order, and returns its last words.
func (c *child) terminate() event {
	c.t.Helper()
	if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		c.t.Fatalf("terminating the child failed: %v", err)
	}
	e := c.await("the child ends in order", func(e event) bool { return e.Kind == loadOver })
	wait(c.t, c.gone, "the child ends in order")
	if !c.cmd.ProcessState.Success() {
		c.t.Fatalf("the child did not end in order: %v\n%s", c.cmd.ProcessState, c.stderr.String())
	}
	return e
}

// pause stops the child in the middle of whatever it does, and returns when it
// stands still.
func (c *child) pause() time.Time {
	c.t.Helper()
	if err := c.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		c.t.Fatalf("stopping the child failed: %v", err)
	}
	var status syscall.WaitStatus
	for {
		_, err := syscall.Wait4(c.cmd.Process.Pid, &status, syscall.WUNTRACED, nil)
		if err == syscall.EINTR {
			continue
		}
		if err != nil || !status.Stopped() {
			c.t.Fatalf("stopping the child failed: %v, wait status %#x", err, status)
		}
		return time.Now()
	}
}

// wake lets a paused child go on.
func (c *child) wake() time.Time {
	c.t.Helper()
	now := time.Now()
	if err := c.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		c.t.Fatalf("waking the child failed: %v", err)
	}
	return now
}

// checkSane fails the test if the child, which is gone, crashed or raced.
func (c *child) checkSane() {
	text := c.stderr.String()
	for _, bad := range []string{"panic:", "fatal error:", "DATA RACE", "child:"} {
		if strings.Contains(text, bad) {
			c.t.Errorf("the child %s failed:\n%s", c.spec.Node.Name, text)
			return
		}
	}
}

// port is an address of this machine that stays the test's own while nobody
// listens there. Otherwise another process could be given the port between two
// lives of a child.
type port struct {
	addr string
	fd   int
}

func holdPort(t testing.TB) *port {
	t.Helper()
	fd, addr, err := bindPort()
	if err != nil {
		t.Fatalf("holding a port failed: %v", err)
	}
	p := &port{addr, fd}
	t.Cleanup(func() { syscall.Close(p.fd) })
	return p
}
