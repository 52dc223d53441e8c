// Package unittest is the README's recipe for testing a clustered service
// without a network. Copy cluster_test.go and put your own service where the
// handler is. The whole test runs in virtual time: seconds of partition take
// microseconds, and a goroutine that is left over fails the test.
package unittest
