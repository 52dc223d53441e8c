package coretest_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/coretest"
	"github.com/gridmux/gridmux/transport"
	"github.com/gridmux/gridmux/transport/inmem"
)

func echo(_ context.Context, req []byte) ([]byte, error) { return req, nil }

func withEcho() coretest.Option {
	return coretest.WithHandlers(func(_ int, m *core.Manager) error { return m.Handle("echo", echo) })
}

func TestClusterConnectsEverybody(t *testing.T) {
	cluster := coretest.NewCluster(t, 3, withEcho())
	for i := range cluster.Len() {
		for j := range cluster.Len() {
			resp, err := cluster.Conn(i, j).Request(t.Context(), "echo", []byte("x"))
			if err != nil || string(resp) != "x" {
				t.Errorf("node %d calls node %d: got %q, %v", i, j, resp, err)
			}
		}
	}
	if name := cluster.Node(2).Name; name != "node-2" || cluster.Manager(2).Connection(name) != cluster.Conn(2, 2) {
		t.Errorf("node 2 is called %q, want node-2, and the Manager to know it by that", name)
	}
}

func TestClusterRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := coretest.NewCluster(t, 2, withEcho())
		before := cluster.Manager(1)
		cluster.Stop(1)
		synctest.Wait()
		if _, err := cluster.Conn(0, 1).Request(t.Context(), "echo", nil); !errors.Is(err, core.ErrDisconnected) {
			t.Errorf("a call to a node that was stopped returned %v, want ErrDisconnected", err)
		}
		if after := cluster.Restart(1); after == before || after != cluster.Manager(1) {
			t.Error("Restart has not made a new Manager")
		}
		cluster.WaitConnected()
		if _, err := cluster.Conn(0, 1).Request(t.Context(), "echo", nil); err != nil {
			t.Errorf("a call after the restart returned %v", err)
		}
	})
}

// TestClusterOptions holds that the options reach the nodes, in order.
func TestClusterOptions(t *testing.T) {
	var seen []string
	network := inmem.NewNetwork()
	cluster := coretest.NewCluster(t, 2,
		coretest.WithNetwork(network),
		coretest.WithConfig(func(i int, cfg *core.Config) {
			seen = append(seen, fmt.Sprintf("first %d %s", i, cfg.Local.Name))
			cfg.Cluster = "other"
		}),
		coretest.WithConfig(func(i int, cfg *core.Config) { seen = append(seen, fmt.Sprintf("second %d %s", i, cfg.Cluster)) }),
		coretest.Unstarted(),
	)
	if got, want := strings.Join(seen, ", "), "first 0 node-0, second 0 other, first 1 node-1, second 1 other"; got != want {
		t.Errorf("the configurations were adjusted as %s, want %s", got, want)
	}
	if cluster.Network() != network {
		t.Error("the cluster uses another network than the one it was given")
	}
	if s := cluster.Conn(0, 1).State(); s != core.StateIdle {
		t.Errorf("the state of an unstarted cluster is %v, want idle", s)
	}
	cluster.WaitConnected() // nobody runs, so there is nobody to wait for
	cluster.Start(0)
	cluster.Start(1)
	cluster.WaitConnected()

	own := coretest.NewCluster(t, 1, coretest.WithTransport(func(_ int, name string) (transport.Transport, string) {
		return network.Node(name), "address of " + name
	}))
	if own.Network() != nil || own.Node(0).Addr != "address of node-0" {
		t.Errorf("a cluster with a transport of the test's: network %v and node %+v, want no network and the given address", own.Network(), own.Node(0))
	}
}

// TestClusterLeavesNothing holds that the cleanup of the test ends everything,
// inside a bubble and outside.
func TestClusterLeavesNothing(t *testing.T) {
	before := runtime.NumGoroutine()
	t.Run("outside", func(t *testing.T) { coretest.NewCluster(t, 3) })
	synctest.Test(t, func(t *testing.T) { coretest.NewCluster(t, 3) })
	deadline := time.Now().Add(10 * time.Second)
	for runtime.NumGoroutine() > before && time.Now().Before(deadline) {
		runtime.Gosched()
	}
	if n := runtime.NumGoroutine(); n > before {
		t.Errorf("%d goroutines after the tests, %d before", n, before)
	}
}

// fakeTB fails without ending the test that it stands for.
type fakeTB struct {
	testing.TB
	mu       sync.Mutex
	failures []string
}

func (f *fakeTB) Fatalf(format string, args ...any) {
	f.Errorf(format, args...)
	runtime.Goexit()
}

func (f *fakeTB) Errorf(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failures = append(f.failures, fmt.Sprintf(format, args...))
}

// TestClusterFailures holds that what goes wrong fails the test with the reason.
func TestClusterFailures(t *testing.T) {
	for _, test := range []struct {
		name string
		want []string
		play func(t testing.TB)
	}{
		{"a node that does not come up", []string{"node-0 did not get a connection within 30s", `"node-1"`, "attempt"}, func(t testing.TB) {
			network := inmem.NewNetwork()
			network.Partition("node-0", "node-1")
			coretest.NewCluster(t, 2, coretest.WithNetwork(network))
		}},
		{"a configuration that is refused", []string{"making the Manager of node-0 failed", "MaxCalls"}, func(t testing.TB) {
			coretest.NewCluster(t, 1, coretest.WithConfig(func(_ int, cfg *core.Config) { cfg.MaxCalls = -1 }))
		}},
		{"a handler that is refused", []string{"registering the handlers of node-0 failed", "nil"}, func(t testing.TB) {
			coretest.NewCluster(t, 1, coretest.WithHandlers(func(_ int, m *core.Manager) error { return m.Handle("x", nil) }))
		}},
		{"an address in use", []string{"starting node-1 failed", "same"}, func(t testing.TB) {
			network := inmem.NewNetwork()
			coretest.NewCluster(t, 2, coretest.WithTransport(func(_ int, name string) (transport.Transport, string) {
				return network.Node(name), name
			}), coretest.WithConfig(func(_ int, cfg *core.Config) { cfg.Listen = "same" }))
		}},
		{"another address after a restart", []string{"node-0 was restarted with the address", `"x2"`, `"x1"`}, func(t testing.TB) {
			network, n := inmem.NewNetwork(), 0
			coretest.NewCluster(t, 1, coretest.WithTransport(func(_ int, name string) (transport.Transport, string) {
				n++
				return network.Node(name), fmt.Sprintf("x%d", n)
			})).Restart(0)
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fake := &fakeTB{TB: t}
				done := make(chan struct{})
				go func() {
					defer close(done)
					test.play(fake)
				}()
				<-done
				text := strings.Join(fake.failures, "\n")
				for _, want := range test.want {
					if !strings.Contains(text, want) {
						t.Errorf("the test failed with %q, want it to mention %q", text, want)
					}
				}
			})
		})
	}
}
