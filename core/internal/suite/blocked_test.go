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
			inBubbles(t, func(t *testing.T, l *link) {
				c := l.cluster(t, 2, configure(func(cfg *core.Config) { cfg.MaxOutput = test.output }))
				c.stall(0, 1)
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
				n := c.ledger.Counts()
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
				if n, ok := c.net.(memoryNetwork); ok {
					n.n.HealAll()
					if err := c.ledger.Call(t.Context(), c.Conn(0, 1), "later", coretest.LedgerHandle, coretest.Job{}); err != nil {
						t.Errorf("a call after the peer reads again failed: %v", err)
					}
				}
				synctest.Wait()
				c.checkLedger()
			})
		})
	}
}

// deadlineCall makes a call with a deadline of 50 ms, in one of the ways to set
// one.
func deadlineCall(ctx context.Context, c *cluster, i, size int) error {
	job := coretest.Job{Request: size}
	caller := fmt.Sprintf("caller %d", i)
	h := coretest.LedgerHandle
	if i%2 == 0 {
		return c.ledger.Call(ctx, c.Conn(0, 1), caller, h, job, core.WithTimeout(50*time.Millisecond))
	}
	ctx, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	return c.ledger.Call(ctx, c.Conn(0, 1), caller, h, job)
}

// TestPeerThatDoesNotReadSockets is the same over real sockets: outcomes and
// ledger are checked, times are not.
func TestPeerThatDoesNotReadSockets(t *testing.T) {
	overSockets(t, func(t *testing.T, l *link) {
		g := newGate(t, 1)
		c := l.cluster(t, 2, handle("stuck", g.handle, core.WithInline()))
		stuck := startCall(t.Context(), c.Conn(0, 1), "stuck", nil)
		wait(t, g.began, "an inline handler holds the reader of the peer")
		// Fill the socket.
		ctx, cancel := context.WithCancel(t.Context())
		big := start(func() error {
			return c.ledger.Call(ctx, c.Conn(0, 1), "big", coretest.LedgerHandle, coretest.Job{Request: 8 << 20})
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
		if err := wait(t, big, "the large call ends"); !errors.Is(err, context.Canceled) {
			t.Errorf("a large call that was cancelled returned %v", err)
		}
		n := c.ledger.Counts()
		if n.Started != 0 {
			t.Errorf("handlers ran although the peer does not read: %+v", n)
		}
		t.Logf("over %s: %+v", l.name, n)
		g.release()
		if r := wait(t, stuck, "the inline handler is let go"); r.err != nil {
			t.Errorf("the call that held the reader failed: %v", r.err)
		}
		if err := c.ledger.Call(t.Context(), c.Conn(0, 1), "later", coretest.LedgerHandle, coretest.Job{}); err != nil {
			t.Errorf("a call after the peer reads again failed: %v", err)
		}
		c.checkLedger()
	})
}

// TestCancelWhileWaitingToSend cancels callers that wait for room in the output.
func TestCancelWhileWaitingToSend(t *testing.T) {
	inBubbles(t, func(t *testing.T, l *link) {
		c := l.cluster(t, 2, configure(func(cfg *core.Config) { cfg.MaxOutput = 1000 }))
		c.stall(0, 1)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for i := range 64 {
			wg.Go(func() {
				err := c.ledger.Call(ctx, c.Conn(0, 1), fmt.Sprint(i), coretest.LedgerHandle, coretest.Job{Request: 30_000})
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
		if n := c.ledger.Counts(); n.NotSent < 50 {
			t.Errorf("of 64 callers that wait for room: %+v, want most not to have sent anything", n)
		}
		c.checkLedger()
	})
}

// TestHonestErrorsAreNoFlood holds that handlers whose errors pile up because
// the peer pauses do not cost the connection: only answers that nobody asked
// for do (T7).
func TestHonestErrorsAreNoFlood(t *testing.T) {
	inBubbles(t, func(t *testing.T, l *link) {
		var mu sync.Mutex
		var changes []core.StateChange
		g := newGate(t, 100)
		detail := make([]byte, 16<<10)
		c := l.cluster(t, 2, configure(func(cfg *core.Config) {
			cfg.MaxOutput = 1000
			cfg.OnState = func(s core.StateChange) {
				mu.Lock()
				defer mu.Unlock()
				changes = append(changes, s)
			}
		}), handle("fail", func(ctx context.Context, req []byte) ([]byte, error) {
			g.handle(ctx, req)
			return nil, &core.RemoteError{Code: 2000, Detail: detail}
		}))
		var calls []<-chan reply
		for range 100 {
			calls = append(calls, startCall(t.Context(), c.Conn(0, 1), "fail", nil))
			wait(t, g.began, "the handler begins")
		}
		if n, ok := c.net.(memoryNetwork); ok {
			n.n.Stall("node-1", "node-0")
			g.release()
			synctest.Wait()
			n.n.HealAll()
		} else {
			g.release()
		}
		for _, called := range calls {
			if r := wait(t, called, "a call that fails returns"); wantRemote(t, "a call that fails", r.err).Code != 2000 {
				t.Errorf("a call that fails returned %v", r.err)
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
