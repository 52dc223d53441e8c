package suite_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/coretest"
	"github.com/gridmux/gridmux/core/internal/lab"
	"github.com/gridmux/gridmux/transport/inmem"
)

// farAway is a deadline that no clock of nanoseconds can hold.
var farAway = time.Unix(1<<40, 0)

// TestDeadlineReachesHandler holds that the handler sees the deadline of the
// call, however it was set, and that its context ends with it.
func TestDeadlineReachesHandler(t *testing.T) {
	for _, test := range []struct {
		name    string
		ctx     time.Duration // of the caller's context; 0: none
		option  time.Duration // WithTimeout at the call
		handler core.HandlerID
		want    time.Duration
	}{
		{"none", 0, 0, "block", 0},
		{"context", 10 * time.Second, 0, "block", 10 * time.Second},
		{"option", 0, 10 * time.Second, "block", 10 * time.Second},
		{"context before option", time.Second, 10 * time.Second, "block", time.Second},
		{"option before context", 10 * time.Second, time.Second, "block", time.Second},
		{"default of the handler", 0, 0, "block.default", 5 * time.Second},
		{"context and default of the handler", 10 * time.Second, 0, "block.default", 10 * time.Second},
		{"option and default of the handler", 0, time.Second, "block.default", time.Second},
		{"shortest", 0, time.Microsecond, "block", time.Microsecond},
	} {
		t.Run(test.name, func(t *testing.T) {
			lab.InBubbles(t, func(t *testing.T, l *lab.Link) {
				g := lab.NewGate(t, 1)
				ended := make(chan time.Time, 1)
				block := func(ctx context.Context, req []byte) ([]byte, error) {
					resp, err := g.HandleContext(ctx, req)
					ended <- time.Now()
					return resp, err
				}
				c := l.Cluster(t, 2, lab.Handle("block", block), lab.Handle("block.default", block, core.WithTimeout(5*time.Second)))
				for _, to := range []int{1, 0} {
					time.Sleep(time.Millisecond + 7) // an odd time on the clocks
					begin := time.Now()
					ctx, cancel := context.WithCancel(t.Context())
					if test.ctx > 0 {
						ctx, cancel = context.WithTimeout(t.Context(), test.ctx)
					}
					var opts []core.CallOption
					if test.option > 0 {
						opts = append(opts, core.WithTimeout(test.option))
					}
					called := lab.GoCall(ctx, c.Conn(0, to), test.handler, nil, opts...)
					inside := lab.Wait(t, g.Began, "the handler begins")
					deadline, ok := inside.Deadline()
					if ok != (test.want > 0) || ok && !deadline.Equal(begin.Add(test.want)) {
						t.Errorf("the handler sees the deadline %v, %v, want %v after the call", deadline.Sub(begin), ok, test.want)
					}
					if test.want == 0 {
						cancel()
					}
					if at := lab.Wait(t, ended, "the context of the handler ends"); at.Sub(begin) != test.want {
						t.Errorf("the context of the handler ended %v after the call, want %v", at.Sub(begin), test.want)
					}
					r := lab.Wait(t, called, "the call ends")
					want := context.DeadlineExceeded
					if test.want == 0 {
						want = context.Canceled
					}
					lab.WantFailure(t, "the call", r.Err, want, core.OutcomeMaybeRun)
					cancel()
				}
			})
		})
	}
}

