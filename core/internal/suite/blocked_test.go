package suite_test

import (
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
)

// TestPeerThatDoesNotRead makes 64 calls with a deadline of 50 ms to a peer
// that does not read. Each returns at exactly 50 ms, those that were not
// written say so, and none of these ever runs (D1, D6).
func TestPeerThatDoesNotRead(t *testing.T) {
	for _, test := range []struct {
		name    string
		request int
		output  int // Config.MaxOutput
	}{
		{"small", 100, 0},
		{"8 KiB", 8 << 10, 0},
		{"8 KiB, callers wait for room", 8 << 10, 8 << 10},
		{"large", 100_000, 0},
		{"large, callers wait for room", 100_000, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			lab.InBubbles(t, func(t *testing.T, l *lab.Link) {
				c := l.Cluster(t, 2, lab.Configure(func(cfg *core.Config) { cfg.MaxOutput = test.output }))
				c.Stall(0, 1)
				began := time.Now()
				var wg sync.WaitGroup
				for i := range 64 {
					wg.Go(func() {
						err := deadlineCall(t.Context(), c, i, test.request)
						if d := time.Since(began); d != 50*time.Millisecond {
							t.Errorf("caller %d returned after %v, want 50ms", i, d)
						}
						if !errors.Is(err, context.DeadlineExceeded) {
							t.Errorf("caller %d got %v, want the end of its deadline", i, err)
						}
					})
				}
				wg.Wait()
				n := c.Ledger.Counts()
				if n.Started != 0 || n.NotSent+n.MaybeRun != 64 {
					t.Errorf("of 64 calls to a peer that does not read: %+v, want none to have run", n)
				}
				if test.request > 1000 && n.NotSent == 0 {
					t.Error("no call says that it was not sent although the link took hardly any")
				}
				if n.MaybeRun == 0 {
					t.Error("no call says that it may have run although the link took some")
				}
				// The peer reads again: what it gets now, it may run, but nothing
				// that was not sent.
				if n := c.Memory(); n != nil {
					n.HealAll()
					if err := c.Ledger.Call(t.Context(), c.Conn(0, 1), "later", coretest.LedgerHandle, coretest.Job{}); err != nil {
						t.Errorf("a call after the peer reads again failed: %v", err)
					}
				}
				synctest.Wait()
				c.CheckLedger()
			})
		})
	}
}

// deadlineCall makes a call with a deadline of 50 ms, in one of the ways to set
// one.
func deadlineCall(ctx context.Context, c *lab.Cluster, i, size int) error {
	job := coretest.Job{Request: size}
	caller := fmt.Sprintf("caller %d", i)
	h := coretest.LedgerHandle
	if i%2 == 0 {
		return c.Ledger.Call(ctx, c.Conn(0, 1), caller, h, job, core.WithTimeout(50*time.Millisecond))
	}
	ctx, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	return c.Ledger.Call(ctx, c.Conn(0, 1), caller, h, job)
}

