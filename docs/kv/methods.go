package main

import (
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/payload"
)

const (
	// replicaTimeout is what one node waits for another.
	replicaTimeout = 500 * time.Millisecond
	// clientTimeout leaves the node that is called the time to ask the others
	// twice and to say how that went. A call with less of it can end with a bare
	// time-out, which tells nothing about what was written.
	clientTimeout = 3 * replicaTimeout
)

// What clients call, on the connection to any node.
var (
	// Get returns the entry of a key that the last completed Put has written, or
	// ErrNoKey.
	Get = core.NewUnary[GetRequest, Entry]("kv.get", core.WithTimeout(clientTimeout))
	// Put has written the value to a majority of the nodes when it succeeds. After
	// an error, [Repeatable] tells whether nothing was written.
	Put = core.NewUnary[PutRequest, PutResponse]("kv.put", core.WithTimeout(clientTimeout))
	// Watch brings what the node that is called knows of the keys with a prefix,
	// and then what changes, without an end. A key that changes faster than the
	// caller reads is brought in its last state.
	Watch = core.NewServerStream[WatchRequest, Entry]("kv.watch")
)

// What the nodes call of each other.
var (
	load  = core.NewUnary[GetRequest, Entry]("kv.replica.load", core.WithTimeout(replicaTimeout))
	store = core.NewUnary[Entry, payload.None]("kv.replica.store", core.WithTimeout(replicaTimeout))
)

// Answers that callers tell apart with errors.Is. After ErrNoMajority a Put has
// written nothing; after ErrMaybeWritten the value is with one node at least, from
// which it can spread.
var (
	ErrNoKey        = &core.RemoteError{Code: 1001, Message: "no such key"}
	ErrBadKey       = &core.RemoteError{Code: 1002, Message: "a key has 1 to 256 bytes"}
	ErrNoMajority   = &core.RemoteError{Code: 1003, Message: "no majority of the nodes answers"}
	ErrMaybeWritten = &core.RemoteError{Code: 1004, Message: "the value may be there, now or later, or never"}
	ErrLeaving      = &core.RemoteError{Code: 1005, Message: "the node shuts down; watch another one"}
)

// Repeatable reports whether it is known that a Put which failed with err has
// written nothing and will not, so that a repeat does no harm. The node says so by
// core.Refuse, or the library, which knows that no handler has run.
func Repeatable(err error) bool {
	outcome := core.OutcomeOf(err)
	return outcome == core.OutcomeNotSent || outcome == core.OutcomeRefused
}
