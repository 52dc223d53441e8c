package sessions_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/coretest"
	"github.com/gridmux/gridmux/core/internal/lab"
)

// randomJob returns a job, a context to do it with and options.
func randomJob(ctx context.Context, r *rand.Rand) (coretest.Job, core.HandlerID, context.Context, []core.CallOption) {
	size := func() int {
		switch r.IntN(10) {
		case 0:
			return r.IntN(5 * lab.PartSize)
		case 1, 2, 3:
			return r.IntN(4 << 10)
		default:
			return r.IntN(200)
		}
	}
	job := coretest.Job{Request: size(), Response: size()}
	h := coretest.LedgerHandle
	switch r.IntN(8) {
	case 0:
		job.Mode, job.For = coretest.Slow, time.Duration(r.IntN(3000))*time.Microsecond
	case 1:
		job.Mode = coretest.Block
	case 2:
		job.Mode = coretest.Fail
	case 3:
		h = coretest.LedgerInline
	default:
		h = coretest.LedgerAppend
	}
	var opts []core.CallOption
	if r.IntN(2) == 0 {
		opts = append(opts, core.WaitForConnection())
	}
	life := time.Duration(1+r.IntN(4000)) * time.Microsecond
	switch r.IntN(3) {
	case 0:
		opts = append(opts, core.WithTimeout(life))
	case 1:
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, life)
		time.AfterFunc(time.Second, cancel)
	default:
		var cancel context.CancelFunc
		ctx, cancel = context.WithCancel(ctx)
		time.AfterFunc(life, cancel)
	}
	return job, h, ctx, opts
}

// TestKillAndReconnect breaks the link again and again under load, from either
// side, and holds everybody to the ledger (D5, D23, D24).
func TestKillAndReconnect(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		kills := lab.Scale(100, 30, 500)
		c := l.Cluster(t, 2, lab.Impatient())
		if n := c.Memory(); n != nil {
			n.SetLatency(100 * time.Microsecond)
		}
		var stop atomic.Bool
		var wg sync.WaitGroup
		defer stop.Store(true)
		progress := make(chan struct{}, 1)
		for from := range 2 {
			for i := range 4 {
				wg.Go(func() {
					r := rand.New(rand.NewPCG(uint64(from), uint64(i)))
					for !stop.Load() {
						job, h, ctx, opts := randomJob(t.Context(), r)
						err := c.Ledger.Call(ctx, c.Conn(from, 1-from), fmt.Sprintf("caller %d of node %d", i, from), h, job, opts...)
						if errors.Is(err, core.ErrDisconnected) {
							// Calls that fail at once would never let the time of a
							// bubble pass.
							_ = c.Conn(from, 1-from).WaitConnected(t.Context())
						}
						select {
						case progress <- struct{}{}:
						default:
							time.Sleep(10 * time.Microsecond) // let virtual time pass
						}
					}
				})
			}
		}
		r := rand.New(rand.NewPCG(1, 2))
		for range kills {
			for range r.IntN(20) {
				lab.Wait(t, progress, "calls return while the link is broken again and again")
			}
			c.Cut(0, 1)
			if _, err := c.Conn(0, 1).Request(t.Context(), "echo", nil, core.WaitForConnection(), core.WithTimeout(lab.Patience)); core.OutcomeOf(err) == core.OutcomeNotSent && err != nil {
				t.Fatalf("the nodes do not find each other again: %v", err)
			}
		}
		stop.Store(true)
		wg.Wait()
		n := c.Ledger.Counts()
		if n.OK == 0 || n.MaybeRun == 0 {
			t.Errorf("the load says little: %+v, want successes and losses among it", n)
		}
		t.Logf("over %s, %d kills: %+v", l.Name, kills, n)
		c.CheckLedger()
	})
}

// TestRestart restarts a node while calls to and from it are in progress. What
// was meant for its predecessor does not reach it (D30, F9).
func TestRestart(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		c := l.Cluster(t, 2, lab.Impatient())
		var wg sync.WaitGroup
		for round := range lab.Scale(20, 6, 200) {
			// The old and the new node use the same slots and generations.
			for i := range 10 {
				for from := range 2 {
					conn := c.Conn(from, 1-from)
					job := coretest.Job{Mode: coretest.Slow, For: time.Duration(i) * 300 * time.Microsecond, Request: 100 + i*lab.PartSize/4, Response: i * lab.PartSize / 3}
					wg.Go(func() {
						c.Ledger.Call(t.Context(), conn, fmt.Sprintf("node %d, round %d", from, round), coretest.LedgerAppend, job)
					})
				}
			}
			if err := c.Ledger.Call(t.Context(), c.Conn(0, 1), "pace", coretest.LedgerAppend, coretest.Job{}); err != nil {
				t.Fatalf("a call in round %d failed: %v", round, err)
			}
			c.Restart(round % 2)
			c.WaitConnected()
		}
		wg.Wait()
		c.CheckLedger()
	})
}

