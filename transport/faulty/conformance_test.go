package faulty_test

import (
	"strings"
	"testing"
	"time"

	"github.com/gridmux/gridmux/transport"
	"github.com/gridmux/gridmux/transport/faulty"
	"github.com/gridmux/gridmux/transport/inmem"
	"github.com/gridmux/gridmux/transport/transporttest"
)

const ms = time.Millisecond

// wrapped wraps both transports of a fixture.
func wrapped(fixture transporttest.Fixture) transporttest.Fixture {
	dialer, listener := faulty.Wrap(fixture.Dialer), faulty.Wrap(fixture.Listener)
	fixture.Dialer, fixture.Listener = dialer, listener
	fixture.Cut = dialer.Cut
	return fixture
}

// disturbed wraps both transports of a fixture and disturbs them with f. One
// subtest is spared: it compares what is allocated for a frame that was read and
// for one that was not, of which the latter never gets as far as the link below
// if it is delayed.
func disturbed(t *testing.T, fixture transporttest.Fixture, f func(*faulty.Transport)) transporttest.Fixture {
	fixture = wrapped(fixture)
	if !strings.HasSuffix(t.Name(), "/ReadLimitBeforeAllocation") {
		f(fixture.Dialer.(*faulty.Transport))
		f(fixture.Listener.(*faulty.Transport))
	}
	return fixture
}

func inMemory() transporttest.Fixture {
	n := inmem.NewNetwork()
	n.Partition("a", "silent")
	return transporttest.Fixture{
		Dialer:   n.Node("a"),
		Listener: n.Node("b"),
		Addr:     "b.example:7",
		Silent:   transport.Peer{Name: "silent", Addr: "silent"},
		Lanes:    true,
	}
}

// TestConformance holds the contract of a transport where nothing is disturbed.
// The same over websocket is in internal/suite.
func TestConformance(t *testing.T) {
	transporttest.RunInBubble(t, func(*testing.T) transporttest.Fixture { return wrapped(inMemory()) })
}

// TestConformanceUnderFaults holds the contract where frames are late, the line
// is narrow, and writes are split or merged.
func TestConformanceUnderFaults(t *testing.T) {
	for name, c := range map[string]faulty.Conditions{
		"split": {Jitter: 4 * ms, Tail: 0.05, TailLatency: 10 * ms, Bandwidth: 100 << 20, Split: true},
		"merge": {Latency: ms, Merge: 2 * ms},
	} {
		t.Run(name, func(t *testing.T) {
			transporttest.RunInBubble(t, func(t *testing.T) transporttest.Fixture {
				return disturbed(t, inMemory(), func(t *faulty.Transport) { t.SetDirectionConditions(faulty.Out, c) })
			})
		})
	}
}

// TestConformanceUnderFaultsWithReadAhead is TestConformanceUnderFaults for both
// directions at both ends.
func TestConformanceUnderFaultsWithReadAhead(t *testing.T) {
	transporttest.RunInBubble(t, func(t *testing.T) transporttest.Fixture {
		return disturbed(t, inMemory(), func(t *faulty.Transport) {
			t.SetConditions(faulty.Conditions{Latency: ms, Jitter: ms, Split: true})
		})
	})
}
