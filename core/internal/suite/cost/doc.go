// Package cost has no code but tests of package core: those that hold what calls
// and idle nodes may cost, in allocations, memory, goroutines and time. Most are
// not built with the race detector, which allocates too. What the tests share is
// in package lab.
package cost
