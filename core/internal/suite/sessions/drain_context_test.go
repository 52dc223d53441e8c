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

// drainKey is a key of a value in a derived context.
type drainKey struct{}

// untilDraining is a handler that ends when it is told that a side drains. Its
// request says how it derives the context that it asks.
func untilDraining(began chan<- struct{}) core.HandlerFunc {
	return func(ctx context.Context, req []byte) ([]byte, error) {
		derived, cancel := context.WithCancel(ctx)
		defer cancel()
		switch string(req) {
		case "value":
			derived = context.WithValue(ctx, drainKey{}, 1)
		case "timeout":
			derived, cancel = context.WithTimeout(derived, time.Hour)
			defer cancel()
		case "plain":
			derived = ctx
		}
		began <- struct{}{}
		select {
		case <-core.Draining(derived):
			return []byte("drained"), ctx.Err()
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// TestDrainingTellsHandlers holds that handlers on both sides of a link learn
// that one of them drains, in the contexts that they derive and on the loopback
// too, in time to answer; those of other links are left alone (F19).
func TestDrainingTellsHandlers(t *testing.T) {
	contexts := []string{"plain", "value", "cancel", "timeout"}
	for _, test := range []struct {
		name     string
		drain    func(c *lab.Cluster) error
		loopback bool // node 1's own calls are told too
	}{
		{"Shutdown", func(c *lab.Cluster) error { return c.Manager(1).Shutdown(context.Background()) }, true}, //nolint:usetesting // A context from outside the bubble would stop its clock.
		{"SetPeers of node 1", func(c *lab.Cluster) error { return c.Manager(1).SetPeers([]core.Node{c.Node(2)}) }, false},
		{"SetPeers of node 0", func(c *lab.Cluster) error { return c.Manager(0).SetPeers([]core.Node{c.Node(2)}) }, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
				began := make(chan struct{}, 20)
				c := l.Cluster(t, 3, lab.Handle("wait", untilDraining(began)))
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				type call struct {
					what string
					done <-chan lab.Reply
				}
				var told, others []call
				begin := func(from, to int, how string) call {
					done := lab.GoCall(ctx, c.Conn(from, to), "wait", []byte(how))
					lab.Wait(t, began, "a handler begins")
					return call{fmt.Sprintf("the call from node %d to node %d, context %q", from, to, how), done}
				}
				for _, how := range contexts {
					told = append(told, begin(0, 1, how), begin(1, 0, how))
				}
				if self := begin(1, 1, "cancel"); test.loopback {
					told = append(told, self)
				} else {
					others = append(others, self)
				}
				others = append(others, begin(0, 2, "plain"), begin(2, 0, "plain"), begin(0, 0, "plain"))
				drained := lab.Go(func() error { return test.drain(c) })
				for _, x := range told {
					if r := lab.Wait(t, x.done, x.what+" ends"); r.Err != nil || string(r.Resp) != "drained" {
						t.Errorf("%s returned %q, %v, want what the handler does when it is told of the drain", x.what, r.Resp, r.Err)
					}
				}
				if err := lab.Wait(t, drained, test.name+" returns"); err != nil {
					t.Errorf("%s returned %v", test.name, err)
				}
				for _, x := range others {
					select {
					case r := <-x.done:
						t.Errorf("%s returned %q, %v, though neither side of it drains", x.what, r.Resp, r.Err)
					default:
					}
				}
				cancel()
				for _, x := range others {
					lab.Wait(t, x.done, x.what+" ends")
				}
			})
		})
	}
	if core.Draining(t.Context()) != nil {
		t.Error("outside a handler there is something to drain")
	}
}

