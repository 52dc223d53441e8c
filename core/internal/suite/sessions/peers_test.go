package sessions_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/coretest"
	"github.com/gridmux/gridmux/core/internal/lab"
	"github.com/gridmux/gridmux/transport"
)

// alias returns another address of a node for those whose census resolves
// aliases.
func alias(n core.Node, k int) core.Node {
	n.Addr = fmt.Sprintf("%s@%d", n.Addr, k)
	return n
}

// resolveAliases makes all addresses that alias makes of one lead to it.
func resolveAliases(to transport.Peer) string {
	addr, _, _ := strings.Cut(to.Addr, "@")
	return addr
}

// TestSetPeers adds, removes and adds again a node under traffic in both
// directions. Calls in progress end well, new ones say that the node is unknown,
// and the handle of an unknown node works as soon as it is a peer.
func TestSetPeers(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		g := lab.NewGate(t, 10)
		c := l.Cluster(t, 3, lab.Handle("block", g.Handle), coretest.Unstarted(), lab.Impatient())
		c.SetPeers(0, 1)
		for i := range 3 {
			c.Start(i)
		}
		conn := c.Conn(0, 2)
		if err := conn.WaitConnected(t.Context()); !errors.Is(err, core.ErrUnknownPeer) {
			t.Errorf("waiting for a node that is no peer returned %v", err)
		}
		_, err := conn.Request(t.Context(), "echo", nil, core.WaitForConnection())
		lab.WantFailure(t, "a call to a node that is no peer", err, core.ErrUnknownPeer, core.OutcomeNotSent)
		lab.WantText(t, "a call to a node that is no peer", err, `"node-2"`, `"node-0"`, "not among the peers")
		if s := conn.State(); s != core.StateIdle {
			t.Errorf("the state of a node that is no peer is %v, want idle", s)
		}

		for round := range 3 {
			c.SetPeers(0, 1, 2)
			if err := conn.WaitConnected(t.Context()); err != nil {
				t.Fatalf("round %d: waiting for a node that was added returned %v", round, err)
			}
			c.WaitConnected()
			if got := slices.Collect(c.Manager(0).Connections()); len(got) != 2 || conn.State() != core.StateConnected {
				t.Errorf("round %d: %d connections, and the handle of before is %v", round, len(got), conn.State())
			}
			there := lab.GoCall(t.Context(), conn, "block", lab.Pattern(round, 2*lab.PartSize))
			lab.Wait(t, g.Began, "a handler of the peer begins")
			back := lab.GoCall(t.Context(), c.Conn(2, 0), "block", lab.Pattern(round, 3*lab.PartSize))
			lab.Wait(t, g.Began, "a handler begins")

			c.SetPeers(0, 1)
			_, err = conn.Request(t.Context(), "echo", nil, core.WaitForConnection())
			lab.WantFailure(t, "a call to a node that was removed", err, core.ErrUnknownPeer, core.OutcomeNotSent)
			lab.WantText(t, "a call to a node that was removed", err, `"node-2"`)
			_, err = c.Conn(0, 2).Request(t.Context(), "echo", nil)
			lab.WantFailure(t, "a call to a node that was removed, by a new handle", err, core.ErrUnknownPeer, core.OutcomeNotSent)
			lab.Until(t, "the other side learns of it", func() bool {
				_, err := c.Conn(2, 0).Request(t.Context(), "echo", nil)
				if err != nil && !mayRepeat(err) {
					t.Fatalf("a call of a node that was removed returned outcome %q of %v", core.OutcomeOf(err), err)
				}
				return err != nil
			})
			lab.MustCall(t, c.Conn(0, 1), "echo", nil)
			lab.MustCall(t, c.Conn(1, 2), "echo", nil)
			if round == 1 {
				// It comes back while it still finishes what it had.
				c.SetPeers(0, 1, 2)
				if resp := lab.MustCall(t, conn, "echo", []byte("new"), core.WaitForConnection()); string(resp) != "new" {
					t.Errorf("a call beside the old connection returned %q", resp)
				}
			}
			for range 2 {
				g.Open <- struct{}{}
			}
			if r := lab.Wait(t, there, "a call to a removed node ends"); r.Err != nil || len(r.Resp) != 2*lab.PartSize {
				t.Errorf("round %d: a call in progress to a node that was removed returned %d bytes, %v", round, len(r.Resp), r.Err)
			}
			if r := lab.Wait(t, back, "a call of a removed node ends"); r.Err != nil || len(r.Resp) != 3*lab.PartSize {
				t.Errorf("round %d: a call in progress of a node that was removed returned %d bytes, %v", round, len(r.Resp), r.Err)
			}
		}
	})
}

