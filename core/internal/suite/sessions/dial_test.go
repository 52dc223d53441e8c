package sessions_test

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/coretest"
	"github.com/gridmux/gridmux/core/internal/lab"
	"github.com/gridmux/gridmux/transport/inmem"
)

// TestSimultaneousDials has both nodes of a pair dial at the same instant, over
// links of many latencies each way. One connection survives, both nodes have the
// same, neither ever changes it for another one, and no call that waits for it
// fails (F11).
func TestSimultaneousDials(t *testing.T) {
	for seed := range lab.Scale(1500, 200, 10_000) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { simultaneousDials(t, uint64(seed)) })
		})
	}
}

func simultaneousDials(t *testing.T, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 11))
	latency := func() time.Duration {
		return time.Duration(r.IntN(4)) * time.Duration(1+r.IntN(20_000)) * time.Microsecond
	}
	book, note := lab.Books(2)
	all, counted := takeCensus(2)
	c := lab.InmemLink().Cluster(t, 2, note, counted, coretest.Unstarted())
	n := c.Memory()
	n.SetPathLatency("node-0", "node-1", latency())
	n.SetPathLatency("node-1", "node-0", latency())
	if r.IntN(2) == 0 {
		n.SetAcceptDelay("node-0", latency())
		n.SetAcceptDelay("node-1", latency())
	}
	// Behind the partition both dial, and wait.
	n.Partition("node-0", "node-1")
	c.Start(0)
	c.Start(1)
	for len(all[0].dialled()) == 0 || len(all[1].dialled()) == 0 {
		time.Sleep(10 * time.Millisecond)
	}
	var calls sync.WaitGroup
	for i := range 4 {
		calls.Go(func() {
			for range 20 {
				if err := c.Ledger.Call(t.Context(), c.Conn(i%2, 1-i%2), fmt.Sprint("caller ", i), coretest.LedgerAppend, coretest.Job{}, core.WaitForConnection()); err != nil {
					t.Errorf("a call that waits for the connection returned %v", err)
				}
			}
		})
	}
	n.Heal("node-0", "node-1")
	calls.Wait()
	time.Sleep(10 * time.Second)
	for i, b := range book {
		if changes := b.Of(""); len(changes) != 2 || changes[1].To != core.StateConnected {
			t.Errorf("node %d was told %v, want that it got connected once", i, changes)
		}
	}
	wantOneSession(t, c, all, "after both dialled")
	if t.Failed() {
		t.Logf("dials: %d and %d", len(all[0].dialled()), len(all[1].dialled()))
	}
	c.CheckLedger()
}

// TestOneSideCannotDial has one node fail in every dial, at once or after a long
// wait. The other one's dials are enough for a link in both directions, the
// first time and after every loss (F12).
func TestOneSideCannotDial(t *testing.T) {
	for _, hindrance := range []struct {
		name   string
		refuse func(s *census)
	}{
		{"a wall", func(s *census) { s.refuseWith(wall) }},
		{"a black hole", func(s *census) { s.refuseWith(blackHole) }},
	} {
		for who := range 2 {
			t.Run(fmt.Sprintf("%s before node %d", hindrance.name, who), func(t *testing.T) {
				lab.InBubbles(t, func(t *testing.T, l *lab.Link) {
					all, counted := takeCensus(2)
					c := l.Cluster(t, 2, counted, coretest.Unstarted())
					hindrance.refuse(all[who])
					began := time.Now()
					c.Start(0)
					c.Start(1)
					for round := range 10 {
						c.WaitConnected()
						// The other one waits for a second, then dials with pauses of up to
						// three seconds.
						if d := time.Since(began); d > 1100*time.Millisecond {
							t.Errorf("round %d: it took %v until the node that can dial did", round, d)
						}
						wantOneSession(t, c, all, "with one node that dials")
						time.Sleep(11 * time.Second)
						began = time.Now()
						c.Cut(0, 1)
						synctest.Wait()
					}
					c.WaitConnected()
					c.CheckLedger()
				})
			})
		}
	}
}

// TestOneSideIsBehindAFirewall is the same with a network that lets no dial
// through to one node, which is restarted too (F12).
func TestOneSideIsBehindAFirewall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for who := range 2 {
			c := lab.InmemLink().Cluster(t, 3, coretest.Unstarted())
			n := c.Memory()
			for i := range 3 {
				if i != who {
					n.RefuseDials(c.Node(i).Name, c.Node(who).Name)
				}
				c.Start(i)
			}
			c.WaitConnected()
			for i := range 3 {
				c.Restart(i)
				began := time.Now()
				c.WaitConnected()
				if d := time.Since(began); d > 5*time.Second {
					t.Errorf("node %d is behind a firewall: %v after the restart of node %d until all are connected", who, d, i)
				}
			}
		}
	})
}

