package fallback_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/coretest"
	"github.com/gridmux/gridmux/core/internal/lab"
	"github.com/gridmux/gridmux/transport"
	"github.com/gridmux/gridmux/transport/inmem"
)

const ms = time.Millisecond

// The nodes of a pair: the one that dials first, and the other.
const (
	dialler = 0
	other   = 1
)

// pair is two nodes that are connected by two networks.
type pair struct {
	t        *testing.T
	udp, tcp *inmem.Network
	udps     tally
	tcps     tally
	ledger   *coretest.Ledger
	nodes    [2]core.Node
	managers [2]atomic.Pointer[core.Manager]
	books    [2]*lab.StateBook
	logs     [2]*lab.LogBook

	// A test may change these before start: the transports of a node, and what
	// else it is told.
	transport func(i int) transport.Transport
	configure func(i int, cfg *core.Config)
	handlers  func(i int, m *core.Manager) error
}

// bothRoles runs a test in a bubble for pairs in which the node that dials first
// is the one that decides about two sessions (W64), and in which it is not.
func bothRoles(t *testing.T, test func(t *testing.T, p *pair)) {
	t.Helper()
	for name, decides := range map[string]bool{"the dialler decides": true, "the acceptor decides": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPair(t, decides)
				test(t, p)
				p.end()
			})
		})
	}
}

func newPair(t *testing.T, diallerDecides bool) *pair {
	p := &pair{t: t, udp: inmem.NewNetwork(inmem.WithLanes()), tcp: inmem.NewNetwork(), ledger: coretest.NewLedger()}
	for i := 0; p.nodes[0].Name == ""; i++ {
		low, high := fmt.Sprintf("a-%d", i), fmt.Sprintf("b-%d", i)
		if lab.Dials(low, high) == diallerDecides {
			p.nodes = [2]core.Node{{Name: low, Addr: low}, {Name: high, Addr: high}}
			if !diallerDecides {
				p.nodes[0], p.nodes[1] = p.nodes[1], p.nodes[0]
			}
		}
	}
	for i := range p.nodes {
		p.books[i], p.logs[i] = new(lab.StateBook), new(lab.LogBook)
	}
	p.transport = func(i int) transport.Transport { return transport.Fallback(p.udpOf(i), p.tcpOf(i)) }
	p.configure = func(int, *core.Config) {}
	p.handlers = func(int, *core.Manager) error { return nil }
	p.udp.SetLatency(10 * ms)
	p.tcp.SetLatency(10 * ms)
	return p
}

func (p *pair) manager(i int) *core.Manager { return p.managers[i].Load() }

func (p *pair) name(i int) string { return p.nodes[i].Name }

func (p *pair) udpOf(i int) transport.Transport {
	return named{p.udp.Node(p.name(i)), "udp", i, &p.udps}
}

func (p *pair) tcpOf(i int) transport.Transport {
	return named{p.tcp.Node(p.name(i)), "tcp", i, &p.tcps}
}

// start starts both nodes and waits until they are connected.
func (p *pair) start() {
	p.t.Helper()
	p.startOne(dialler)
	p.startOne(other)
	p.wait()
}

func (p *pair) startOne(i int) {
	p.t.Helper()
	cfg := core.Config{
		Local: p.nodes[i], Peers: p.nodes[:], Transport: p.transport(i), OnState: p.books[i].Note, Logger: p.logs[i].Logger(),
	}
	p.configure(i, &cfg)
	m, err := core.NewManager(cfg)
	if err != nil {
		p.t.Fatal(err)
	}
	err = errors.Join(
		lab.RegisterEchoes(m), p.handlers(i, m), p.ledger.Register(m),
		m.HandleStreamFunc("stream.echo", lab.EchoStream),
	)
	if err == nil {
		err = m.Start(p.t.Context())
	}
	if err != nil {
		p.t.Fatal(err)
	}
	p.managers[i].Store(m)
	p.t.Cleanup(func() { m.Close() })
}

