//go:build linux || darwin

package proctest_test

import (
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gridmux/gridmux/core"
)

// TestOutOfDescriptors has strangers connect to a process until it has no file
// descriptor left. Its connection works on, and when the strangers are gone
// another node can connect (T25, F29).
func TestOutOfDescriptors(t *testing.T) {
	const server, limit = "server", 64
	friend, late := accepting("friend", server), dialling("late", server)
	friendPort, latePort := listenAnywhere(t), listenAnywhere(t)
	s := spec{
		Node: core.Node{Name: server, Addr: holdPort(t).addr},
		Peers: []core.Node{
			{Name: friend, Addr: friendPort.Addr().String()},
			{Name: late, Addr: latePort.Addr().String()},
		},
		Ledger:         filepath.Join(t.TempDir(), "ledger"),
		MaxDescriptors: limit,
	}
	c := startChild(t, s, nil)
	h := newHost(t, hostSetup{name: friend, peers: []core.Node{s.Node}}, friendPort)
	mustCall(t, t.Context(), h.Connection(server), workHandler, work{id: "before", mode: modeEcho}.request())

	// More than it can take: the rest waits in the kernel, and takes the place
	// of those that are thrown out.
	var strangers []net.Conn
	for range 4 * limit {
		nc, err := net.Dial("tcp", s.Node.Addr)
		if err != nil {
			t.Fatalf("a stranger cannot connect: %v", err)
		}
		defer nc.Close()
		strangers = append(strangers, nc)
	}
	exhausted := func() bool { return strings.Contains(c.do(command{Op: opOpen}).Err, "too many open files") }
	until(t, "the process has no descriptor left", exhausted)
	for i := 0; i < 1000 || !exhausted(); i++ {
		if _, err := h.Connection(server).Request(t.Context(), workHandler, work{id: "during", mode: modeEcho}.request(),
			core.WithTimeout(patience)); err != nil {
			t.Fatalf("call %d to a process without descriptors: %v", i, err)
		}
	}
	for _, nc := range strangers {
		nc.Close()
	}
	left := time.Now()
	l := newHost(t, hostSetup{
		name: late, peers: []core.Node{s.Node},
		config: func(cfg *core.Config) { cfg.MaxBackoff = pauseBackoff },
	}, latePort)
	l.awaitState(t, server, core.StateConnected)
	t.Logf("a node connected %v after the strangers left", time.Since(left))
	mustCall(t, t.Context(), l.Connection(server), workHandler, work{id: "after", mode: modeEcho}.request())
	if len(h.states) != 2 { // those of the beginning
		t.Errorf("the connection was lost meanwhile")
	}
	c.terminate()
}
