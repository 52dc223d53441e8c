//go:build !race

package cost_test

import (
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/coretest"
	"github.com/gridmux/gridmux/core/internal/lab"
)

// footprint is what a process holds.
type footprint struct{ bytes, goroutines int }

// measure counts what is alive: a second collection empties what the first has
// left in pools.
func measure() footprint {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return footprint{int(m.HeapAlloc + m.StackInuse), lab.Goroutines()}
}

func (f footprint) less(g footprint) footprint {
	return footprint{f.bytes - g.bytes, f.goroutines - g.goroutines}
}

// per returns the share of one of n in KiB and goroutines.
func (f footprint) per(n int) (kib, goroutines float64) {
	return float64(f.bytes) / float64(n) / 1024, float64(f.goroutines) / float64(n)
}

// comingToRest is how long a node has to let go of what it does not need:
// workers take up to two rounds of five seconds.
const comingToRest = 20 * time.Second

// TestFootprint holds an idle pair, both ends of one connection together, to
// what it may cost. Nodes are fully meshed, and what as many nodes without
// peers cost is taken off.
func TestFootprint(t *testing.T) {
	for _, test := range []struct {
		link       string
		nodes      int // so many that what they all share, such as the rest of a span of stacks, hardly counts
		kib        float64
		goroutines float64
		burst      bool
	}{
		// A burst leaves a table of as many calls as were in progress at once, and
		// spreads the stacks that stay over spans of those that went. It comes first:
		// what the nodes of another test leave for a while would hide it.
		{"websocket-tcp", 16, 60, 4, true},
		// A third of it is the stacks of the two readers.
		{"websocket-tcp", 32, 32, 4, false},
		{"inmem", 32, 32, 4, false},
		// Most of it is that of quic-go, and so are two goroutines of each end. Each
		// handshake takes a while on 32 bits.
		{"quic-udp", 10, 160, 8, false},
	} {
		for _, l := range lab.Links {
			if l.Name != test.link {
				continue
			}
			t.Run(fmt.Sprintf("%s, burst %v", l.Name, test.burst), func(t *testing.T) {
				nodes, pairs := test.nodes, test.nodes*(test.nodes-1)/2
				before := measure()
				lonely := l.Cluster(t, nodes, coretest.Unstarted(), lab.Configure(func(cfg *core.Config) { cfg.Peers = nil }))
				for i := range nodes {
					lonely.Start(i)
				}
				alone := measure()
				// Writers end when a tick has passed without traffic. Of a shorter one, a
				// busy processor would never be through with the pings of so many pairs,
				// and who has one to read holds a buffer.
				mesh := l.Cluster(t, nodes, lab.Configure(func(cfg *core.Config) {
					cfg.KeepAlive, cfg.KeepAliveTimeout = time.Second, time.Minute
				}))
				callAll := func(size int) {
					for i := range nodes {
						for j := range nodes {
							if i == j {
								continue
							}
							if _, err := mesh.Conn(i, j).Request(t.Context(), "echo.append", make([]byte, size)); err != nil {
								t.Errorf("a call of %d bytes failed: %v", size, err)
							}
						}
					}
				}
				defer runtime.KeepAlive(lonely)
				idle := func() (kib, goroutines float64) {
					return measure().less(alone).less(alone.less(before)).per(pairs)
				}
				callAll(512)
				if test.burst {
					var burst sync.WaitGroup
					for range 20 {
						burst.Go(func() {
							callAll(20_000)
							callAll(50_000)
						})
					}
					burst.Wait()
				}
				kib, goroutines := idle()
				t.Logf("right after its calls a pair costs %.1f KiB and %.2f goroutines", kib, goroutines)
				for began := time.Now(); kib > test.kib || goroutines > test.goroutines; kib, goroutines = idle() {
					if time.Since(began) > comingToRest {
						t.Errorf("an idle pair costs %.1f KiB and %.2f goroutines, want at most %v KiB and %v", kib, goroutines, test.kib, test.goroutines)
						break
					}
					time.Sleep(100 * time.Millisecond)
				}
				t.Logf("when it idles a pair costs %.1f KiB and %.2f goroutines", kib, goroutines)
			})
		}
	}
}
