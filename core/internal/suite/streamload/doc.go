// Package streamload has no code but tests of package core: those of streams and
// large messages under load. They hold flow control, memory, and that whatever is
// slow, stopped or large leaves the rest of the connection alone. What is about
// speed runs in virtual time over a link of a given bandwidth, so it is exact.
// What the tests share is in package lab.
package streamload
