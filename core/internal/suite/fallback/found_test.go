package fallback_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/coretest"
	"github.com/gridmux/gridmux/core/internal/lab"
	"github.com/gridmux/gridmux/transport"
	"github.com/gridmux/gridmux/transport/inmem"
)

// TestDrainOutlastsALookAhead drains a node over a lesser transport for longer than it
// takes until the preferred one is looked at again: the drain ends with its call.
func TestDrainOutlastsALookAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const takes = 2 * time.Minute
		p := newPair(t, true)
		p.block(p.udp)
		p.start()
		p.want("tcp", "at the start")
		began := time.Now()
		call := lab.Go(func() error {
			return p.ledger.Call(t.Context(), p.conn(other), p.name(other), coretest.LedgerHandle, coretest.Job{Mode: coretest.Slow, For: takes})
		})
		time.Sleep(time.Second)
		if err := p.manager(dialler).Shutdown(t.Context()); err != nil {
			t.Errorf("Shutdown returned %v", err)
		}
		if err := <-call; err != nil || time.Since(began) > takes+time.Second {
			t.Errorf("after %v the call ended with %v", time.Since(began), err)
		}
	})
}

// TestBothMoveToDifferentTransports has both nodes find a better transport at about
// the same time, each another one: they stay connected, and agree but for the round
// trip after which the node that dialled goes over too.
func TestBothMoveToDifferentTransports(t *testing.T) {
	for _, dials := range []bool{true, false} {
		for later := 60 * ms; later <= 140*ms; later += 20 * ms {
			t.Run(fmt.Sprint(dials, later), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					p := newPair(t, dials)
					third := inmem.NewNetwork()
					p.transport = func(i int) transport.Transport {
						return transport.Fallback(p.udpOf(i), named{third.Node(p.name(i)), "mid", i, new(tally)}, p.tcpOf(i))
					}
					p.configure = func(_ int, cfg *core.Config) { cfg.ConnectTimeout = 5 * time.Minute }
					first, second := min(p.name(0), p.name(1)), max(p.name(0), p.name(1))
					p.udp.RefuseDials(first, second)
					third.RefuseDials(second, first)
					p.block(p.udp)
					p.block(third)
					p.start()
					p.want("tcp", "at the start")
					time.Sleep(100 * time.Second)
					p.udp.SetLatency(15 * ms)
					third.SetLatency(30 * ms)
					p.heal(third)
					time.Sleep(later)
					p.heal(p.udp)
					for range 4 {
						time.Sleep(10 * time.Second)
						a, b := p.stats(0), p.stats(1)
						if a.Transport != b.Transport {
							time.Sleep(100 * ms)
							a, b = p.stats(0), p.stats(1)
						}
						if a.Transport == "" || a.Transport != b.Transport {
							t.Errorf("one node is connected by %q, the other by %q", a.Transport, b.Transport)
						}
					}
					p.wantStates("through all of it", core.StateConnecting, core.StateConnected)
					p.end()
				})
			})
		}
	}
}

// TestOneTransportBehindTLSProxies has nodes whose only transport listens behind what
// speaks TLS, and dials plain by way of a proxy: nothing is fallen back to, and they
// connect.
func TestOneTransportBehindTLSProxies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, true)
		p.tcps.promise = &transport.ListenerInfo{TLS: true}
		p.transport = p.tcpOf
		p.configure = func(_ int, cfg *core.Config) {
			cfg.Auth = core.SharedKey([]byte("0123456789abcdef0123456789abcdef"))
			cfg.AllowTLSProxy = true
		}
		p.startOne(dialler)
		p.startOne(other)
		time.Sleep(30 * time.Second)
		if s := p.stats(0); s.State != core.StateConnected {
			t.Errorf("%v: %v", s.State, s.Down)
		}
	})
}

// TestNoMoveToAnotherProcess has another process, with the name of the peer, answer
// where the preferred transport leads. The nodes stay connected as they are, whoever
// looks ahead: a move goes to the same process or nowhere.
func TestNoMoveToAnotherProcess(t *testing.T) {
	bothRoles(t, func(t *testing.T, p *pair) {
		tcpOnly := func(i int) transport.Transport {
			if i == other {
				return p.tcpOf(i)
			}
			return transport.Fallback(p.udpOf(i), p.tcpOf(i))
		}
		p.transport = tcpOnly
		p.start()
		p.want("tcp", "at the start")
		instance := p.manager(other)
		p.transport = p.udpOf
		p.configure = func(_ int, cfg *core.Config) { cfg.OnState = nil }
		p.startOne(other) // beside the one that runs
		twin := p.managers[other].Swap(instance)
		defer twin.Close()
		began := time.Now()
		for time.Since(began) < 75*time.Minute {
			time.Sleep(time.Minute)
			if got := p.stats(dialler); got.Transport != "tcp" {
				t.Fatalf("after %v: connected over %q (passed: %v)", time.Since(began), got.Transport, got.Passed)
			}
		}
		if err := p.stats(dialler).Passed; !lab.Mentions(err, "another process answers") {
			t.Errorf("udp is passed because of %v, want that another process answers there", err)
		}
		if n := len(p.udps.since(dialler, began)); n > 8 {
			t.Errorf("udp was dialled %d times in little more than an hour for nothing", n)
		}
		if s := twin.Stats().Peers[0]; s.State == core.StateConnected {
			t.Errorf("the other process is connected too, over %q", s.Transport)
		}
		p.wantStates("all the time", core.StateConnecting, core.StateConnected)
	})
}
