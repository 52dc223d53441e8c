// Package lab is what the tests of package core share: links, clusters over them,
// ways to wait, and a peer that a test plays by hand. Only tests import it; it
// knows the transports, as core must not.
//
// # A test package
//
// A test package is a directory below core/internal/suite with a doc.go and tests
// in package x_test. One line in a file of its own gives it the flag -heavy and
// has it fail when goroutines of the library are left:
//
//	func TestMain(m *testing.M) { os.Exit(lab.Run(m)) }
//
// A package ends within 20 seconds, and within 35 under the race detector. Scale
// is for how often a test does something, Heavy and RaceEnabled for the rest.
//
// # Tests over links
//
// Links are the ways to connect nodes: over package inmem, over websocket on
// simulated sockets, on TCP, and on TLS. OverLinks runs a test over each of them,
// in a bubble of testing/synctest where the link works in one:
//
//	func TestCutLink(t *testing.T) {
//		lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
//			g := lab.NewGate(t, 1)
//			c := l.Cluster(t, 2, lab.Handle("block", g.Handle)) // connected, with echoes
//			blocked := lab.GoCall(t.Context(), c.Conn(0, 1), "block", []byte("x"))
//			lab.Wait(t, g.Began, "the handler begins")
//			c.Cut(0, 1)
//			got := lab.Wait(t, blocked, "the call returns")
//			lab.WantFailure(t, "a cut link", got.Err, core.ErrDisconnected, core.OutcomeMaybeRun)
//			g.Release()
//			c.CheckLedger()
//		})
//	}
//
// Over sockets time is real, and such a test waits for events only. A test of
// times runs InBubbles, or over one network that it can slow down, cut and stall:
//
//	func TestLatency(t *testing.T) {
//		synctest.Test(t, func(t *testing.T) {
//			c := lab.InmemLink().Cluster(t, 2)
//			c.Memory().SetLatency(time.Second)
//			began := time.Now()
//			lab.MustCall(t, c.Conn(0, 1), "echo", nil)
//			if d := time.Since(began); d != 2*time.Second {
//				t.Errorf("a call took %v, want one round trip", d)
//			}
//		})
//	}
//
// Cluster is a coretest.Cluster, so nodes are started, stopped and restarted as
// there. Books and LogBook remember what a node tells.
//
// # Tests of the protocol
//
// A RawCluster is a node under test, the subject, an honest node beside it, and a
// RawPeer that the test plays frame by frame with package wire. It lives in a
// bubble, so "nothing arrived" is a fact. Each sentence is what a failure says,
// and names the rule of PROTOCOL.md that it holds:
//
//	func TestProtocolUnknownType(t *testing.T) {
//		lab.RawTest(t, "W12", lab.RawSetup{}, func(_ *testing.T, r *lab.RawCluster) {
//			p := r.Connect() // dials, and shakes hands
//			unknown := func(typ wire.Type) []byte { return lab.RawFrame(wire.Frame{Type: typ, Body: []byte("?")}) }
//			p.Send(unknown(0x80), p.Request(0, 1, "echo", []byte("x")))
//			p.Want(wire.TypeResponse, "W12: a type that may be ignored, and then a call")
//			p.WantIdle("W12: there is no answer to what is ignored")
//			p.Send(unknown(0x7f))
//			p.WantClosed(wire.CodeProtocol, "W12: a type that nobody knows")
//			r.Alive("after an error")
//			r.Reconnect().WantLife(0, "the peer is back")
//		})
//	}
//
// With RawSetup.Dials the subject dials, and the peer comes from Accept. A deaf
// peer, which does not read, is DeafHandshake and later Allow(Unlimited).
//
// The tests that are shown here are in tour_test.go.
package lab
