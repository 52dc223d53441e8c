package inmem_test

import (
	"testing"
	"time"

	"github.com/gridmux/gridmux/transport"
	"github.com/gridmux/gridmux/transport/inmem"
	"github.com/gridmux/gridmux/transport/transporttest"
)

func fixture(*testing.T) transporttest.Fixture { return fixtureOn(inmem.NewNetwork()) }

func fixtureOn(n *inmem.Network) transporttest.Fixture {
	n.Partition("a", "silent")
	return transporttest.Fixture{
		Dialer:   n.Node("a"),
		Listener: n.Node("b"),
		Addr:     "b.example:7",
		Silent:   transport.Peer{Name: "silent", Addr: "silent"},
		Lanes:    true,
		Cut:      func() { n.Cut("a", "b") },
	}
}

func TestConformance(t *testing.T) {
	transporttest.Run(t, fixture)
}

func TestConformanceInBubble(t *testing.T) {
	transporttest.RunInBubble(t, fixture)
}

// TestConformanceWithSeed holds the contract where no two things arrive at one
// instant.
func TestConformanceWithSeed(t *testing.T) {
	transporttest.RunInBubble(t, func(*testing.T) transporttest.Fixture {
		return fixtureOn(inmem.NewNetwork(inmem.WithSeed(1)))
	})
}

// TestConformanceUnderBadConditions holds the contract on a link that is slow,
// irregular and narrow, and splits and merges what it carries. Nothing of that
// may break it.
func TestConformanceUnderBadConditions(t *testing.T) {
	for name, opts := range map[string][]inmem.Option{"no seed": nil, "seed": {inmem.WithSeed(7)}} {
		t.Run(name, func(t *testing.T) {
			transporttest.RunInBubble(t, func(*testing.T) transporttest.Fixture {
				n := inmem.NewNetwork(opts...)
				n.SetConditions(inmem.Conditions{
					Latency: ms, Jitter: 5 * ms, Tail: 0.01, TailLatency: 10 * ms, Bandwidth: 200 << 20, Split: true,
				})
				n.SetPathConditions("b", "a", inmem.Conditions{Jitter: ms, Merge: 3 * ms})
				return fixtureOn(n)
			})
		})
	}
}

func TestConformanceWithLatency(t *testing.T) {
	transporttest.RunInBubble(t, func(t *testing.T) transporttest.Fixture {
		n := inmem.NewNetwork()
		n.SetLatency(3 * time.Millisecond)
		n.SetPathLatency("b", "a", 20*time.Millisecond)
		return fixtureOn(n)
	})
}
