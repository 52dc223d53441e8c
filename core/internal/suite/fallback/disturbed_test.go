package fallback_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/internal/lab"
)

// moveBy makes a pair that is connected over tcp and about to move to udp, because
// that node has just dialled. From now on it is under load.
func (p *pair) moveBy(node int) *load {
	p.t.Helper()
	p.block(p.udp)
	p.start()
	p.want("tcp", "with udp blocked")
	if node == other {
		p.udp.RefuseDials(p.name(dialler), p.name(other))
	}
	p.heal(p.udp)
	return p.loadWhenDialled(node)
}

// loadWhenDialled waits until a node dials over udp, and begins to make calls.
func (p *pair) loadWhenDialled(node int) *load {
	p.t.Helper()
	began := make(chan struct{}, 1)
	p.udps.whenDialled(func(i int) {
		if i == node {
			select {
			case began <- struct{}{}:
			default:
			}
		}
	})
	defer p.udps.whenDialled(nil)
	timer := time.NewTimer(2 * time.Hour)
	defer timer.Stop()
	select {
	case <-began:
	case <-timer.C:
		p.t.Fatal("nobody has tried to move for hours")
	}
	return p.begin()
}

// wantPeace holds that the two nodes are connected again, over one and the same
// transport and by one link, and that both can call.
func (p *pair) wantPeace(when string) {
	p.t.Helper()
	p.wait()
	time.Sleep(2 * time.Minute)
	if links := p.links(); links != [2]int{1, 1} {
		time.Sleep(40 * time.Second) // they may just have moved, and leave the old one in half of that
	}
	p.want(p.stats(dialler).Transport, when)
	if links := p.links(); links != [2]int{1, 1} {
		p.t.Errorf("%s: the nodes have %v links", when, links)
	}
}

// links returns how many links each node has.
func (p *pair) links() (n [2]int) {
	synctest.Wait()
	for i := range n {
		n[i] = p.udps.opened(i) + p.tcps.opened(i)
	}
	return n
}

// TestDisturbedMove does something to two nodes at every moment of a move: while
// they shake hands, while one of them has gone over and the other has not, and
// while the old session is left. Whatever it is, they end up with one session
// that both use, and no call lies about what became of it (I1 to I4).
func TestDisturbedMove(t *testing.T) {
	t.Parallel()
	last := func(p *pair) { time.Sleep(ms) }
	for _, test := range []struct {
		name    string
		disturb func(p *pair)
	}{
		{"udp is cut", func(p *pair) { p.cut(p.udp) }},
		{"tcp is cut", func(p *pair) { p.cut(p.tcp) }},
		{"both are cut", func(p *pair) {
			p.cut(p.tcp)
			p.cut(p.udp)
		}},
		{"udp is cut and then tcp", func(p *pair) {
			p.cut(p.udp)
			time.Sleep(30 * ms)
			p.cut(p.tcp)
		}},
		{"udp goes dead", func(p *pair) {
			p.block(p.udp)
			time.Sleep(20 * time.Second)
			p.heal(p.udp)
		}},
		{"udp goes dead in one direction", func(p *pair) {
			p.udp.PartitionOneWay(p.name(other), p.name(dialler))
			time.Sleep(20 * time.Second)
			p.heal(p.udp)
		}},
		{"udp goes dead in the other direction", func(p *pair) {
			p.udp.PartitionOneWay(p.name(dialler), p.name(other))
			time.Sleep(20 * time.Second)
			p.heal(p.udp)
		}},
		{"tcp goes dead", func(p *pair) {
			p.block(p.tcp)
			time.Sleep(20 * time.Second)
			p.heal(p.tcp)
		}},
		{"the dialler is restarted", func(p *pair) {
			p.stop(dialler)
			p.startOne(dialler)
		}},
		{"the other is restarted", func(p *pair) {
			p.stop(other)
			p.startOne(other)
		}},
		{"the other crashes", func(p *pair) {
			p.crash(other)
			last(p)
			p.startOne(other)
		}},
		{"the dialler drains", func(p *pair) { p.drain(dialler) }},
		{"the other drains", func(p *pair) { p.drain(other) }},
		{"the dialler removes its peer", func(p *pair) { p.remove(dialler, 50*ms) }},
		{"the other removes its peer", func(p *pair) { p.remove(other, 50*ms) }},
		{"both remove each other", func(p *pair) {
			p.set(dialler)
			p.set(other)
			time.Sleep(time.Second)
			p.set(dialler, p.nodes[other])
			p.set(other, p.nodes[dialler])
		}},
		{"the other gets a new address", func(p *pair) {
			// It names the same one in another form.
			n := p.nodes[other]
			n.Addr += "," + n.Addr
			p.set(dialler, n)
			time.Sleep(time.Second)
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			moments := lab.Scale(6, 2, 16)
			for k := range moments {
				after := 180 * ms * time.Duration(k) / time.Duration(moments)
				for _, node := range []int{dialler, other} {
					for _, decides := range []bool{true, false} {
						if !lab.Heavy() && (k%2 == node) != decides || lab.RaceEnabled && k%2 != node {
							continue // of the four it is two in turn, or one
						}
						lab.Bubble(t, fmt.Sprintf("node %d moves, the dialler decides: %v, after %v", node, decides, after), func(t *testing.T) {
							p := newPair(t, decides)
							l := p.moveBy(node)
							time.Sleep(after)
							test.disturb(p)
							p.udp.AllowDials(p.name(dialler), p.name(other))
							time.Sleep(time.Second)
							l.end()
							time.Sleep(30 * time.Second)
							p.wantPeace("after the move")
							p.end()
						})
					}
				}
			}
		})
	}
}