// TestDrainingWhenAHandlerBegins holds that a handler of the node itself that
// begins while the node drains, called by one that still runs, is told at once
// (F19).
func TestDrainingWhenAHandlerBegins(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		var c *lab.Cluster
		g := lab.NewGate(t, 1)
		began := make(chan struct{}, 1)
		c = l.Cluster(t, 2, lab.Handle("wait", untilDraining(began)), lab.Handle("nested", func(ctx context.Context, req []byte) ([]byte, error) {
			if _, err := g.Handle(ctx, req); err != nil {
				return nil, err
			}
			return c.Conn(1, 1).Request(ctx, "wait", req)
		}))
		called := lab.GoCall(t.Context(), c.Conn(0, 1), "nested", []byte("plain"))
		inside := lab.Wait(t, g.Began, "the handler begins")
		done := lab.Go(func() error { return c.Manager(1).Shutdown(t.Context()) })
		lab.Wait(t, core.Draining(inside), "the handler is told of the drain")
		g.Release()
		if r := lab.Wait(t, called, "the call ends"); r.Err != nil || string(r.Resp) != "drained" {
			t.Errorf("the call returned %q, %v, want that the nested handler was told of the drain", r.Resp, r.Err)
		}
		if err := lab.Wait(t, done, "Shutdown returns"); err != nil {
			t.Errorf("Shutdown returned %v", err)
		}
	})
}

// TestRollingRestart restarts five nodes one after the other, each by Shutdown
// and a new Manager of the same name, under 1 000 calls a second among all of
// them. No call fails whose caller repeats what was not sent or was refused, and
// none is in doubt (F19, F9).
func TestRollingRestart(t *testing.T) {
	lab.InBubbles(t, func(t *testing.T, l *lab.Link) {
		const nodes, perSecond = 5, 1000
		c := l.Cluster(t, nodes)
		if n := c.Memory(); n != nil {
			n.SetLatency(200 * time.Microsecond)
		}
		stop := make(chan struct{})
		done := lab.Go(func() int { return steadyLoad(t, c, perSecond, stop) })
		time.Sleep(100 * time.Millisecond)
		for round := range lab.Scale(1, 1, 20) {
			for i := range nodes {
				if err := c.Manager(i).Shutdown(t.Context()); err != nil {
					t.Errorf("round %d: Shutdown of node %d returned %v", round, i, err)
				}
				time.Sleep(100 * time.Millisecond) // a process starts
				c.Restart(i)
				c.WaitConnected()
				time.Sleep(100 * time.Millisecond)
			}
		}
		close(stop)
		n := <-done
		counts := c.Ledger.Counts()
		t.Logf("%d calls, %d attempts: %+v", n, counts.Calls, counts)
		if counts.OK != n || n < perSecond || counts.NotSent+counts.Refused == 0 {
			t.Errorf("of %d calls %d succeeded in %d attempts, want all, and that some had to be repeated", n, counts.OK, counts.Calls)
		}
		wantNoLoss(c)
	})
}

// steadyLoad makes calls at a rate until stop, from and to all nodes in turn, and
// returns how many. A call is repeated for up to ten seconds while its handler
// has not run.
func steadyLoad(t *testing.T, c *lab.Cluster, perSecond int, stop <-chan struct{}) (n int) {
	calls := make(chan struct{}, 1<<20)
	tick := time.NewTicker(time.Second / time.Duration(perSecond))
	defer tick.Stop()
	for ; ; n++ {
		select {
		case <-tick.C:
		case <-stop:
			for range n {
				<-calls
			}
			return n
		}
		from, to := n%c.Len(), (n+1+n/c.Len()%(c.Len()-1))%c.Len()
		job := coretest.Job{Mode: coretest.Slow, For: time.Duration(n%10) * time.Millisecond, Request: n % 50 * 1000}
		go func() {
			defer func() { calls <- struct{}{} }()
			began := time.Now()
			for {
				err := c.Ledger.Call(t.Context(), c.Conn(from, to), fmt.Sprint("node ", from), coretest.LedgerHandle, job)
				switch {
				case err == nil:
					return
				case !mayRepeat(err) || time.Since(began) > 10*time.Second:
					t.Errorf("a call from node %d to node %d returned outcome %q of %v, after %v", from, to, core.OutcomeOf(err), err, time.Since(began))
					return
				}
				time.Sleep(10 * time.Millisecond)
			}
		}()
	}
}

