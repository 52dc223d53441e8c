package suite_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/coretest"
	"github.com/gridmux/gridmux/transport"
)

// aliases makes all nodes resolve the addresses that alias makes, and returns
// the census of each.
func aliases(n int) ([]*census, coretest.Option) {
	all, counted := takeCensus(n)
	for _, s := range all {
		s.resolveWith(resolveAliases)
	}
	return all, counted
}

// move gives node 0 another address for node 1.
func (c *cluster) move(k int) {
	c.t.Helper()
	if err := c.Manager(0).SetPeers([]core.Node{alias(c.Node(1), k)}); err != nil {
		c.t.Fatalf("SetPeers with another address returned %v", err)
	}
}

// TestSessionsThatFinishBesideANewOne changes the address of a node again and
// again while long calls are in progress in both directions. New calls go by the
// newest connection at once. The four before it finish what they have; those
// before them are given up (W65, I11).
func TestSessionsThatFinishBesideANewOne(t *testing.T) {
	inBubbles(t, func(t *testing.T, l *link) {
		const moves, kept = 7, 4
		g := newGate(t, 2*moves)
		all, counted := aliases(2)
		c := l.cluster(t, 2, counted, handle("block", g.handle))
		var calls [moves][2]<-chan reply
		for k := range moves {
			for i := range 2 {
				calls[k][i] = startCall(t.Context(), c.Conn(i, 1-i), "block", pattern(k, (1+k)*part/2))
				wait(t, g.began, "a handler begins")
			}
			began := time.Now()
			c.move(k)
			for i := range 2 {
				mustCall(t, c.Conn(i, 1-i), "echo", nil, core.WaitForConnection())
			}
			if d := time.Since(began); d > 20*time.Millisecond {
				t.Errorf("move %d: it took %v until calls went to the new address", k, d)
			}
			synctest.Wait()
			if n, want := all[0].opened(), min(k+2, kept+1); n != want {
				t.Errorf("after move %d node 0 has %d connections, want %d", k, n, want)
			}
		}
		for k := range moves - kept {
			for i := range 2 {
				r := wait(t, calls[k][i], "a call on the oldest connection ends")
				wantFailure(t, fmt.Sprintf("a call of node %d on a connection that %d others came after", i, moves-k), r.err, core.ErrDisconnected, core.OutcomeMaybeRun)
			}
		}
		g.release()
		for k := moves - kept; k < moves; k++ {
			for i := range 2 {
				if r := wait(t, calls[k][i], "a call on an older connection ends"); r.err != nil || len(r.resp) != (1+k)*part/2 {
					t.Errorf("a call of node %d on the connection before move %d returned %d bytes, %v", i, k, len(r.resp), r.err)
				}
			}
		}
		synctest.Wait()
		wantOneSession(t, c, all, "when all is done")
	})
}

// TestNewAddressIsDialledAtOnce changes the address of a node that cannot be
// reached, and of one that can, among many peers: neither the pause that has
// grown nor the spread over the peers holds the dial up.
func TestNewAddressIsDialledAtOnce(t *testing.T) {
	inBubbles(t, func(t *testing.T, l *link) {
		all, counted := aliases(2)
		c := l.cluster(t, 2, counted, coretest.Unstarted())
		node := func(k int) []core.Node {
			list := []core.Node{alias(c.Node(1), k)}
			for i := range 50 {
				list = append(list, core.Node{Name: fmt.Sprint("absent ", i), Addr: fmt.Sprint("absent", i, ":1")})
			}
			return list
		}
		unreachable := true
		c.setPeers(1) // it does not dial itself
		all[0].refuseWith(func(_ context.Context, to transport.Peer) error {
			if unreachable && to.Addr == node(0)[0].Addr {
				return errWall
			}
			return nil
		})
		if err := c.Manager(0).SetPeers(node(0)); err != nil {
			t.Fatal(err)
		}
		c.Start(0)
		c.Start(1)
		time.Sleep(time.Minute)
		all[1].refuseWith(wall)
		c.setPeers(1, 0)
		for k := range 10 {
			began := time.Now()
			if err := c.Manager(0).SetPeers(node(k + 1)); err != nil {
				t.Fatal(err)
			}
			if err := c.Conn(0, 1).WaitConnected(t.Context()); err != nil {
				t.Errorf("the node is not reached at its new address: %v", err)
			}
			if d := time.Since(began); d > 10*time.Millisecond {
				t.Errorf("change %d: the new address was dialled after %v", k, d)
			}
			time.Sleep(time.Duration(k) * 3 * time.Second)
		}
	})
}

