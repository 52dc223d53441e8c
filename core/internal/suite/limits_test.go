package suite_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/coretest"
)

// TestLimitsOfOneServeOneCallerAfterAnother holds that a place is free again by
// the time that the caller has its answer: it used to be given back after the
// answer was on its way, so that the next call could find it taken.
func TestLimitsOfOneServeOneCallerAfterAnother(t *testing.T) {
	overLinks(t, func(t *testing.T, l *link) {
		const large = 3 * part
		c := l.cluster(t, 2,
			handle("one", echo, core.WithConcurrency(1)),
			handle("produce", produce),
			handle("fails", func(context.Context, []byte) ([]byte, error) { return nil, errNoDisk }),
			configure(func(cfg *core.Config) {
				cfg.MaxHandlers, cfg.MaxHandlersTotal, cfg.MaxMessage, cfg.MaxReassembly = 1, 1, large, large
			}),
		)
		for i := range scale(2000, 300, 20_000) {
			for h, req := range map[core.HandlerID][]byte{"one": nil, "fails": nil, "produce": sizeRequest(large), "echo.append": make([]byte, large)} {
				if i%10 > 0 && len(req) > 0 {
					continue
				}
				if _, err := c.Conn(0, 1).Request(t.Context(), h, req); err != nil && !errors.Is(err, errNoDisk) {
					t.Fatalf("call %d of %s, after all others had returned, failed: %v", i, h, err)
				}
			}
		}
	})
}

// TestHandlerLimits fills each limit on handlers, sees further calls refused,
// and finds all places back (T6, F6).
func TestHandlerLimits(t *testing.T) {
	for _, test := range []struct {
		name    string
		config  func(cfg *core.Config)
		option  core.HandlerOption
		callers int // nodes that call
		limit   int // of all callers together
		text    string
	}{
		{"MaxHandlers", func(cfg *core.Config) { cfg.MaxHandlers = 7 }, core.WithTimeout(time.Hour), 1, 7, "for this peer"},
		{"MaxHandlers of two peers", func(cfg *core.Config) { cfg.MaxHandlers = 7 }, core.WithTimeout(time.Hour), 2, 14, "for this peer"},
		{"MaxHandlersTotal", func(cfg *core.Config) { cfg.MaxHandlersTotal = 9 }, core.WithTimeout(time.Hour), 2, 9, "on the node"},
		{"WithConcurrency", func(*core.Config) {}, core.WithConcurrency(5), 2, 5, "of this handler"},
	} {
		t.Run(test.name, func(t *testing.T) {
			overLinks(t, func(t *testing.T, l *link) {
				g := newGate(t, 100)
				c := l.cluster(t, 3, handle("block", g.handle, test.option), coretest.WithConfig(func(i int, cfg *core.Config) {
					if i == 2 {
						test.config(cfg)
					}
				}))
				for range 3 {
					var calls []<-chan reply
					for i := range test.limit {
						calls = append(calls, startCall(t.Context(), c.Conn(i%test.callers, 2), "block", nil))
						wait(t, g.began, "a call within the limit begins")
					}
					for i := range test.callers {
						_, err := c.Conn(i, 2).Request(t.Context(), "block", nil)
						wantFailure(t, "a call over the limit", err, core.ErrOverloaded, core.OutcomeRefused)
						wantText(t, "a call over the limit", err, test.text)
						_, err = c.Conn(i, 2).Request(t.Context(), "block", make([]byte, 2*part))
						wantFailure(t, "a large call over the limit", err, core.ErrOverloaded, core.OutcomeRefused)
					}
					for range calls {
						g.open <- struct{}{}
					}
					for _, called := range calls {
						if r := wait(t, called, "a call within the limit ends"); r.err != nil {
							t.Errorf("a call within the limit failed: %v", r.err)
						}
					}
				}
			})
		})
	}
}