// TestSetPeersChangesNothing holds that a list that is wrong, or comes too late,
// leaves everything as it was, and that one may come before Start.
func TestSetPeersChangesNothing(t *testing.T) {
	lab.InBubbles(t, func(t *testing.T, l *lab.Link) {
		g := lab.NewGate(t, 1)
		book, note := lab.Books(3)
		c := l.Cluster(t, 3, note, lab.Handle("block", g.Handle))
		for what, list := range map[string][]core.Node{
			"without name and address": {c.Node(1), {}},
			"without an address":       {{Name: "x"}},
			"with a name twice":        {c.Node(1), {Name: c.Node(1).Name, Addr: "elsewhere"}},
			"with an address twice":    {c.Node(1), {Name: "x", Addr: c.Node(1).Addr}},
			"with the own address":     {{Name: "x", Addr: c.Node(0).Addr}},
			"with a name too long":     {{Name: strings.Repeat("x", 256), Addr: "y"}},
			"with a name of no text":   {{Name: "\xff", Addr: "y"}},
		} {
			err := c.Manager(0).SetPeers(list)
			if err == nil {
				t.Errorf("a list %s was accepted", what)
			}
			lab.WantText(t, "a list "+what, err, "SetPeers: peers[")
		}
		synctest.Wait()
		if changes := book[0].Of(""); len(changes) != 4 {
			t.Errorf("lists that are wrong changed something: %v", changes)
		}
		lab.MustCall(t, c.Conn(0, 1), "echo", nil)
		lab.MustCall(t, c.Conn(0, 2), "echo", nil)

		// The same again, in another order and with the node itself.
		c.SetPeers(0, 2, 0, 1)
		synctest.Wait()
		if changes := book[0].Of(""); len(changes) != 4 {
			t.Errorf("a list of the same nodes changed something: %v", changes)
		}

		blocked := lab.GoCall(t.Context(), c.Conn(1, 0), "block", nil)
		lab.Wait(t, g.Began, "a handler begins")
		drained := lab.Go(func() error { return c.Manager(0).Shutdown(t.Context()) })
		synctest.Wait()
		if err := c.Manager(0).SetPeers(nil); !errors.Is(err, core.ErrDraining) {
			t.Errorf("SetPeers during Shutdown returned %v, want ErrDraining", err)
		}
		g.Release()
		if r := lab.Wait(t, blocked, "the call ends"); r.Err != nil {
			t.Errorf("the call that the drain waits for returned %v", r.Err)
		}
		if err := lab.Wait(t, drained, "Shutdown returns"); err != nil {
			t.Errorf("Shutdown returned %v", err)
		}
		if err := c.Manager(0).SetPeers(nil); !errors.Is(err, core.ErrClosed) {
			t.Errorf("SetPeers after Shutdown returned %v, want ErrClosed", err)
		}
	})
}

