package main

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/transport/inmem"
)

// openOver connects two nodes over a simulated network with a latency one way.
func openOver(t *testing.T, n *inmem.Network, latency time.Duration, handlers func(m *core.Manager) error) *cluster {
	t.Helper()
	n.SetLatency(latency)
	c, err := openCluster(t.Context(), memory{n}, []string{"a", "b"}, nil, handlers)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func serveAll(m *core.Manager) error { return errors.Join(serveEcho(m), serveStreams(m)) }

// near reports whether a time is what was wanted, as precisely as a histogram tells.
func near(got, want time.Duration) bool { return (got - want).Abs() <= want/500 }

// TestPaced expects as many calls as are due, each to take the round-trip time, and
// streams to carry their rate.
func TestPaced(t *testing.T) {
	for _, streams := range []int{0, 1, 4} {
		synctest.Test(t, func(t *testing.T) {
			c := openOver(t, inmem.NewNetwork(), 10*time.Millisecond, serveAll)
			defer c.end(t.Context())
			p := paced{rate: 200, size: 100, streams: streams, bits: 1e6, warmUp: time.Second, duration: 9 * time.Second}
			result, err := p.run(t.Context(), c.connection("b"))
			if err != nil {
				t.Fatal(err)
			}
			var line linkLine
			line.fill(result)
			if line.Calls != 1800 || line.Failed != 0 || line.Elapsed != p.duration {
				t.Errorf("%d calls in %v, of which %d failed, not 1800 in %v", line.Calls, line.Elapsed, line.Failed, p.duration)
			}
			for i, part := range line.PartsP99 {
				if n := result.latency[i].TotalCount(); n != 200 || !near(part, 20*time.Millisecond) {
					t.Errorf("part %d: %d calls with a p99 of %v, not 200 and 20ms", i, n, part)
				}
			}
			if !near(line.P50, 20*time.Millisecond) || !near(line.Max, 20*time.Millisecond) {
				t.Errorf("from %v to %v, where each takes 20ms", line.P50, line.Max)
			}
			if want := float64(streams) * p.bits; math.Abs(line.Bits-want) > want/100 {
				t.Errorf("%d streams carried %.0f bit/s together, not %.0f", streams, line.Bits, want)
			}
			if err := c.nodes["a"].Shutdown(t.Context()); err != nil {
				t.Errorf("something was still under way: %v", err)
			}
		})
	}
}

// TestPacedStall expects a second in which nothing arrives to show in full, in the
// calls that were due in it, and streams to catch up: neither call nor message is left
// out because one before it was late.
func TestPacedStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := inmem.NewNetwork()
		c := openOver(t, n, time.Millisecond, serveAll)
		defer c.end(t.Context())
		time.AfterFunc(5*time.Second, func() { n.Partition("a", "b") })
		time.AfterFunc(6*time.Second, func() { n.Heal("a", "b") })
		// In a second a stream has more than may be under way.
		p := paced{rate: 1000, size: 100, streams: 2, bits: 50e6, warmUp: 100 * time.Millisecond, duration: 10 * time.Second}
		result, err := p.run(t.Context(), c.connection("b"))
		if err != nil {
			t.Fatal(err)
		}
		var line linkLine
		line.fill(result)
		if line.Calls != 10_000 || line.Failed != 0 {
			t.Errorf("%d calls, of which %d failed, not 10000", line.Calls, line.Failed)
		}
		if line.P50 > 3*time.Millisecond || line.P99 < 800*time.Millisecond || line.Max < 990*time.Millisecond || line.Max > 1100*time.Millisecond {
			t.Errorf("p50 %v, p99 %v, max %v with a stall of 1s in 10s", line.P50, line.P99, line.Max)
		}
		if math.Abs(line.Bits-100e6) > 100e6/100 {
			t.Errorf("streams carried %.0f bit/s", line.Bits)
		}
	})
}

// TestPacedInterrupted expects a run that is interrupted to end at once and to count
// calls that are under way with what they have taken.
func TestPacedInterrupted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := inmem.NewNetwork()
		c := openOver(t, n, time.Millisecond, serveAll)
		defer c.end(t.Context())
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(2*time.Second, func() { n.Partition("a", "b") })
		time.AfterFunc(3*time.Second, cancel)
		p := paced{rate: 100, size: 100, streams: 1, bits: 1e6, warmUp: time.Second, duration: 10 * time.Second}
		began := time.Now()
		result, err := p.run(ctx, c.connection("b"))
		if err != nil || time.Since(began) != 3*time.Second {
			t.Errorf("it ended after %v with %v, not after 3s without an error", time.Since(began), err)
		}
		var line linkLine
		line.fill(result)
		// Whether the one that is due at the very end still is, is chance.
		if line.Calls < 200 || line.Calls > 201 || line.Failed != 0 || line.Elapsed != 2*time.Second {
			t.Errorf("%d calls in %v, of which %d failed, not 200 in 2s", line.Calls, line.Elapsed, line.Failed)
		}
		if !near(line.Max, time.Second) || line.P50 > 20*time.Millisecond {
			t.Errorf("p50 %v and max %v, not 2ms and 1s", line.P50, line.Max)
		}
	})
}

// TestPacedFails expects calls that fail to be counted and one of their errors to be
// told, and a run to end when a stream fails.
func TestPacedFails(t *testing.T) {
	errNo := errors.New("no")
	p := paced{rate: 100, size: 100, streams: 2, bits: 1e6, warmUp: time.Second, duration: 10 * time.Second}
	t.Run("calls", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c := openOver(t, inmem.NewNetwork(), time.Millisecond, func(m *core.Manager) error {
				return errors.Join(serveStreams(m), m.Handle(echoID, func(context.Context, []byte) ([]byte, error) { return nil, errNo }))
			})
			defer c.end(t.Context())
			result, err := p.run(t.Context(), c.connection("b"))
			var line linkLine
			line.fill(result)
			if err != nil || line.Calls != 1000 || line.Failed != 1000 || result.failure == nil {
				t.Errorf("%d of %d calls failed with %v, and the run with %v", line.Failed, line.Calls, result.failure, err)
			}
			if !near(line.P50, callTimeout) {
				t.Errorf("calls that fail at once have a p50 of %v, want the time-out", line.P50)
			}
		})
	})
	t.Run("wrong answers", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c := openOver(t, inmem.NewNetwork(), time.Millisecond, func(m *core.Manager) error {
				return errors.Join(serveStreams(m), m.Handle(echoID, func(context.Context, []byte) ([]byte, error) { return []byte("x"), nil }))
			})
			defer c.end(t.Context())
			if result, err := p.run(t.Context(), c.connection("b")); err != nil || result.failed != 1000 || !errors.Is(result.failure, errWrongAnswer) {
				t.Errorf("%d calls failed with %v, and the run with %v", result.failed, result.failure, err)
			}
		})
	})
	t.Run("streams", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c := openOver(t, inmem.NewNetwork(), time.Millisecond, func(m *core.Manager) error {
				return errors.Join(serveEcho(m), m.HandleStreamFunc(sinkID, func(context.Context, []byte, *core.RawStream) error {
					time.Sleep(5 * time.Second)
					return errNo
				}))
			})
			defer c.end(t.Context())
			began := time.Now()
			if _, err := p.run(t.Context(), c.connection("b")); err == nil || !strings.Contains(err.Error(), errNo.Error()) || time.Since(began).Round(time.Second) != 5*time.Second {
				t.Errorf("the run ended with %v after %v", err, time.Since(began))
			}
		})
	})
}
