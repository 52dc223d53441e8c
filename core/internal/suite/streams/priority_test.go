package streams_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/internal/lab"
	"github.com/gridmux/gridmux/transport/inmem"
)

func TestExplore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got [3]atomic.Int64
		serve := func(_ context.Context, payload []byte, s end) error {
			for {
				msg, err := s.recv()
				if err != nil {
					return nil
				}
				got[payload[0]].Add(int64(len(msg)))
			}
		}
		c := lab.InmemLink().Cluster(t, 2, rawForm.serve("sink", serve, 64, 1))
		c.Memory().SetConditions(inmem.Conditions{Latency: time.Millisecond, Bandwidth: 1 << 20})
		ctx, cancel := context.WithCancel(t.Context())
		for _, prio := range []core.Priority{core.PriorityNormal, core.PriorityHigh, core.PriorityLow} {
			for range 3 {
				st := rawForm.mustOpenWith(ctx, t, c.Conn(0, 1), "sink", []byte{byte(prio)}, core.WithPriority(prio))
				go func() {
					for st.send(make([]byte, 10_000)) == nil {
					}
				}()
			}
		}
		time.Sleep(time.Minute)
		t.Logf("normal %d high %d low %d KiB", got[0].Load()>>10, got[1].Load()>>10, got[2].Load()>>10)
		for _, prio := range []core.Priority{core.PriorityNormal, core.PriorityHigh, core.PriorityLow} {
			for _, size := range []int{512, 256 << 10} {
				began := time.Now()
				lab.MustCall(t, c.Conn(0, 1), "echo", make([]byte, size), core.WithPriority(prio))
				t.Logf("call %v %d: %v", prio, size, time.Since(began))
			}
			began := time.Now()
			st := rawForm.mustOpen(t, c.Conn(0, 1), "sink", []byte{byte(prio)}, core.WithPriority(prio))
			st.closeSend()
			wantEnd(t, "x", st)
			t.Logf("open %v: %v", prio, time.Since(began))
		}
		cancel()
	})
}