// TestNothingRunsAfterItFailed partitions two nodes, lets calls fail in every
// way that this brings about, heals, and finds that none runs that said it had
// not been sent (D31).
func TestNothingRunsAfterItFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := lab.InmemLink().Cluster(t, 2)
		n := c.Memory()
		for round := range lab.Scale(20, 5, 200) {
			n.Partition("node-0", "node-1")
			var wg sync.WaitGroup
			for i := range 50 {
				wg.Go(func() {
					time.Sleep(time.Duration(i) * time.Second / 2)
					conn := c.Conn(i%2, 1-i%2)
					c.Ledger.Call(t.Context(), conn, "cut off", coretest.LedgerAppend, coretest.Job{Request: i * 4 << 10}, core.WithTimeout(time.Second))
				})
			}
			wg.Wait()
			if n := c.Ledger.Counts(); n.OK != round*10 {
				t.Errorf("calls to a node that is cut off succeeded: %+v", n)
			}
			n.HealAll()
			c.WaitConnected()
			for range 10 {
				if err := c.Ledger.Call(t.Context(), c.Conn(0, 1), "healed", coretest.LedgerAppend, coretest.Job{}); err != nil {
					t.Errorf("a call after the heal failed: %v", err)
				}
			}
		}
		synctest.Wait()
		if n := c.Ledger.Counts(); n.NotSent == 0 || n.MaybeRun == 0 {
			t.Errorf("the partitions say little: %+v, want calls that were not sent and others that were", n)
		}
		c.CheckLedger()
	})
}

// TestChaos plays random faults among three nodes under load, seed by seed.
func TestChaos(t *testing.T) {
	for seed := range lab.Scale(40, 8, 800) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { chaos(t, uint64(seed)) })
		})
		if t.Failed() {
			return
		}
	}
}

func chaos(t *testing.T, seed uint64) {
	const nodes = 3
	random := func(n uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, n)) }
	r := random(0)
	c := lab.InmemLink().Cluster(t, nodes, lab.Configure(func(cfg *core.Config) {
		cfg.KeepAlive, cfg.KeepAliveTimeout, cfg.ConnectTimeout = 50*time.Millisecond, 50*time.Millisecond, 50*time.Millisecond
		cfg.MaxBackoff = 20 * time.Millisecond
		cfg.MaxHandlers = 10 + r.IntN(50)
		cfg.MaxOutput = 1000 + r.IntN(100_000)
		cfg.MaxMessage, cfg.MaxReassembly = 5*lab.PartSize, 8*lab.PartSize
		cfg.MaxCalls = 5 + r.IntN(50)
	}))
	n := c.Memory()
	n.SetLatency(time.Duration(r.IntN(3)) * 500 * time.Microsecond)
	var wg sync.WaitGroup
	for from := range nodes {
		for i := range 4 {
			wg.Go(func() {
				r := random(uint64(100 + from*10 + i))
				for range 60 {
					job, h, ctx, opts := randomJob(t.Context(), r)
					c.Ledger.Call(ctx, c.Conn(from, r.IntN(nodes)), fmt.Sprintf("caller %d of node %d", i, from), h, job, opts...)
					time.Sleep(time.Duration(r.IntN(2000)) * time.Microsecond)
				}
			})
		}
	}
	for range 30 {
		time.Sleep(time.Duration(r.IntN(10_000)) * time.Microsecond)
		a := r.IntN(nodes)
		b := (a + 1 + r.IntN(nodes-1)) % nodes
		from, to := c.Node(a).Name, c.Node(b).Name
		switch r.IntN(8) {
		case 0:
			n.Cut(from, to)
		case 1:
			n.Partition(from, to)
		case 2:
			n.PartitionOneWay(from, to)
		case 3:
			n.Stall(from, to)
		case 4:
			c.Restart(a)
		case 5:
			n.Crash(from) // the node dies without a word
			c.Restart(a)
		default:
			n.HealAll()
		}
	}
	wg.Wait()
	// When the faults are over, everybody finds everybody again.
	n.HealAll()
	began := time.Now()
	c.WaitConnected()
	if d := time.Since(began); d > 500*time.Millisecond {
		t.Errorf("after all faults the nodes took %v to connect", d)
	}
	for from := range nodes {
		for to := range nodes {
			if err := c.Ledger.Call(t.Context(), c.Conn(from, to), "at the end", coretest.LedgerAppend, coretest.Job{}); err != nil {
				t.Errorf("a call from node %d to node %d after all faults failed: %v", from, to, err)
			}
		}
	}
	synctest.Wait()
	c.CheckLedger()
}
