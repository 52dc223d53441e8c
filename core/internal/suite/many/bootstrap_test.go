package many_test

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime"
	"slices"
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

// startup is a cluster that starts.
type startup struct {
	*lab.Cluster

	ctx       context.Context // ends when a node does not start
	began     time.Time
	mu        sync.Mutex
	connected time.Duration // when the last connection was there
	verified  time.Duration // when the last node had verified
}

// unstarted are so many nodes that tell their configuration.
func unstarted(t testing.TB, l *lab.Link, size int) *startup {
	t.Helper()
	s := &startup{}
	s.Cluster = l.Cluster(t, size, coretest.Unstarted(),
		coretest.WithHandlers(func(_ int, m *core.Manager) error { return bootstrap.Serve(m, configuration) }),
		lab.Configure(func(cfg *core.Config) {
			cfg.OnState = func(change core.StateChange) {
				if change.To == core.StateConnected {
					s.note(&s.connected)
				}
			}
		}))
	return s
}

func (s *startup) note(last *time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	*last = max(*last, time.Since(s.began))
}

// run starts every node after its delay, and waits until wait has returned for
// each of them. Nobody waits for a node that does not start.
func (s *startup) run(delay func(i int) time.Duration, wait func(m *core.Manager) error) {
	s.began = time.Now()
	ctx, cancel := context.WithCancel(s.T.Context())
	defer cancel()
	s.ctx = ctx
	var wg sync.WaitGroup
	for i := range s.Len() {
		wg.Go(func() {
			if d := delay(i); d > 0 {
				time.Sleep(d)
			}
			started := false
			defer func() {
				if !started {
					cancel()
				}
			}()
			s.Start(i)
			started = true
			if err := wait(s.Manager(i)); err != nil {
				s.T.Errorf("node %d: %v", i, err)
			}
			s.note(&s.verified)
		})
	}
	wg.Wait()
}

func (s *startup) waitConnected(m *core.Manager) error { return m.WaitConnected(s.ctx) }

// majority waits until more than half of the nodes agree.
func (s *startup) majority(m *core.Manager) error { return s.agree(m, s.Len()/2+1) }

// everybody waits until all nodes agree, which is the hardest quorum.
func (s *startup) everybody(m *core.Manager) error { return s.agree(m, s.Len()) }

func (s *startup) agree(m *core.Manager, quorum int) error {
	return bootstrap.Agree(s.ctx, m, configuration, quorum, slog.New(slog.DiscardHandler))
}

func atOnce(int) time.Duration { return 0 }

// TestBootstrap starts a cluster in memory, over links that take 2 ms: all nodes
// at once, or each at an instant of its own within three seconds; 300 nodes in the
// long form, which need 3 GiB for all the calls at one instant. Every node has
// verified the configuration of everybody within 1.5 times the time that it takes
// to connect everybody with everybody.
func TestBootstrap(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	delays := make([]time.Duration, 300)
	for i := range delays {
		delays[i] = time.Duration(rng.Int64N(int64(3 * time.Second)))
	}
	for _, test := range []struct {
		name  string
		size  int
		delay func(i int) time.Duration
	}{
		{"at once", lab.Scale(120, 40, 300), atOnce},
		{"within three seconds", lab.Scale(80, 30, 300), func(i int) time.Duration { return delays[i] }},
	} {
		lab.Bubble(t, test.name, func(t *testing.T) {
			s := unstarted(t, lab.InmemLink(), test.size)
			s.Memory().SetLatency(2 * ms)
			s.run(test.delay, s.everybody)
			t.Logf("%d nodes: connected after %v, verified after %v", test.size, s.connected, s.verified)
			if 2*s.verified > 3*s.connected {
				t.Errorf("connecting took %v and verifying %v, want at most 1.5 times as much", s.connected, s.verified)
			}
			synctest.Wait()
			if n := callers(); n != 0 {
				t.Errorf("%d goroutines that make calls are left", n)
			}
		})
	}
}

// TestBootstrapOverSockets holds over every link, and for 50 nodes in the long
// form, that a cluster that starts at once verifies the configuration of
// everybody.
func TestBootstrapOverSockets(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		s := unstarted(t, l, lab.Scale(8, 5, 50))
		s.run(atOnce, s.everybody)
	})
}

// BenchmarkBootstrap compares, in one run and in turns, how long a cluster takes
// from its start until all nodes are connected with all others, and, started
// again, until all have verified the configuration of a majority, or of
// everybody: 300 nodes in memory, 50 over websocket on TCP. The ratio of the
// medians, to connecting alone, is asked to be at most 1.5 for a majority. The
// first needs 3 GiB, and with -short a few nodes show that it works.
func BenchmarkBootstrap(b *testing.B) {
	for _, test := range []struct {
		name string
		link *lab.Link
		size int
	}{
		{"inmem", lab.InmemLink(), 300},
		{"websocket", lab.Links[2], 50},
	} {
		if testing.Short() {
			test.size /= 5
		}
		b.Run(fmt.Sprintf("%s/%d", test.name, test.size), func(b *testing.B) {
			var mesh, majority, everybody []float64
			for range b.N {
				mesh = append(mesh, startupTime(b, test.link, test.size, (*startup).waitConnected))
				majority = append(majority, startupTime(b, test.link, test.size, (*startup).majority))
				everybody = append(everybody, startupTime(b, test.link, test.size, (*startup).everybody))
			}
			b.ReportMetric(median(mesh), "connected-s")
			b.ReportMetric(median(majority)/median(mesh), "majority-ratio")
			b.ReportMetric(median(everybody)/median(mesh), "everybody-ratio")
		})
	}
}

// startupTime returns how many seconds a cluster takes from the start of its first
// node until all of them have what they wait for.
func startupTime(b *testing.B, l *lab.Link, size int, wait func(s *startup, m *core.Manager) error) float64 {
	b.Helper()
	s := unstarted(b, l, size)
	runtime.GC() // what the cluster before has left
	s.run(atOnce, func(m *core.Manager) error { return wait(s, m) })
	for i := range size {
		s.Manager(i).Close()
	}
	return s.verified.Seconds()
}

func median(values []float64) float64 {
	values = slices.Sorted(slices.Values(values))
	return values[len(values)/2]
}
