// Package transporttest checks that a transport keeps the contract of package
// transport. A transport's own test is a few lines:
//
//	func TestConformance(t *testing.T) {
//		transporttest.Run(t, func(t *testing.T) transporttest.Fixture {
//			return transporttest.Fixture{
//				Dialer:   mytransport.New(),
//				Listener: mytransport.New(),
//				Addr:     "127.0.0.1:0",
//			}
//		})
//	}
//
// Every rule of the contract is a subtest of its own, and every failure begins
// with the rule that was broken. [Run] works on real links; [RunInBubble] runs
// each subtest in a bubble of testing/synctest, for transports that need
// nothing outside it. Run the suite with -race too: several rules are about who
// may touch a buffer when.
//
// The suite looks for goroutines that a subtest leaves behind, so nothing else
// may run in parallel with it. It never sleeps to let something happen; a
// transport that hangs fails the subtest after twenty seconds, which are virtual
// in a bubble. It takes for granted that a connection holds less than 32 MiB
// that nobody reads, and at least 16 KiB.
package transporttest

import (
	"testing"
	"testing/synctest"

	"github.com/gridmux/gridmux/transport"
)

// Fixture is a network of two nodes for one subtest. What it needs to be torn
// down belongs into t.Cleanup of its [Factory].
type Fixture struct {
	// Dialer and Listener are the transports of the two nodes. Required.
	Dialer, Listener transport.Transport

	// Addr is what Listener listens on, such as "127.0.0.1:0".
	Addr string

	// Peer is whom Dialer dials to reach Listener. An empty Addr stands for
	// the address that the listener reports.
	Peer transport.Peer

	// Silent, if its Addr is set, is a peer that never completes a handshake
	// with Dialer and does not refuse it either, so that Dial has to wait.
	Silent transport.Peer

	// Stray, if not nil, opens a link to the listener at addr as a client does
	// that never completes its handshake, and returns. It is called several
	// times.
	Stray func(addr string)

	// Lanes says that connections have lanes; see [transport.LaneConn].
	Lanes bool

	// Cut, if not nil, ends all connections between the two nodes abruptly, as
	// a failure of the link would. It may return before they have noticed.
	Cut func()
}

// Factory makes a [Fixture] for one subtest, out of fresh transports.
type Factory func(t *testing.T) Fixture

// Run checks a transport over real links, such as sockets. It calls factory
// once per subtest, and once before to see what the fixture has: subtests that
// need more are not run, and it logs which.
func Run(t *testing.T, factory Factory) {
	runCases(t, abilities(factory(t)), func(t *testing.T, run func(*env)) { runCase(t, factory, run, false) })
}

// RunInBubble is [Run] for a simulated network: factory and subtest run inside
// a bubble of testing/synctest.
func RunInBubble(t *testing.T, factory Factory) {
	var can ability
	synctest.Test(t, func(t *testing.T) { can = abilities(factory(t)) })
	runCases(t, can, func(t *testing.T, run func(*env)) {
		synctest.Test(t, func(t *testing.T) { runCase(t, factory, run, true) })
	})
}

func runCases(t *testing.T, can ability, runOne func(*testing.T, func(*env))) {
	for _, c := range cases {
		if missing := c.needs &^ can; missing != 0 {
			t.Logf("%s is not run: %v", c.name, missing)
			continue
		}
		t.Run(c.name, func(t *testing.T) { runOne(t, c.run) })
	}
}

func runCase(t *testing.T, factory Factory, run func(*env), bubble bool) {
	// The first cleanup to be registered is the last to run.
	checkLeaks(t)
	run(&env{T: t, Fixture: factory(t), bubble: bubble})
}

// ability is what a subtest needs beyond a connection.
type ability uint8

const (
	canBeSilent ability = 1 << iota
	canStray
	canCut
	hasLanes
)

func (a ability) String() string {
	switch {
	case a&canBeSilent != 0:
		return "the fixture has no Silent"
	case a&canStray != 0:
		return "the fixture has no Stray"
	case a&canCut != 0:
		return "the fixture has no Cut"
	default:
		return "the fixture has no Lanes"
	}
}

