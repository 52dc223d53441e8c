package streams_test

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

var priorities = []core.Priority{core.PriorityHigh, core.PriorityNormal, core.PriorityLow}

// slow is a link on which a large message takes a while.
var slow = inmem.Conditions{Latency: time.Millisecond, Bandwidth: 1 << 20}

// TestPrioritiesShareALink has streams of several priorities send all they can
// over a slow link, in either direction. Those of a higher one get more of it, and
// none is starved, whichever others there are.
func TestPrioritiesShareALink(t *testing.T) {
	for _, fromHandler := range []bool{false, true} {
		for _, mix := range [][]core.Priority{
			{core.PriorityHigh, core.PriorityNormal, core.PriorityLow},
			{core.PriorityHigh, core.PriorityLow},
			{core.PriorityHigh, core.PriorityNormal},
			{core.PriorityNormal, core.PriorityLow},
		} {
			lab.Bubble(t, fmt.Sprintf("%v, from the handler: %v", mix, fromHandler), func(t *testing.T) {
				var got [3]atomic.Int64
				receive := func(prio byte, s end) {
					for {
						msg, err := s.recv()
						if err != nil {
							return
						}
						got[prio].Add(int64(len(msg)))
					}
				}
				send := func(s end) {
					for s.send(make([]byte, 10_000)) == nil {
					}
				}
				c := lab.InmemLink().Cluster(t, 2, rawForm.serve("bulk", func(ctx context.Context, payload []byte, s end) error {
					if fromHandler {
						send(s)
					} else {
						receive(payload[0], s)
					}
					return ctx.Err()
				}, 64, 64))
				c.Memory().SetConditions(slow)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				for _, prio := range mix {
					for range 3 {
						st := rawForm.mustOpenWith(ctx, t, c.Conn(0, 1), "bulk", []byte{byte(prio)}, core.WithPriority(prio))
						if fromHandler {
							go receive(byte(prio), st)
						} else {
							go send(st)
						}
					}
				}
				time.Sleep(30 * time.Second)
				var total int64
				for i := range got {
					total += got[i].Load()
				}
				if total < 25<<20 {
					t.Errorf("together %d KiB came through in 30 s, want most of 30 MiB", total>>10)
				}
				for i, prio := range mix {
					share := float64(got[prio].Load()) / float64(total)
					if share < 0.05 {
						t.Errorf("the share of priority %v is %.3f, want at least 0.05: it is starved", prio, share)
					}
					if i > 0 && float64(got[mix[i-1]].Load()) < 1.5*float64(got[prio].Load()) {
						t.Errorf("priority %v got %d KiB, %v %d KiB, want clearly more for the higher one", mix[i-1], got[mix[i-1]].Load()>>10, prio, got[prio].Load()>>10)
					}
				}
			})
		}
	}
}

// TestPriorityOvertakes makes large calls, and has streams send a message there
// and back, beside bulk of the normal priority on a slow link: the higher their
// priority, the sooner they are through, and those of the lowest are not starved.
func TestPriorityOvertakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := lab.InmemLink().Cluster(t, 2, rawForm.serve("back", echo, 1, 1), rawForm.serve("sink", func(_ context.Context, _ []byte, s end) error {
			for {
				if _, err := s.recv(); err != nil {
					return err
				}
			}
		}, 64, 1))
		c.Memory().SetConditions(slow)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		for range 6 {
			st := rawForm.mustOpenWith(ctx, t, c.Conn(0, 1), "sink", nil)
			go func() {
				for st.send(make([]byte, 20_000)) == nil {
				}
			}()
		}
		time.Sleep(10 * time.Second)
		for name, test := range map[string]struct {
			do   func(prio core.Priority)
			most [3]time.Duration // by priority, high first
			less [2]float64       // how much less than the next, at least
		}{
			"a call of 256 KiB": {func(prio core.Priority) {
				lab.MustCall(t, c.Conn(0, 1), "echo", make([]byte, 256<<10), core.WithPriority(prio))
			}, [3]time.Duration{time.Second, 4 * time.Second, 10 * time.Second}, [2]float64{0.7, 0.9}},
			"twenty messages there and back": {func(prio core.Priority) {
				st := rawForm.mustOpen(t, c.Conn(0, 1), "back", nil, core.WithPriority(prio))
				for range 20 {
					if err := st.send(make([]byte, 10_000)); err != nil {
						t.Fatal(err)
					}
					if _, err := st.recv(); err != nil {
						t.Fatal(err)
					}
				}
				st.close()
			}, [3]time.Duration{3 * time.Second, 5 * time.Second, 15 * time.Second}, [2]float64{1.6, 0.7}}, // little goes before much: it waits for what is under way alone
		} {
			var took [3]time.Duration
			for i, prio := range priorities {
				began := time.Now()
				for range 5 {
					test.do(prio)
				}
				took[i] = time.Since(began) / 5
				if took[i] > test.most[i] {
					t.Errorf("%s of priority %v took %v, want at most %v", name, prio, took[i], test.most[i])
				}
			}
			if took[0].Seconds() > test.less[0]*took[1].Seconds() || took[1].Seconds() > test.less[1]*took[2].Seconds() {
				t.Errorf("%s took %v, in the order high, normal, low: want it to take longer from one to the next", name, took)
			}
		}
	})
}
