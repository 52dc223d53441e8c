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
// # Faults
//
// A test disturbs the network by naming nodes. [Network.SetLatency] makes
// frames take time, [Network.Partition] silences two nodes for each other,
// [Network.Stall] holds what the present connections carry, [Network.Cut]
// breaks connections and [Network.Crash] a whole node; [Network.Heal] ends
// partitions and stalls.
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
package inmem