// TestRemovedNodeKeepsTrying has a node that was removed list the other still.
// Its attempts are refused with the reason, without end and without a flood in
// either log (D25, D11).
func TestRemovedNodeKeepsTrying(t *testing.T) {
	lab.InBubbles(t, func(t *testing.T, l *lab.Link) {
		const minutes = 10
		for who := range 2 {
			log := [2]*lab.LogBook{new(lab.LogBook), new(lab.LogBook)}
			c := l.Cluster(t, 2, coretest.WithConfig(func(i int, cfg *core.Config) { cfg.Logger = log[i].Logger() }))
			c.SetPeers(who)
			time.Sleep(minutes * time.Minute)
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			lab.WantText(t, "the node that was removed", c.Conn(1-who, who).WaitConnected(ctx), "is not among the peers of")
			if n := log[who].Lines(); n > 6+minutes {
				t.Errorf("the node that removed the other wrote %d lines in %d minutes:\n%.1000s", n, minutes, log[who])
			}
			if n := log[1-who].Lines(); n > 6 {
				t.Errorf("the node that was removed wrote %d lines in %d minutes:\n%.1000s", n, minutes, log[1-who])
			}
			began := time.Now()
			c.SetPeers(who, 1-who)
			c.WaitConnected()
			if d := time.Since(began); d > 3*time.Second {
				t.Errorf("it took %v until a node that was added again was connected", d)
			}
		}
	})
}

// TestSetPeersBeforeStart holds that the last list before Start is the one that
// counts.
func TestSetPeersBeforeStart(t *testing.T) {
	lab.InBubbles(t, func(t *testing.T, l *lab.Link) {
		all, counted := takeCensus(3)
		c := l.Cluster(t, 3, coretest.Unstarted(), counted)
		for i := range 3 {
			c.SetPeers(i)
			c.SetPeers(i, 0, 1, 2)
			c.SetPeers(i, []int{1, 0, 0}[i])
		}
		if s := c.Conn(0, 1).State(); s != core.StateIdle {
			t.Errorf("before Start the state is %v", s)
		}
		for i := range 3 {
			c.Start(i)
		}
		for _, pair := range [][2]int{{0, 1}, {1, 0}} {
			if err := c.Conn(pair[0], pair[1]).WaitConnected(t.Context()); err != nil {
				t.Errorf("a pair that is listed by both is not connected: %v", err)
			}
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := all[0].opened(); n != 1 {
			t.Errorf("node 0 has %d connections, want the one that both ends list", n)
		}
	})
}

// TestSetPeersAtRandom changes the peers of four nodes again and again, in some
// rounds faster than links come and go, under calls. In the end there are
// exactly the connections that both ends list.
func TestSetPeersAtRandom(t *testing.T) {
	for seed := range lab.Scale(12, 4, 100) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { setPeersAtRandom(t, uint64(seed)) })
		})
	}
}

