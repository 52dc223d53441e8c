package fallback_test

import (
	"testing"
	"time"

	"github.com/gridmux/gridmux/core/internal/lab"
	"github.com/gridmux/gridmux/transport"
)

// refuseUDP lets neither node dial the other over udp.
func (p *pair) refuseUDP() {
	p.udp.RefuseDials(p.name(0), p.name(1))
	p.udp.RefuseDials(p.name(1), p.name(0))
}

func (p *pair) allowUDP() {
	p.udp.AllowDials(p.name(0), p.name(1))
	p.udp.AllowDials(p.name(1), p.name(0))
}

// TestFailedIsLeftAlone connects two nodes that cannot use udp for a day. Whatever
// happens to their connection, udp is tried once more when they have met, and then
// after five minutes, ten, twenty, forty and every hour, each give or take a
// quarter, by either node for itself; a reconnect does not wait for it.
func TestFailedIsLeftAlone(t *testing.T) {
	bothRoles(t, func(t *testing.T, p *pair) {
		p.refuseUDP()
		began := time.Now()
		p.start()
		time.Sleep(time.Minute)
		for range 3 {
			dials := len(p.udps.since(dialler, began))
			cut := time.Now()
			p.cut(p.tcp)
			p.wait()
			p.want("tcp", "after a cut")
			if got := len(p.udps.since(dialler, began)); got != dials {
				t.Errorf("udp was dialled %d times after a cut at %v", got-dials, cut.Sub(began))
			}
			if took := time.Since(cut); took > time.Second {
				t.Errorf("connecting over tcp again took %v", took)
			}
		}
		time.Sleep(24*time.Hour - time.Since(began))
		for i := range p.nodes {
			at := p.udps.since(i, began)
			first := map[int]time.Duration{dialler: 0, other: 2*time.Minute + 15*time.Second}[i]
			if len(at) == 0 || at[0] > first+time.Second {
				t.Fatalf("node %d dialled udp at %v, want the first time within %v", i, at, first)
			}
			if i == dialler {
				if at[1] < 15*time.Second || at[1] > 31*time.Second {
					t.Errorf("the dialler has looked at udp once more after %v, want 15 s to 30 s", at[1])
				}
				at = at[1:]
			}
			for k := 1; k < len(at); k++ {
				want := min(5*time.Minute<<min(k-1, 4), time.Hour)
				if pause := at[k] - at[k-1]; pause < want*3/4 || pause > want*5/4+time.Second {
					t.Errorf("node %d dialled udp for time %d after a pause of %v, want about %v", i, k, pause, want)
				}
			}
			if n := len(at); n < 20 {
				t.Errorf("node %d dialled udp only %d times in a day", i, n)
			}
			if !lab.Mentions(p.stats(i).Passed, "udp to") || !lab.Mentions(p.stats(i).Passed, "tried again in ") {
				t.Errorf("node %d says that it passed udp because of %v, want the error and when it is tried again", i, p.stats(i).Passed)
			}
		}
		p.allowUDP()
		time.Sleep(75 * time.Minute)
		p.want("udp", "more than an hour after udp was allowed")
	})
}

// TestDeadPeerTeachesNothing stops a node for a while, in which its peer reaches
// it by no transport. That says nothing of the preferred one: it is the first
// again when the node is back, or the second for a minute, where the node came up
// between two dials.
func TestDeadPeerTeachesNothing(t *testing.T) {
	bothRoles(t, func(t *testing.T, p *pair) {
		p.start()
		for _, i := range []int{other, dialler} {
			p.crash(i)
			time.Sleep(10 * time.Minute)
			p.startOne(i)
			p.wait()
			time.Sleep(2 * time.Minute)
			p.want("udp", "after a restart")
		}
		// Lost at once, but by a crash: the next process is met without prejudice.
		p.crash(other)
		time.Sleep(time.Second)
		p.startOne(other)
		p.wait()
		time.Sleep(2 * time.Minute)
		p.want("udp", "after a restart that followed on a restart")
	})
}

// TestPartitionTeachesNothing separates two nodes for an hour at a time, by all
// transports. When that is over they are connected over the preferred one, or for a
// minute over the one whose dial was under way.
func TestPartitionTeachesNothing(t *testing.T) {
	bothRoles(t, func(t *testing.T, p *pair) {
		p.start()
		for range 3 {
			time.Sleep(10 * time.Minute)
			p.block(p.udp)
			p.block(p.tcp)
			time.Sleep(time.Hour)
			p.heal(p.udp)
			p.heal(p.tcp)
			p.wait()
			time.Sleep(2 * time.Minute)
			p.want("udp", "after a partition")
		}
	})
}

// TestLastResort leaves udp alone for its failures, and then lets tcp fail. The
// peer is reached by udp then, although its time has not come.
func TestLastResort(t *testing.T) {
	bothRoles(t, func(t *testing.T, p *pair) {
		p.refuseUDP()
		p.start()
		time.Sleep(2 * time.Minute)
		p.allowUDP()
		p.tcp.RefuseDials(p.name(0), p.name(1))
		p.tcp.RefuseDials(p.name(1), p.name(0))
		p.cut(p.tcp)
		p.wait()
		p.want("udp", "with tcp refused")
	})
}

// TestRestartedPeerIsMetWithoutPrejudice restarts a node that its peer could not
// reach over udp, and now can, as after a change of its configuration. The peer
// does not wait for hours until it looks.
func TestRestartedPeerIsMetWithoutPrejudice(t *testing.T) {
	bothRoles(t, func(t *testing.T, p *pair) {
		with := p.transport
		p.transport = func(i int) transport.Transport {
			if i == other {
				return p.tcpOf(i)
			}
			return with(i)
		}
		p.start()
		time.Sleep(5 * time.Hour)
		p.want("tcp", "with a node that has no udp")
		p.stop(other)
		p.transport = with
		p.startOne(other)
		p.wait()
		time.Sleep(2 * time.Minute)
		p.want("udp", "after the node was restarted with udp")
	})
}
