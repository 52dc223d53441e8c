package fallback_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/coretest"
	"github.com/gridmux/gridmux/core/internal/lab"
	"github.com/gridmux/gridmux/transport"
	"github.com/gridmux/gridmux/transport/inmem"
)

// storm is a cluster over two networks, to both of which everything happens.
type storm struct {
	*coretest.Cluster

	t      *testing.T
	rng    *rand.Rand
	nets   [2]*inmem.Network
	tally  [2]tally
	ledger *coretest.Ledger
}

// TestStorm has all kinds of faults happen to four nodes with two transports, some
// of which know only the lesser one, while they call each other. When the faults
// end, every two nodes are connected, over one link and in the opinion of both over
// the same transport; some hours later over the preferred one, where both have it.
// No call lies (I1 to I4, I10, I11).
func TestStorm(t *testing.T) {
	t.Parallel()
	for seed := range lab.Scale(5, 1, 20) {
		lab.Bubble(t, fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			s := &storm{
				t: t, rng: rand.New(rand.NewPCG(uint64(seed), 7)), ledger: coretest.NewLedger(),
				nets: [2]*inmem.Network{inmem.NewNetwork(inmem.WithLanes()), inmem.NewNetwork()},
			}
			for _, n := range s.nets {
				n.SetConditions(inmem.Conditions{Latency: 5 * ms, Jitter: 20 * ms})
			}
			lesser := s.rng.IntN(8) // half of these are no node
			s.Cluster = coretest.NewCluster(t, 4,
				coretest.WithTransport(func(i int, name string) (transport.Transport, string) {
					tcp := named{s.nets[1].Node(name), "tcp", 0, &s.tally[1]}
					if i == lesser {
						return tcp, name
					}
					return transport.Fallback(named{s.nets[0].Node(name), "udp", 0, &s.tally[0]}, tcp), name
				}),
				coretest.WithHandlers(func(_ int, m *core.Manager) error { return s.ledger.Register(m) }),
			)
			s.blow(60)
			s.calm()
			s.wantOne("when the storm is over", nil)
			time.Sleep(4 * time.Hour)
			s.wantOne("hours after the storm", func(i, k int) string {
				if i == lesser || k == lesser {
					return "tcp"
				}
				return "udp"
			})
			for i := range s.Len() {
				s.Stop(i)
			}
			synctest.Wait()
			if udp, tcp := s.tally[0].opened(0), s.tally[1].opened(0); udp != 0 || tcp != 0 {
				t.Errorf("%d links over udp and %d over tcp are left", udp, tcp)
			}
			if err := s.ledger.WaitIdle(t.Context()); err != nil {
				t.Error(err)
			}
			if err := s.ledger.Check(); err != nil {
				t.Errorf("the ledger disagrees with what callers were told: %v", err)
			}
		})
	}
}

// blow makes so many things happen, under calls.
func (s *storm) blow(n int) {
	ctx, cancel := context.WithCancel(s.t.Context())
	var calls sync.WaitGroup
	for i := range s.Len() {
		for k := range s.Len() {
			if i == k {
				continue
			}
			job := coretest.Job{Request: 100 + s.rng.IntN(1000), Response: s.rng.IntN(100_000)}
			if s.rng.IntN(4) == 0 {
				job = coretest.Job{Mode: coretest.Slow, For: time.Duration(s.rng.IntN(3000)) * ms}
			}
			calls.Go(func() {
				for ctx.Err() == nil {
					err := s.ledger.Call(ctx, s.Conn(i, k), s.Node(i).Name, coretest.LedgerHandle, job)
					if core.OutcomeOf(err) == core.OutcomeRemote && err != nil {
						s.t.Errorf("a handler failed that never does: %v", err)
					}
					time.Sleep(200 * ms)
				}
			})
		}
	}
	for range n {
		s.happen()
		time.Sleep(time.Duration(s.rng.ExpFloat64() * float64(5*time.Second)))
	}
	cancel()
	calls.Wait()
}

// happen makes one thing happen.
func (s *storm) happen() {
	i := s.rng.IntN(s.Len())
	k := (i + 1 + s.rng.IntN(s.Len()-1)) % s.Len()
	a, b := s.Node(i).Name, s.Node(k).Name
	n := s.nets[s.rng.IntN(2)]
	switch s.rng.IntN(12) {
	case 0, 1:
		n.Cut(a, b)
	case 2:
		n.Partition(a, b)
	case 3:
		n.PartitionOneWay(a, b)
	case 4:
		n.RefuseDials(a, b)
	case 5:
		n.CutAfter(a, b, s.rng.IntN(2000))
	case 6:
		n.Stall(a, b)
	case 7, 8, 9:
		n.Heal(a, b)
		n.AllowDials(a, b)
	case 10:
		s.Restart(i)
	case 11:
		var peers []core.Node
		for p := range s.Len() {
			if p != k {
				peers = append(peers, s.Node(p))
			}
		}
		s.setPeers(i, peers)
		time.Sleep(time.Duration(s.rng.IntN(500)) * ms)
		s.setPeers(i, append(peers, s.Node(k)))
	}
}

func (s *storm) setPeers(i int, peers []core.Node) {
	s.t.Helper()
	if err := s.Manager(i).SetPeers(peers); err != nil {
		s.t.Errorf("SetPeers failed: %v", err)
	}
}

// calm ends all faults, and waits until everybody is connected.
func (s *storm) calm() {
	for _, n := range s.nets {
		n.HealAll()
		for i := range s.Len() {
			for k := range s.Len() {
				n.AllowDials(s.Node(i).Name, s.Node(k).Name)
			}
		}
	}
	time.Sleep(time.Minute)
	s.WaitConnected()
}

// wantOne holds that there is one link between any two nodes, over the same
// transport in the opinion of both, and over the one that over names. Of a move one
// node knows first: it has a second to reach the other.
func (s *storm) wantOne(when string, over func(i, k int) string) {
	s.t.Helper()
	synctest.Wait()
	used := func(i, k int) string {
		for _, p := range s.Manager(i).Stats().Peers {
			if p.Peer == s.Node(k).Name {
				return p.Transport
			}
		}
		return "nothing"
	}
	for i := range s.Len() {
		for k := range i {
			one, two := used(i, k), used(k, i)
			if one != two {
				time.Sleep(time.Second)
				one, two = used(i, k), used(k, i)
			}
			if one != two || over != nil && one != over(i, k) {
				s.t.Errorf("%s: nodes %d and %d are connected over %q and %q", when, i, k, one, two)
			}
		}
	}
	if links := s.tally[0].opened(0) + s.tally[1].opened(0); over != nil && links != s.Len()*(s.Len()-1) {
		s.t.Errorf("%s: there are %d ends of links", when, links)
	}
}
