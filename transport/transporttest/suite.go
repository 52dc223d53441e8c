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

	// Cut, if not nil, ends all connections between the two nodes abruptly, as
	// a failure of the link would. It may return before they have noticed.
	Cut func()
}

// Factory makes a [Fixture] for one subtest, out of fresh transports.
type Factory func(t *testing.T) Fixture

// Run checks a transport over real links, such as sockets. It calls factory
// once per subtest.
func Run(t *testing.T, factory Factory) {
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) { runCase(t, factory, c.run, false) })
	}
}

// RunInBubble is [Run] for a simulated network: factory and subtest run inside
// a bubble of testing/synctest.
func RunInBubble(t *testing.T, factory Factory) {
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { runCase(t, factory, c.run, true) })
		})
	}
}

func runCase(t *testing.T, factory Factory, run func(*env), bubble bool) {
	// The first cleanup to be registered is the last to run.
	checkLeaks(t)
	run(&env{T: t, Fixture: factory(t), bubble: bubble})
}

var cases = []struct {
	name string
	run  func(*env)
}{
	{"FrameOrder", testFrameOrder},
	{"FrameSizes", testFrameSizes},
	{"Batch", testBatch},
	{"WriteTooLarge", testWriteTooLarge},
	{"ReadLimit", testReadLimit},
	{"ReadLimitBeforeAllocation", testReadLimitBeforeAllocation},

	{"BorrowedFrameIsWritable", testBorrowedFrameIsWritable},
	{"BorrowedFrameIsStable", testBorrowedFrameIsStable},
	{"WrittenFramesAreNotKept", testWrittenFramesAreNotKept},

	{"FullDuplex", testFullDuplex},
	{"VolumeBothWays", testVolumeBothWays},
	{"ConnectionsAreIndependent", testConnectionsAreIndependent},

	{"CloseUnblocksRead", testCloseUnblocksRead},
	{"CloseUnblocksWrite", testCloseUnblocksWrite},
	{"PeerCloseUnblocksRead", testPeerCloseUnblocksRead},
	{"PeerCloseUnblocksWrite", testPeerCloseUnblocksWrite},
	{"ErrorsAfterClose", testErrorsAfterClose},
	{"ErrorsAfterPeerClose", testErrorsAfterPeerClose},
	{"CloseDeliversFramesFirst", testCloseDeliversFramesFirst},
	{"CloseCodes", testCloseCodes},
	{"CloseReasons", testCloseReasons},
	{"FirstCloseCounts", testFirstCloseCounts},
	{"ConcurrentCloses", testConcurrentCloses},
	{"CloseIsQuick", testCloseIsQuick},
	{"BothClose", testBothClose},
	{"AbruptEnd", testAbruptEnd},

	{"Info", testInfo},

	{"DialEndedContext", testDialEndedContext},
	{"DialContextEndsDuring", testDialContextEndsDuring},
	{"DialContextEndsAfter", testDialContextEndsAfter},
	{"DialNobody", testDialNobody},
	{"DialBeforeAccept", testDialBeforeAccept},

	{"ListenContextEndsAfter", testListenContextEndsAfter},
	{"ListenTwice", testListenTwice},
	{"ListenAgain", testListenAgain},
	{"ListenerAddr", testListenerAddr},
	{"AcceptContext", testAcceptContext},
	{"AcceptContextRace", testAcceptContextRace},
	{"AcceptAfterClose", testAcceptAfterClose},
	{"AcceptIgnoresStrays", testAcceptIgnoresStrays},
	{"ListenerCloseUnblocksAccept", testListenerCloseUnblocksAccept},
	{"ListenerCloses", testListenerCloses},
	{"AcceptedOutliveListener", testAcceptedOutliveListener},
	{"UnacceptedAreClosed", testUnacceptedAreClosed},
	{"ManyConnections", testManyConnections},

	{"LaneFrames", testLaneFrames},
	{"LaneOrder", testLaneOrder},
	{"LaneStall", testLaneStall},
	{"LaneClose", testLaneClose},
	{"LanesEndWithConnection", testLanesEndWithConnection},
	{"LaneContext", testLaneContext},
	{"LaneInfo", testLaneInfo},
}
