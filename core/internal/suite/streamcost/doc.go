// Package streamcost has no code but tests of package core: those that hold what
// streams may cost, in allocations, memory and goroutines, while they are open,
// for each message, and when they are over. They are not built with the race
// detector, which allocates too. What the tests share is in package lab.
package streamcost
