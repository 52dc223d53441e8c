package core

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gridmux/gridmux/core/internal/wire"
)

// Connection is the durable handle to one node. It outlives the links that come
// and go beneath it; it is got from [Manager.Connection] and never closed by
// itself. All methods may be called from any goroutine.
type Connection struct {
	m       *Manager
	name    string
	unknown bool // only a name, of a node that was no member when it was asked for
	dials   bool // the local node is the first to dial (W60)
	decides bool // of two connections, the local node decides which one lives (W63)

	current atomic.Pointer[session]
	turn    chan struct{} // capacity 1: held by who decides about the next session, or by guests
	nudge   chan struct{} // capacity 1: the dial loop is to look again
	jitter  *rand.PCG     // of the dial loop

	newcomers atomic.Int32 // inbound connections that wait for the turn

	*usage

	mu          sync.Mutex
	addr        string
	state       State
	since       time.Time               // of the state
	coming      *session                // that is about to be the current one
	previous    *session                // that was the current one a moment ago, and may be again
	letGo       *time.Timer             // of previous: when GOAWAY is said on it
	finishing   []*session              // that take no new calls, oldest first
	guests      *guests                 // that have the turn; nil: none
	seated      event                   // there are guests whom others may join
	links       []linkMemory            // by rank of the transport
	instance    [wire.InstanceSize]byte // who answered last
	moving      bool                    // an attempt to move to a preferred transport is under way
	lookAhead   *time.Timer             // when the next one begins
	hadSession  bool
	removed     bool                    // no member any more
	lastErr     error                   // of the last attempt or session
	attempts    int                     // since the last session
	backoff     int                     // doublings of the pause
	moved       bool                    // the address is new, and was not dialled yet
	former      [wire.InstanceSize]byte // who answered at the address before
	formerUntil time.Time               // how long that one is not taken
	dialing     bool
	cancelDial  func() // of the attempt that is under way
	cancelMove  func() // of that to move
	changed     event  // of the state
}

var errNilContext = errors.New("the context is nil: pass context.Background() for none")

func newConnection(m *Manager, n Node) *Connection {
	return &Connection{
		m: m, name: n.Name, addr: n.Addr, usage: m.usageOf(n.Name),
		dials: dials(m.cfg.Local.Name, n.Name), decides: m.cfg.Local.Name < n.Name,
		turn: make(chan struct{}, 1), nudge: make(chan struct{}, 1), jitter: m.jitterOf(n.Name),
		since: time.Now(), links: make([]linkMemory, len(m.transports)),
	}
}

// begin makes the node try to reach the peer.
func (c *Connection) begin() {
	c.setState(StateConnecting)
	c.connect()
}

func (c *Connection) address() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.addr
}

// Peer returns the name of the node at the other end.
func (c *Connection) Peer() string {
	if c == nil {
		return ""
	}
	return c.name
}

// State returns what is known of the peer at the moment.
func (c *Connection) State() State {
	if c = c.resolve(); c == nil || c.unknown {
		return StateIdle
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state
}

func (c *Connection) setState(to State) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.setStateLocked(to, nil)
}

// setStateLocked changes the state, wakes those who wait and tells OnState.
// Nothing follows StateClosed.
func (c *Connection) setStateLocked(to State, err error) {
	if c.state == to || c.state == StateClosed {
		return
	}
	change := StateChange{Peer: c.name, From: c.state, To: to, Err: err, At: time.Now()}
	c.state, c.since = to, change.At
	c.lookAheadLocked()
	c.changed.happened()
	c.m.changes.happened()
	if c == c.m.local {
		return
	}
	c.notify.add(change)
}

// whyDown says that there is no connection, since when and why.
func (c *Connection) whyDown() error {
	if c == nil || !c.m.made() {
		return fmt.Errorf("%w: get the Connection from a Manager made with NewManager", ErrNotStarted)
	}
	if c.unknown {
		return fmt.Errorf("%w: %q is not among the peers of %q", ErrUnknownPeer, c.name, c.m.cfg.Local.Name)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.removed {
		return fmt.Errorf("%w: %q was removed from the peers of %q", ErrUnknownPeer, c.name, c.m.cfg.Local.Name)
	}
	switch c.state {
	case StateConnecting:
	case StateIdle:
		return fmt.Errorf("%w: call Manager.Start first", ErrNotStarted)
	case StateClosed:
		return ErrClosed
	case StateConnected:
		return fmt.Errorf("%w: there was no connection a moment ago; there is one now", ErrDisconnected)
	}
	if c.m.draining.Load() {
		return fmt.Errorf("%w: %w", errDrainingHere, c.sinceWhenLocked())
	}
	return c.sinceWhenLocked()
}

// sinceWhenLocked is whyDown of a peer that may be connected to again. c.mu is held.
func (c *Connection) sinceWhenLocked() error {
	since := time.Since(c.since).Round(time.Millisecond)
	switch {
	case c.lastErr != nil && c.attempts > 0:
		return fmt.Errorf("%w for %v (attempt %d): %w", ErrDisconnected, since, c.attempts, &noLinkError{c.lastErr})
	case c.lastErr != nil:
		return fmt.Errorf("%w for %v: %w", ErrDisconnected, since, &noLinkError{c.lastErr})
	case !c.dials:
		return fmt.Errorf("%w for %v: waiting for %q to connect to us", ErrDisconnected, since, c.name)
	default:
		return fmt.Errorf("%w for %v: connecting to %s", ErrDisconnected, since, c.addr)
	}
}

// noLinkError is why there is no connection, as part of the error of a call. It
// matches what it wraps, but not the errors of contexts: those of an attempt to
// connect that ran out of time are not the call's.
type noLinkError struct{ err error }

func (e *noLinkError) Error() string { return e.err.Error() }

// Is reports whether target is in the chain of what was wrapped.
func (e *noLinkError) Is(target error) bool {
	if target == context.DeadlineExceeded || target == context.Canceled {
		return false
	}
	return errors.Is(e.err, target)
}

// As finds a type in the chain of what was wrapped.
func (e *noLinkError) As(target any) bool { return errors.As(e.err, target) }
