//go:build !race

package cost_test

import (
	"context"
	"testing"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/internal/lab"
)

// outsideBubbles runs a test in real time over links that are measured.
func outsideBubbles(t *testing.T, f func(t *testing.T, l *lab.Link)) {
	for _, l := range lab.Links {
		if l.Name != "websocket-memnet" {
			t.Run(l.Name, func(t *testing.T) { f(t, l) })
		}
	}
}

// TestAllocations holds a call, both ends together, to what the documentation
// promises. What crypto/tls allocates for itself, one per record, and quic-go,
// comes on top.
func TestAllocations(t *testing.T) {
	outsideBubbles(t, func(t *testing.T, l *lab.Link) {
		c := l.Cluster(t, 2)
		cancellable, cancel := context.WithCancel(t.Context())
		defer cancel()
		timed := []core.CallOption{core.WithTimeout(time.Minute)}
		patient := []core.CallOption{core.WithTimeout(time.Minute), core.WaitForConnection()}
		for _, test := range []struct {
			name string
			ctx  context.Context
			opts []core.CallOption
		}{
			{"plain", t.Context(), nil},
			{"cancellable", cancellable, nil},
			{"with a time-out", t.Context(), timed},
			{"cancellable, with a time-out", cancellable, timed},
			{"cancellable, with a time-out, patient", cancellable, patient},
		} {
			for _, h := range []core.HandlerID{"echo.append", "echo.inline"} {
				for _, size := range []int{0, 512, 16 << 10} {
					for _, to := range []int{1, 0} {
						extra := 0.0
						switch {
						case to != 1:
						case l.Name == "wss-tcp":
							extra = 2
						case l.Name == "quic-udp":
							// What quic-go allocates for packets and their acknowledgements.
							extra = 24 + float64(size)/128
						}
						countAllocations(t, c.Conn(0, to), h, test.name, test.ctx, size, extra, test.opts)
					}
				}
			}
		}
	})
}

func countAllocations(t *testing.T, conn *core.Connection, h core.HandlerID, name string, ctx context.Context, size int, extra float64, opts []core.CallOption) {
	t.Helper()
	req, dst := make([]byte, size), make([]byte, 0, size)
	appended := testing.AllocsPerRun(200, func() {
		if _, err := conn.AppendRequest(ctx, h, req, dst, opts...); err != nil {
			t.Error(err)
		}
	})
	returned := testing.AllocsPerRun(200, func() {
		if _, err := conn.Request(ctx, h, req, opts...); err != nil {
			t.Error(err)
		}
	})
	if appended > 1+extra || returned > 2+extra {
		t.Errorf("%s of %d bytes to %s, %s: AppendRequest makes %v allocations, Request %v, want at most %v and %v",
			h, size, conn.Peer(), name, appended, returned, 1+extra, 2+extra)
	}
}
