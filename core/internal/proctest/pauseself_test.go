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
	const interval, timeout = 200 * time.Millisecond, time.Second
	const own = "sleeper"
	ln := holdPort(t)
	self := core.Node{Name: own, Addr: ln.addr}
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
			config: func(cfg *core.Config) { cfg.KeepAlive = time.Hour },
			register: func(m *core.Manager) error {
				return m.Handle(workHandler, block)
			},
		}, g)
		gates, hosts, peers = append(gates, g), append(hosts, h), append(peers, h.self)
	}
	c := startChild(t, spec{Node: self, Peers: peers, KeepAlive: interval, KeepAliveTimeout: timeout}, nil)
	for _, h := range hosts {
		h.awaitState(t, own, core.StateConnected)
		if r := c.do(command{Op: opAwait, Peer: h.self.Name, Timeout: patience}); r.Err != "" {
			t.Fatalf("connecting: %s", r.Err)
		}
	}

	for range scale(2, 2, 20) {
		var calls []<-chan event
		for _, n := range peers {
			calls = append(calls, c.command(command{Op: opCall, Peer: n.Name, Timeout: 2 * timeout}))
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
		pass(2*timeout + timeout/2 - time.Since(asleep))
		c.wake()
		for i, call := range calls {
			if r := wait(t, call, "a call of the process that woke returns"); !r.Deadline {
				t.Errorf("a call to %s whose time was over returned %q, want its deadline", peers[i].Name, r.Err)
			}
		}
		for i, n := range peers {
			if r := c.do(command{Op: opState, Peer: n.Name}); r.To != core.StateConnected.String() {
				t.Errorf("to the process that woke, %s is %s", n.Name, r.To)
			}
			if len(hosts[i].states) > 0 {
				t.Errorf("%s saw the process that woke %v", n.Name, (<-hosts[i].states).To)
			}
		}
		if t.Failed() {
			return
		}
	}

	c.cmd.Process.Signal(syscall.SIGTERM)
	changes := map[string][]string{}
	for e := range c.events {
		if e.Kind == stateIs && e.To != core.StateClosed.String() {
			changes[e.Peer] = append(changes[e.Peer], e.To+e.Err)
		}
	}
	for _, n := range peers {
		// Those of the beginning are among them.
		if got := changes[n.Name]; len(got) != 2 || got[1] != core.StateConnected.String() {
			t.Errorf("the process that slept saw %s %q, want it to stay connected", n.Name, got)
		}
	}
}
