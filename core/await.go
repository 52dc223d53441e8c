package core

import (
	"context"
	"fmt"
	"strings"
	"sync"
)

// event is something that happens again and again. The lock of its owner guards it.
type event struct {
	ch chan struct{} // nil: nobody waits
}

// next returns a channel that is closed when it happens the next time.
func (e *event) next() <-chan struct{} {
	if e.ch == nil {
		e.ch = make(chan struct{})
	}
	return e.ch
}

func (e *event) happened() {
	if e.ch != nil {
		close(e.ch)
		e.ch = nil
	}
}

// lockedEvent is an event with a lock of its own, which may be taken under any other.
type lockedEvent struct {
	mu sync.Mutex
	e  event
}

func (l *lockedEvent) next() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.e.next()
}

func (l *lockedEvent) happened() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.e.happened()
}

// WaitConnected waits until there is a connection to the peer, until ctx ends,
// or until the Manager is closed or shuts down. The error says since when and why
// there is none.
func (c *Connection) WaitConnected(ctx context.Context) error {
	if err := c.await(ctx); err != nil {
		return fmt.Errorf("gridmux: WaitConnected: wait for %q: %w", c.Peer(), err)
	}
	return nil
}

func (c *Connection) await(ctx context.Context) error {
	if ctx == nil {
		return errNilContext
	}
	for {
		if c = c.resolve(); c == nil || c.unknown || !c.m.made() {
			return c.whyDown()
		}
		c.mu.Lock()
		state, changed := c.state, c.changed.next()
		c.mu.Unlock()
		switch state {
		case StateConnected:
			return nil
		case StateConnecting:
		default:
			return c.whyDown()
		}
		if c.m.draining.Load() {
			return c.whyDown()
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ctx.Err(), c.whyDown())
		}
	}
}

// WaitConnected waits until there is a connection to every peer that there is when it is
// called and that is not removed meanwhile, all at the same time, until ctx ends, or until
// the Manager is closed or shuts down. The error names who is missing, since when and why.
func (m *Manager) WaitConnected(ctx context.Context) error {
	if !m.made() {
		return waitError("WaitConnected", errNoManager)
	}
	peers := m.members.Load().list
	return m.waitFor(ctx, "WaitConnected", func() (missing []*Connection, err error) {
		for _, c := range peers {
			if c = c.resolve(); c.State() != StateConnected && !c.isRemoved() {
				missing = append(missing, c)
			}
		}
		return missing, nil
	})
}

// WaitQuorum waits until n nodes of the cluster, the local one among them, are
// connected at the same time, until ctx ends, or until the Manager is closed or shuts
// down. Those count that are members then. The error names who is missing, since when and why; it
// comes at once if there are fewer than n members.
func (m *Manager) WaitQuorum(ctx context.Context, n int) error {
	return m.waitFor(ctx, "WaitQuorum", func() (missing []*Connection, err error) {
		peers := m.members.Load().list
		if n > len(peers)+1 {
			return nil, fmt.Errorf("%d nodes asked for, the cluster has %d", n, len(peers)+1)
		}
		for _, c := range peers {
			if c.State() != StateConnected {
				missing = append(missing, c)
			}
		}
		if len(peers)+1-len(missing) >= n {
			return nil, nil
		}
		return missing, nil
	})
}

// waitFor waits until look finds nobody missing.
func (m *Manager) waitFor(ctx context.Context, op string, look func() (missing []*Connection, err error)) error {
	switch {
	case !m.made():
		return waitError(op, errNoManager)
	case ctx == nil:
		return waitError(op, errNilContext)
	}
	for {
		changed := m.changes.next()
		switch m.local.State() {
		case StateIdle:
			return waitError(op, fmt.Errorf("%w: call Manager.Start first", ErrNotStarted))
		case StateClosed:
			return waitError(op, ErrClosed)
		case StateConnecting, StateConnected:
		}
		missing, err := look()
		if len(missing) == 0 {
			return waitError(op, err)
		}
		if m.draining.Load() {
			return waitError(op, errDrainingHere)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return waitError(op, fmt.Errorf("%w%s", ctx.Err(), describeMissing(missing)))
		}
	}
}

// errNoManager is the end of what is asked of a Manager that NewManager did not make.
var errNoManager = fmt.Errorf("%w: make the Manager with NewManager", ErrNotStarted)

func waitError(op string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("gridmux: %s: %w", op, err)
}

func describeMissing(missing []*Connection) string {
	var text strings.Builder
	for _, c := range missing {
		fmt.Fprintf(&text, "; %q: %v", c.name, c.whyDown())
	}
	return text.String()
}

// giveUpWaiting tells all who wait for a connection that this node makes no more.
func (m *Manager) giveUpWaiting() {
	for _, c := range m.members.Load().list {
		c.mu.Lock()
		c.changed.happened()
		c.mu.Unlock()
	}
	m.changes.happened()
}

// isRemoved reports whether the peer is no member any more.
func (c *Connection) isRemoved() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.removed
}
