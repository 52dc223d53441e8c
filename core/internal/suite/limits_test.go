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
	"github.com/gridmux/gridmux/core/internal/lab"
	"github.com/gridmux/gridmux/transport/inmem"
)

// TestLimitsOfOneServeOneCallerAfterAnother holds that a place is free again by
// the time that the caller has its answer: it used to be given back after the
// answer was on its way, so that the next call could find it taken.
func TestLimitsOfOneServeOneCallerAfterAnother(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		const large = 3 * lab.PartSize
		c := l.Cluster(t, 2,
			lab.Handle("one", lab.Echo, core.WithConcurrency(1)),
			lab.Handle("produce", produce),
			lab.Handle("fails", func(context.Context, []byte) ([]byte, error) { return nil, errNoDisk }),
			lab.Configure(func(cfg *core.Config) {
				cfg.MaxHandlers, cfg.MaxHandlersTotal, cfg.MaxMessage, cfg.MaxReassembly = 1, 1, large, large
			}),
		)
		for i := range lab.Scale(2000, 300, 20_000) {
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
		{"MaxHandlers", func(cfg *core.Config) { cfg.MaxHandlers = 7 }, core.WithTimeout(time.Hour), 1, 7, "the limit of Config.MaxHandlers on"},
		{"MaxHandlers of two peers", func(cfg *core.Config) { cfg.MaxHandlers = 7 }, core.WithTimeout(time.Hour), 2, 14, "the limit of Config.MaxHandlers on"},
		{"MaxHandlersTotal", func(cfg *core.Config) { cfg.MaxHandlersTotal = 9 }, core.WithTimeout(time.Hour), 2, 9, "the limit of its Config.MaxHandlersTotal"},
		{"WithConcurrency", func(*core.Config) {}, core.WithConcurrency(5), 2, 5, "the limit of its WithConcurrency"},
	} {
		t.Run(test.name, func(t *testing.T) {
			lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
				g := lab.NewGate(t, 100)
				c := l.Cluster(t, 3, lab.Handle("block", g.Handle, test.option), coretest.WithConfig(func(i int, cfg *core.Config) {
					if i == 2 {
						test.config(cfg)
					}
				}))
				for range 3 {
					var calls []<-chan lab.Reply
					for i := range test.limit {
						calls = append(calls, lab.GoCall(t.Context(), c.Conn(i%test.callers, 2), "block", nil))
						lab.Wait(t, g.Began, "a call within the limit begins")
					}
					for i := range test.callers {
						_, err := c.Conn(i, 2).Request(t.Context(), "block", nil)
						lab.WantFailure(t, "a call over the limit", err, core.ErrOverloaded, core.OutcomeRefused)
						lab.WantText(t, "a call over the limit", err, test.text)
						_, err = c.Conn(i, 2).Request(t.Context(), "block", make([]byte, 2*lab.PartSize))
						lab.WantFailure(t, "a large call over the limit", err, core.ErrOverloaded, core.OutcomeRefused)
					}
					for range calls {
						g.Open <- struct{}{}
					}
					for _, called := range calls {
						if r := lab.Wait(t, called, "a call within the limit ends"); r.Err != nil {
							t.Errorf("a call within the limit failed: %v", r.Err)
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
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		for _, limits := range [][2]int{{5, 100}, {100, 5}} {
			g := lab.NewGate(t, 100)
			c := l.Cluster(t, 2, lab.Handle("block", g.Handle), coretest.WithConfig(func(i int, cfg *core.Config) { cfg.MaxCalls = limits[i] }))
			for range 3 {
				var calls []<-chan lab.Reply
				for range 5 {
					calls = append(calls, lab.GoCall(t.Context(), c.Conn(0, 1), "block", nil))
					lab.Wait(t, g.Began, "a call within the limit begins")
				}
				_, err := c.Conn(0, 1).Request(t.Context(), "echo", nil)
				lab.WantFailure(t, "a call over MaxCalls", err, core.ErrOverloaded, core.OutcomeNotSent)
				lab.WantText(t, "a call over MaxCalls", err, "5 calls")
				if _, err := c.Conn(1, 0).Request(t.Context(), "echo", nil); err != nil {
					t.Errorf("a call in the other direction failed: %v", err)
				}
				for range calls {
					g.Open <- struct{}{}
				}
				for _, called := range calls {
					if r := lab.Wait(t, called, "a call within the limit ends"); r.Err != nil {
						t.Errorf("a call within the limit failed: %v", r.Err)
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
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		const limit = 50
		var running, most atomic.Int32
		release := make(chan struct{})
		var block core.HandlerFunc
		c := l.Cluster(t, 2, lab.Configure(func(cfg *core.Config) { cfg.MaxHandlers = limit }),
			lab.Handle("block", func(ctx context.Context, req []byte) ([]byte, error) { return block(ctx, req) }),
			lab.Handle("stubborn", func(context.Context, []byte) ([]byte, error) {
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
				for i := range lab.Scale(1000, 200, 10_000) {
					ctx, cancel := context.WithCancel(t.Context())
					called := lab.GoCall(ctx, conn, "stubborn", make([]byte, i%3*lab.PartSize))
					if i%2 == 0 {
						// Refused, or with a handler that runs by now.
						conn.Request(ctx, "echo", nil)
						conn.Request(ctx, "echo", nil)
						conn.Request(ctx, "echo", nil)
					}
					cancel()
					if r := <-called; r.Err == nil {
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
		g := lab.NewGate(t, limit)
		block = g.Handle
		for range limit {
			lab.Until(t, "a call within the limit begins", func() bool {
				called := lab.GoCall(t.Context(), conn, "block", nil)
				select {
				case <-g.Began:
					return true
				case r := <-called:
					lab.WantFailure(t, "a call while handlers end", r.Err, core.ErrOverloaded, core.OutcomeRefused)
					return false
				}
			})
		}
	})
}

// TestHandlersOfALostConnectionCount holds that a peer that reconnects does not
// get the places anew that its handlers still take (T6).
func TestHandlersOfALostConnectionCount(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		const limit = 5
		g := lab.NewGate(t, 100)
		c := l.Cluster(t, 2, lab.Configure(func(cfg *core.Config) { cfg.MaxHandlers = limit }), lab.Impatient(), lab.Handle("stubborn", g.Handle))
		conn := c.Conn(0, 1)
		for range limit {
			called := lab.GoCall(t.Context(), conn, "stubborn", nil)
			lab.Wait(t, g.Began, "the handler begins")
			c.Cut(0, 1)
			lab.WantFailure(t, "a call whose connection broke", lab.Wait(t, called, "it ends").Err, core.ErrDisconnected, core.OutcomeMaybeRun)
			ctx, cancel := context.WithTimeout(t.Context(), lab.Patience)
			if err := conn.WaitConnected(ctx); err != nil {
				t.Fatalf("there is no connection again: %v", err)
			}
			cancel()
		}
		_, err := conn.Request(t.Context(), "stubborn", nil, core.WaitForConnection(), core.WithTimeout(lab.Patience))
		lab.WantFailure(t, "a call while handlers of earlier connections take all places", err, core.ErrOverloaded, core.OutcomeRefused)
		g.Release()
	})
}

// TestHandlersThatWaitForEachOther starts as many handlers as the limit allows,
// all of which wait for the last one, each by a call of its own.
func TestHandlersThatWaitForEachOther(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		n := lab.Scale(1000, 300, 1000)
		var waiting sync.WaitGroup
		waiting.Add(n)
		var c *lab.Cluster
		c = l.Cluster(t, 2,
			lab.Handle("outer", func(ctx context.Context, req []byte) ([]byte, error) {
				return c.Conn(1, 0).Request(ctx, "inner", req)
			}),
			lab.Handle("inner", func(_ context.Context, req []byte) ([]byte, error) {
				waiting.Done()
				waiting.Wait()
				return req, nil
			}))
		var calls []<-chan lab.Reply
		for i := range n {
			calls = append(calls, lab.GoCall(t.Context(), c.Conn(0, 1), "outer", fmt.Append(nil, i)))
		}
		for i, called := range calls {
			if r := lab.Wait(t, called, "handlers that wait for each other end"); r.Err != nil || string(r.Resp) != fmt.Sprint(i) {
				t.Fatalf("call %d of handlers that wait for each other returned %q, %v", i, r.Resp, r.Err)
			}
		}
	})
}

// TestCancelledCallsLeaveNothing cancels 10 000 calls at every stage of their
// lives and finds everything as before (T6, F15).
func TestCancelledCallsLeaveNothing(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		const limit = 20
		c := l.Cluster(t, 2, lab.Configure(func(cfg *core.Config) {
			cfg.MaxHandlers, cfg.MaxCalls = limit, 100
			cfg.MaxMessage, cfg.MaxReassembly = 4*lab.PartSize, 41*lab.PartSize
		}))
		var wg sync.WaitGroup
		for w := range 10 {
			wg.Go(func() {
				for i := range lab.Scale(1000, 100, 5000) {
					ctx, cancel := context.WithCancel(t.Context())
					job := coretest.Job{Mode: coretest.Block, Request: 100 + i%4*lab.PartSize/3, Response: i % 3 * lab.PartSize}
					switch i % 5 {
					case 0:
						cancel() // before the call
					case 1:
						go cancel() // at any time
					case 2:
						job.Mode = coretest.Echo
						go cancel()
					default:
						time.AfterFunc(time.Duration(1+i%7)*time.Millisecond/5, cancel)
					}
					c.Ledger.Call(ctx, c.Conn(0, 1), fmt.Sprint("caller ", w), coretest.LedgerAppend, job)
					cancel()
				}
			})
		}
		wg.Wait()
		if l.Bubble {
			synctest.Wait()
		}
		if err := c.Ledger.WaitIdle(t.Context()); err != nil {
			t.Error(err)
		}
		// All places, slots and the room for large messages are back, when the
		// last cancellation has arrived, which the order of calls assures.
		lab.MustCall(t, c.Conn(0, 1), "echo", nil)
		var calls []<-chan error
		for i := range limit {
			calls = append(calls, lab.Go(func() error {
				job := coretest.Job{Mode: coretest.Slow, For: time.Millisecond, Request: lab.PartSize + 100, Response: 2 * lab.PartSize}
				return c.Ledger.Call(t.Context(), c.Conn(0, 1), fmt.Sprint("after ", i), coretest.LedgerAppend, job)
			}))
		}
		for _, called := range calls {
			if err := lab.Wait(t, called, "a call after all others were cancelled returns"); err != nil {
				t.Errorf("a call after all others were cancelled failed: %v", err)
			}
		}
		c.CheckLedger()
	})
}

// TestPlacesOfHandlersThatHaveReturned holds that a peer which does not read keeps no
// place among those that peers share: the handler has returned, whether its answer, or
// what it has sent on a stream, is on its way or not. Answers that wait used to keep
// those of Config.MaxHandlersTotal, so that one such peer had all others refused.
func TestPlacesOfHandlersThatHaveReturned(t *testing.T) {
	for _, limit := range []struct {
		name      string
		configure func(cfg *core.Config)
		opts      []core.HandlerOption
	}{
		{"WithConcurrency", func(*core.Config) {}, []core.HandlerOption{core.WithConcurrency(1)}},
		{"MaxHandlersTotal", func(cfg *core.Config) { cfg.MaxHandlersTotal = 1 }, nil},
	} {
		t.Run(limit.name, func(t *testing.T) {
			lab.Bubble(t, "", func(t *testing.T) {
				own, detail := []byte("the handler's own memory"), []byte("that of its errors")
				c := lab.InmemLink(inmem.WithBuffer(1000)).Cluster(t, 3, lab.Configure(func(cfg *core.Config) {
					cfg.MaxOutput = 10 << 10
					limit.configure(cfg)
				}), coretest.WithHandlers(func(_ int, m *core.Manager) error {
					return errors.Join(
						m.Handle("request", func(_ context.Context, req []byte) ([]byte, error) { return append(own[:0], req...), nil }, limit.opts...),
						m.Handle("fails", func(_ context.Context, req []byte) ([]byte, error) {
							return nil, &core.RemoteError{Code: 1001, Message: "no", Detail: append(detail[:0], req...)}
						}, limit.opts...),
						m.Handle("nothing", func(context.Context, []byte) ([]byte, error) { return nil, nil }),
						m.HandleStreamFunc("stream", func(_ context.Context, _ []byte, s *core.RawStream) error {
							for range 4 {
								if err := s.Send(make([]byte, 10<<10)); err != nil {
									return err
								}
							}
							return nil
						}, limit.opts...))
				}))
				c.Stall(1, 0)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				st, err := c.Conn(0, 1).OpenStream(ctx, "stream", nil)
				if err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Second)
				var waits [3]<-chan lab.Reply
				for range 2 { // which is more than may wait
					lab.GoCall(ctx, c.Conn(0, 1), "echo", make([]byte, 20<<10))
					time.Sleep(time.Second)
				}
				for i, id := range []core.HandlerID{"request", "fails", "nothing"} {
					waits[i] = lab.GoCall(ctx, c.Conn(0, 1), id, []byte("first"))
					time.Sleep(time.Second)
				}
				if got := lab.MustCall(t, c.Conn(2, 1), "request", []byte("other")); string(got) != "other" {
					t.Errorf("got %q", got)
				}
				_, err = c.Conn(2, 1).Request(t.Context(), "fails", []byte("other"))
				if remote := lab.WantRemote(t, "the failure of another peer", err); string(remote.Detail) != "other" {
					t.Errorf("the failure of another peer has %q", remote.Detail)
				}
				other, err := c.Conn(2, 1).OpenStream(t.Context(), "stream", nil)
				if err != nil {
					t.Fatal(err)
				}
				for _, err := range other.All() {
					if err != nil {
						t.Errorf("a stream of another peer: %v", err)
					}
				}
				c.Memory().HealAll()
				if r := lab.Wait(t, waits[0], "the answer comes"); r.Err != nil || string(r.Resp) != "first" {
					t.Errorf("the answer that waited is %q, %v", r.Resp, r.Err)
				}
				r := lab.Wait(t, waits[1], "the failure comes")
				if remote := lab.WantRemote(t, "the failure that waited", r.Err); string(remote.Detail) != "first" {
					t.Errorf("the failure that waited has %q", remote.Detail)
				}
				if r := lab.Wait(t, waits[2], "the answer of nothing comes"); r.Err != nil || r.Resp != nil {
					t.Errorf("the answer of nothing that waited is %#v, %v, want nil", r.Resp, r.Err)
				}
				for _, err := range st.All() {
					if err != nil {
						t.Errorf("the stream that waited: %v", err)
					}
				}
			})
		})
	}
}
