package streamload_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/internal/lab"
	"github.com/gridmux/gridmux/transport/inmem"
)

const (
	latency   = time.Millisecond
	bandwidth = 100_000_000 / 8
)

// carry is how long the link takes for so many bytes.
func carry(bytes int) time.Duration {
	return time.Duration(bytes) * time.Second / bandwidth
}

// TestSmallCallBesideBulk 
func TestSmallCallBesideBulk(t *testing.T) {
	for _, test := range []struct {
		name string
		bulk func(ctx context.Context, t *testing.T, c *lab.Cluster)
	}{
		{"echoes of 4 MiB", func(ctx context.Context, t *testing.T, c *lab.Cluster) {
			for ctx.Err() == nil {
				_, _ = c.Conn(0, 1).Request(ctx, "echo", make([]byte, 4<<20))
			}
		}},
		{"requests of 4 MiB", func(ctx context.Context, t *testing.T, c *lab.Cluster) {
			for ctx.Err() == nil {
				_, _ = c.Conn(0, 1).Request(ctx, "count", make([]byte, 4<<20))
			}
		}},
		{"messages of 32 KiB", func(ctx context.Context, t *testing.T, c *lab.Cluster) {
			st, _ := c.Conn(0, 1).OpenStream(ctx, "endless", order(0, 32<<10))
			for range st.All() {
			}
		}},
		{"16 requests", func(ctx context.Context, t *testing.T, c *lab.Cluster) {
			var wg sync.WaitGroup
			for range 16 {
				wg.Go(func() {
					for ctx.Err() == nil {
						_, _ = c.Conn(0, 1).Request(ctx, "count", make([]byte, 4<<20))
					}
				})
			}
			wg.Wait()
		}},
	} {
		lab.Bubble(t, test.name, func(t *testing.T) {
			c := lab.InmemLink(inmem.WithBuffer(16<<20)).Cluster(t, 2, streams(), lab.Handle("count", func(_ context.Context, req []byte) ([]byte, error) { return nil, nil }))
			c.Memory().SetConditions(inmem.Conditions{Latency: latency, Bandwidth: bandwidth, Split: true})
			ctx, cancel := context.WithCancel(t.Context())
			var wg sync.WaitGroup
			wg.Go(func() { test.bulk(ctx, t, c) })
			began := time.Now()
			req := make([]byte, 512)
			var worst [4]time.Duration
			for time.Since(began) < 4*time.Second {
				b := time.Now()
				lab.MustCall(t, c.Conn(0, 1), "echo", req)
				k := int(time.Since(began) / time.Second)
				if k < 4 {
					worst[k] = max(worst[k], time.Since(b))
				}
				time.Sleep(3 * time.Millisecond)
			}
			t.Log(worst, 2*latency+carry(128<<10), 2*latency+carry(64<<10))
			cancel()
			wg.Wait()
			synctest.Wait()
		})
	}
	_ = core.PriorityHigh
}
