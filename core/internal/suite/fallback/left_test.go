package fallback_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/transport/inmem"
)

// tells registers a handler that tells which process it is of.
func tells(process string) func(int, *core.Manager) error {
	return func(_ int, m *core.Manager) error {
		return m.Handle("which", func(context.Context, []byte) ([]byte, error) { return []byte(process), nil })
	}
}

// TestLostAMomentBeforeItMoves has the link to a peer fail just before the peer gets a new
// address: the process at the old one, which lives on and dials, is not taken ahead of its
// successor. It used to be, and to stay.
func TestLostAMomentBeforeItMoves(t *testing.T) {
	for _, lost := range []bool{false, true} {
		t.Run(fmt.Sprint(lost), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPair(t, false)
				p.transport, p.handlers = p.tcpOf, tells("old")
				p.start()
				time.Sleep(time.Minute)
				if lost {
					p.cut(p.tcp)
					synctest.Wait()
				}
				young := p.nodes[dialler]
				young.Addr = "elsewhere"
				p.set(other, young)
				time.Sleep(time.Second)
				m, err := core.NewManager(core.Config{
					Local: young, Peers: []core.Node{p.nodes[other]}, Transport: p.tcp.Node("elsewhere"), Logger: p.logs[dialler].Logger(),
				})
				if err != nil {
					t.Fatal(err)
				}
				defer m.Close()
				if err := tells("young")(0, m); err != nil {
					t.Fatal(err)
				}
				if err := m.Start(t.Context()); err != nil {
					t.Fatal(err)
				}
				for _, after := range []time.Duration{5 * time.Second, time.Hour} {
					time.Sleep(after)
					which, err := p.conn(other).Request(t.Context(), "which", nil, core.WaitForConnection(), core.WithTimeout(time.Minute))
					if err != nil || string(which) != "young" {
						t.Errorf("%v later a call was answered by %q, %v", after, which, err)
					}
				}
				p.end()
			})
		})
	}
}

// firstLookAhead blocks udp, connects the nodes by tcp, and returns when the one that
// dials has begun to look whether udp works, which it does by then.
func (p *pair) firstLookAhead() {
	p.t.Helper()
	p.block(p.udp)
	p.start()
	p.want("tcp", "at the start")
	p.heal(p.udp)
	began := make(chan struct{}, 1)
	p.udps.whenDialled(func(i int) {
		select {
		case began <- struct{}{}:
		default:
		}
	})
	<-began
	p.udps.whenDialled(nil)
}

// TestPeerMovesDuringALookAhead gives a peer a new address at every instant of the
// handshake by which its process goes over to another transport: that process is not
// taken. There was a round trip in which it was.
func TestPeerMovesDuringALookAhead(t *testing.T) {
	for at := time.Duration(0); at <= 110*ms; at += 5 * ms {
		bothRoles(t, func(t *testing.T, p *pair) {
			p.firstLookAhead()
			time.Sleep(at)
			moved := p.nodes[dialler]
			moved.Addr = "elsewhere"
			p.set(other, moved)
			time.Sleep(time.Second)
			if s := p.stats(other); s.State != core.StateConnecting {
				t.Errorf("%v into the handshake the peer got an address where nobody is, and is %v", at, s.State)
			}
		})
	}
}

// TestLookAheadHangs has the preferred transport go dead at every instant of the handshake
// of a look ahead, and the link in use fail: the nodes are connected again at once, or when
// keep-alive has told that the new link is dead. They used to wait for the end of that
// handshake.
func TestLookAheadHangs(t *testing.T) {
	for at := time.Duration(0); at <= 110*ms; at += 5 * ms {
		bothRoles(t, func(t *testing.T, p *pair) {
			p.configure = func(_ int, cfg *core.Config) { cfg.ConnectTimeout = 30 * time.Second }
			p.firstLookAhead()
			time.Sleep(at)
			synctest.Wait()
			p.block(p.udp)
			if p.stats(dialler).Transport != "tcp" || p.stats(other).Transport != "tcp" {
				return // it was over
			}
			p.cut(p.tcp)
			synctest.Wait()
			began := time.Now()
			p.wait()
			if d := time.Since(began); d > 2*time.Second && at < 50*ms || d > 12*time.Second {
				t.Errorf("%v into the handshake udp went dead and tcp was cut: connected again after %v", at, d)
			}
		})
	}
}

// TestMovedItself has a process be reached at the new address of its node, as one whose
// host has got another: when it connects by itself a moment later, it is taken.
func TestMovedItself(t *testing.T) {
	bothRoles(t, func(t *testing.T, p *pair) {
		p.start()
		moved := p.nodes[other]
		moved.Addr += "," + moved.Addr // the same one in another form
		p.set(dialler, moved)
		time.Sleep(time.Second)
		p.wait()
		for _, n := range []*inmem.Network{p.udp, p.tcp} {
			n.RefuseDials(p.name(dialler), p.name(other))
			p.cut(n)
		}
		synctest.Wait()
		began := time.Now()
		p.wait()
		if d := time.Since(began); d > 4*time.Second {
			t.Errorf("the peer, which was to connect by itself, was there again after %v", d)
		}
	})
}