// TestDeadlineOfWhatTakesLong has a call begin with a message that takes most of its time
// to arrive, and loses the link then. The handler sees the deadline of its caller, and
// ends with it (I6). The time used to count from when the message was whole, so that a
// handler could outlive its caller by as much again.
func TestDeadlineOfWhatTakesLong(t *testing.T) {
	const limit = 10 * time.Second
	for name, call := range map[string]func(ctx context.Context, c *core.Connection, msg []byte){
		"request": func(ctx context.Context, c *core.Connection, msg []byte) {
			_, _ = c.Request(ctx, "block", msg, core.WithTimeout(limit))
		},
		"stream": func(ctx context.Context, c *core.Connection, msg []byte) {
			_, _ = c.OpenStream(ctx, "block.stream", msg, core.WithTimeout(limit))
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var began, told, ended time.Time
				block := func(ctx context.Context) {
					began = time.Now()
					told, _ = ctx.Deadline()
					<-ctx.Done()
					ended = time.Now()
				}
				c := lab.InmemLink().Cluster(t, 2, lab.Configure(func(cfg *core.Config) { cfg.KeepAlive = time.Hour }),
					lab.Handle("block", func(ctx context.Context, _ []byte) ([]byte, error) { block(ctx); return nil, nil }),
					coretest.WithHandlers(func(_ int, m *core.Manager) error {
						return m.HandleStreamFunc("block.stream", func(ctx context.Context, _ []byte, _ *core.RawStream) error { block(ctx); return nil })
					}))
				c.Memory().SetConditions(inmem.Conditions{Bandwidth: 1 << 20})
				start := time.Now()
				go call(t.Context(), c.Conn(0, 1), make([]byte, 8<<20))
				time.Sleep(limit - time.Second)
				c.Silence(0, 1) // no RESET comes
				time.Sleep(time.Minute)
				synctest.Wait()
				if after := began.Sub(start); after < limit/2 || after > limit {
					t.Fatalf("the handler began %v after the call, want most of its %v later", after, limit)
				}
				for what, at := range map[string]time.Time{"was told of a deadline": told, "ended": ended} {
					if after := at.Sub(start); after < limit || after > limit+100*time.Millisecond {
						t.Errorf("the handler %v %v after the call, which has %v", what, after, limit)
					}
				}
			})
		})
	}
}

// TestDeadlineOverSockets is the same in real time, without exactness.
func TestDeadlineOverSockets(t *testing.T) {
	lab.OverSockets(t, func(t *testing.T, l *lab.Link) {
		g := lab.NewGate(t, 1)
		c := l.Cluster(t, 2, lab.Handle("block", g.HandleContext))
		begin := time.Now()
		called := lab.GoCall(t.Context(), c.Conn(0, 1), "block", nil, core.WithTimeout(50*time.Millisecond))
		inside := lab.Wait(t, g.Began, "the handler begins")
		deadline, ok := inside.Deadline()
		if d := deadline.Sub(begin); !ok || d < 0 || d > lab.Patience {
			t.Errorf("the handler sees the deadline %v after the call, %v, want about 50ms", d, ok)
		}
		r := lab.Wait(t, called, "the call ends with its time")
		lab.WantFailure(t, "a call that ran out of time", r.Err, context.DeadlineExceeded, core.OutcomeMaybeRun)
		lab.Wait(t, inside.Done(), "the context of the handler ends")

		ctx, cancel := context.WithCancel(t.Context())
		called = lab.GoCall(ctx, c.Conn(0, 1), "block", nil)
		inside = lab.Wait(t, g.Began, "the handler begins")
		cancel()
		lab.Wait(t, inside.Done(), "the cancellation reaches the handler")
		r = lab.Wait(t, called, "the cancelled call ends")
		lab.WantFailure(t, "a cancelled call", r.Err, context.Canceled, core.OutcomeMaybeRun)
	})
}

// TestCancelTakesHalfARoundTrip holds that a cancellation is at the handler as
// soon as the link can carry it there, and that the caller does not wait.
func TestCancelTakesHalfARoundTrip(t *testing.T) {
	lab.InBubbles(t, func(t *testing.T, l *lab.Link) {
		g := lab.NewGate(t, 1)
		c := l.Cluster(t, 2, lab.Handle("block", g.HandleContext))
		var latency time.Duration
		if n := c.Memory(); n != nil {
			latency = 10 * time.Millisecond
			n.SetLatency(latency)
		}
		for _, size := range []int{10, 100_000} {
			ctx, cancel := context.WithCancel(t.Context())
			called := lab.GoCall(ctx, c.Conn(0, 1), "block", make([]byte, size))
			inside := lab.Wait(t, g.Began, "the handler begins")
			time.Sleep(time.Second)
			at := time.Now()
			cancel()
			r := lab.Wait(t, called, "the cancelled call ends")
			if d := time.Since(at); d != 0 {
				t.Errorf("the cancelled call returned after %v, want at once", d)
			}
			lab.WantFailure(t, "the cancelled call", r.Err, context.Canceled, core.OutcomeMaybeRun)
			lab.Wait(t, inside.Done(), "the cancellation reaches the handler")
			if d := time.Since(at); d != latency {
				t.Errorf("the cancellation reached the handler after %v, want %v", d, latency)
			}
			if err := inside.Err(); err != context.Canceled {
				t.Errorf("the context of the handler ended with %v, want context.Canceled", err)
			}
		}
	})
}

