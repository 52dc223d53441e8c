package suite_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/coretest"
	"github.com/gridmux/gridmux/core/internal/lab"
	"github.com/gridmux/gridmux/internal/memnet"
	"github.com/gridmux/gridmux/transport/inmem"
)

// narrow are links whose buffers hold hardly anything.
var narrow = []*lab.Link{lab.InmemLink(inmem.WithBuffer(4 << 10)), lab.MemnetLink(memnet.WithBuffer(4 << 10))}

// TestBothSidesSaturate has both ends send more than the link between them
// holds, requests and answers alike: nobody waits for the other to read first.
func TestBothSidesSaturate(t *testing.T) {
	for _, l := range narrow {
		t.Run(l.Name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := l.Cluster(t, 2, lab.Configure(func(cfg *core.Config) { cfg.MaxOutput = 10_000 }))
				if n := c.Memory(); n != nil {
					n.SetLatency(time.Microsecond)
				}
				var wg sync.WaitGroup
				for from := range 2 {
					for i := range lab.Scale(64, 24, 120) {
						wg.Go(func() {
							for _, size := range []int{1 << 20 / (1 + i%16), 20_000, 10} {
								req := lab.Pattern(i, size)
								resp, err := c.Conn(from, 1-from).Request(t.Context(), "echo.append", req)
								if err != nil || !bytes.Equal(resp, req) {
									t.Errorf("a message of %d bytes came back with %d, error %v", size, len(resp), err)
								}
							}
						})
					}
				}
				wg.Wait()
			})
		})
	}
}

// TestKeepAliveOnABusySlowLink holds that a link that is busy with large
// messages for much longer than the keep-alive's time-out is not given up: pings
// and their answers are not behind the messages.
func TestKeepAliveOnABusySlowLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		book, note := lab.Books(2)
		c := lab.InmemLink().Cluster(t, 2, note, lab.Configure(func(cfg *core.Config) { cfg.KeepAlive, cfg.KeepAliveTimeout = time.Second, time.Second }))
		c.Memory().SetLatency(200 * time.Millisecond) // 64 KiB each time
		began := time.Now()
		var wg sync.WaitGroup
		for from := range 2 {
			for i := range 4 {
				wg.Go(func() {
					req := lab.Pattern(i, 2<<20)
					resp, err := c.Conn(from, 1-from).Request(t.Context(), "echo", req)
					if err != nil || !bytes.Equal(resp, req) {
						t.Errorf("a large message over a slow link returned %d bytes, %v", len(resp), err)
					}
				})
			}
		}
		time.Sleep(5 * time.Second)
		// A small call beside the large ones takes a few turns, not theirs.
		at := time.Now()
		lab.MustCall(t, c.Conn(0, 1), "echo", []byte("small"))
		small := time.Since(at)
		wg.Wait()
		whole := time.Since(began)
		if small > whole/10 {
			t.Errorf("a small call beside large ones took %v, these %v", small, whole)
		}
		if whole < 10*time.Second {
			t.Errorf("the large messages took %v: the link is not slow", whole)
		}
		synctest.Wait()
		for i, b := range book {
			if changes := b.Of(""); len(changes) != 2 {
				t.Errorf("node %d was told %v, want it to stay connected", i, changes)
			}
		}
	})
}

// TestManyPendingCalls breaks the link beneath as many calls as there may be,
// most of them unsent. All return, and the link comes back (D8).
func TestManyPendingCalls(t *testing.T) {
	lab.InBubbles(t, func(t *testing.T, l *lab.Link) {
		n := lab.Scale(20_000, 3000, 131_070)
		c := l.Cluster(t, 2, lab.Configure(func(cfg *core.Config) { cfg.MaxHandlers, cfg.MaxHandlersTotal = n, n }))
		for _, quiet := range []bool{false, true} {
			if quiet {
				c.Silence(0, 1)
			}
			var wg sync.WaitGroup
			for range n {
				wg.Go(func() {
					err := c.Ledger.Call(t.Context(), c.Conn(0, 1), "pending", coretest.LedgerAppend, coretest.Job{Mode: coretest.Block})
					if !errors.Is(err, core.ErrDisconnected) {
						t.Errorf("a call beneath which the link broke returned %v", err)
					}
				})
			}
			synctest.Wait()
			began := time.Now()
			c.Cut(0, 1)
			wg.Wait()
			if d := time.Since(began); d > 0 {
				t.Errorf("%d calls took %v to learn that the link broke", n, d)
			}
			c.WaitConnected()
			lab.MustCall(t, c.Conn(0, 1), "echo", nil)
		}
		if n := c.Ledger.Counts(); l.Name == "inmem" && n.NotSent == 0 {
			t.Errorf("of calls most of which were never sent none says so: %+v", n)
		}
		synctest.Wait()
		c.CheckLedger()
	})
}

// TestSlowHandlersHoldUpNobody blocks as many handlers as there may be. Inline
// handlers, pings and the other direction go on (F6).
func TestSlowHandlersHoldUpNobody(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		const limit = 100
		g := lab.NewGate(t, limit)
		c := l.Cluster(t, 2, lab.Handle("block", g.Handle), lab.Configure(func(cfg *core.Config) { cfg.MaxHandlers = limit + 1 }))
		var calls []<-chan lab.Reply
		for i := range limit {
			calls = append(calls, lab.GoCall(t.Context(), c.Conn(0, 1), "block", fmt.Append(nil, i)))
			lab.Wait(t, g.Began, "a handler begins")
		}
		for range 100 {
			lab.MustCall(t, c.Conn(0, 1), "echo.inline", nil)
			lab.MustCall(t, c.Conn(0, 1), "echo", nil)
			lab.MustCall(t, c.Conn(1, 0), "echo", nil)
			if resp := lab.MustCall(t, c.Conn(0, 1), "echo", make([]byte, 3*lab.PartSize)); len(resp) != 3*lab.PartSize {
				t.Error("a large message beside handlers that block was cut")
			}
		}
		g.Release()
		for i, called := range calls {
			if r := lab.Wait(t, called, "a handler that was blocked ends"); r.Err != nil || string(r.Resp) != fmt.Sprint(i) {
				t.Errorf("call %d returned %q, %v", i, r.Resp, r.Err)
			}
		}
	})
}

// TestTroubleOnOneLinkStaysThere stalls the link to one peer while another is
// called: no call there is slower for it.
func TestTroubleOnOneLinkStaysThere(t *testing.T) {
	lab.InBubbles(t, func(t *testing.T, l *lab.Link) {
		c := l.Cluster(t, 3)
		c.Silence(0, 1)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				c.Ledger.Call(ctx, c.Conn(0, 1), "stuck", coretest.LedgerAppend, coretest.Job{Request: 100_000})
			})
		}
		began := time.Now()
		for range 100 {
			lab.MustCall(t, c.Conn(0, 2), "echo", make([]byte, 50_000))
			lab.MustCall(t, c.Conn(2, 0), "echo", nil)
			lab.MustCall(t, c.Conn(0, 0), "echo", nil)
		}
		if d := time.Since(began); d > 0 {
			t.Errorf("calls to other peers took %v while one link is stuck", d)
		}
		cancel()
		wg.Wait()
		c.CheckLedger()
	})
}
