package faulty_test

import (
	"strings"
	"testing"
	"time"

	"github.com/gridmux/gridmux/transport"
	"github.com/gridmux/gridmux/transport/faulty"
	"github.com/gridmux/gridmux/transport/inmem"
	"github.com/gridmux/gridmux/transport/transporttest"
	"github.com/gridmux/gridmux/transport/websocket"
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

func overWebsocket() transporttest.Fixture {
	return transporttest.Fixture{
		Dialer:   websocket.New(websocket.Options{}),
		Listener: websocket.New(websocket.Options{}),
		Addr:     "127.0.0.1:0",
	}
}

// TestConformance holds the contract of a transport where nothing is disturbed.
func TestConformance(t *testing.T) {
	transporttest.Run(t, func(*testing.T) transporttest.Fixture { return wrapped(overWebsocket()) })
}

// TestConformanceInBubble is TestConformance with lanes, in virtual time.
func TestConformanceInBubble(t *testing.T) {
	transporttest.RunInBubble(t, func(*testing.T) transporttest.Fixture { return wrapped(inMemory()) })
}

// TestConformanceUnderFaults holds the contract where frames are late, split,
// merged and narrow.
func TestConformanceUnderFaults(t *testing.T) {
	for name, c := range map[string]faulty.Conditions{
		"latency": {Latency: 3 * ms},
		"jitter":  {Jitter: 4 * ms, Tail: 0.05, TailLatency: 10 * ms, Split: true},
		"merge":   {Latency: ms, Merge: 2 * ms},
		"narrow":  {Bandwidth: 100 << 20},
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

// TestConformanceOfWebsocketUnderFaults is TestConformanceUnderFaults over
// sockets.
func TestConformanceOfWebsocketUnderFaults(t *testing.T) {
	transporttest.Run(t, func(t *testing.T) transporttest.Fixture {
		return disturbed(t, overWebsocket(), func(t *faulty.Transport) {
			t.SetDirectionConditions(faulty.Out, faulty.Conditions{Jitter: ms, Split: true})
		})
	})
}
