package sessions_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/coretest"
	"github.com/gridmux/gridmux/core/internal/lab"
)

// TestSilenceAfterConnecting makes a link silent, in both directions or in one,
// so soon after it was made that no ping was sent yet, and later. Both ends
// notice within the documented time, their calls fail, each writes one line for
// each change of state, and when the network is well they find each other again
// (D6, D9, D11, F2).
func TestSilenceAfterConnecting(t *testing.T) {
	const bound = 15 * time.Second // 2 * KeepAlive + KeepAliveTimeout
	for _, after := range []time.Duration{0, time.Nanosecond, time.Second, 5 * time.Second, 15 * time.Second} {
		for _, how := range []string{"both directions", "towards node 1", "towards node 0"} {
			t.Run(fmt.Sprintf("%s, %v after connecting", how, after), func(t *testing.T) {
				lab.InBubbles(t, func(t *testing.T, l *lab.Link) {
					book, note := lab.Books(2)
					log := [2]*lab.LogBook{new(lab.LogBook), new(lab.LogBook)}
					all, counted := takeCensus(2)
					c := l.Cluster(t, 2, note, counted, coretest.WithConfig(func(i int, cfg *core.Config) { cfg.Logger = log[i].Logger() }))
					time.Sleep(after)
					if how != "towards node 0" {
						c.Stall(0, 1)
					}
					if how != "towards node 1" {
						c.Stall(1, 0)
					}
					for _, s := range all {
						s.refuseWith(blackHole)
					}
					silent := time.Now()
					var calls [2]<-chan error
					for i := range calls {
						calls[i] = lab.Go(func() error {
							return c.Ledger.Call(t.Context(), c.Conn(i, 1-i), "unheard", coretest.LedgerAppend, coretest.Job{})
						})
					}
					for i := range calls {
						lab.WantFailure(t, "a call on a silent link", lab.Wait(t, calls[i], "it ends"), core.ErrDisconnected, core.OutcomeMaybeRun)
					}
					synctest.Wait()
					for i := range 2 {
						if s := c.Conn(i, 1-i).State(); s != core.StateConnecting {
							t.Errorf("%v after the silence began the state of node %d is %v", time.Since(silent), i, s)
						}
						changes := book[i].Of("")
						if last := changes[len(changes)-1]; last.At.Sub(silent) > bound || last.Err == nil {
							t.Errorf("node %d noticed after %v, because of %v, want within %v and why", i, last.At.Sub(silent), last.Err, bound)
						}
					}
					time.Sleep(10 * time.Minute)
					for i := range 2 {
						if changes, lines := len(book[i].Of("")), log[i].Lines(); changes != 3 || lines > changes+10 {
							t.Errorf("node %d wrote %d lines in ten minutes for %d changes of state:\n%.500s", i, lines, changes, log[i])
						}
						if n := all[i].opened(); n != 0 {
							t.Errorf("node %d has %d connections open", i, n)
						}
						all[i].refuseWith(nil)
					}
					began := time.Now()
					c.WaitConnected()
					if d := time.Since(began); d > 8*time.Second {
						t.Errorf("it took %v to connect again, want at most the 5s of a dial that hangs and the longest pause", d)
					}
					time.Sleep(10 * time.Second)
					wantOneSession(t, c, all, "afterwards")
					c.CheckLedger()
				})
			})
		}
	}
}

// TestShortDeadlinesOnASilentLink holds that a call ends at its own deadline when
// that is earlier than anybody can know that the link is silent (D6, F2).
func TestShortDeadlinesOnASilentLink(t *testing.T) {
	lab.InBubbles(t, func(t *testing.T, l *lab.Link) {
		c := l.Cluster(t, 2)
		c.Silence(0, 1)
		began := time.Now()
		for i := range 10 {
			d := time.Duration(i+1) * 100 * time.Millisecond
			ctx, cancel := context.WithDeadline(t.Context(), began.Add(time.Duration(i+1)*100*time.Millisecond))
			err := c.Ledger.Call(ctx, c.Conn(0, 1), "hurried", coretest.LedgerAppend, coretest.Job{Request: i * 1000})
			cancel()
			if took := time.Since(began); took != d || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("a call returned %v after %v, want its deadline after %v", err, took, d)
			}
		}
		c.CheckLedger()
	})
}