// TestWhoseDeadline holds that errors.Is tells the end of this call's time from
// a deadline of the handler's own.
func TestWhoseDeadline(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		var c *lab.Cluster
		errLost := errors.New("the user lost interest")
		c = l.Cluster(t, 2,
			lab.Handle("returns.deadline", func(context.Context, []byte) ([]byte, error) { return nil, context.DeadlineExceeded }),
			lab.Handle("returns.canceled", func(context.Context, []byte) ([]byte, error) {
				return nil, fmt.Errorf("wrapped: %w", context.Canceled)
			}),
			lab.Handle("own.deadline", func(ctx context.Context, _ []byte) ([]byte, error) {
				ctx, cancel := context.WithTimeout(ctx, time.Millisecond)
				defer cancel()
				<-ctx.Done()
				return nil, ctx.Err()
			}),
			lab.Handle("own.canceled", func(ctx context.Context, _ []byte) ([]byte, error) {
				ctx, cancel := context.WithCancel(ctx)
				cancel()
				return nil, ctx.Err()
			}),
			lab.Handle("nested", func(ctx context.Context, _ []byte) ([]byte, error) {
				return c.Conn(1, 0).Request(ctx, "block", nil, core.WithTimeout(time.Millisecond))
			}),
			lab.Handle("block", func(ctx context.Context, _ []byte) ([]byte, error) { <-ctx.Done(); return nil, ctx.Err() }),
			lab.Handle("block.wrapped", func(ctx context.Context, _ []byte) ([]byte, error) {
				<-ctx.Done()
				return nil, fmt.Errorf("storage: %w", ctx.Err())
			}, core.WithTimeout(time.Millisecond)),
			lab.Handle("block.default", func(ctx context.Context, _ []byte) ([]byte, error) { <-ctx.Done(); return nil, ctx.Err() },
				core.WithTimeout(time.Millisecond)),
			lab.Handle("late.but.well", func(ctx context.Context, _ []byte) ([]byte, error) { <-ctx.Done(); return []byte("done"), nil },
				core.WithTimeout(time.Millisecond)),
			lab.Handle("late.other.error", func(ctx context.Context, _ []byte) ([]byte, error) { <-ctx.Done(); return nil, errors.New("mine") },
				core.WithTimeout(time.Millisecond)),
		)
		conn := c.Conn(0, 1)
		for _, h := range []core.HandlerID{"returns.deadline", "returns.canceled", "own.deadline", "own.canceled", "nested", "late.other.error"} {
			_, err := conn.Request(t.Context(), h, nil)
			lab.WantRemote(t, string(h), err)
			if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
				t.Errorf("%s: error %v claims that the call's own time is over", h, err)
			}
		}
		for _, h := range []core.HandlerID{"block.default", "block.wrapped"} {
			_, err := conn.Request(t.Context(), h, nil)
			lab.WantFailure(t, "the end of the time that the handler gives", err, context.DeadlineExceeded, core.OutcomeMaybeRun)
		}
		if resp, err := conn.Request(t.Context(), "late.but.well", nil); err != nil || string(resp) != "done" {
			t.Errorf("a handler that succeeds after its time returned %q, %v, want its result", resp, err)
		}
		_, err := conn.Request(t.Context(), "block", nil, core.WithTimeout(50*time.Millisecond))
		lab.WantFailure(t, "the end of WithTimeout", err, context.DeadlineExceeded, core.OutcomeMaybeRun)
		if errors.Is(err, context.Canceled) {
			t.Errorf("the end of WithTimeout is also a cancellation: %v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		_, err = conn.Request(ctx, "block", nil)
		lab.WantFailure(t, "the deadline of the context", err, context.DeadlineExceeded, core.OutcomeMaybeRun)
		<-ctx.Done()
		_, err = conn.Request(ctx, "echo", nil)
		lab.WantFailure(t, "a context that was over before", err, context.DeadlineExceeded, core.OutcomeNotSent)

		lost, lose := context.WithCancelCause(t.Context())
		lose(errLost)
		_, err = conn.Request(lost, "echo", nil)
		lab.WantFailure(t, "a context that was cancelled before", err, context.Canceled, core.OutcomeNotSent)
		if !errors.Is(err, errLost) {
			t.Errorf("the cause of the cancellation is not in %v", err)
		}
	})
}

