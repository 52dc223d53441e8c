package sessions_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/coretest"
	"github.com/gridmux/gridmux/core/internal/lab"
	"github.com/gridmux/gridmux/transport"
)

// TestKeepAlive makes a link silent at many moments of the keep-alive's cycle.
// Both ends notice within the documented time, and connect anew (D6, F2).
func TestKeepAlive(t *testing.T) {
	t.Run("short time-out", func(t *testing.T) { testKeepAlive(t, 5*time.Second, 3*time.Second) })
	// The time-out of a ping that was answered used to count in full.
	t.Run("long time-out", func(t *testing.T) { testKeepAlive(t, time.Second, 10*time.Second) })
}

func testKeepAlive(t *testing.T, interval, timeout time.Duration) {
	lab.InBubbles(t, func(t *testing.T, l *lab.Link) {
		c := l.Cluster(t, 2, lab.Impatient(), lab.Configure(func(cfg *core.Config) { cfg.KeepAlive, cfg.KeepAliveTimeout = interval, timeout }))
		var longest time.Duration
		for step := range 40 {
			// An odd moment, with a sign of life in both directions.
			time.Sleep(time.Duration(step) * 777 * time.Millisecond)
			lab.MustCall(t, c.Conn(0, 1), "echo", nil)
			silent := time.Now()
			c.Silence(0, 1)
			var calls [2]<-chan time.Duration
			for i := range calls {
				calls[i] = lab.Go(func() time.Duration {
					_, err := c.Conn(i, 1-i).Request(t.Context(), "echo", nil)
					lab.WantFailure(t, "a call on the silent link", err, core.ErrDisconnected, core.OutcomeMaybeRun)
					return time.Since(silent)
				})
			}
			for i := range calls {
				took := lab.Wait(t, calls[i], "a call on the silent link returns")
				longest = max(longest, took)
				if took > 2*interval+timeout || took < timeout {
					t.Errorf("step %d: node %d noticed the silence after %v, want %v to %v", step, i, took, timeout, 2*interval+timeout)
				}
			}
			c.WaitConnected()
		}
		if longest < 2*interval+timeout-time.Second {
			t.Errorf("the longest time to notice was %v: the test does not come near the bound of %v", longest, 2*interval+timeout)
		}
	})
}

// TestKeepAliveLeavesHealthyLinksAlone holds that neither idling nor a handler
// that takes long, nor traffic in one direction only, costs a connection.
func TestKeepAliveLeavesHealthyLinksAlone(t *testing.T) {
	lab.InBubbles(t, func(t *testing.T, l *lab.Link) {
		book, note := lab.Books(2)
		c := l.Cluster(t, 2, note, lab.Configure(func(cfg *core.Config) { cfg.KeepAlive, cfg.KeepAliveTimeout = time.Second, time.Second }))
		if n := c.Memory(); n != nil {
			n.SetLatency(400 * time.Millisecond) // the round trip is just within the time-out
		}
		slow := lab.Go(func() error {
			return c.Ledger.Call(t.Context(), c.Conn(0, 1), "slow", coretest.LedgerHandle, coretest.Job{Mode: coretest.Slow, For: time.Hour})
		})
		for range 100 {
			c.Ledger.Call(t.Context(), c.Conn(1, 0), "other", coretest.LedgerHandle, coretest.Job{})
		}
		time.Sleep(time.Hour)
		if err := lab.Wait(t, slow, "a handler that takes an hour ends"); err != nil {
			t.Errorf("a handler that takes an hour lost its caller: %v", err)
		}
		synctest.Wait()
		for i, b := range book {
			if changes := b.Of(""); len(changes) != 2 {
				t.Errorf("node %d was told %v, want it to stay connected", i, changes)
			}
		}
	})
}

// watchedTransport counts what a node dials.
type watchedTransport struct {
	transport.Transport
	mu    sync.Mutex
	dials []time.Time
	made  []string // to whom a connection came about
	block bool     // until the context ends
}

func (w *watchedTransport) Dial(ctx context.Context, to transport.Peer) (transport.Conn, error) {
	w.mu.Lock()
	w.dials = append(w.dials, time.Now())
	block := w.block
	w.mu.Unlock()
	if block {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	tc, err := w.Transport.Dial(ctx, to)
	if err == nil {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.made = append(w.made, to.Name)
	}
	return tc, err
}

func (w *watchedTransport) seen() []time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.dials
}

// watchDials puts a watchedTransport in front of every node's transport.
func watchDials(n int) ([]*watchedTransport, coretest.Option) {
	all := make([]*watchedTransport, n)
	for i := range all {
		all[i] = new(watchedTransport)
	}
	return all, coretest.WithConfig(func(i int, cfg *core.Config) {
		all[i].Transport = cfg.Transport
		cfg.Transport = all[i]
	})
}

