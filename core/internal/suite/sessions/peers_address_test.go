package sessions_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/coretest"
	"github.com/gridmux/gridmux/core/internal/lab"
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
func moveTo(c *lab.Cluster, k int) {
	c.T.Helper()
	if err := c.Manager(0).SetPeers([]core.Node{alias(c.Node(1), k)}); err != nil {
		c.T.Fatalf("SetPeers with another address returned %v", err)
	}
}

// TestSessionsThatFinishBesideANewOne changes the address of a node again and
// again while long calls are in progress in both directions. New calls go by the
// newest connection at once. The four before it finish what they have; those
// before them are given up (W65, I11).
func TestSessionsThatFinishBesideANewOne(t *testing.T) {
	lab.InBubbles(t, func(t *testing.T, l *lab.Link) {
		const moves, kept = 7, 4
		g := lab.NewGate(t, 2*moves)
		all, counted := aliases(2)
		c := l.Cluster(t, 2, counted, lab.Handle("block", g.Handle))
		var calls [moves][2]<-chan lab.Reply
		for k := range moves {
			for i := range 2 {
				calls[k][i] = lab.GoCall(t.Context(), c.Conn(i, 1-i), "block", lab.Pattern(k, (1+k)*lab.PartSize/2))
				lab.Wait(t, g.Began, "a handler begins")
			}
			began := time.Now()
			moveTo(c, k)
			for i := range 2 {
				lab.MustCall(t, c.Conn(i, 1-i), "echo", nil, core.WaitForConnection())
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
				r := lab.Wait(t, calls[k][i], "a call on the oldest connection ends")
				lab.WantFailure(t, fmt.Sprintf("a call of node %d on a connection that %d others came after", i, moves-k), r.Err, core.ErrDisconnected, core.OutcomeMaybeRun)
			}
		}
		g.Release()
		for k := moves - kept; k < moves; k++ {
			for i := range 2 {
				if r := lab.Wait(t, calls[k][i], "a call on an older connection ends"); r.Err != nil || len(r.Resp) != (1+k)*lab.PartSize/2 {
					t.Errorf("a call of node %d on the connection before move %d returned %d bytes, %v", i, k, len(r.Resp), r.Err)
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
	lab.InBubbles(t, func(t *testing.T, l *lab.Link) {
		all, counted := aliases(2)
		c := l.Cluster(t, 2, counted, coretest.Unstarted())
		node := func(k int) []core.Node {
			list := []core.Node{alias(c.Node(1), k)}
			for i := range 50 {
				list = append(list, core.Node{Name: fmt.Sprint("absent ", i), Addr: fmt.Sprint("absent", i, ":1")})
			}
			return list
		}
		unreachable := true
		c.SetPeers(1) // it does not dial itself
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
		c.SetPeers(1, 0)
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
	lab.InBubbles(t, func(t *testing.T, l *lab.Link) {
		all, counted := takeCensus(3)
		c := l.Cluster(t, 3, counted, coretest.Unstarted())
		right := []core.Node{c.Node(1), c.Node(2)}
		wrong := []core.Node{{Name: right[0].Name, Addr: right[1].Addr}, {Name: right[1].Name, Addr: right[0].Addr}}
		all[1].refuseWith(wall)
		all[2].refuseWith(wall)
		for _, i := range []int{1, 2} {
			c.SetPeers(i, 0)
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
				lab.WantText(t, "a node at another's address", err, fmt.Sprintf("%q was meant, this is %q", c.Node(i).Name, c.Node(3-i).Name))
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
				lab.MustCall(t, c.Conn(0, i), "echo", nil)
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
	lab.InBubbles(t, func(t *testing.T, l *lab.Link) {
		for who := range 2 { // either node may be the one that dials first
			g := lab.NewGate(t, 1)
			c := l.Cluster(t, 2, lab.Handle("block", g.Handle), lab.Handle("where", func(context.Context, []byte) ([]byte, error) { return []byte("old"), nil }))
			tr, addr := c.Transport(2, "moved")
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
			if n := c.Memory(); n != nil {
				// The new one is further away.
				n.SetPathLatency(c.Node(who).Name, "moved", 50*time.Millisecond)
			}
			time.Sleep(time.Minute)
			conn := c.Conn(who, 1-who)
			blocked := lab.GoCall(t.Context(), conn, "block", []byte("x"))
			lab.Wait(t, g.Began, "a handler begins")
			if err := c.Manager(who).SetPeers([]core.Node{moved}); err != nil {
				t.Fatal(err)
			}
			for range 1000 {
				if resp := lab.MustCall(t, conn, "where", nil, core.WaitForConnection()); string(resp) != "new" {
					t.Fatalf("node %d moves: after SetPeers with its new address a call went to the %s node", 1-who, resp)
				}
				time.Sleep(10 * time.Millisecond)
			}
			g.Release()
			if r := lab.Wait(t, blocked, "the call in progress ends"); r.Err != nil {
				t.Errorf("node %d moves: the call in progress returned %v", 1-who, r.Err)
			}
			young.Close()
			for i := range 2 {
				c.Stop(i)
			}
		}
	})
}