// TestFarDeadlines holds that a deadline beyond the range of the clock is no
// deadline in the past: such a call was never sent and never returned.
func TestFarDeadlines(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		g := lab.NewGate(t, 1)
		c := l.Cluster(t, 2, lab.Handle("block", g.HandleContext), lab.Handle("default", g.HandleContext, core.WithTimeout(math.MaxInt64)))
		far, cancel := context.WithDeadline(t.Context(), farAway)
		defer cancel()
		longest, cancelLongest := context.WithTimeout(t.Context(), math.MaxInt64)
		defer cancelLongest()
		for name, ctx := range map[string]context.Context{"no deadline": t.Context(), "a far deadline": far, "the longest time-out": longest} {
			for _, opts := range [][]core.CallOption{nil, {core.WithTimeout(math.MaxInt64)}, {core.WithTimeout(math.MaxInt64), core.WaitForConnection()}} {
				for _, size := range []int{10, 100_000} {
					for _, h := range []core.HandlerID{"block", "default"} {
						called := lab.GoCall(ctx, c.Conn(0, 1), h, make([]byte, size), opts...)
						inside := lab.Wait(t, g.Began, "the handler of a call with "+name+" begins")
						if err := inside.Err(); err != nil {
							t.Errorf("%s: the handler's context has ended with %v", name, err)
						}
						select {
						case <-inside.Done():
							t.Errorf("%s: the handler's context has ended", name)
						default:
						}
						g.Open <- struct{}{}
						if r := lab.Wait(t, called, "the call ends"); r.Err != nil {
							t.Errorf("a call with %s failed: %v", name, r.Err)
						}
					}
				}
			}
		}
	})
}

// TestDeadlineAtTheMomentOfTheAnswer sweeps the end of a call, by its deadline in
// each way of setting one and by cancellation, over the nanoseconds around the
// arrival of the answer (F16, F17).
func TestDeadlineAtTheMomentOfTheAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := lab.InmemLink().Cluster(t, 2)
		const latency = 10 * time.Millisecond
		c.Memory().SetLatency(latency)
		for round := range lab.Scale(20, 5, 1000) {
			for offset := time.Duration(-5); offset <= 5; offset++ {
				d := 2*latency + offset
				for way := range 3 {
					ctx, cancel := context.WithCancel(t.Context())
					var opts []core.CallOption
					switch way {
					case 0:
						opts = append(opts, core.WithTimeout(d))
					case 1:
						ctx, cancel = context.WithTimeout(t.Context(), d)
					case 2:
						time.AfterFunc(d, cancel)
					}
					began := time.Now()
					err := c.Ledger.Call(ctx, c.Conn(0, 1), "sweeper", coretest.LedgerAppend, coretest.Job{Request: 100 + round%2*50_000}, opts...)
					took := time.Since(began)
					if want := min(d, 2*latency); took != want {
						t.Errorf("way %d: with %v to live and an answer after %v the call returned after %v, want %v", way, d, 2*latency, took, want)
					}
					if offset < 0 && err == nil || offset > 0 && err != nil {
						t.Errorf("way %d: a call that has %v more than the answer takes returned %v", way, offset, err)
					}
					cancel()
				}
			}
		}
		c.CheckLedger()
	})
}

