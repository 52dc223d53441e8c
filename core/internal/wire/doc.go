// Package wire parses and appends the frames of the gridmux protocol, version
// 1. It does no I/O, keeps no state, and allocates nothing but what HELLO and a
// status contain.
//
// PROTOCOL.md at the top of the repository is normative; its rules (W1, W2, …)
// are cited here and in the tests. A transport frame carries a batch: an
// optional checksum and then frames of ours, each self-delimiting: a header of
// 16 bytes and a body. [Next] cuts the first frame off a batch; the Parse
// functions read the bodies; the Append functions build frames.
//
// Every parser checks a length against the bytes that are there before it uses
// it. Payloads, metadata and frame bodies are slices of the input; what HELLO
// and a status contain is copied, because it outlives the batch.
package wire
