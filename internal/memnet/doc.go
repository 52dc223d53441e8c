// Package memnet is a network in memory for tests: listeners and buffered
// connections that behave like TCP on one machine, without a socket.
//
// Unlike net.Pipe its connections have a buffer, so that a write returns before
// the other end reads, and everything waits on conditions and timers only, so
// that it runs in a testing/synctest bubble: create the network, its listeners
// and connections inside the bubble.
//
//	l := memnet.Listen("a:1")
//	go http.Serve(l, handler)
//	conn, err := l.DialContext(ctx, "tcp", "a:1")
//
// Several listeners that are dialled by address belong to one [Network].
package memnet