// abilities tells what a fixture can do.
func abilities(f Fixture) (can ability) {
	if f.Silent.Addr != "" {
		can |= canBeSilent
	}
	if f.Stray != nil {
		can |= canStray
	}
	if f.Cut != nil {
		can |= canCut
	}
	if f.Lanes {
		can |= hasLanes
	}
	return can
}

var cases = []struct {
	name  string
	run   func(*env)
	needs ability
}{
	{"FrameOrder", testFrameOrder, 0},
	{"FrameSizes", testFrameSizes, 0},
	{"Batch", testBatch, 0},
	{"WriteTooLarge", testWriteTooLarge, 0},
	{"ReadLimit", testReadLimit, 0},
	{"ReadLimitBeforeAllocation", testReadLimitBeforeAllocation, 0},

	{"BorrowedFrameIsWritable", testBorrowedFrameIsWritable, 0},
	{"BorrowedFrameIsStable", testBorrowedFrameIsStable, 0},
	{"WrittenFramesAreNotKept", testWrittenFramesAreNotKept, 0},

	{"FullDuplex", testFullDuplex, 0},
	{"VolumeBothWays", testVolumeBothWays, 0},
	{"ConnectionsAreIndependent", testConnectionsAreIndependent, 0},

	{"CloseUnblocksRead", testCloseUnblocksRead, 0},
	{"CloseUnblocksWrite", testCloseUnblocksWrite, 0},
	{"PeerCloseUnblocksRead", testPeerCloseUnblocksRead, 0},
	{"PeerCloseUnblocksWrite", testPeerCloseUnblocksWrite, 0},
	{"ErrorsAfterClose", testErrorsAfterClose, 0},
	{"ErrorsAfterPeerClose", testErrorsAfterPeerClose, 0},
	{"CloseDeliversFramesFirst", testCloseDeliversFramesFirst, 0},
	{"CloseCodes", testCloseCodes, 0},
	{"CloseReasons", testCloseReasons, 0},
	{"FirstCloseCounts", testFirstCloseCounts, 0},
	{"ConcurrentCloses", testConcurrentCloses, 0},
	{"CloseIsQuick", testCloseIsQuick, 0},
	{"BothClose", testBothClose, 0},
	{"AbruptEnd", testAbruptEnd, canCut},

	{"Info", testInfo, 0},

	{"DialEndedContext", testDialEndedContext, 0},
	{"DialContextEndsDuring", testDialContextEndsDuring, canBeSilent},
	{"DialContextEndsAfter", testDialContextEndsAfter, 0},
	{"DialNobody", testDialNobody, 0},
	{"DialBeforeAccept", testDialBeforeAccept, 0},

	{"ListenContextEndsAfter", testListenContextEndsAfter, 0},
	{"ListenTwice", testListenTwice, 0},
	{"ListenAgain", testListenAgain, 0},
	{"ListenerAddr", testListenerAddr, 0},
	{"AcceptContext", testAcceptContext, 0},
	{"AcceptContextRace", testAcceptContextRace, 0},
	{"AcceptAfterClose", testAcceptAfterClose, 0},
	{"AcceptIgnoresStrays", testAcceptIgnoresStrays, canStray},
	{"ListenerCloseUnblocksAccept", testListenerCloseUnblocksAccept, 0},
	{"ListenerCloses", testListenerCloses, 0},
	{"AcceptedOutliveListener", testAcceptedOutliveListener, 0},
	{"UnacceptedAreClosed", testUnacceptedAreClosed, 0},
	{"ManyConnections", testManyConnections, 0},

	{"LaneFrames", testLaneFrames, hasLanes},
	{"LaneOrder", testLaneOrder, hasLanes},
	{"LaneStall", testLaneStall, hasLanes},
	{"LaneClose", testLaneClose, hasLanes},
	{"LanesEndWithConnection", testLanesEndWithConnection, hasLanes},
	{"LaneContext", testLaneContext, hasLanes},
	{"LaneInfo", testLaneInfo, hasLanes},
}
