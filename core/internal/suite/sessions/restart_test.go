package sessions_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/coretest"
	"github.com/gridmux/gridmux/core/internal/lab"
)

// TestRestartedNodeHearsNothingOfItsPredecessor restarts a node while a handler
// of its peer works on a call of the old one. The new node makes another call,
// with the same id on the wire, and the old answer, small and large, does not
// reach it (D30, F9).
func TestRestartedNodeHearsNothingOfItsPredecessor(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		for name, size := range map[string]int{"small": 100, "large": 3 * lab.PartSize} {
			old, young := lab.NewGate(t, 10), lab.NewGate(t, 10)
			answer := func(g *lab.Gate, what byte) core.HandlerFunc {
				return func(ctx context.Context, req []byte) ([]byte, error) {
					_, err := g.Handle(ctx, req)
					return append(make([]byte, size), what), err
				}
			}
			c := l.Cluster(t, 2, lab.Handle("old", answer(old, 'o')), lab.Handle("young", answer(young, 'y')))
			var lost []<-chan lab.Reply
			for range 3 {
				lost = append(lost, lab.GoCall(t.Context(), c.Conn(0, 1), "old", []byte("of the predecessor")))
				lab.Wait(t, old.Began, "a handler of the old node's call begins")
			}
			c.Restart(0)
			c.WaitConnected()
			for _, call := range lost {
				r := lab.Wait(t, call, "a call of the old node ends")
				lab.WantFailure(t, "a call of the old node", r.Err, core.ErrDisconnected, core.OutcomeMaybeRun)
			}
			var calls []<-chan lab.Reply
			for range 3 {
				calls = append(calls, lab.GoCall(t.Context(), c.Conn(0, 1), "young", nil))
				lab.Wait(t, young.Began, "a handler of the new node's call begins")
			}
			old.Release()
			// Whatever the old answers are worth has arrived before this one.
			for range 10 {
				lab.MustCall(t, c.Conn(0, 1), "echo", nil)
			}
			for _, call := range calls {
				select {
				case r := <-call:
					t.Errorf("%s: a call of the new node returned %d bytes, %v, while its handler runs", name, len(r.Resp), r.Err)
				default:
				}
			}
			young.Release()
			for _, call := range calls {
				if r := lab.Wait(t, call, "a call of the new node ends"); r.Err != nil || len(r.Resp) != size+1 || r.Resp[size] != 'y' {
					t.Errorf("%s: a call of the new node returned %d bytes, %v, want its own answer", name, len(r.Resp), r.Err)
				}
			}
		}
	})
}

// TestPeerOfARestartedNode crashes a node under calls and starts it again. Its
// peer learns of every call in progress within a moment that it may have run,
// and reaches the new node within two seconds (F1, F9).
func TestPeerOfARestartedNode(t *testing.T) {
	lab.InBubbles(t, func(t *testing.T, l *lab.Link) {
		c := l.Cluster(t, 2)
		for round := range 10 {
			time.Sleep(time.Duration(round) * 2 * time.Second)
			var calls sync.WaitGroup
			var crashed time.Time
			for i := range 20 {
				calls.Go(func() {
					err := c.Ledger.Call(t.Context(), c.Conn(1, 0), fmt.Sprint("caller ", i), coretest.LedgerHandle, coretest.Job{Mode: coretest.Block})
					lab.WantFailure(t, "a call on a node that crashed", err, core.ErrDisconnected, core.OutcomeMaybeRun)
					if d := time.Since(crashed); d > 100*time.Millisecond {
						t.Errorf("a call on a node that crashed returned %v after that", d)
					}
				})
			}
			synctest.Wait()
			crashed = time.Now()
			c.Cut(0, 1)
			calls.Wait()
			c.Restart(0)
			if err := c.Ledger.Call(t.Context(), c.Conn(1, 0), "next", coretest.LedgerHandle, coretest.Job{}, core.WaitForConnection()); err != nil {
				t.Errorf("round %d: a call that waits for the new node returned %v", round, err)
			}
			if d := time.Since(crashed); d > 2*time.Second {
				t.Errorf("round %d: the new node was reached after %v, want at most 2s", round, d)
			}
		}
		c.CheckLedger()
	})
}

// TestSuccessorOfASilentNode takes a node from the network without a word and
// starts another of its name in its place. The session of the old one does not
// keep it out for longer than a ping is waited for, and calls on it end then
// (F2, F9).
func TestSuccessorOfASilentNode(t *testing.T) {
	lab.InBubbles(t, func(t *testing.T, l *lab.Link) {
		for who := range 2 {
			c := l.Cluster(t, 2)
			time.Sleep(time.Minute)
			c.Silence(0, 1)
			lost := lab.Go(func() error {
				return c.Ledger.Call(t.Context(), c.Conn(1-who, who), "lost", coretest.LedgerHandle, coretest.Job{})
			})
			synctest.Wait()
			began := time.Now()
			c.Restart(who)
			err := c.Ledger.Call(t.Context(), c.Conn(who, 1-who), "new", coretest.LedgerHandle, coretest.Job{}, core.WaitForConnection())
			if d := time.Since(began); err != nil || d > 6*time.Second {
				t.Errorf("the successor of node %d got through after %v with %v, want within the 2.5s of the ping and the second until it dials itself", who, d, err)
			}
			lab.WantFailure(t, "a call on the silent link", lab.Wait(t, lost, "it returns"), core.ErrDisconnected, core.OutcomeMaybeRun)
			c.CheckLedger()
		}
	})
}