// TestMaxCalls fills the calls that one side may have in progress, by its own
// limit and by its peer's (T10).
func TestMaxCalls(t *testing.T) {
	overLinks(t, func(t *testing.T, l *link) {
		for _, limits := range [][2]int{{5, 100}, {100, 5}} {
			g := newGate(t, 100)
			c := l.cluster(t, 2, handle("block", g.handle), coretest.WithConfig(func(i int, cfg *core.Config) { cfg.MaxCalls = limits[i] }))
			for range 3 {
				var calls []<-chan reply
				for range 5 {
					calls = append(calls, startCall(t.Context(), c.Conn(0, 1), "block", nil))
					wait(t, g.began, "a call within the limit begins")
				}
				_, err := c.Conn(0, 1).Request(t.Context(), "echo", nil)
				wantFailure(t, "a call over MaxCalls", err, core.ErrOverloaded, core.OutcomeNotSent)
				wantText(t, "a call over MaxCalls", err, "5 calls")
				if _, err := c.Conn(1, 0).Request(t.Context(), "echo", nil); err != nil {
					t.Errorf("a call in the other direction failed: %v", err)
				}
				for range calls {
					g.open <- struct{}{}
				}
				for _, called := range calls {
					if r := wait(t, called, "a call within the limit ends"); r.err != nil {
						t.Errorf("a call within the limit failed: %v", r.err)
					}
				}
			}
		}
	})
}

// TestOpenAndCancel opens and cancels calls as fast as it can, to handlers that
// ignore their contexts. Those that run are counted until they return, so there
// are never more than the limit, whatever the caller does (T6, F15).
func TestOpenAndCancel(t *testing.T) {
	overLinks(t, func(t *testing.T, l *link) {
		const limit = 50
		var running, most atomic.Int32
		release := make(chan struct{})
		var block core.HandlerFunc
		c := l.cluster(t, 2, configure(func(cfg *core.Config) { cfg.MaxHandlers = limit }),
			handle("block", func(ctx context.Context, req []byte) ([]byte, error) { return block(ctx, req) }),
			handle("stubborn", func(context.Context, []byte) ([]byte, error) {
				n := running.Add(1)
				for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
				}
				<-release
				running.Add(-1)
				return nil, nil
			}))
		let := sync.OnceFunc(func() { close(release) })
		t.Cleanup(let)
		conn := c.Conn(0, 1)
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				for i := range scale(1000, 200, 10_000) {
					ctx, cancel := context.WithCancel(t.Context())
					called := startCall(ctx, conn, "stubborn", make([]byte, i%3*part))
					if i%2 == 0 {
						// Refused, or with a handler that runs by now.
						conn.Request(ctx, "echo", nil)
						conn.Request(ctx, "echo", nil)
						conn.Request(ctx, "echo", nil)
					}
					cancel()
					if r := <-called; r.err == nil {
						t.Error("a call succeeded whose handler has not returned")
					}
				}
			})
		}
		wg.Wait()
		if n := most.Load(); n > limit || n == 0 {
			t.Errorf("%d handlers ran at once, the limit is %d", n, limit)
		}
		// All places come back, one after the other.
		let()
		g := newGate(t, limit)
		block = g.handle
		for range limit {
			until(t, "a call within the limit begins", func() bool {
				called := startCall(t.Context(), conn, "block", nil)
				select {
				case <-g.began:
					return true
				case r := <-called:
					wantFailure(t, "a call while handlers end", r.err, core.ErrOverloaded, core.OutcomeRefused)
					return false
				}
			})
		}
	})
}

// TestHandlersOfALostConnectionCount holds that a peer that reconnects does not
// get the places anew that its handlers still take (T6).
func TestHandlersOfALostConnectionCount(t *testing.T) {
	overLinks(t, func(t *testing.T, l *link) {
		const limit = 5
		g := newGate(t, 100)
		c := l.cluster(t, 2, configure(func(cfg *core.Config) { cfg.MaxHandlers = limit }), impatient(), handle("stubborn", g.handle))
		conn := c.Conn(0, 1)
		for range limit {
			called := startCall(t.Context(), conn, "stubborn", nil)
			wait(t, g.began, "the handler begins")
			c.cut(0, 1)
			wantFailure(t, "a call whose connection broke", wait(t, called, "it ends").err, core.ErrDisconnected, core.OutcomeMaybeRun)
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			if err := conn.WaitConnected(ctx); err != nil {
				t.Fatalf("there is no connection again: %v", err)
			}
			cancel()
		}
		_, err := conn.Request(t.Context(), "stubborn", nil, core.WaitForConnection(), core.WithTimeout(patience))
		wantFailure(t, "a call while handlers of earlier connections take all places", err, core.ErrOverloaded, core.OutcomeRefused)
		g.release()
	})
}

