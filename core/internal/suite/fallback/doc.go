// Package fallback has no code but tests of package core: those of nodes with
// several transports. They choose one for each peer, remember what works, fall
// back when one is blocked, and move up while calls go on. The transports are two
// simulated networks under the names udp and tcp, of which udp is preferred and
// has lanes; a test has websocket in place of tcp. What the tests share beyond
// this package is in package lab.
package fallback
