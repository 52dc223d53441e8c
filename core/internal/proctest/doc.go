// Package proctest has no code but tests: those that need real processes and real
// sockets. Children are this test's own program, started again in another role,
// and are killed, paused, starved and replaced while others call them over
// websocket. What their handlers did is read from files that they append to, so
// that it is known after a kill too. It has a directory of its own for the same
// reason as package suite.
package proctest
