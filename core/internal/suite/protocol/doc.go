// Package protocol has no code but tests of package core: those that hold it to
// PROTOCOL.md. A test plays one peer by hand, frame by frame, keeps the rules or
// breaks them, and names in its sentences those that it holds. How that is done is
// in the documentation of package lab.
package protocol