// TestSwappedAddresses corrects a list in which two nodes have each other's
// address. Until then the error says who answers there.
func TestSwappedAddresses(t *testing.T) {
	inBubbles(t, func(t *testing.T, l *link) {
		all, counted := takeCensus(3)
		c := l.cluster(t, 3, counted, coretest.Unstarted())
		right := []core.Node{c.Node(1), c.Node(2)}
		wrong := []core.Node{{Name: right[0].Name, Addr: right[1].Addr}, {Name: right[1].Name, Addr: right[0].Addr}}
		all[1].refuseWith(wall)
		all[2].refuseWith(wall)
		for _, i := range []int{1, 2} {
			c.setPeers(i, 0)
		}
		if err := c.Manager(0).SetPeers(wrong); err != nil {
			t.Fatalf("SetPeers returned %v", err)
		}
		for i := range 3 {
			c.Start(i)
		}
		for range 3 {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			for i := 1; i < 3; i++ {
				err := c.Conn(0, i).WaitConnected(ctx)
				wantText(t, "a node at another's address", err, fmt.Sprintf("%q was meant, this is %q", c.Node(i).Name, c.Node(3-i).Name))
			}
			cancel()
			if err := c.Manager(0).SetPeers(right); err != nil {
				t.Fatalf("SetPeers with two addresses swapped returned %v", err)
			}
			began := time.Now()
			for i := 1; i < 3; i++ {
				if err := c.Conn(0, i).WaitConnected(t.Context()); err != nil {
					t.Errorf("after the swap node %d is not reached: %v", i, err)
				}
				if got := c.Manager(0).Connection(right[i-1].Addr).Peer(); got != c.Node(i).Name {
					t.Errorf("the address of node %d leads to %q", i, got)
				}
				mustCall(t, c.Conn(0, i), "echo", nil)
			}
			if d := time.Since(began); d > 40*time.Millisecond {
				t.Errorf("after the swap it took %v to connect", d)
			}
			if err := c.Manager(0).SetPeers(wrong); err != nil {
				t.Fatalf("SetPeers returned %v", err)
			}
		}
	})
}

// TestNodeThatMoves has a node begin again at another address, under calls, while
// its predecessor still finishes what it has, alive and dialling too. What was in
// progress ends well there; whatever comes after the change goes to the new one.
func TestNodeThatMoves(t *testing.T) {
	inBubbles(t, func(t *testing.T, l *link) {
		for who := range 2 { // either node may be the one that dials first
			g := newGate(t, 1)
			c := l.cluster(t, 2, handle("block", g.handle), handle("where", func(context.Context, []byte) ([]byte, error) { return []byte("old"), nil }))
			tr, addr := c.net.node(2, "moved")
			moved := core.Node{Name: c.Node(1 - who).Name, Addr: addr}
			young, err := core.NewManager(core.Config{Cluster: "coretest", Local: moved, Peers: []core.Node{c.Node(who)}, Transport: tr, AllowInsecure: true})
			if err != nil {
				t.Fatal(err)
			}
			if err := young.Handle("where", func(context.Context, []byte) ([]byte, error) { return []byte("new"), nil }); err != nil {
				t.Fatal(err)
			}
			if err := young.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			if n, ok := c.net.(memoryNetwork); ok {
				// The new one is further away.
				n.n.SetPathLatency(c.Node(who).Name, "moved", 50*time.Millisecond)
			}
			time.Sleep(time.Minute)
			conn := c.Conn(who, 1-who)
			blocked := startCall(t.Context(), conn, "block", []byte("x"))
			wait(t, g.began, "a handler begins")
			if err := c.Manager(who).SetPeers([]core.Node{moved}); err != nil {
				t.Fatal(err)
			}
			for range 1000 {
				if resp := mustCall(t, conn, "where", nil, core.WaitForConnection()); string(resp) != "new" {
					t.Fatalf("node %d moves: after SetPeers with its new address a call went to the %s node", 1-who, resp)
				}
				time.Sleep(10 * time.Millisecond)
			}
			g.release()
			if r := wait(t, blocked, "the call in progress ends"); r.err != nil {
				t.Errorf("node %d moves: the call in progress returned %v", 1-who, r.err)
			}
			young.Close()
			for i := range 2 {
				c.Stop(i)
			}
		}
	})
}
