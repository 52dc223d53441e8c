package fallback_test

import (
	"testing"
	"time"

	"github.com/gridmux/gridmux/core"
)

// TestMovesUp connects two nodes while the preferred transport is blocked, opens
// it again, and waits. They move to it, and of the calls and streams that go on all
// the time, in both directions, none fails. Nobody is told of a change of state,
// and the old link is gone in the end.
func TestMovesUp(t *testing.T) {
	bothRoles(t, func(t *testing.T, p *pair) {
		p.block(p.udp)
		p.start()
		p.want("tcp", "with udp blocked")
		l := p.begin()
		p.heal(p.udp)
		time.Sleep(time.Minute)
		p.want("udp", "a minute after udp was opened")
		l.wantNoFailure("during the move")
		time.Sleep(time.Minute)
		p.wantOpen(1, 0, "after the move")
		p.wantStates("after a move", core.StateConnecting, core.StateConnected)
	})
}