// TestNothingRunsAfterTheHeal has a peer that does not read, under more calls
// than the link takes, all of which fail. What was not sent never runs, whenever
// the link is well again; after an outage that outlived the connection nothing
// runs at all (D31, I2).
func TestNothingRunsAfterTheHeal(t *testing.T) {
	for _, test := range []struct {
		name   string
		outage time.Duration
	}{
		{"on the same connection", 6 * time.Second},
		{"on another connection", 40 * time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				book, note := lab.Books(2)
				c := lab.InmemLink().Cluster(t, 2, note)
				began := time.Now()
				c.Stall(0, 1)
				var calls sync.WaitGroup
				for i := range 600 {
					calls.Go(func() {
						ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i%3)*time.Second+time.Second)
						defer cancel()
						var opts []core.CallOption
						if i%2 == 0 {
							ctx, opts = t.Context(), []core.CallOption{core.WithTimeout(4 * time.Second)}
						}
						err := c.Ledger.Call(ctx, c.Conn(0, 1), fmt.Sprint("caller ", i), coretest.LedgerAppend, coretest.Job{Request: 500 + i%40*1000}, opts...)
						if !errors.Is(err, context.DeadlineExceeded) {
							t.Errorf("a call to a peer that does not read returned %v", err)
						}
					})
				}
				calls.Wait()
				before := c.Ledger.Counts()
				if before.Started != 0 || before.NotSent < 500 || before.MaybeRun == 0 {
					t.Errorf("%+v: want that none of 600 calls ran, most were not sent, and the link had taken some", before)
				}
				time.Sleep(time.Until(began.Add(test.outage)))
				c.Memory().HealAll()
				c.WaitConnected()
				time.Sleep(time.Minute)
				after := c.Ledger.Counts()
				lost := len(book[0].Of("")) > 2
				switch {
				case lost != (test.outage > 15*time.Second):
					t.Errorf("after an outage of %v the connection was lost: %v", test.outage, lost)
				case lost && after.Started != 0:
					t.Errorf("after the heal %d calls of a connection that is gone were executed", after.Started)
				}
				if err := c.Ledger.Call(t.Context(), c.Conn(0, 1), "afterwards", coretest.LedgerAppend, coretest.Job{}); err != nil {
					t.Errorf("a call after the heal returned %v", err)
				}
				c.CheckLedger() // none of those that were not sent
			})
		})
	}
}

// TestTwoNodesOfOneName starts a second node with the name of one that lives, at
// another address, for minutes. It is refused and told why; the first one
// and its peer notice nothing but a line in the log a minute (F10).
func TestTwoNodesOfOneName(t *testing.T) {
	lab.InBubbles(t, func(t *testing.T, l *lab.Link) {
		minutes := lab.Scale(5, 2, 60)
		for who := range 2 { // of the two that have one name and the third, either may be the one that dials
			book, note := lab.Books(2)
			log := [2]*lab.LogBook{new(lab.LogBook), new(lab.LogBook)}
			c := l.Cluster(t, 2, note, coretest.WithConfig(func(i int, cfg *core.Config) { cfg.Logger = log[i].Logger() }))
			tr, addr := c.Transport(2, "double")
			var state lab.StateBook
			ownLog := new(lab.LogBook)
			double, err := core.NewManager(core.Config{
				Cluster: "coretest", Local: core.Node{Name: c.Node(who).Name, Addr: addr}, Peers: []core.Node{c.Node(1 - who)},
				Transport: tr, AllowInsecure: true, OnState: state.Note, Logger: ownLog.Logger(),
			})
			if err != nil {
				t.Fatal(err)
			}
			if err := double.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			stop := make(chan struct{})
			failed := make(chan error, 4)
			for i := range 4 {
				go func() {
					for {
						select {
						case <-stop:
							failed <- nil
							return
						case <-time.After(time.Second / 2):
						}
						if err := c.Ledger.Call(t.Context(), c.Conn(i%2, 1-i%2), fmt.Sprint("caller ", i), coretest.LedgerAppend, coretest.Job{Request: i * lab.PartSize / 2}); err != nil {
							failed <- err
							return
						}
					}
				}()
			}
			time.Sleep(time.Duration(minutes) * time.Minute)
			close(stop)
			for range 4 {
				if err := <-failed; err != nil {
					t.Errorf("a call of or to the first node failed: %v", err)
				}
			}
			for i, b := range book {
				if changes := b.Of(""); len(changes) != 2 {
					t.Errorf("node %d was told %v, want it to stay connected", i, changes)
				}
				if n := strings.Count(log[i].String(), "inbound connection refused"); i == 1-who && (n < 1 || n > minutes+1) || i == who && n > 0 {
					t.Errorf("node %d wrote %d lines about refused connections in %d minutes, want one a minute of the peer of both:\n%.1000s", i, n, minutes, log[i])
				}
			}
			if changes := state.Of(""); len(changes) != 1 || changes[0].To != core.StateConnecting {
				t.Errorf("the second node was told %v, want that it never got connected", changes)
			}
			if n := ownLog.Lines(); n > 3 {
				t.Errorf("the second node wrote %d lines in %d minutes:\n%.1000s", n, minutes, ownLog)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			lab.WantText(t, "the second node", double.WaitConnected(ctx), "connected already and alive", "another process has the same name")
			// When the first one goes, the second takes its place.
			c.Stop(who)
			if err := double.WaitConnected(t.Context()); err != nil {
				t.Errorf("when the first node had gone the second one's WaitConnected returned %v", err)
			}
			double.Close()
			c.CheckLedger()
		}
	})
}
