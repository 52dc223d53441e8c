//go:build !race

package suite_test

import (
	"bytes"
	"context"
	"math"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/coretest"
)

// TestAllocationsUnderLoad holds calls on routes, and of callers side by side,
// to the same as TestAllocations. It counts what the process allocates in many
// calls, since testing.AllocsPerRun runs on one processor alone, where neither
// callers nor workers meet. A collection in between empties pools, so the best
// of several tries counts.
func TestAllocationsUnderLoad(t *testing.T) {
	cancellable, cancel := context.WithCancel(t.Context())
	defer cancel()
	timed := []core.CallOption{core.WithTimeout(time.Minute)}
	for _, l := range links {
		if l.name != "inmem" && l.name != "websocket-tcp" {
			continue
		}
		t.Run(l.name, func(t *testing.T) {
			c := l.cluster(t, 2, coretest.WithHandlers(func(_ int, m *core.Manager) error {
				return m.HandleAppend("echo.append", echoAppend, core.WithRoute("disk/7"))
			}))
			for _, test := range []struct {
				name    string
				on      core.Caller
				ctx     context.Context
				callers int
				opts    []core.CallOption
			}{
				{"one caller", c.Conn(0, 1), cancellable, 1, timed},
				{"one caller on a route", c.Conn(0, 1).Route("disk").Route("7"), cancellable, 1, nil},
				{"16 callers", c.Conn(0, 1), t.Context(), 16, timed},
				{"16 callers on a route", c.Conn(0, 1).Route("disk/7"), cancellable, 16, timed},
			} {
				appended := leastAllocations(t, test.callers, 1, func(req, dst []byte) ([]byte, error) {
					return test.on.AppendRequest(test.ctx, "echo.append", req, dst, test.opts...)
				})
				returned := leastAllocations(t, test.callers, 2, func(req, _ []byte) ([]byte, error) {
					return test.on.Request(test.ctx, "echo.append", req, test.opts...)
				})
				t.Logf("%s: AppendRequest makes %.3f allocations, Request %.3f", test.name, appended, returned)
				if appended > 1 || returned > 2 {
					t.Errorf("%s: AppendRequest makes %.3f allocations, Request %.3f, on both ends together, want at most 1 and 2",
						test.name, appended, returned)
				}
			}
		})
	}
}

// leastAllocations makes many calls of 512 bytes, side by side, and returns how
// many objects the process allocated for each. It tries again while that is more
// than most.
func leastAllocations(t *testing.T, callers int, most float64, call func(req, dst []byte) ([]byte, error)) float64 {
	t.Helper()
	const calls = 4000
	best := math.Inf(1)
	for try := 0; try < 10 && (try < 2 || best > most); try++ {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		var wg sync.WaitGroup
		for n := range callers {
			wg.Go(func() {
				req, dst := pattern(n, 512), make([]byte, 0, 512)
				for range calls / callers {
					if resp, err := call(req, dst); err != nil || !bytes.Equal(resp, req) {
						t.Errorf("a call returned %d bytes, %v, want its request", len(resp), err)
						return
					}
				}
			})
		}
		wg.Wait()
		runtime.ReadMemStats(&after)
		best = min(best, float64(after.Mallocs-before.Mallocs)/calls)
	}
	return best
}
