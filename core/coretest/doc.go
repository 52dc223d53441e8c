// Package coretest helps to test programs that use gridmux, as httptest does
// for HTTP. [NewCluster] starts any number of nodes that are connected with
// each other, in memory unless the test chooses another transport, and closes
// them at the end of the test.
//
//	func TestStat(t *testing.T) {
//		cluster := coretest.NewCluster(t, 2, coretest.WithHandlers(func(i int, m *core.Manager) error {
//			return m.Handle("storage.stat", stat)
//		}))
//		resp, err := cluster.Conn(0, 1).Request(t.Context(), "storage.stat", []byte("disk1"))
//		…
//	}
//
// # Faults and virtual time
//
// [Cluster.Network] is the simulated network: it cuts links, partitions nodes
// and makes frames take time. [Cluster.Stop] and [Cluster.Restart] end and
// revive nodes, in order; for a node that is killed call Crash of the network before.
// Everything works inside a bubble of testing/synctest, where
// time-outs, keep-alive and back-off pass in an instant; make the cluster inside
// the bubble, with the T that the bubble gives. A handler that still runs when
// the test ends keeps its bubble from ending.
//
// # The ledger
//
// A [Ledger] stands outside of the system and keeps account of calls: it gives
// each an id of its own, sees which handlers ran, is told what the callers were
// told, and reports every contradiction. It is how the invariants of gridmux are
// tested, and serves any test that lets calls fail on purpose.
//
// # Hostile messages
//
// [HostileMessages] tries on a message type of your own what a broken or
// malicious peer may send in its place.
package coretest