func (p *pair) stop(i int) {
	p.t.Helper()
	if err := p.manager(i).Close(); err != nil {
		p.t.Errorf("closing node %d failed: %v", i, err)
	}
}

// crash ends a node as a process that is killed: nobody hears of it by a close.
func (p *pair) crash(i int) {
	p.udp.Crash(p.name(i))
	p.tcp.Crash(p.name(i))
	p.stop(i)
}

// wait waits until the nodes are connected.
func (p *pair) wait() {
	p.t.Helper()
	synctest.Wait()
	for i := range p.nodes {
		ctx, cancel := context.WithTimeout(p.t.Context(), lab.Patience)
		if err := p.manager(i).WaitConnected(ctx); err != nil {
			p.t.Fatal(err)
		}
		cancel()
	}
	synctest.Wait()
}

// end closes both nodes and fails the test if anybody was lied to.
func (p *pair) end() {
	p.t.Helper()
	p.udp.HealAll()
	p.tcp.HealAll()
	for i := range p.nodes {
		p.manager(i).Close()
	}
	synctest.Wait()
	for i := range p.nodes {
		if udp, tcp := p.udps.opened(i), p.tcps.opened(i); udp != 0 || tcp != 0 {
			p.t.Errorf("node %d was closed, and %d connections over udp and %d over tcp were not", i, udp, tcp)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), lab.Patience)
	defer cancel()
	if err := p.ledger.WaitIdle(ctx); err != nil {
		p.t.Error(err)
	}
	if err := p.ledger.Check(); err != nil {
		p.t.Errorf("the ledger disagrees with what callers were told: %v", err)
	}
}

func (p *pair) conn(i int) *core.Connection { return p.manager(i).Connection(p.name(1 - i)) }

// stats returns what node i tells of the other.
func (p *pair) stats(i int) core.PeerStats { return p.manager(i).Stats().Peers[0] }

// want holds both nodes to a transport, and to a connection that works over it.
func (p *pair) want(transport, when string) {
	p.t.Helper()
	synctest.Wait()
	for i := range p.nodes {
		if got := p.stats(i); got.Transport != transport {
			p.t.Errorf("%s: node %d is connected over %q, want %q (passed: %v, down: %v)", when, i, got.Transport, transport, got.Passed, got.Down)
		}
		if err := p.ledger.Call(p.t.Context(), p.conn(i), p.name(i), coretest.LedgerHandle, coretest.Job{}); err != nil {
			p.t.Errorf("%s: a call of node %d failed: %v", when, i, err)
		}
	}
}

// wantOpen holds both nodes to a number of connections over each network.
func (p *pair) wantOpen(udp, tcp int, when string) {
	p.t.Helper()
	synctest.Wait()
	for i := range p.nodes {
		if u, t := p.udps.opened(i), p.tcps.opened(i); u != udp || t != tcp {
			p.t.Errorf("%s: node %d has %d connections over udp and %d over tcp, want %d and %d", when, i, u, t, udp, tcp)
		}
	}
}

// cut ends the connections of a network abruptly.
func (p *pair) cut(n *inmem.Network) { n.Cut(p.name(0), p.name(1)) }

// block lets nothing through a network any more; what is connected hears nothing
// of it.
func (p *pair) block(n *inmem.Network) { n.Partition(p.name(0), p.name(1)) }

func (p *pair) heal(n *inmem.Network) { n.Heal(p.name(0), p.name(1)) }

// wantStates holds what OnState of both nodes was told, in order.
func (p *pair) wantStates(when string, states ...core.State) {
	p.t.Helper()
	synctest.Wait()
	for i, b := range p.books {
		var got []core.State
		for _, s := range b.Of("") {
			got = append(got, s.To)
		}
		if !slices.Equal(got, states) {
			p.t.Errorf("%s: node %d was told of the states %v, want %v", when, i, got, states)
		}
	}
}
