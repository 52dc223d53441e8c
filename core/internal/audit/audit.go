// Package audit lets a simulation see what a node holds: credits, windows, slots
// and memory, which no user can see and which have to be back where they were
// when nothing is in progress. Only tests ask.
package audit

// Of returns the books of a *core.Manager. Package core sets it. It may be called
// at any time; the figures fit together only while everything is at rest.
var Of func(manager any) Books

// Books is what a Manager holds.
type Books struct {
	Handlers int // that have a place
	Usages   []Usage
	Sessions []Session
}

// Usage is what one peer takes of the node's means, all its sessions together.
type Usage struct {
	Peer     string
	Handlers int
	Windows  int64 // bytes
	Sharing  int   // windows that messages of streams share
	// Memory is that of requests, responses, messages for handlers of streams, and
	// messages for their callers.
	Memory [4]Memory
}

// Idle reports whether the peer takes nothing.
func (u *Usage) Idle() bool {
	return u.Handlers == 0 && u.Windows == 0 && u.Sharing == 0 && u.Memory == [len(u.Memory)]Memory{}
}

// Memory is the memory for large messages of one kind.
type Memory struct {
	Held    int64 // bytes
	Waiting int   // messages
}

// Session is one session that has not ended.
type Session struct {
	Peer    string
	Dialled bool // by this node; of a loopback, the calling side
	Lane    bool // of a lane beside the first one
	Busy    int  // calls in progress, both ways
	Pending int  // slots of calls that this side makes
	Unsent  int  // bytes of small frames that wait
	// Ungranted are large messages that wait for memory of the peer, or for
	// their turn to ask for it.
	Ungranted int
	Turns     bool   // something has turns in the bulk class
	Control   bool   // control frames wait
	Unacked   uint64 // bytes of bulk that the peer was asked to acknowledge
	Streams   []Stream
}

// Stream is one end of a stream that is open.
type Stream struct {
	ID      uint64
	Serving bool
	In, Out Credit
	Held    int // bytes of the window that are reserved
	// Open: the direction has not ended. What has ended keeps no account.
	InOpen, OutOpen bool
	// Idle: the user waits for a message, and none is there, whole or in parts.
	Idle bool
}

// Credit is what one direction of a stream has left.
type Credit struct {
	Messages, Capacity int
	Bytes, Window      int
	First              int // window at first, which is the most that a message costs
}
