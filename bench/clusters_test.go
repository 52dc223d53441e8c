package main

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/transport/inmem"
)

// TestMeasureCluster expects a cluster to come up, its nodes to agree after they have connected,
// the restarted one to be called again, and to cost something when it does nothing.
func TestMeasureCluster(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := inmem.NewNetwork()
		n.SetLatency(10 * time.Millisecond)
		k := kind{name: "inmem", open: func(hosts) network { return memory{n} }}
		found, err := measureCluster(t.Context(), k, 4, true)
		if err != nil {
			t.Fatal(err)
		}
		// To be told something takes one round trip more than to be connected.
		if found.Mesh < 20*time.Millisecond || found.Bootstrap < found.Mesh+20*time.Millisecond || found.Bootstrap > time.Second {
			t.Errorf("connected after %v, agreed after %v, with a round trip of 20ms", found.Mesh, found.Bootstrap)
		}
		if found.Storm < 40*time.Millisecond || found.Storm > 5*time.Second {
			t.Errorf("all had an answer from the restarted node after %v", found.Storm)
		}
		if found.Fresh == nil || found.Used == nil || found.Fresh.Memory < 1000 || found.Fresh.Goroutines < 1 || found.Used.Goroutines < 1 {
			t.Errorf("idle connections cost %+v, and %+v", found.Fresh, found.Used)
		}
	})
}

// TestFreshBeforeAnyCall expects what a fresh cluster takes to be read when it is connected, before it agrees, for
// which it makes calls.
func TestFreshBeforeAnyCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var nodes []*core.Manager
		fresh, err := measureFresh(t.Context(), kinds()[0], []string{"a", "b", "c"}, func(m *core.Manager) error {
			nodes = append(nodes, m)
			return serveEcho(m)
		})
		if err != nil || fresh == nil || fresh.Goroutines < 1 || fresh.Memory < 1000 {
			t.Errorf("a fresh connection costs %+v, %v", fresh, err)
		}
		for _, m := range nodes {
			for _, p := range m.Stats().Peers {
				if p.Sent > 0 {
					t.Errorf("%d bytes have gone to %s", p.Sent, p.Peer)
				}
			}
		}
	})
}

// TestSlowClusters expects no further round where the first took several times as long as all should, and
// what was measured to be shown as complete.
func TestSlowClusters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := inmem.NewNetwork()
		n.SetLatency(400 * time.Millisecond)
		k := kind{name: "inmem", open: func(hosts) network { return memory{n} }}
		var stdout bytes.Buffer
		p := program{[]kind{k}, unshaped, &stdout, &stdout}
		rep := &report{}
		p.measureClusters(t.Context(), options{clusters: clusterOptions{wanted: true, nodes: 3, rounds: clusterRounds}}, p.known, rep, 0)
		if r := rep.Clusters; len(rep.Failures) > 0 || r.Rounds != 1 || !r.Slow || len(r.Lines) != 1 || r.Lines[0].Used == nil {
			t.Errorf("%d of %d rounds, %+v, and failures %v", r.Rounds, r.Planned, r.Lines, rep.Failures)
		}
	})
}

// TestDeadTransportAmongClusters expects a transport over which nothing comes about, whose minute is long beside
// what the others take, not to cost these their rounds.
func TestDeadTransportAmongClusters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dead := inmem.NewNetwork()
		dead.SetLatency(time.Minute)
		over := func(name string, n *inmem.Network) kind {
			return kind{name: name, open: func(hosts) network { return memory{n} }}
		}
		var stdout bytes.Buffer
		p := program{[]kind{over("dead", dead), over("works", inmem.NewNetwork())}, unshaped, &stdout, &stdout}
		rep := &report{}
		opts := options{clusters: clusterOptions{wanted: true, nodes: 3, rounds: clusterRounds}}
		p.measureClusters(t.Context(), opts, p.known, rep, time.Hour)
		if r := rep.Clusters; len(rep.Failures) != 1 || r.Rounds != clusterRounds || r.Slow || len(r.Lines) != 1 || r.Lines[0].Transport != "works" {
			t.Errorf("%d rounds, %+v, and failures %v", r.Rounds, r.Lines, rep.Failures)
		}
		for _, want := range []string{"round 1 of 3, 4.5s left, 1h0m5s in all\n", "round 3 of 3, 300ms left, 1h0m0s in all\n"} {
			if !strings.Contains(stdout.String(), want) {
				t.Errorf("the output lacks %q:\n%s", want, &stdout)
			}
		}
	})
}

// TestMeasureClusterFails expects a transport that does not start to be told, and a run that is
// interrupted to end.
func TestMeasureClusterFails(t *testing.T) {
	k := broken(false, 0)
	if _, err := measureCluster(t.Context(), k, 3, false); err == nil || !strings.Contains(err.Error(), errBroken.Error()) {
		t.Errorf("a transport that does not listen: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := measureCluster(ctx, kinds()[0], 3, true); err == nil {
		t.Error("interrupted, it measured a cluster")
	}
}

// TestMeasureClusters runs the workload as a user would, and holds that every transport that works
// has a line and the one that does not is named.
func TestMeasureClusters(t *testing.T) {
	t.Parallel()
	var stdout, stderr bytes.Buffer
	p := program{append(kinds(), broken(false, 0)), unshaped, &stdout, &stderr}
	args := []string{"-no-demo", "-quick", "-workloads", "clusters", "-nodes", "3", "-transports", "inmem,websocket,broken", "-out="}
	if code := p.run(t.Context(), args); code != exitFailed {
		t.Errorf("exit code %d, want %d", code, exitFailed)
	}
	checkPlain(t, stdout.String())
	for _, want := range []string{"Now clusters of 3 nodes", "clusters: round 1 of 1", "Clusters of 3 nodes\n", "\ninmem ", "\nwebsocket ", "FAILED: broken, measuring clusters, round 1: "} {
		if !strings.Contains(stdout.String(), want) {
			t.Errorf("the output lacks %q:\n%s", want, &stdout)
		}
	}
}

// TestClusterReport expects the medians of the rounds, and what an idle connection takes from the
// one that looked.
func TestClusterReport(t *testing.T) {
	r := newClusterReport(clusterOptions{nodes: 5, rounds: 4})
	r.add("quic", clusterRound{Mesh: 3, Bootstrap: 9, Storm: 20, StormCPU: 2})
	r.add("quic", clusterRound{Mesh: 1, Bootstrap: 7, Storm: 10, StormCPU: 1})
	r.add("wss", clusterRound{Mesh: time.Millisecond})
	r.add("quic", clusterRound{Mesh: 2, Bootstrap: 8, Storm: 30, StormCPU: 3, Fresh: &idleCost{2048, 2}, Used: &idleCost{4096, 3}})
	r.Rounds = 3
	if l := r.Lines[0]; l.Mesh != 2 || l.Bootstrap != 8 || l.Storm != 20 || l.StormCPU != 2 || l.Used == nil || len(l.Windows) != 3 {
		t.Errorf("the line is %+v", l)
	}
	var out bytes.Buffer
	r.render(&out)
	for _, want := range []string{"Of clusters, 3 of 4 rounds were complete.", "2.00   4.00    2.00   3.00", "wss (1 of 3)  1.00"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in\n%s", want, &out)
		}
	}
}

// TestBurstFails expects a call of the burst that fails to be told.
func TestBurstFails(t *testing.T) {
	c := openPair(t, func(*core.Manager) error { return nil })
	if err := burst(t.Context(), c.nodes["a"]); err == nil {
		t.Error("there is no handler, and every call succeeded")
	}
}
