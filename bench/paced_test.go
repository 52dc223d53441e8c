package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/transport/inmem"
)

// slowEcho is serveAll with a handler that takes its time.
func slowEcho(takes time.Duration) func(m *core.Manager) error {
	return func(m *core.Manager) error {
		return m.HandleAppend(echoID, func(_ context.Context, req, dst []byte) ([]byte, error) {
			time.Sleep(takes)
			return append(dst, req...), nil
		})
	}
}

// TestSlowHandler expects a handler that sleeps for 10 ms to read 10 ms at every percentile: in a
// closed loop, at a set rate, and of a request to several nodes.
func TestSlowHandler(t *testing.T) {
	const takes = 10 * time.Millisecond
	synctest.Test(t, func(t *testing.T) {
		n := inmem.NewNetwork()
		c, err := openCluster(t.Context(), memory{n}, []string{"a", "b", "b2"}, nil, slowEcho(takes))
		if err != nil {
			t.Fatal(err)
		}
		defer c.end(t.Context())
		for _, l := range loads(options{callers: []int{1, 8}, fanout: []int{2}, tables: []table{calls, fanout}, size: 10}, plan{}) {
			s, err := newBench(8).window(t.Context(), &l, l.tasks(c.peers()), 100*time.Millisecond, time.Second)
			if err != nil {
				t.Fatal(err)
			}
			// The histogram tells apart 1 %.
			for _, got := range []time.Duration{s.P50, s.P99, s.P999, s.Max} {
				if off := (got - takes).Abs(); off > takes/100 {
					t.Errorf("%s: %v at a percentile, want %v", l.title, got, takes)
				}
			}
			if want := 100 * float64(l.atOnce); s.PerSecond() < 0.95*want || s.PerSecond() > 1.05*want {
				t.Errorf("%s: %.0f per second, want %.0f", l.title, s.PerSecond(), want)
			}
		}
		p := paced{rate: 1000, size: 10, warmUp: 100 * time.Millisecond, duration: time.Second}
		result, err := p.run(t.Context(), c.connection("b"))
		if err != nil {
			t.Fatal(err)
		}
		var line linkLine
		line.fill(result)
		if line.Calls != 1000 || !near(line.P50, takes) || !near(line.P99, takes) || !near(line.Max, takes) {
			t.Errorf("at a set rate: %+v", line)
		}
	})
}

// TestStallShows expects a second in which handlers do not answer to show in the p99 of a thousand
// calls per second, as all who called meanwhile have seen it, and not as the one slow call
// that a closed loop makes of it.
func TestStallShows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var stall atomic.Pointer[chan struct{}]
		// As many as are due in a second wait at once, and about as many are let in otherwise.
		roomy := func(cfg *core.Config) { cfg.MaxHandlers = 2 * defaultMaxHandlers }
		c, err := openCluster(t.Context(), memory{inmem.NewNetwork()}, []string{"a", "b"}, roomy, func(m *core.Manager) error {
			return m.HandleAppend(echoID, func(_ context.Context, req, dst []byte) ([]byte, error) {
				if stalled := stall.Load(); stalled != nil {
					<-*stalled
				}
				return append(dst, req...), nil
			})
		})
		if err != nil {
			t.Fatal(err)
		}
		defer c.end(t.Context())
		time.AfterFunc(4*time.Second, func() {
			stalled := make(chan struct{})
			stall.Store(&stalled)
			time.AfterFunc(time.Second, func() { close(stalled) })
		})
		p := paced{rate: 1000, size: 10, warmUp: time.Second, duration: 10 * time.Second}
		result, err := p.run(t.Context(), c.connection("b"))
		if err != nil {
			t.Fatal(err)
		}
		var line linkLine
		line.fill(result)
		// A tenth of the calls were due in that second, so that one in ten of those waited for 900 ms.
		if line.Calls != 10_000 || line.P50 > time.Millisecond || line.P99 < 850*time.Millisecond || line.P99 > 950*time.Millisecond || !near(line.Max, time.Second) {
			t.Errorf("%d calls, p50 %v, p99 %v, max %v, want the p99 near 900ms", line.Calls, line.P50, line.P99, line.Max)
		}
	})
}

// TestPacedInTurn runs the workload as a user would: all transports take turns, none is taken for
// interrupted, and the payload is the user's.
func TestPacedInTurn(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "payload")
	if err := os.WriteFile(file, bytes.Repeat([]byte("order "), 50), 0o600); err != nil {
		t.Fatal(err)
	}
	var stdout, stderr bytes.Buffer
	p := program{append(kinds(), broken(true, 40)), unshaped, &stdout, &stderr}
	args := []string{"-no-demo", "-workloads", "paced", "-paced-time", "450ms", "-link-rate", "200", "-link-streams", "1", "-payload", file, "-transports", "inmem,wss,broken", "-out="}
	if code := p.run(t.Context(), args); code != exitFailed {
		t.Errorf("exit code %d, want %d", code, exitFailed)
	}
	out := stdout.String()
	checkPlain(t, out)
	for _, want := range []string{"200 calls per second of 300 B", "Over the loopback interface\n", "\ninmem ", "\nwss ", "FAILED: broken, measuring calls at a set rate: "} {
		if !strings.Contains(out, want) {
			t.Errorf("the output lacks %q:\n%s", want, out)
		}
	}
	if !strings.Contains(unwrapped(out), ": -paced-time measures longer.") || strings.Contains(out, "-link-time") {
		t.Errorf("it names a flag that is refused, or none:\n%s", out)
	}
	if n := strings.Count(out, "     90  "); n != 2 {
		t.Errorf("%d lines have 90 calls, want 2:\n%s", n, out)
	}
	if strings.Contains(out, "interrupted") {
		t.Errorf("it says that it was interrupted:\n%s", out)
	}
}
