// Package streamprotocol has no code but tests of package core: those that hold
// its streams, flow control and pace to PROTOCOL.md. A test plays one peer by
// hand, frame by frame, as caller and as callee, and names in its sentences the
// rules that it holds. How that is done is in the documentation of package lab.
package streamprotocol