// TestHandlersThatWaitForEachOther starts as many handlers as the limit allows,
// all of which wait for the last one, each by a call of its own.
func TestHandlersThatWaitForEachOther(t *testing.T) {
	overLinks(t, func(t *testing.T, l *link) {
		n := scale(1000, 300, 1000)
		var waiting sync.WaitGroup
		waiting.Add(n)
		var c *cluster
		c = l.cluster(t, 2,
			handle("outer", func(ctx context.Context, req []byte) ([]byte, error) {
				return c.Conn(1, 0).Request(ctx, "inner", req)
			}),
			handle("inner", func(_ context.Context, req []byte) ([]byte, error) {
				waiting.Done()
				waiting.Wait()
				return req, nil
			}))
		var calls []<-chan reply
		for i := range n {
			calls = append(calls, startCall(t.Context(), c.Conn(0, 1), "outer", fmt.Append(nil, i)))
		}
		for i, called := range calls {
			if r := wait(t, called, "handlers that wait for each other end"); r.err != nil || string(r.resp) != fmt.Sprint(i) {
				t.Fatalf("call %d of handlers that wait for each other returned %q, %v", i, r.resp, r.err)
			}
		}
	})
}

// TestCancelledCallsLeaveNothing cancels 10 000 calls at every stage of their
// lives and finds everything as before (T6, F15).
func TestCancelledCallsLeaveNothing(t *testing.T) {
	overLinks(t, func(t *testing.T, l *link) {
		const limit = 20
		c := l.cluster(t, 2, configure(func(cfg *core.Config) {
			cfg.MaxHandlers, cfg.MaxCalls = limit, 100
			cfg.MaxMessage, cfg.MaxReassembly = 4*part, 41*part
		}))
		var wg sync.WaitGroup
		for w := range 10 {
			wg.Go(func() {
				for i := range scale(1000, 100, 5000) {
					ctx, cancel := context.WithCancel(t.Context())
					job := coretest.Job{Mode: coretest.Block, Request: 100 + i%4*part/3, Response: i % 3 * part}
					switch i % 5 {
					case 0:
						cancel() // before the call
					case 1:
						go cancel() // at any time
					case 2:
						job.Mode = coretest.Echo
						go cancel()
					default:
						time.AfterFunc(time.Duration(i%7)*time.Millisecond/5, cancel)
					}
					c.ledger.Call(ctx, c.Conn(0, 1), fmt.Sprint("caller ", w), coretest.LedgerAppend, job)
					cancel()
				}
			})
		}
		wg.Wait()
		if l.bubble {
			synctest.Wait()
		}
		if err := c.ledger.WaitIdle(t.Context()); err != nil {
			t.Error(err)
		}
		// All places, slots and the room for large messages are back, when the
		// last cancellation has arrived, which the order of calls assures.
		mustCall(t, c.Conn(0, 1), "echo", nil)
		var calls []<-chan error
		for i := range limit {
			calls = append(calls, start(func() error {
				job := coretest.Job{Mode: coretest.Slow, For: time.Millisecond, Request: part + 100, Response: 2 * part}
				return c.ledger.Call(t.Context(), c.Conn(0, 1), fmt.Sprint("after ", i), coretest.LedgerAppend, job)
			}))
		}
		for _, called := range calls {
			if err := wait(t, called, "a call after all others were cancelled returns"); err != nil {
				t.Errorf("a call after all others were cancelled failed: %v", err)
			}
		}
		c.checkLedger()
	})
}
