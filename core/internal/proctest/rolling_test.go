//go:build linux || darwin

package proctest_test

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/gridmux/gridmux/core"
)

// TestRollingRestart restarts the five processes of a cluster one after the other
// while they make a thousand calls per second to each other: SIGTERM, a drain,
// exit, start. Callers repeat what was not sent or was refused, and no call of
// theirs fails; each runs exactly once (F19).
func TestRollingRestart(t *testing.T) {
	const size, rate = 5, 1000
	rounds := scale(2, 1, 20)
	dir := t.TempDir()
	var nodes []core.Node
	for i := range size {
		nodes = append(nodes, core.Node{Name: fmt.Sprintf("node-%d", i), Addr: holdPort(t).addr})
	}
	var ledgers []string
	running := make([]*child, size)
	start := func(i int) {
		running[i] = startChild(t, spec{
			Node: nodes[i], Peers: nodes, Ledger: filepath.Join(dir, nodes[i].Name),
			MaxBackoff: 200 * time.Millisecond,
			// On a loopback device hardly anything is ever under way.
			Latency: 5 * time.Millisecond,
		}, nil)
	}
	// join waits until a node is connected to all others, and has it call them.
	join := func(i int) {
		for _, n := range nodes {
			if n != nodes[i] {
				if r := running[i].do(command{Op: opAwait, Peer: n.Name, Timeout: patience}); r.Err != "" {
					t.Fatalf("%s joins the cluster: %s", nodes[i].Name, r.Err)
				}
			}
		}
		running[i].tell(command{Op: opLoad, Rate: rate / size})
	}
	var sum event
	want := map[string]int{}
	leave := func(i int) {
		began := time.Now()
		e := running[i].terminate()
		t.Logf("%s left within %v after %d calls, %d repeats", nodes[i].Name, time.Since(began), e.Calls, e.Repeats)
		if e.Failed > 0 {
			t.Errorf("%d of the calls of %s failed, the first with %s", e.Failed, nodes[i].Name, e.Err)
		}
		sum.Calls += e.Calls
		sum.Repeats += e.Repeats
		want[fmt.Sprintf("%s/%d", nodes[i].Name, running[i].cmd.Process.Pid)] = e.Calls
	}

	for i := range size {
		start(i)
		ledgers = append(ledgers, filepath.Join(dir, nodes[i].Name))
	}
	for i := range size {
		join(i)
	}
	began := time.Now()
	for range rounds {
		for i := range size {
			leave(i)
			start(i)
			join(i)
			// The others are under way for a while between two restarts.
			pass(200 * time.Millisecond)
		}
	}
	took := time.Since(began)
	for _, c := range running {
		c.do(command{Op: opRest})
	}
	for i := range size {
		leave(i)
	}
	if made := float64(sum.Calls) / took.Seconds(); made < rate/2 {
		t.Errorf("%d calls in %v: the load is less than half of what it is to be", sum.Calls, took)
	}
	t.Logf("%d calls in %v, %d repeats, %d processes", sum.Calls, took, sum.Repeats, len(want))

	a := readAccount(t, ledgers...)
	total := 0
	for process, n := range want {
		for i := range n {
			if got := a[fmt.Sprintf("%s/%d", process, i)]; got != 1 {
				t.Errorf("the handler of call %d of %s was started %d times", i, process, got)
			}
		}
		total += n
	}
	if len(a) != total {
		t.Errorf("%d calls were served, %d were made", len(a), total)
	}
}