// TestOneWayPartition stops everything in one direction between two nodes, for
// times from moments to minutes. Both ends decide that the link is down, within
// the documented time, if it lasts so long; when it is over they have one
// connection, and no end keeps one that the other has not (F4).
func TestOneWayPartition(t *testing.T) {
	const bound = 15 * time.Second // 2 * KeepAlive + KeepAliveTimeout
	synctest.Test(t, func(t *testing.T) {
		book, note := lab.Books(2)
		all, counted := takeCensus(2)
		c := lab.InmemLink().Cluster(t, 2, note, counted)
		n := c.Memory()
		for round, outage := range []time.Duration{
			time.Millisecond, time.Second, 4 * time.Second, 9 * time.Second, 11 * time.Second, 14 * time.Second,
			16 * time.Second, 20 * time.Second, time.Minute, 5 * time.Minute,
		} {
			for from := range 2 {
				time.Sleep(11*time.Second + time.Duration(round)*777*time.Millisecond)
				before := [2]int{len(book[0].Of("")), len(book[1].Of(""))}
				n.PartitionOneWay(c.Node(from).Name, c.Node(1-from).Name)
				call := lab.Go(func() error {
					return c.Ledger.Call(t.Context(), c.Conn(from, 1-from), "cut off", coretest.LedgerAppend, coretest.Job{})
				})
				back := lab.Go(func() error {
					return c.Ledger.Call(t.Context(), c.Conn(1-from, from), "no answer", coretest.LedgerAppend, coretest.Job{})
				})
				time.Sleep(min(outage, bound+time.Millisecond))
				if outage > bound {
					for i := range 2 {
						if s := c.Conn(i, 1-i).State(); s != core.StateConnecting {
							t.Errorf("%v after the direction from node %d has gone dead the state of node %d is %v", bound, from, i, s)
						}
					}
					lab.WantFailure(t, "a call in the dead direction", lab.Wait(t, call, "it ends"), core.ErrDisconnected, core.OutcomeMaybeRun)
					lab.WantFailure(t, "a call whose answer is held", lab.Wait(t, back, "it ends"), core.ErrDisconnected, core.OutcomeMaybeRun)
					time.Sleep(outage - bound)
				}
				n.HealAll()
				began := time.Now()
				c.WaitConnected()
				if d := time.Since(began); d > 3*time.Second {
					t.Errorf("after an outage of %v it took %v to connect, want at most the longest pause of 3s", outage, d)
				}
				if outage < bound {
					held, answered := lab.Wait(t, call, "a call that was held up ends"), lab.Wait(t, back, "a call that was held up ends")
					if outage < 5*time.Second && (held != nil || answered != nil) {
						t.Errorf("after an outage of %v, within the time-out of a ping, calls returned %v and %v", outage, held, answered)
					}
				}
				time.Sleep(10 * time.Second)
				wantOneSession(t, c, all, fmt.Sprintf("after an outage of %v", outage))
				for i := range 2 {
					changes := len(book[i].Of("")) - before[i]
					if outage < 5*time.Second && changes != 0 || outage > bound && changes != 2 || changes > 2 {
						t.Errorf("in an outage of %v node %d was told %d changes", outage, i, changes)
					}
				}
			}
		}
		c.CheckLedger()
	})
}

// TestReconnectOverBadLinks breaks the link of two nodes at random moments, over
// a network that is slow and irregular, so that dials of both meet. In the end
// there is one connection (F11, I11).
func TestReconnectOverBadLinks(t *testing.T) {
	for seed := range lab.Scale(20, 4, 500) {
		synctest.Test(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(uint64(seed), 4))
			all, counted := takeCensus(2)
			c := lab.InmemLink().Cluster(t, 2, counted)
			n := c.Memory()
			n.SetConditions(inmem.Conditions{Latency: time.Duration(r.IntN(300)) * time.Millisecond, Jitter: 200 * time.Millisecond, Tail: 0.05, TailLatency: 500 * time.Millisecond})
			for range 30 {
				time.Sleep(time.Duration(r.IntN(3000)) * time.Millisecond)
				switch r.IntN(4) {
				case 0:
					n.Partition("node-0", "node-1")
				case 1:
					c.Stall(r.IntN(2), r.IntN(2))
				case 2:
					n.HealAll()
				default:
					c.Cut(0, 1)
				}
			}
			// A delay out of the tail may be longer than a node waits for a ping.
			n.SetConditions(inmem.Conditions{Latency: 50 * time.Millisecond})
			n.HealAll()
			time.Sleep(time.Minute)
			c.WaitConnected()
			wantOneSession(t, c, all, "after all faults")
			for i, s := range all {
				// One that is current, one that is contested, and dials of both.
				if s.most > 6 {
					t.Errorf("node %d had %d connections open at once", i, s.most)
				}
			}
			c.CheckLedger()
		})
		if t.Failed() {
			t.Fatalf("with seed %d", seed)
		}
	}
}
