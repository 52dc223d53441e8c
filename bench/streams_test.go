package main

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/transport/inmem"
)

// TestStreamsOverASlowPath expects streams over a path that carries a megabyte per second to count no more than
// that in any direction, and a call right after them to wait for nothing that they have left.
func TestStreamsOverASlowPath(t *testing.T) {
	const bandwidth, rtt = 1_000_000, 20 * time.Millisecond
	synctest.Test(t, func(t *testing.T) {
		n := inmem.NewNetwork()
		n.SetConditions(inmem.Conditions{Latency: rtt / 2, Bandwidth: bandwidth})
		k := kind{name: "inmem", open: func(hosts) network { return memory{n} }}
		opts := options{streams: []int{8}, callers: []int{1}, size: defaultSize, tables: []table{streams, calls}}
		m := newMeasurement(opts, []kind{k})
		p, err := m.open(t.Context(), k)
		if err != nil {
			t.Fatal(err)
		}
		defer p.end(t.Context())
		call := len(m.loads) - 1
		for i := range m.loads[:call] {
			s, err := m.bench.window(t.Context(), &m.loads[i], p.tasks[i], 0, 400*time.Millisecond)
			if err != nil {
				t.Fatal(err)
			}
			if s.PerSecond()*defaultSize > bandwidth {
				t.Errorf("%s: %.0f bytes per second over a path of %d", m.loads[i].title, s.PerSecond()*defaultSize, bandwidth)
			}
			s, err = m.bench.window(t.Context(), &m.loads[call], p.tasks[call], 0, 100*time.Millisecond)
			if err != nil {
				t.Fatal(err)
			}
			if s.Max > 2*rtt {
				t.Errorf("a call right after %s takes %v, with a round trip of %v", m.loads[i].title, s.Max, rtt)
			}
		}
	})
}

// TestManyStreamsOverARealPath expects many streams over a path on which each has a few messages in a window
// to be seen to fill it.
func TestManyStreamsOverARealPath(t *testing.T) {
	const bandwidth, n = 1_000_000, 64
	synctest.Test(t, func(t *testing.T) {
		net := inmem.NewNetwork()
		net.SetConditions(inmem.Conditions{Latency: 5 * time.Millisecond, Bandwidth: bandwidth})
		c, err := openCluster(t.Context(), memory{net}, []string{"a", "b"}, nil, serveLoads)
		if err != nil {
			t.Fatal(err)
		}
		defer c.end(t.Context())
		b := newBench(n)
		for _, l := range streamLoads(options{streams: []int{n}, size: defaultSize, remote: &remote{}}, plan{}) {
			work := l.tasks(c.peers())
			work.settle = c.settle
			s, err := b.window(t.Context(), &l, work, 250*time.Millisecond, 500*time.Millisecond)
			if err != nil {
				t.Fatal(err)
			}
			if rate := s.PerSecond() * defaultSize; s.Elapsed > 600*time.Millisecond || rate < bandwidth*2/3 || rate > bandwidth*11/10 {
				t.Errorf("%s: %.0f bytes per second over a path of %d, in a window of %v", l.title, rate, bandwidth, s.Elapsed)
			}
		}
	})
}

// TestTrueLengths expects the report to say of windows that were longer, or fewer, than announced.
func TestTrueLengths(t *testing.T) {
	m := measured(t, []string{"inmem", "websocket"}, []int{1}, calls)
	rep := &report{Rounds: 3}
	rep.describe(m)
	rep.fill(m)
	if said := rep.legend(); strings.Contains(said, "too short") || strings.Contains(said, "slower") {
		t.Errorf("where everything went as announced: %s", said)
	}
	m.pairs[1].cells[0][2].Elapsed = 3200 * time.Millisecond
	rep = &report{Rounds: 3}
	rep.describe(m)
	rep.fill(m)
	rep.Planned = 3
	for _, want := range []string{
		"In 1 of 2 lines windows of 200ms were too short for anything to end: they took up to 3.2s.",
		"there was time for 3 windows per line, and not for 9.",
	} {
		if said := rep.legend(); !strings.Contains(said, want) {
			t.Errorf("%q is not in %s", want, said)
		}
	}
	rep.PathFigures = []pathFigures{{}}
	const want = "The windows of 1 of 2 lines are longer, up to 3.2s, so that what is under way gets through the path."
	if said := rep.legend(); !strings.Contains(said, want) {
		t.Errorf("over a path %q is not in %s", want, said)
	}
}
