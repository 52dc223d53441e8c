package many_test

import (
	"log/slog"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/coretest"
	"github.com/gridmux/gridmux/core/internal/lab"
	"github.com/gridmux/gridmux/docs/bootstrap"
)

// configuration is what all nodes agree about.
var configuration = bootstrap.Digest(map[string]string{"shards": "16"})

// unstarted are so many nodes that tell their configuration.
func unstarted(t testing.TB, l *lab.Link, size int) *lab.Cluster {
	t.Helper()
	return l.Cluster(t, size, coretest.Unstarted(), coretest.WithHandlers(func(_ int, m *core.Manager) error {
		return bootstrap.Serve(m, configuration)
	}))
}

// startAll starts every node after a delay, and waits until each is connected to
// all others and, if it is to verify, until each has seen that as many as quorum
// nodes agree. It returns how long after the begin the last node was connected, and
// the last one had verified.
func startAll(t testing.TB, c *lab.Cluster, delay func(i int) time.Duration, verify bool, quorum int) (connected, verified time.Duration) {
	t.Helper()
	began := time.Now()
	var wg sync.WaitGroup
	var mu sync.Mutex
	note := func(last *time.Duration, what string, i int, err error) {
		mu.Lock()
		defer mu.Unlock()
		*last = max(*last, time.Since(began))
		if err != nil {
			t.Errorf("node %d, %s: %v", i, what, err)
		}
	}
	for i := range c.Len() {
		wg.Go(func() {
			if d := delay(i); d > 0 {
				time.Sleep(d)
			}
			c.Start(i)
			if verify {
				wg.Go(func() {
					err := bootstrap.Agree(t.Context(), c.Manager(i), configuration, quorum, slog.New(slog.DiscardHandler))
					note(&verified, "verify", i, err)
				})
			}
			note(&connected, "connect", i, c.Manager(i).WaitConnected(t.Context()))
		})
	}
	wg.Wait()
	return connected, verified
}

// TestBootstrap starts a cluster of 300 nodes in memory, over links that take
// 2 ms, all at once or within three seconds. All have verified the configuration
// of a majority, or even of everybody, within 1.5 times the time that it takes to
// connect everybody with everybody.
func TestBootstrap(t *testing.T) {
	size := lab.Scale(300, 60, 300)
	for name, spread := range map[string]time.Duration{"at once": 0, "within three seconds": 3 * time.Second} {
		for what, quorum := range map[string]int{"majority": size/2 + 1, "all": size} {
			lab.Bubble(t, name+", "+what, func(t *testing.T) {
				c := unstarted(t, lab.InmemLink(), size)
				c.Memory().SetLatency(2 * ms)
				rng := rand.New(rand.NewPCG(1, 2))
				delays := make([]time.Duration, size)
				for i := range delays {
					if spread > 0 {
						delays[i] = time.Duration(rng.Int64N(int64(spread)))
					}
				}
				connected, verified := startAll(t, c, func(i int) time.Duration { return delays[i] }, true, quorum)
				t.Logf("%d nodes: connected after %v, verified after %v", size, connected, verified)
				if 2*verified > 3*connected {
					t.Errorf("connecting took %v and verifying %v, want at most 1.5 times as much", connected, verified)
				}
				synctest.Wait()
				if n := callers(); n != 0 {
					t.Errorf("%d goroutines that make calls are left", n)
				}
			})
		}
	}
}
