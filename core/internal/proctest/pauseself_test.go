//go:build linux || darwin

package proctest_test

import (
	"context"
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/gridmux/gridmux/core"
)

// TestPausedProcessBlamesNobody stops a process that has pinged its three peers,
// for longer than it gives them to answer, while their answers arrive. When it
// wakes, the calls that it had under way report that their time is over, and no
// peer is declared dead, because all have answered (F34).
func TestPausedProcessBlamesNobody(t *testing.T) {
	for range scale(1, 1, 5) {
		// Each time anew, so that the three are pinged at the same time.
		pauseSelf(t)
	}
}

func pauseSelf(t *testing.T) {
	const interval, timeout = 200 * time.Millisecond, time.Second
	const own = "sleeper"
	self := core.Node{Name: own, Addr: holdPort(t).addr}
	running := make(chan struct{}, 16)
	block := func(ctx context.Context, _ []byte) ([]byte, error) {
		running <- struct{}{}
		<-ctx.Done()
		return nil, ctx.Err()
	}
	var gates []*gate
	var hosts []*host
	var peers []core.Node
	for i := range 3 {
		// The gate is on the side that accepts.
		name := accepting(fmt.Sprintf("peer-%d", i), own)
		g := newGate(listenAnywhere(t))
		h := newHost(t, hostSetup{
			name: name, peers: []core.Node{self},
			// The peers must not find the sleeper dead, nor provoke it.
			config:   func(cfg *core.Config) { cfg.KeepAlive = time.Hour },
			register: func(m *core.Manager) error { return m.Handle(workHandler, block) },
		}, g)
		gates, hosts, peers = append(gates, g), append(hosts, h), append(peers, h.self)
	}
	c := startChild(t, spec{Node: self, Peers: peers, KeepAlive: interval, KeepAliveTimeout: timeout}, nil)
	for _, h := range hosts {
		h.awaitState(t, own, core.StateConnected)
	}
	var calls []<-chan event
	for _, n := range peers {
		calls = append(calls, c.command(command{Op: opCall, Peer: n.Name, Timeout: 2 * timeout, Wait: true}))
		wait(t, running, "a call arrives")
	}
	for _, g := range gates {
		g.shut()
	}
	for _, g := range gates {
		wait(t, g.withheld, "a ping is about to be answered")
	}
	asleep := c.pause()
	for _, g := range gates {
		g.lift()
		wait(t, g.passed, "the answer to the ping is sent")
	}
	pass(noticeable - time.Since(asleep))
	c.wake()
	for i, call := range calls {
		if r := wait(t, call, "a call of the process that woke returns"); !r.Deadline {
			t.Errorf("a call to %s whose time was over returned %q, want its deadline", peers[i].Name, r.Err)
		}
	}
	// As long as it takes to find them dead, by what has not arrived until now.
	pass(interval + timeout)
	for i, n := range peers {
		if r := c.do(command{Op: opState, Peer: n.Name}); r.To != core.StateConnected.String() {
			t.Errorf("to the process that woke, %s is %s", n.Name, r.To)
		}
		if len(hosts[i].states) > 0 {
			t.Errorf("%s saw the process that woke %v", n.Name, (<-hosts[i].states).To)
		}
	}

	c.cmd.Process.Signal(syscall.SIGTERM)
	for e := range c.events {
		// At the beginning that comes without an error.
		if e.Kind == stateIs && e.To == core.StateConnecting.String() && e.Err != "" {
			t.Errorf("the process that slept lost %s: %s", e.Peer, e.Err)
		}
	}
}
