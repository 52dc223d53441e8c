package suite_test

import (
	"strings"
	"testing"
	"time"

	"github.com/gridmux/gridmux/transport/faulty"
	"github.com/gridmux/gridmux/transport/transporttest"
	"github.com/gridmux/gridmux/transport/websocket"
)

const ms = time.Millisecond

func wrapped() (dialer, listener *faulty.Transport, f transporttest.Fixture) {
	dialer = faulty.Wrap(websocket.New(websocket.Options{}))
	listener = faulty.Wrap(websocket.New(websocket.Options{}))
	return dialer, listener, transporttest.Fixture{
		Dialer: dialer, Listener: listener, Addr: "127.0.0.1:0", Cut: dialer.Cut,
	}
}

// TestConformance holds the contract of a transport over websocket where nothing
// is disturbed.
func TestConformance(t *testing.T) {
	transporttest.Run(t, func(*testing.T) transporttest.Fixture {
		_, _, f := wrapped()
		return f
	})
}

// TestConformanceUnderFaults holds it where frames are late and travel one by
// one. One subtest is spared: it compares what is allocated for a frame that was
// read and for one that was not, of which the latter never gets as far as the
// link below if it is delayed.
func TestConformanceUnderFaults(t *testing.T) {
	transporttest.Run(t, func(t *testing.T) transporttest.Fixture {
		dialer, listener, f := wrapped()
		if !strings.HasSuffix(t.Name(), "/ReadLimitBeforeAllocation") {
			for _, each := range []*faulty.Transport{dialer, listener} {
				each.SetDirectionConditions(faulty.Out, faulty.Conditions{Jitter: ms, Split: true})
			}
		}
		return f
	})
}
