// Package streams has no code but tests: those that hold the behaviour of streams,
// in both forms, over every link. What a stream sends frame by frame is in package
// streamprotocol beside it.
package streams