// TestDialSide holds that of every two nodes exactly one dials, once.
func TestDialSide(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 35
		watched, watch := watchDials(n)
		c := lab.InmemLink().Cluster(t, n, watch)
		by := map[[2]string]int{}
		for i, w := range watched {
			for _, to := range w.made {
				by[[2]string{c.Node(i).Name, to}]++
			}
			if len(w.made) < 5 {
				t.Errorf("node %d dials %d of %d peers: the work is unevenly spread", i, len(w.made), n-1)
			}
		}
		for i := range n {
			for j := range i {
				a, b := c.Node(i).Name, c.Node(j).Name
				if there, back := by[[2]string{a, b}], by[[2]string{b, a}]; there+back != 1 {
					t.Errorf("%s dialled %s %d times and was dialled %d times, want one connection", a, b, there, back)
				}
			}
		}
	})
}

// TestBackoff holds the pauses between attempts to their limits, and that a
// node is found soon after it comes (T24).
func TestBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		watched, watch := watchDials(2)
		c := lab.InmemLink().Cluster(t, 2, watch, coretest.Unstarted())
		dialler := 0
		c.Start(0)
		synctest.Wait()
		if len(watched[0].seen()) == 0 {
			t.Fatal("of node-0 and node-1 the first is supposed to dial")
		}
		const outage = 10 * time.Minute
		time.Sleep(outage)
		dials := watched[dialler].seen()
		// Pauses are 1.5 s on average once they are at their longest.
		if n := len(dials); n < 250 || n > 800 {
			t.Errorf("%d attempts in %v, want about 400", n, outage)
		}
		limit := 100 * time.Millisecond
		same := 0
		for i := 1; i < len(dials); i++ {
			pause := dials[i].Sub(dials[i-1])
			if pause > limit {
				t.Errorf("pause %d was %v, want at most %v", i, pause, limit)
			}
			if i > 1 && pause == dials[i-1].Sub(dials[i-2]) {
				same++
			}
			limit = min(2*limit, 3*time.Second)
		}
		if same > 5 {
			t.Errorf("%d pauses were as long as the one before: they are not random", same)
		}
		began := time.Now()
		c.Start(1)
		c.WaitConnected()
		if d := time.Since(began); d > 3*time.Second {
			t.Errorf("a node that came was found after %v, want at most the longest pause of 3s", d)
		}
	})
}

// TestReconnectTakesNoTimeAfterAStableSession holds that the pause begins anew
// after a session that lasted, and not after one that did not (F14).
func TestReconnectTakesNoTimeAfterAStableSession(t *testing.T) {
	lab.InBubbles(t, func(t *testing.T, l *lab.Link) {
		watched, watch := watchDials(2)
		c := l.Cluster(t, 2, watch)
		count := func() int { return len(watched[0].seen()) + len(watched[1].seen()) }
		for range 20 {
			time.Sleep(11 * time.Second)
			began := time.Now()
			c.Cut(0, 1)
			c.WaitConnected()
			if d := time.Since(began); d > 20*time.Millisecond {
				t.Errorf("a stable connection that broke was back after %v, want at once: within 20ms for the one peer", d)
			}
		}
		before, began := count(), time.Now()
		for time.Since(began) < 10*time.Minute {
			c.Cut(0, 1)
			c.WaitConnected()
			time.Sleep(50 * time.Millisecond)
		}
		if n := count() - before; n > 800 {
			t.Errorf("a link that breaks every 50ms was dialled %d times in 10m, want the pauses to grow", n)
		}
	})
}

// TestConnectTimeout holds that an attempt that hangs ends, in the dialling and
// in the handshake (F3).
func TestConnectTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		watched, watch := watchDials(2)
		for _, w := range watched {
			w.block = true
		}
		c := lab.InmemLink().Cluster(t, 2, watch, coretest.Unstarted(), lab.Configure(func(cfg *core.Config) { cfg.ConnectTimeout = 2 * time.Second }))
		c.Start(0)
		c.Start(1)
		time.Sleep(time.Minute)
		synctest.Wait()
		n := len(watched[0].seen()) + len(watched[1].seen())
		if n < 24 || n > 60 {
			t.Errorf("%d attempts of 2s in a minute, want about 17 of each node", n)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		err := c.Conn(0, 1).WaitConnected(ctx)
		lab.WantText(t, "an attempt that hangs", err, `"node-1"`, "1m0s", "attempt", "deadline exceeded")
	})
}