// TestGivenUpAsItsLargeAnswerIsQueued gives calls up so that it reaches their
// handlers in the instant in which they return: the reader, which ends the call,
// and the worker, which queues a large answer, used to race for its memory (F16).
func TestGivenUpAsItsLargeAnswerIsQueued(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const latency, work = 10 * time.Millisecond, 5 * time.Millisecond
		answer := make([]byte, 100_000)
		c := lab.InmemLink().Cluster(t, 2, coretest.WithHandlers(func(_ int, m *core.Manager) error {
			return m.HandleAppend("works", func(_ context.Context, _, dst []byte) ([]byte, error) {
				time.Sleep(work)
				return append(dst, answer...), nil
			})
		}))
		c.Memory().SetLatency(latency)
		for range lab.Scale(40, 10, 1000) {
			var calls sync.WaitGroup
			for range 8 {
				calls.Go(func() {
					ctx, cancel := context.WithCancel(t.Context())
					time.AfterFunc(work, cancel)
					if _, err := c.Conn(0, 1).Request(ctx, "works", nil); !errors.Is(err, context.Canceled) {
						t.Errorf("a call that was given up returned %v", err)
					}
				})
			}
			calls.Wait()
			time.Sleep(2 * latency)
		}
		got, err := c.Conn(0, 1).Request(t.Context(), "works", nil)
		if err != nil || len(got) != len(answer) {
			t.Errorf("a call after those that were given up: %d bytes, %v", len(got), err)
		}
	})
}

// TestLateRequestsAreNotSent makes calls whose deadline is now: the writer
// leaves them out, and they say so, but for those that gave up in the instant
// between being taken for writing and being left out.
func TestLateRequestsAreNotSent(t *testing.T) {
	lab.InBubbles(t, func(t *testing.T, l *lab.Link) {
		c := l.Cluster(t, 2)
		rounds := lab.Scale(200, 50, 2000)
		for i := range rounds {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			time.Sleep(time.Second) // it ends at the very moment when the context does
			err := c.Ledger.Call(ctx, c.Conn(0, 1), "late", coretest.LedgerAppend, coretest.Job{Request: 100 + i%2*50_000})
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("a call whose deadline is now returned %v", err)
			}
			cancel()
		}
		if n := c.Ledger.Counts(); n.Started > 0 || n.NotSent < rounds*9/10 {
			t.Errorf("of %d calls whose deadline was now: %+v, want none to have run and nearly all not to have been sent", rounds, n)
		}
		c.CheckLedger()
	})
}

// pastDeadline is a context that has not ended at its deadline, as one that was made
// before the wall clock was set forward.
type pastDeadline struct{ context.Context }

func (pastDeadline) Deadline() (time.Time, bool) { return time.Now().Add(-time.Second), true }

// TestDeadlineThatItsContextDoesNotKeep makes calls, and opens streams, whose deadline
// is over although their context has not ended. They are not sent, and say so soon. They
// used to wait for their context, since nobody else knew (F8).
func TestDeadlineThatItsContextDoesNotKeep(t *testing.T) {
	lab.InBubbles(t, func(t *testing.T, l *lab.Link) {
		c := l.Cluster(t, 2, coretest.WithHandlers(func(_ int, m *core.Manager) error {
			return m.HandleStreamFunc("stream", func(context.Context, []byte, *core.RawStream) error { return nil })
		}))
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		for _, to := range []int{1, 0} {
			for _, size := range []int{10, 100_000} {
				for _, opts := range [][]core.CallOption{nil, {core.WithTimeout(time.Minute)}, {core.WithPriority(core.PriorityLow)}} {
					began := time.Now()
					_, err := c.Conn(0, to).Request(pastDeadline{ctx}, "echo", make([]byte, size), opts...)
					wantOverdue(t, fmt.Sprintf("a call of %d bytes to %d with %v", size, to, opts), began, err)
					began = time.Now()
					st, err := c.Conn(0, to).OpenStream(pastDeadline{ctx}, "stream", make([]byte, size), opts...)
					if err == nil {
						_, err = st.Recv(nil)
					}
					wantOverdue(t, fmt.Sprintf("a stream opened with %d bytes to %d with %v", size, to, opts), began, err)
				}
			}
			lab.MustCall(t, c.Conn(0, to), "echo", []byte("x"))
		}
	})
}

func wantOverdue(t *testing.T, what string, began time.Time, err error) {
	t.Helper()
	if d := time.Since(began); d > time.Second {
		t.Errorf("%s returned after %v", what, d)
	}
	if !errors.Is(err, context.DeadlineExceeded) || core.OutcomeOf(err) != core.OutcomeNotSent {
		t.Errorf("%s returned %v, outcome %v; want the end of its deadline, not sent", what, err, core.OutcomeOf(err))
	}
}