func setPeersAtRandom(t *testing.T, seed uint64) {
	const nodes = 4
	r := rand.New(rand.NewPCG(seed, 64))
	all, counted := takeCensus(nodes)
	c := lab.InmemLink().Cluster(t, nodes, counted)
	c.Memory().SetLatency(time.Duration(r.IntN(3)) * 5 * time.Millisecond)
	for _, s := range all {
		s.resolveWith(resolveAliases)
	}
	pause := []time.Duration{time.Millisecond, 20 * time.Millisecond, time.Second}[r.IntN(3)]
	var calls sync.WaitGroup
	over := make(chan struct{})
	for from := range nodes {
		for i := range 2 {
			calls.Go(func() {
				for n := 0; ; n++ {
					select {
					case <-over:
						return
					case <-time.After(time.Millisecond + pause/10):
					}
					job := coretest.Job{Mode: coretest.Slow, For: time.Duration(n%20) * time.Millisecond, Request: n % 5 * 10_000}
					err := c.Ledger.Call(t.Context(), c.Conn(from, (from+1+n%3)%nodes), fmt.Sprintf("caller %d of node %d", i, from), coretest.LedgerHandle, job)
					if err != nil && !mayRepeat(err) {
						t.Errorf("a call while peers come and go returned outcome %q of %v", core.OutcomeOf(err), err)
					}
				}
			})
		}
	}
	var lists [nodes][nodes]bool
	for step := range 40 {
		i := r.IntN(nodes)
		if step < nodes {
			i = step // each at least once
		}
		var list []core.Node
		for p := range nodes {
			lists[i][p] = r.IntN(3) > 0
			if lists[i][p] {
				n := c.Node(p)
				// A change of address too, but seldom: a connection that is left
				// for each of them finishes what it has, at most four at once.
				if p != i && r.IntN(10) == 0 && pause == time.Second {
					n = alias(n, step)
				}
				list = append(list, n)
			}
		}
		r.Shuffle(len(list), func(a, b int) { list[a], list[b] = list[b], list[a] })
		if err := c.Manager(i).SetPeers(list); err != nil {
			t.Fatalf("SetPeers returned %v", err)
		}
		time.Sleep(time.Duration(r.Int64N(int64(2 * pause))))
	}
	close(over)
	calls.Wait()
	time.Sleep(10 * time.Second)
	synctest.Wait()
	for i := range nodes {
		want := 0
		for p := range nodes {
			if p == i {
				continue
			}
			both := lists[i][p] && lists[p][i]
			if both {
				want++
			}
			state := core.StateIdle
			switch {
			case both:
				state = core.StateConnected
			case lists[i][p]:
				state = core.StateConnecting
			}
			if got := c.Conn(i, p).State(); got != state {
				t.Errorf("node %d lists node %d: %v, the other way round: %v; its state is %v, want %v", i, p, lists[i][p], lists[p][i], got, state)
			}
			if _, err := c.Conn(i, p).Request(t.Context(), "echo", nil); (err == nil) != both {
				t.Errorf("a call from node %d to node %d returned %v; both list each other: %v", i, p, err, both)
			}
		}
		if n := all[i].opened(); n < want || n > want+nodes {
			t.Errorf("node %d has %d connections, want %d", i, n, want)
		}
	}
	c.CheckLedger()
}

// TestHandlersOfARemovedPeerCount removes a peer whose handlers still run and
// adds it again. It used to have all its places anew (T6, I8).
func TestHandlersOfARemovedPeerCount(t *testing.T) {
	lab.InBubbles(t, func(t *testing.T, l *lab.Link) {
		const limit = 3
		g := lab.NewGate(t, 10)
		c := l.Cluster(t, 2, lab.Handle("gate", g.Handle), lab.Configure(func(cfg *core.Config) { cfg.MaxHandlers = limit }))
		peers := []core.Node{c.Node(0)}
		for range limit {
			lab.GoCall(t.Context(), c.Conn(0, 1), "gate", nil)
			lab.Wait(t, g.Began, "a handler begins")
		}
		for _, list := range [][]core.Node{nil, peers} {
			if err := c.Manager(1).SetPeers(list); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(10 * time.Second) // there is a new connection
		// The handlers hold their places, and one that runs inline wants one too.
		_, err := c.Conn(0, 1).Request(t.Context(), "echo.inline", nil, core.WaitForConnection())
		lab.WantFailure(t, "a call while the handlers of before still run", err, core.ErrOverloaded, core.OutcomeRefused)
		g.Release()
		lab.Until(t, "the places are free", func() bool {
			_, err := c.Conn(0, 1).Request(t.Context(), "echo.inline", nil, core.WaitForConnection())
			return err == nil
		})
	})
}

// TestAttemptOutOfTimeIsNotTheCalls has every attempt to connect run out of its
// time. A call that finds no connection does not claim that its own time is over.
func TestAttemptOutOfTimeIsNotTheCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := lab.InmemLink().Cluster(t, 2)
		n := c.Memory()
		n.Partition("node-0", "node-1")
		time.Sleep(time.Minute)
		_, err := c.Conn(0, 1).Request(t.Context(), "echo", nil)
		lab.WantFailure(t, "a call without a connection", err, core.ErrDisconnected, core.OutcomeNotSent)
		lab.WantText(t, "a call without a connection", err, "attempt", "deadline exceeded")
		if errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the call claims that its time is over: %v", err)
		}
		if _, ok := errors.AsType[*transport.DialError](err); !ok {
			t.Errorf("the call does not say how the attempt failed: %v", err)
		}
	})
}