// drain shuts a node down in good order, and starts it again.
func (p *pair) drain(i int) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), lab.Patience)
	defer cancel()
	if err := p.manager(i).Shutdown(ctx); err != nil {
		p.t.Errorf("Shutdown of node %d returned %v", i, err)
	}
	p.startOne(i)
}

// set gives a node other peers.
func (p *pair) set(i int, peers ...core.Node) {
	p.t.Helper()
	if err := p.manager(i).SetPeers(peers); err != nil {
		p.t.Errorf("SetPeers of node %d returned %v", i, err)
	}
}

// remove takes the other node from the peers of one for a while.
func (p *pair) remove(i int, while time.Duration) {
	p.set(i)
	time.Sleep(while)
	p.set(i, p.nodes[1-i])
}

// TestMoveCutAtEachByte cuts the new link of a move at bytes of each part of the
// handshake, in both directions. As long as it is not over, no call is on that
// link, so none fails; the nodes stay where they are.
func TestMoveCutAtEachByte(t *testing.T) {
	step := lab.Scale(40, 90, 10)
	for _, decides := range []bool{true, false} {
		for _, toDialler := range []bool{true, false} {
			for n := 0; n < 250; n += step { // the second HELLO has more than that
				lab.Bubble(t, fmt.Sprintf("the dialler decides: %v, towards it: %v, byte %d", decides, toDialler, n), func(t *testing.T) {
					p := newPair(t, decides)
					p.block(p.udp)
					p.start()
					p.heal(p.udp)
					from, to := p.name(dialler), p.name(other)
					if toDialler {
						from, to = to, from
					}
					p.udp.CutAfter(from, to, n)
					l := p.loadWhenDialled(dialler)
					time.Sleep(2 * time.Second)
					p.want("tcp", "after a move that failed")
					l.wantNoFailure("during a move that fails")
					p.wantOpen(0, 1, "after a move that failed")
					time.Sleep(10 * time.Minute)
					p.want("udp", "after a move that succeeds")
					p.end()
				})
			}
		}
	}
}

// TestBothMoveAtOnce has both nodes dial over udp for so long that their attempts
// get through together, with every difference in what the two directions take.
// One of the two connections lives, both nodes agree which, and no call fails (F11).
func TestBothMoveAtOnce(t *testing.T) {
	steps := lab.Scale(3, 2, 12)
	for _, decides := range []bool{true, false} {
		for there := range steps {
			for back := range steps {
				lab.Bubble(t, fmt.Sprintf("the dialler decides: %v, %d, %d", decides, there, back), func(t *testing.T) {
					p := newPair(t, decides)
					p.configure = func(_ int, cfg *core.Config) { cfg.ConnectTimeout = 5 * time.Minute }
					p.block(p.udp)
					p.start()
					began := time.Now()
					time.Sleep(100 * time.Second)
					if len(p.udps.since(dialler, began)) != 1 || len(p.udps.since(other, began)) != 1 {
						t.Error("the nodes do not dial at once, which proves nothing")
					}
					l := p.begin()
					p.udp.SetPathLatency(p.name(dialler), p.name(other), 5*ms+time.Duration(there)*25*ms/time.Duration(steps))
					p.udp.SetPathLatency(p.name(other), p.name(dialler), 5*ms+time.Duration(back)*25*ms/time.Duration(steps))
					p.heal(p.udp)
					time.Sleep(3 * time.Second)
					p.want("udp", "after both have moved")
					l.wantNoFailure("while both move")
					time.Sleep(20 * time.Second)
					p.wantStates("while both move", core.StateConnecting, core.StateConnected)
					p.wantOpen(1, 0, "after both have moved")
					p.end()
				})
			}
		}
	}
}