// TestNodeThatIsNotStarted holds that a node has no connections, in neither
// direction, before its Start, though its transport listens already (D35).
func TestNodeThatIsNotStarted(t *testing.T) {
	lab.InBubbles(t, func(t *testing.T, l *lab.Link) {
		for who := range 2 {
			book, note := lab.Books(2)
			c := l.Cluster(t, 2, note, coretest.Unstarted())
			c.Start(1 - who)
			time.Sleep(time.Minute)
			if s, changes := c.Conn(who, 1-who).State(), book[who].Of(""); s != core.StateIdle || len(changes) != 0 {
				t.Errorf("before Start the state of a peer is %v, and there were changes %v", s, changes)
			}
			if s := c.Conn(1-who, who).State(); s != core.StateConnecting {
				t.Errorf("a node that was not started is %v for its peer", s)
			}
			_, err := c.Conn(1-who, who).Request(t.Context(), "echo", nil)
			lab.WantFailure(t, "a call to a node that was not started", err, core.ErrDisconnected, core.OutcomeNotSent)
			_, err = c.Conn(who, 1-who).Request(t.Context(), "echo", nil)
			lab.WantFailure(t, "a call of a node that was not started", err, core.ErrNotStarted, core.OutcomeNotSent)
			c.Start(who)
			c.WaitConnected()
			for i := range 2 {
				c.Stop(i)
			}
		}
	})
}

// TestCancelAtTheMomentOfTheEnd sweeps the cancellation of a call over the
// nanoseconds around the loss of its link, the restart of its peer and the end
// of its own node. It returns once, and what it says is true (F17).
func TestCancelAtTheMomentOfTheEnd(t *testing.T) {
	for name, end := range map[string]func(c *lab.Cluster){
		"the link is lost":        func(c *lab.Cluster) { c.Cut(0, 1) },
		"the peer is restarted":   func(c *lab.Cluster) { c.Restart(1) },
		"the peer is closed":      func(c *lab.Cluster) { c.Stop(1) },
		"the node is closed":      func(c *lab.Cluster) { c.Stop(0) },
		"the peer drains":         func(c *lab.Cluster) { go c.Manager(1).Shutdown(context.Background()) }, //nolint:usetesting // A context from outside the bubble would stop its clock.
		"the peer is removed":     func(c *lab.Cluster) { c.SetPeers(0) },
		"the peer takes out":      func(c *lab.Cluster) { c.SetPeers(1) },
		"the link is lost at two": func(c *lab.Cluster) { c.Cut(0, 1); c.Stop(0) },
	} {
		t.Run(name, func(t *testing.T) {
			for range lab.Scale(1, 1, 50) {
				for offset := time.Duration(-5); offset <= 5; offset++ {
					synctest.Test(t, func(t *testing.T) {
						const life = time.Second
						c := lab.InmemLink().Cluster(t, 2)
						var calls []<-chan error
						began := time.Now()
						for i := range 30 {
							ctx, cancel := context.WithCancel(t.Context())
							var opts []core.CallOption
							switch i % 3 {
							case 0:
								time.AfterFunc(life+offset, cancel)
							case 1:
								ctx, cancel = context.WithTimeout(ctx, life+offset)
							case 2:
								opts = append(opts, core.WithTimeout(life+offset))
							}
							job := coretest.Job{Mode: coretest.Block, Request: i % 2 * 2 * lab.PartSize}
							calls = append(calls, lab.Go(func() error {
								defer cancel()
								return c.Ledger.Call(ctx, c.Conn(0, 1), fmt.Sprint("caller ", i), coretest.LedgerHandle, job, opts...)
							}))
						}
						time.Sleep(life)
						end(c)
						for _, call := range calls {
							lab.Wait(t, call, "a call returns")
						}
						if d := time.Since(began); d > life+5 {
							t.Errorf("the last call returned after %v", d)
						}
						c.CheckLedger()
					})
				}
			}
		})
	}
}
