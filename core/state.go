package core

import (
	"sync"
	"time"
)

// State is what a [Connection] knows of its peer.
type State uint8

const (
	// StateIdle: the Manager has not been started, or the peer is unknown.
	StateIdle State = iota
	// StateConnecting: there is no connection that takes calls; one is being
	// made, or the peer is expected to make it, unless the local node is shutting
	// down, which makes none. Calls in progress on a connection to a peer that is
	// going away may still finish.
	StateConnecting
	// StateConnected: calls can be made; while the local node is shutting down,
	// by its handlers that run.
	StateConnected
	// StateClosed: the Manager was closed, or the peer was removed by
	// [Manager.SetPeers]. Nothing follows, unless the peer is added again.
	StateClosed
)

func (s State) String() string {
	switch s {
	case StateConnecting:
		return "connecting"
	case StateConnected:
		return "connected"
	case StateClosed:
		return "closed"
	default:
		return "idle"
	}
}

// StateChange is one change of a peer's state.
type StateChange struct {
	Peer     string
	From, To State
	// Err is why the connection was lost; nil for other changes.
	Err error
	// At is when it happened.
	At time.Time
}

// maxStateQueue bounds the changes that wait for a slow OnState.
const maxStateQueue = 64

// notifier hands the changes of one peer to Config.Logger and Config.OnState, in
// order, from a goroutine of its own: both are the user's code and may do as
// they like.
type notifier struct {
	fn      func(StateChange)
	mu      sync.Mutex
	queue   []StateChange
	running bool
}

func (n *notifier) add(c StateChange) {
	n.mu.Lock()
	defer n.mu.Unlock()
	// What is dropped leads from a state back to the same state, so the changes that
	// remain still follow on each other: a connection that comes and goes takes two, a
	// peer that is removed and added again three.
	for _, back := range []int{2, 3} {
		if at := len(n.queue) - back; at >= maxStateQueue-back && n.queue[at].From == c.From {
			n.queue = n.queue[:at]
			break
		}
	}
	n.queue = append(n.queue, c)
	if !n.running {
		n.running = true
		go n.run()
	}
}

// idle reports whether everything was told.
func (n *notifier) idle() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return !n.running
}

// run calls the user's function until the queue is empty. Nobody waits for it,
// because it is user code.
func (n *notifier) run() {
	returned := false
	defer func() {
		if !returned {
			// runtime.Goexit, as by a test that failed: the changes to come
			// must not suffer.
			go n.run()
		}
	}()
	for {
		n.mu.Lock()
		if len(n.queue) == 0 {
			n.running = false
			n.mu.Unlock()
			returned = true
			return
		}
		c := n.queue[0]
		n.queue = append(n.queue[:0], n.queue[1:]...)
		n.mu.Unlock()
		n.fn(c)
	}
}
