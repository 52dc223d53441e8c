//go:build unix

package typed_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/internal/lab"
)

// contest is a typed method and, for the same bytes, a raw one.
type contest struct {
	name                                   string
	call, callInto, request, appendRequest func(to core.Caller, times int) error
}

// newContest makes one of a method whose handlers answer with msg.
func newContest[T any, P interface {
	*T
	MarshalMsg(b []byte) ([]byte, error)
}](b *testing.B, name string, method *core.Unary[T, T], msg T) (contest, func(m *core.Manager) error) {
	b.Helper()
	payload, err := P(&msg).MarshalMsg(nil)
	if err != nil {
		b.Fatal(err)
	}
	raw := method.ID() + ".raw"
	ctx := context.Background() //nolint:usetesting // One that cannot end, for all contenders.
	made := contest{
		name: name,
		call: func(to core.Caller, times int) error {
			req := msg
			for range times {
				if _, err := method.Call(ctx, to, &req); err != nil {
					return err
				}
			}
			return nil
		},
		callInto: func(to core.Caller, times int) error {
			req, resp := msg, new(T)
			for range times {
				if err := method.CallInto(ctx, to, &req, resp); err != nil {
					return err
				}
			}
			return nil
		},
		request: func(to core.Caller, times int) error {
			for range times {
				if _, err := to.Request(ctx, raw, payload); err != nil {
					return err
				}
			}
			return nil
		},
		appendRequest: func(to core.Caller, times int) error {
			dst := make([]byte, 0, len(payload))
			for range times {
				if _, err := to.AppendRequest(ctx, raw, payload, dst); err != nil {
					return err
				}
			}
			return nil
		},
	}
	return made, func(m *core.Manager) error {
		return errors.Join(
			m.HandleAppend(raw, func(_ context.Context, _, dst []byte) ([]byte, error) { return append(dst, payload...), nil }),
			method.Handle(m, func(context.Context, *T) (*T, error) {
				resp := msg
				return &resp, nil
			}))
	}
}

// processorTime is what the process has used of the processors while f ran.
func processorTime(b *testing.B, f func() error) time.Duration {
	b.Helper()
	used := func() time.Duration {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			b.Fatal(err)
		}
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	before := used()
	if err := f(); err != nil {
		b.Fatal(err)
	}
	return used() - before
}

// BenchmarkTypedCalls compares what typed calls cost in processor time, at both ends
// together, with what raw ones cost that give the caller the same: Call, whose
// response is the caller's, with Request, and CallInto with AppendRequest. The raw
// handler copies its result from the same bytes. Each figure is the median of one
// ratio per round, in which all take turns; no more than 1.25 is asked of messages
// of a few numbers. The heap has the size of a small service's: one of a megabyte is
// collected after every few thousand calls, which makes an allocation cost several
// times as much as it does elsewhere.
func BenchmarkTypedCalls(b *testing.B) {
	heap := make([]byte, 64<<20)
	defer runtime.KeepAlive(heap)
	small, serveSmall := newContest(b, "small", core.NewUnary[Point, Point]("bench.small"), Point{X: 1, Y: 1 << 40, Weight: 0.5})
	block, serveBlock := newContest(b, "512 bytes", core.NewUnary[Block, Block]("bench.block"), Block{ID: 1 << 40})
	for _, l := range lab.Links {
		if l.Name != "inmem" && l.Name != "websocket-tcp" {
			continue
		}
		c := l.Cluster(b, 2, serve(serveSmall), serve(serveBlock))
		for _, contest := range []contest{small, block} {
			for _, callers := range []int{1, 8, 64} {
				b.Run(fmt.Sprintf("%s/%s/callers=%d", l.Name, contest.name, callers), func(b *testing.B) {
					calls := 6400 // of each in a round
					if callers > 1 {
						calls *= 4 // they are shorter
					}
					sideBySide := func(do func(to core.Caller, times int) error) time.Duration {
						return processorTime(b, func() error {
							var wg sync.WaitGroup
							errs := make([]error, callers)
							for i := range callers {
								wg.Go(func() { errs[i] = do(c.Conn(0, 1), calls/callers) })
							}
							wg.Wait()
							return errors.Join(errs...)
						})
					}
					var call, callInto []float64
					for b.Loop() {
						request, appendRequest := sideBySide(contest.request), sideBySide(contest.appendRequest)
						call = append(call, float64(sideBySide(contest.call))/float64(request))
						callInto = append(callInto, float64(sideBySide(contest.callInto))/float64(appendRequest))
					}
					slices.Sort(call)
					slices.Sort(callInto)
					b.ReportMetric(call[len(call)/2], "Call/Request")
					b.ReportMetric(callInto[len(callInto)/2], "CallInto/AppendRequest")
				})
			}
		}
	}
}
