// Package suite has no code but the conformance tests of package quic: over
// sockets of its own and of the user's, and on simulated networks, good and bad.
// They have a directory of their own because they take as long as all the others.
package suite
