package suite_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/internal/lab"
	"github.com/gridmux/gridmux/transport/inmem"
)

// busyLink connects two nodes by a link that takes 10 MB/s. The handler "sink" takes
// what it is sent, and "source" answers with as many bytes.
func busyLink(t *testing.T, size int, adjust func(cfg *core.Config)) *lab.Cluster {
	c := lab.InmemLink().Cluster(t, 2, lab.Configure(adjust),
		lab.Handle("sink", func(context.Context, []byte) ([]byte, error) { return nil, nil }),
		lab.Handle("source", func(_ context.Context, req []byte) ([]byte, error) { return make([]byte, size), nil }))
	c.Memory().SetConditions(inmem.Conditions{Bandwidth: 10_000_000, Latency: time.Millisecond})
	return c
}

// TestCallersThatWaitForRoom has a hundred callers call again and again, where a third
// of the requests, or of the answers, have room in the output. All of them get on, and a
// small call passes by the large ones. Whoever had to wait for room once used to wait
// for as long as the others went on, since these took what became free.
func TestCallersThatWaitForRoom(t *testing.T) {
	const callers, size = 100, 32 << 10
	for _, test := range []struct {
		name     string
		handler  core.HandlerID
		req, ans int
	}{
		{"with requests", "sink", size, 0},
		{"with answers", "source", 0, size},
	} {
		lab.Bubble(t, test.name, func(t *testing.T) {
			c := busyLink(t, test.ans, func(cfg *core.Config) { cfg.MaxOutput = callers / 3 * size })
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var done [callers]atomic.Int32
			for i := range done {
				go func() {
					for ctx.Err() == nil {
						if _, err := c.Conn(0, 1).Request(ctx, test.handler, make([]byte, test.req)); err == nil {
							done[i].Add(1)
						}
					}
				}()
			}
			time.Sleep(5 * time.Second)
			began := time.Now()
			lab.MustCall(t, c.Conn(0, 1), "echo", nil)
			if d := time.Since(began); d > 200*time.Millisecond {
				t.Errorf("a small call took %v", d)
			}
			time.Sleep(5 * time.Second)
			least, most := int32(1<<30), int32(0)
			for i := range done {
				least, most = min(least, done[i].Load()), max(most, done[i].Load())
			}
			if least < 20 || most > 2*least {
				t.Errorf("in ten seconds callers had %d to %d calls, want 20 or more and not twice as many", least, most)
			}
		})
	}
}

// TestHigherPrioritiesBeginFirst makes a large call while many of low priority wait for
// their turns. It takes as long as beside a few of them. It used to begin after all that
// had come before it, be they requests or answers.
func TestHigherPrioritiesBeginFirst(t *testing.T) {
	took := func(t *testing.T, handler core.HandlerID, req int, prio core.Priority, low int) (d time.Duration) {
		lab.Bubble(t, fmt.Sprintf("%s, %v beside %d", handler, prio, low), func(t *testing.T) {
			c := busyLink(t, 64<<10, func(*core.Config) {})
			ctx, cancel := context.WithCancel(t.Context())
			for range low {
				go c.Conn(0, 1).Request(ctx, handler, make([]byte, req), core.WithPriority(core.PriorityLow))
			}
			time.Sleep(20 * time.Millisecond)
			began := time.Now()
			if _, err := c.Conn(0, 1).Request(ctx, handler, make([]byte, req), core.WithPriority(prio)); err != nil {
				t.Error(err)
			}
			d = time.Since(began)
			cancel()
			synctest.Wait()
		})
		return d
	}
	for handler, req := range map[core.HandlerID]int{"sink": 64 << 10, "source": 0} {
		for _, prio := range []core.Priority{core.PriorityNormal, core.PriorityHigh} {
			few, many := took(t, handler, req, prio, 10), took(t, handler, req, prio, 400)
			if many > 2*few {
				t.Errorf("%s: a call of %v priority takes %v beside ten of low priority, and %v beside 400", handler, prio, few, many)
			}
		}
	}
}
