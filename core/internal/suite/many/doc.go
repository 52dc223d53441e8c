// Package many has no code but tests: those that hold the behaviour of calls to
// many peers at once, over every link, and to the nanosecond where time is
// virtual. The recipe for the start of a cluster, package docs/bootstrap, is put
// to work on large clusters here.
package many
