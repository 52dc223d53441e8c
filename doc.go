// Package gridmux has no code of its own: it is the front page of a module
// that carries the traffic between the nodes of one clustered service.
//
// Every node creates a Manager that knows its own address and all its peers.
// Between any two nodes there is one two-way connection, over which either
// calls the handlers of the other, with cancellation, deadlines, limits and
// reconnection.
//
// Begin with [github.com/gridmux/gridmux/core], which holds the Manager and
// everything that a handler or a caller meets. Choose what the frames travel
// on when you make the Manager:
//
//   - [github.com/gridmux/gridmux/transport/websocket] between processes,
//   - [github.com/gridmux/gridmux/transport/inmem] in tests and simulations.
//
// To write a transport of your own, read
// [github.com/gridmux/gridmux/transport]. To compare transports on your own
// network, run go run ./bench in a clone of the repository.
//
// The bytes on the wire are specified in the file PROTOCOL.md, and how the
// code hangs together in DESIGN.md.
package gridmux