// TestPeerThatDoesNotReadSockets is the same over real sockets: outcomes and
// ledger are checked, times are not.
func TestPeerThatDoesNotReadSockets(t *testing.T) {
	lab.OverSockets(t, func(t *testing.T, l *lab.Link) {
		g := lab.NewGate(t, 1)
		c := l.Cluster(t, 2, lab.Handle("stuck", g.Handle, core.WithInline()))
		stuck := lab.GoCall(t.Context(), c.Conn(0, 1), "stuck", nil)
		lab.Wait(t, g.Began, "an inline handler holds the reader of the peer")
		// Fill the socket.
		ctx, cancel := context.WithCancel(t.Context())
		big := lab.Go(func() error {
			return c.Ledger.Call(ctx, c.Conn(0, 1), "big", coretest.LedgerHandle, coretest.Job{Request: 8 << 20})
		})
		var wg sync.WaitGroup
		for i := range 64 {
			wg.Go(func() {
				for range 3 {
					if err := deadlineCall(t.Context(), c, i, 4<<10); !errors.Is(err, context.DeadlineExceeded) {
						t.Errorf("caller %d got %v, want the end of its deadline", i, err)
					}
				}
			})
		}
		wg.Wait()
		cancel()
		if err := lab.Wait(t, big, "the large call ends"); !errors.Is(err, context.Canceled) {
			t.Errorf("a large call that was cancelled returned %v", err)
		}
		n := c.Ledger.Counts()
		if n.Started != 0 {
			t.Errorf("handlers ran although the peer does not read: %+v", n)
		}
		t.Logf("over %s: %+v", l.Name, n)
		g.Release()
		if r := lab.Wait(t, stuck, "the inline handler is let go"); r.Err != nil {
			t.Errorf("the call that held the reader failed: %v", r.Err)
		}
		if err := c.Ledger.Call(t.Context(), c.Conn(0, 1), "later", coretest.LedgerHandle, coretest.Job{}); err != nil {
			t.Errorf("a call after the peer reads again failed: %v", err)
		}
		c.CheckLedger()
	})
}

// TestCancelWhileWaitingToSend cancels callers that wait for room in the output.
func TestCancelWhileWaitingToSend(t *testing.T) {
	lab.InBubbles(t, func(t *testing.T, l *lab.Link) {
		c := l.Cluster(t, 2, lab.Configure(func(cfg *core.Config) { cfg.MaxOutput = 1000 }))
		c.Stall(0, 1)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for i := range 64 {
			wg.Go(func() {
				err := c.Ledger.Call(ctx, c.Conn(0, 1), fmt.Sprint(i), coretest.LedgerHandle, coretest.Job{Request: 30_000})
				if !errors.Is(err, context.Canceled) {
					t.Errorf("a cancelled caller got %v", err)
				}
			})
		}
		synctest.Wait()
		at := time.Now()
		cancel()
		wg.Wait()
		if d := time.Since(at); d != 0 {
			t.Errorf("the callers returned %v after the cancellation, want at once", d)
		}
		if n := c.Ledger.Counts(); n.NotSent < 50 {
			t.Errorf("of 64 callers that wait for room: %+v, want most not to have sent anything", n)
		}
		c.CheckLedger()
	})
}

// TestHonestErrorsAreNoFlood holds that handlers whose errors pile up because
// the peer pauses do not cost the connection: only answers that nobody asked
// for do (T7).
func TestHonestErrorsAreNoFlood(t *testing.T) {
	lab.InBubbles(t, func(t *testing.T, l *lab.Link) {
		var mu sync.Mutex
		var changes []core.StateChange
		g := lab.NewGate(t, 100)
		detail := make([]byte, 16<<10)
		c := l.Cluster(t, 2, lab.Configure(func(cfg *core.Config) {
			cfg.MaxOutput = 1000
			cfg.OnState = func(s core.StateChange) {
				mu.Lock()
				defer mu.Unlock()
				changes = append(changes, s)
			}
		}), lab.Handle("fail", func(ctx context.Context, req []byte) ([]byte, error) {
			g.Handle(ctx, req)
			return nil, &core.RemoteError{Code: 2000, Detail: detail}
		}))
		var calls []<-chan lab.Reply
		for range 100 {
			calls = append(calls, lab.GoCall(t.Context(), c.Conn(0, 1), "fail", nil))
			lab.Wait(t, g.Began, "the handler begins")
		}
		if n := c.Memory(); n != nil {
			n.Stall("node-1", "node-0")
			g.Release()
			synctest.Wait()
			n.HealAll()
		} else {
			g.Release()
		}
		for _, called := range calls {
			if r := lab.Wait(t, called, "a call that fails returns"); lab.WantRemote(t, "a call that fails", r.Err).Code != 2000 {
				t.Errorf("a call that fails returned %v", r.Err)
			}
		}
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		if len(changes) != 4 {
			t.Errorf("the connection was lost on the way: %v", changes)
		}
	})
}
