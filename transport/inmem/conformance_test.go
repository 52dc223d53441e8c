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

func TestConformanceWithLatency(t *testing.T) {
	transporttest.RunInBubble(t, func(t *testing.T) transporttest.Fixture {
		n := inmem.NewNetwork()
		n.SetLatency(3 * time.Millisecond)
		n.SetPathLatency("b", "a", 20*time.Millisecond)
		return fixtureOn(n)
	})
}
