package core

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/gridmux/gridmux/core/internal/wire"
)

// How one session of a peer follows on another (W63 to W66). At most one is the
// current one and takes new calls. Others that are left finish what they have:
// those that one side has said GOAWAY on. How one takes over from another that
// works is in move.go.
//
// A newcomer never takes the place of a session that lives. Whoever is to decide
// about one takes the turn of the Connection first, so that there is one such
// decision at a time. The node with the smaller name holds the turn also while a
// connection that it dialled itself is being greeted: of two that both dial at
// once that one's connection lives.

const (
	// maxNewcomers bounds the inbound connections of one peer, which has proved
	// who it is, that wait for the turn.
	maxNewcomers = 8
	// maxFinishing bounds the older sessions of a peer that finish what they
	// have. The oldest is ended for one more.
	maxFinishing = 4
)

func (c *Connection) takeTurn(ctx context.Context) error {
	select {
	case c.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c *Connection) yieldTurn() { <-c.turn }

// admit decides about an inbound connection of the peer: nil, and the turn is
// held until dismiss, if it may become the current one.
func (c *Connection) admit(ctx context.Context, n *newcomer) error {
	defer c.newcomers.Add(-1)
	if n := c.newcomers.Add(1); n > maxNewcomers {
		return reject(wire.CodeDuplicate, "%d other connections of node %q are waiting to be taken", n-1, c.name)
	}
	shares, err := c.enter(ctx, n)
	if err != nil {
		return err
	}
	if !shares {
		if err := c.contest(ctx, n); err != nil {
			c.yieldTurn()
			return err
		}
		c.seat(n)
	}
	if err := c.m.promise(); err != nil {
		c.rise(n)
		return err
	}
	return nil
}

// dismiss ends what admit began.
func (c *Connection) dismiss(n *newcomer) {
	c.rise(n)
	c.m.redeem()
}

// contest holds a newcomer against the current session, if there is one: an
// answer to a ping refuses the newcomer, silence ends the old.
func (c *Connection) contest(ctx context.Context, newcomer *newcomer) error {
	for {
		if err := c.m.goingAway(); err != nil {
			return err
		}
		s := c.incumbent()
		switch {
		case s == nil && c.left(newcomer.instance):
			return reject(wire.CodeDuplicate, "node %q is to be reached at another address now", c.name)
		case s == nil, c.mayMove(s, newcomer):
			return nil
		case !s.lives(ctx):
			s.end(fmt.Errorf("%w while a new connection of the same peer came in", errUnanswered), wire.CodeTimeout)
			continue
		case c.incumbent() != s:
			// The peer had said GOAWAY before it dialled, and that came ahead of
			// its answer.
			continue
		case s.instance == newcomer.instance:
			return errNotNeeded
		default:
			return reject(wire.CodeDuplicate,
				"node %q is connected already and alive: another process has the same name; give each its own", c.name)
		}
	}
}

// probeTimeout is how long the ping of an old session is waited for. The
// handshake of the newcomer waits with it.
func (m *Manager) probeTimeout() time.Duration {
	return min(m.cfg.KeepAliveTimeout, m.cfg.ConnectTimeout/2)
}

// lives reports whether the peer answers a ping, or at least sends something. It
// reports true if ctx ends first.
func (s *session) lives(ctx context.Context) bool {
	timer := time.NewTimer(s.m.probeTimeout())
	defer timer.Stop()
	reads, p := s.alive.reads.Load(), s.ping()
	defer s.forgetPing(p.value)
	select {
	case <-p.answered:
		return true
	case <-s.done:
		return false
	case <-ctx.Done():
		return true
	case <-timer.C:
		return s.alive.reads.Load() != reads
	}
}

// errOutrun is the end of a connection that is not wanted any more when its
// handshake is over.
var errOutrun = errors.New("things had changed when the handshake was over")

// attach makes s the current session and starts it. It fails if the node was
// closed, the peer removed or moved, or the link lost meanwhile.
func (c *Connection) attach(s *session) error {
	if !c.m.addSession(s) {
		_ = s.tc.CloseWithError(uint32(wire.CodeShutdown), errManagerDone.Error())
		return ErrClosed
	}
	c.mu.Lock()
	now := c.current.Load()
	if c.state == StateClosed || s.ending.Load() || s.side == 0 && s.dialled != c.addr ||
		s.side == 1 && now == nil && c.leftLocked(s.instance) ||
		s.moves && now != nil && now.instance != s.instance {
		// The node was closed, the peer removed, moved or started anew, or the link
		// lost. The session must not become current. For the peer it may be, so it is
		// left as others are, and no call is lost on it.
		c.mu.Unlock()
		s.start()
		s.leave(errOutrun.Error())
		return errOutrun
	}
	c.metLocked(s)
	if s.side == 0 && s.instance == c.former {
		c.formerUntil = time.Time{} // it has moved itself
	}
	if c.comesLocked(s) {
		c.mu.Unlock()
		s.launch()
		return nil
	}
	old := c.current.Swap(s)
	var over *session
	if s.moves && old != nil {
		over, old = c.replacedLocked(old, s), nil
	}
	c.attempts, c.lastErr, c.hadSession = 0, nil, true
	if s.side == 1 && time.Since(c.since) >= stableAfter {
		// After an outage the peer has reached us, so we can probably reach it.
		// After less, both may be hurrying to and fro over a flapping link.
		c.backoff = 0
	}
	c.setStateLocked(StateConnected, nil)
	c.lookAheadLocked()
	c.mu.Unlock()
	c.wakeDialer()
	s.launch()
	over.giveWay()
	if old != nil {
		old.end(errSuperseded, wire.CodeSuperseded)
	}
	return nil
}

// launch starts a session that was attached.
func (s *session) launch() {
	s.start()
	if s.m.draining.Load() {
		s.sayGoaway(shutdownStatus)
	}
}

// sessionEnded is told by s that it is over.
func (c *Connection) sessionEnded(s *session, err error) {
	c.mu.Lock()
	switch s {
	case c.current.Load():
		c.lostLocked(s, err)
	case c.coming:
		c.coming = nil
		c.blameLocked(s, err)
	case c.previous:
		c.forgetPreviousLocked()
	default:
		if i := slices.Index(c.finishing, s); i >= 0 {
			c.finishing = slices.Delete(c.finishing, i, i+1)
		}
	}
	c.mu.Unlock()
	c.connect()
}

// lostLocked takes away the current session. Another takes its place, if a move is
// under way; or else the state changes. c.mu is held.
func (c *Connection) lostLocked(s *session, err error) {
	next := c.insteadLocked(s, err)
	c.current.Store(next)
	if c == c.m.local {
		return
	}
	if c.cancelMove != nil {
		c.cancelMove()
	}
	c.blameLocked(s, err)
	c.lookAheadLocked()
	if next != nil {
		return
	}
	c.seated.happened() // those that were about to take over from it may be joined now
	err = s.onTransport(err)
	c.lastErr = err
	if time.Since(s.born) >= stableAfter {
		c.backoff = 0
	}
	c.setStateLocked(StateConnecting, err)
}

// retire makes s one that only finishes what it has: one side has said GOAWAY,
// or nothing can be written any more.
func (c *Connection) retire(s *session, err error) {
	c.mu.Lock()
	switch {
	case c == c.m.local:
		c.mu.Unlock()
		return
	case s == c.current.Load():
		c.lostLocked(s, err)
	case s == c.coming:
		c.coming = nil
		c.blameLocked(s, err)
	case s == c.previous:
		c.forgetPreviousLocked()
	default:
		c.mu.Unlock()
		return
	}
	oldest := c.finishLocked(s)
	c.mu.Unlock()
	for _, s := range oldest {
		s.end(errSuperseded, wire.CodeSuperseded)
	}
	c.connect()
}

// finishLocked adds a session to those that only finish what they have, and
// returns which are to be ended for that. c.mu is held.
func (c *Connection) finishLocked(s *session) (oldest []*session) {
	c.finishing = append(c.finishing, s)
	return slices.Clone(c.finishing[:max(len(c.finishing)-maxFinishing, 0)])
}

// remove ends the Connection of a peer that is no member any more. Its session
// finishes what it has.
func (c *Connection) remove() {
	c.mu.Lock()
	c.removed = true
	c.setStateLocked(StateClosed, nil)
	c.cancelAttemptsLocked()
	all := c.sessionsLocked()
	c.mu.Unlock()
	// Only now: before, another could have become the current one.
	c.leaveSessions(all, "the node is not among the peers any more")
	c.wakeDialer()
}

// move makes addr the address of the peer: from now on calls go to who answers
// there, and the session with the old address finishes what it has.
func (c *Connection) move(addr string) {
	c.mu.Lock()
	c.addr, c.moved, c.backoff = addr, true, 0
	if c.instance != ([wire.InstanceSize]byte{}) {
		c.former, c.formerUntil = c.instance, time.Now().Add(movedGrace)
	}
	clear(c.links)
	c.cancelAttemptsLocked()
	all := c.sessionsLocked()
	c.mu.Unlock()
	c.leaveSessions(all, "the node is to be reached at another address")
	c.wakeDialer()
}

// movedGrace is how long a process that was reached at the address before is not
// taken when it comes in by itself. It may live on, and must not come in again
// ahead of its successor.
const movedGrace = 10 * time.Second

// left reports whether a process of the peer is the one at the address before.
func (c *Connection) left(instance [wire.InstanceSize]byte) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.leftLocked(instance)
}

// leftLocked is left with c.mu held.
func (c *Connection) leftLocked(instance [wire.InstanceSize]byte) bool {
	return instance == c.former && time.Now().Before(c.formerUntil)
}

// sessionsLocked returns the sessions on which GOAWAY was not said. The current one
// is the last, so that none takes its place. c.mu is held.
func (c *Connection) sessionsLocked() (all []*session) {
	for _, s := range c.finishing {
		s.serves.Store(false)
		all = append(all, s)
	}
	for _, s := range []*session{c.coming, c.previous, c.current.Load()} {
		if s != nil {
			all = append(all, s)
		}
	}
	return all
}

func (c *Connection) cancelAttemptsLocked() {
	for _, cancel := range []func(){c.cancelDial, c.cancelMove} {
		if cancel != nil {
			cancel()
		}
	}
}

// leaveSessions says GOAWAY on those sessions. They end by themselves when their
// calls have.
func (c *Connection) leaveSessions(all []*session, why string) {
	for _, s := range all {
		s.leave(why)
		c.retire(s, fmt.Errorf("%w: %s", ErrDraining, why))
	}
}