// TestShutdownWhileReconnecting drains a node while its links are down and being
// dialled: there is nothing to wait for (F35).
func TestShutdownWhileReconnecting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := lab.InmemLink().Cluster(t, 3)
		n := c.Memory()
		for i := range 3 {
			n.Partition(c.Node(i).Name, c.Node((i+1)%3).Name)
			c.Cut(i, (i+1)%3)
		}
		time.Sleep(7 * time.Second)
		for i := range 3 {
			began := time.Now()
			if err := c.Manager(i).Shutdown(t.Context()); err != nil || time.Since(began) > 0 {
				t.Errorf("Shutdown of node %d without links returned %v after %v", i, err, time.Since(began))
			}
		}
	})
}

// TestDrainRefusesContextsOfOthers holds that only a handler of the node itself, and only
// while it runs, makes calls on a node that drains: with the context of a handler of
// another Manager in the process, or one that was kept, calls used to go on for ever, and
// Shutdown with them.
func TestDrainRefusesContextsOfOthers(t *testing.T) {
	lab.InBubbles(t, func(t *testing.T, l *lab.Link) {
		g := lab.NewGate(t, 1)
		inner := l.Cluster(t, 2, lab.Handle("block", g.Handle))
		kept := make(chan context.Context, 2)
		stay := make(chan struct{})
		keep := lab.Handle("keep", func(ctx context.Context, req []byte) ([]byte, error) {
			ctx.Done() // so that it has a state of its own
			kept <- context.WithoutCancel(ctx)
			if string(req) == "stay" {
				<-stay
			}
			return nil, nil
		})
		outer := l.Cluster(t, 2, keep)
		of := l.Cluster(t, 2, keep)
		other := lab.GoCall(t.Context(), outer.Conn(1, 0), "keep", []byte("stay"))
		othersContext := lab.Wait(t, kept, "a handler of another Manager runs")
		lab.MustCall(t, of.Conn(1, 0), "keep", nil)
		returned := lab.Wait(t, kept, "a handler has returned")
		own := lab.GoCall(t.Context(), of.Conn(1, 0), "keep", []byte("stay"))
		running := lab.Wait(t, kept, "a handler runs")

		blocked := lab.GoCall(t.Context(), inner.Conn(0, 1), "block", nil)
		lab.Wait(t, g.Began, "a call is in progress")
		drained := lab.Go(func() error { return inner.Manager(0).Shutdown(t.Context()) })
		ofDrained := lab.Go(func() error { return of.Manager(0).Shutdown(t.Context()) })
		synctest.Wait()
		for what, call := range map[string]struct {
			conn *core.Connection
			ctx  context.Context
			ok   bool
		}{
			"of a handler of another Manager":      {inner.Conn(0, 1), othersContext, false},
			"of a handler that has returned":       {of.Conn(0, 1), returned, false},
			"of a handler of the node, which runs": {of.Conn(0, 1), running, true},
		} {
			_, err := call.conn.Request(call.ctx, "echo", nil)
			if call.ok && err != nil || !call.ok && (!errors.Is(err, core.ErrDraining) || core.OutcomeOf(err) != core.OutcomeNotSent) {
				t.Errorf("a call with the context %s: %v", what, err)
			}
		}
		g.Release()
		close(stay)
		for _, done := range []<-chan error{drained, ofDrained} {
			if err := lab.Wait(t, done, "Shutdown returns"); err != nil {
				t.Errorf("Shutdown returned %v", err)
			}
		}
		for _, call := range []<-chan lab.Reply{other, own, blocked} {
			lab.Wait(t, call, "a call ends")
		}
	})
}
