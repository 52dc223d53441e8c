// Package inmem is the transport that stays inside the process: a simulated
// network whose nodes exchange frames through memory. It is meant for unit
// tests and simulations of a cluster; it is also the fastest transport.
//
//	network := inmem.NewNetwork()
//	a, b := network.Node("a"), network.Node("b") // each a transport.Transport
//
// Hand each node's transport to the Manager of that node. The address of a node
// is any string: what it listens on is what the others dial. Networks are
// independent of each other, so every test makes one of its own.
//
// # Conditions
//
// [Network.SetConditions] makes every link a bad one: slow, irregular, narrow,
// with a heavy tail, one that damages frames, or that splits and merges what is
// written; [Network.SetPathConditions] does so for one direction between two
// nodes. See [Conditions]. [WithBuffer] makes buffers tiny or large.
//
// # Faults
//
// A test disturbs the network by naming nodes:
//
//   - [Network.Partition] and [Network.PartitionOneWay] silence nodes for each
//     other, and [Network.Stall] the connections that they have now;
//   - [Network.Cut] breaks connections, and [Network.Crash] a whole node;
//   - [Network.CutAfter], [Network.StallAfter] and [Network.CorruptNext] do
//     something at a given byte, on a connection that is yet to be made too, so
//     that a test can walk over every byte of an exchange;
//   - [Network.RefuseDials] and [Network.SetAcceptDelay] concern new
//     connections;
//   - [Network.Heal] ends partitions and stalls, and forgets what is planned.
//
// The model is a TCP connection: ordered and reliable for as long as it lives.
// A disturbed network therefore loses no single frame. It delays frames, or
// holds them until it is healed, as TCP would send them again; only a
// connection that ends abruptly loses what had not been read. How much a sender
// may have under way is bounded in bytes, see [WithBuffer]; a sender waits for
// room there, never for latency.
//
// # Virtual time
//
// Everything here waits on conditions, channels and timers, and no goroutine
// runs in the background, so a network works inside a bubble of
// testing/synctest: hours of latency, partitions and back-off pass in
// milliseconds and to the exact nanosecond. Make the network inside the bubble
// that uses it.
//
// # Repeatable simulations
//
// A bubble fixes the time at which things happen, but not the order in which
// goroutines run that become runnable at the same time. [WithSeed] makes a
// network whose every arrival (frames, the end of a connection, a dial that
// returns, a connection for Accept) has an instant of its own. Since the clock
// of a bubble moves only when all its goroutines wait, each arrival is then
// followed by rest before the next one, and a simulation that sends as
// repeatably as the network delivers is repeatable as a whole. Three rules
// make it so:
//
//   - Arrivals of one direction of one connection fall on instants with a
//     residue of its own modulo 10 µs, derived from the two nodes and the number
//     of the connection between them. Directions do not have to agree on who
//     takes an instant, so it does not matter in which order they send. Every
//     arrival is up to 10 µs later for that, and two writes at one instant
//     arrive 10 µs apart. This holds exactly up to 35 nodes with six connections
//     between any two. Beyond that instants are still distinct, but which of two
//     directions with the same residue comes first can depend on which sent
//     first.
//   - Instants at a multiple of 10 µs are left to the simulation itself. Make
//     nodes ([Network.Node]) in a fixed order; disturb the network from one
//     goroutine, at such instants.
//   - What happens to frame n of a direction is drawn from the seed, the names of
//     the nodes, the number of the connection, and n. What happens elsewhere in
//     the network does not shift it.
//
// What is handed over together under Conditions.Merge counts as one arrival. A
// writer that waits for room goes on at the instant at which its peer reads.
package inmem
