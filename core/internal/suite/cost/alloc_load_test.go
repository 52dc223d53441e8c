//go:build !race

package cost_test

import (
	"bytes"
	"context"
	"testing"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/coretest"
	"github.com/gridmux/gridmux/core/internal/lab"
)

// TestAllocationsUnderLoad holds calls on routes, and of callers side by side,
// to the same as TestAllocations.
func TestAllocationsUnderLoad(t *testing.T) {
	cancellable, cancel := context.WithCancel(t.Context())
	defer cancel()
	timed := []core.CallOption{core.WithTimeout(time.Minute)}
	for _, l := range lab.Links {
		if l.Name != "inmem" && l.Name != "websocket-tcp" {
			continue
		}
		t.Run(l.Name, func(t *testing.T) {
			c := l.Cluster(t, 2, coretest.WithHandlers(func(_ int, m *core.Manager) error {
				return m.HandleAppend("echo.append", lab.EchoAppend, core.WithRoute("disk/7"))
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
				appended := allocationsOfCalls(t, test.callers, 1, func(req, dst []byte) ([]byte, error) {
					return test.on.AppendRequest(test.ctx, "echo.append", req, dst, test.opts...)
				})
				returned := allocationsOfCalls(t, test.callers, 2, func(req, _ []byte) ([]byte, error) {
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

// allocationsOfCalls makes many calls of 512 bytes, side by side, and returns how
// many objects the process allocated for each.
func allocationsOfCalls(t *testing.T, callers int, most float64, call func(req, dst []byte) ([]byte, error)) float64 {
	t.Helper()
	return lab.LeastAllocations(callers, 4000, most, func(caller, times int) {
		req, dst := lab.Pattern(caller, 512), make([]byte, 0, 512)
		for range times {
			if resp, err := call(req, dst); err != nil || !bytes.Equal(resp, req) {
				t.Errorf("a call returned %d bytes, %v, want its request", len(resp), err)
				return
			}
		}
	})
}
