package core

import (
	"log/slog"
	"time"

	"github.com/gridmux/gridmux/core/internal/wire"
)

// How a peer that is connected over one transport moves to a preferred one (W66),
// without a moment in which no session takes calls.
//
// Either node may look ahead: it dials by the preferred transports while there is
// a session over another, and says in its HELLO that the new session is to take
// over. The acceptor goes over to it when the handshake is done; the old session
// is then the previous one. For the dialler the new session is coming until the
// peer has answered a ping on it, which shows that the acceptor has gone over;
// only then does it go over too. So at any time both sides use a session that the
// other serves, and whichever of the two is lost in the middle, the other is
// there.
//
// On the previous session GOAWAY is said some time later. Calls that were about
// to be written when it ceased to be the current one have been written by then,
// and a new session that fails at once has shown it: then the previous one is the
// current one again.

// lookAheadLocked sets when to try to move to a preferred transport. It is called
// when anything has changed that it depends on. c.mu is held.
func (c *Connection) lookAheadLocked() {
	if c.lookAhead != nil {
		c.lookAhead.Stop()
		c.lookAhead = nil
	}
	s := c.current.Load()
	if s == nil || s.rank == 0 || c.state != StateConnected || c.moving || c.coming != nil || c.m.draining.Load() {
		return
	}
	at := c.links[0].quiet
	for rank := range s.rank {
		if quiet := c.links[rank].quiet; quiet.Before(at) {
			at = quiet
		}
	}
	c.lookAhead = time.AfterFunc(time.Until(at), func() { c.m.spawn(c.tryToMove) })
}

// tryToMove makes one attempt to move to a preferred transport.
func (c *Connection) tryToMove() {
	c.mu.Lock()
	from := c.current.Load()
	var order []int
	if from != nil && c.state == StateConnected && !c.moving && c.coming == nil && !c.m.draining.Load() {
		order = c.betterLocked(from)
	}
	c.moving = len(order) > 0
	if !c.moving {
		c.lookAheadLocked()
		c.mu.Unlock()
		return
	}
	c.mu.Unlock()
	if c.newRace(from).run(order, nil) == nil {
		c.confirm()
	}
	c.mu.Lock()
	c.moving = false
	c.lookAheadLocked()
	c.mu.Unlock()
}

// betterLocked returns the ranks of the transports to try to move to. c.mu is held.
func (c *Connection) betterLocked(from *session) (order []int) {
	now := time.Now()
	full := len(c.finishing) >= maxFinishing
	for rank := range from.rank {
		l := &c.links[rank]
		switch {
		case now.Before(l.quiet):
		case full:
			// One more would end the oldest, and calls with it.
			l.quiet = now.Add(probeAfter)
		default:
			// Whatever comes of it. What is learned may say later.
			l.quiet = now.Add(probeAfter)
			order = append(order, rank)
		}
	}
	return order
}

// lacks reports whether a session is still to be made: one to take over from that
// one, or if it is nil any.
func (c *Connection) lacks(from *session) bool {
	if from == nil {
		return c.State() == StateConnecting
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.current.Load() == from && c.coming == nil && c.state == StateConnected
}

// incumbent is the session that a newcomer is held against.
func (c *Connection) incumbent() *session {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.incumbentLocked()
}

// incumbentLocked is incumbent with c.mu held.
func (c *Connection) incumbentLocked() *session {
	if c.coming != nil {
		return c.coming
	}
	return c.current.Load()
}

// mayMove reports whether a newcomer takes over from s. It has to be of the same
// process, and by a transport that this node prefers as well: or else two nodes
// of different opinions would move to and fro.
func (c *Connection) mayMove(s *session, n *newcomer) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mayMoveLocked(s, n)
}

// mayMoveLocked is mayMove with c.mu held.
func (c *Connection) mayMoveLocked(s *session, n *newcomer) bool {
	return n.moves && c.coming == nil && n.rank < s.rank && n.instance == s.instance && len(c.finishing) < maxFinishing
}

// comesLocked reports whether s, which this node has dialled, has to wait until the
// peer has gone over to it. c.mu is held.
func (c *Connection) comesLocked(s *session) bool {
	if s.side != 0 || !s.moves || c.current.Load() == nil {
		return false
	}
	c.coming = s
	return true
}

// confirm waits until the peer has gone over to the session that is coming, and
// goes over too.
func (c *Connection) confirm() {
	c.mu.Lock()
	s := c.coming
	c.mu.Unlock()
	if s == nil {
		return
	}
	p := s.ping()
	timer := time.NewTimer(c.m.cfg.ConnectTimeout)
	defer timer.Stop()
	select {
	case <-p.answered:
	case <-s.done:
		return
	case <-timer.C:
		s.end(errUnanswered, wire.CodeTimeout)
		return
	}
	c.mu.Lock()
	if c.coming != s {
		c.mu.Unlock()
		return
	}
	c.coming = nil
	over := c.replacedLocked(c.current.Swap(s), s)
	c.mu.Unlock()
	over.giveWay()
}

// replacedLocked makes old, whose place s has just taken, the previous session. It
// returns the one that was it before, which is to give way; nil if there is none.
// c.mu is held.
func (c *Connection) replacedLocked(old, s *session) (over *session) {
	if over = c.previous; over != nil {
		c.forgetPreviousLocked()
		c.finishing = append(c.finishing, over)
	}
	c.previous = old
	wait := c.m.cfg.KeepAlive
	if s.side == 0 {
		wait *= 2 // the acceptor is to say GOAWAY, and this node if it does not
	}
	c.letGo = time.AfterFunc(wait, func() { c.letPreviousGo(old) })
	c.logMove(old, s, nil)
	return over
}

func (c *Connection) forgetPreviousLocked() {
	c.letGo.Stop()
	c.letGo, c.previous = nil, nil
}

// letPreviousGo ends the time in which s can become the current session again.
func (c *Connection) letPreviousGo(s *session) {
	c.mu.Lock()
	if c.previous != s {
		c.mu.Unlock()
		return
	}
	c.forgetPreviousLocked()
	oldest := c.finishLocked(s)
	c.mu.Unlock()
	s.giveWay()
	for _, s := range oldest {
		s.end(errSuperseded, wire.CodeSuperseded)
	}
}

// insteadLocked returns the session that takes the place of the current one, s,
// which is lost or takes no calls any more; nil if there is none. c.mu is held.
func (c *Connection) insteadLocked(s *session, err error) *session {
	if n := c.coming; n != nil {
		c.coming = nil
		c.logMove(s, n, err)
		return n
	}
	p := c.previous
	if p == nil || s.goaway.Load() || s.leaving.Load() || p.goaway.Load() || p.leaving.Load() || c.state != StateConnected {
		// One side drains, or does not want the old session back.
		return nil
	}
	c.forgetPreviousLocked()
	c.logMove(s, p, err)
	return p
}

// logMove writes a line about a change of transports that is none of state.
func (c *Connection) logMove(from, to *session, err error) {
	// The logger is the user's, and Close waits for who calls this.
	go c.m.log(slog.LevelInfo, "gridmux: peer moved to another transport", "local", c.m.cfg.Local.Name, "peer", c.name,
		"from", from.tc.Info().Transport, "to", to.tc.Info().Transport, "error", err)
}

// replaced reports whether another session with the same process has taken the place
// of s. To a process that was started anew a call is another call.
func (s *session) replaced() bool {
	now := s.peer.current.Load()
	return now != nil && now != s && now.instance == s.instance
}

// giveWay says GOAWAY on a session whose place another has taken. Calls that were
// sent before the peer knows are served. It does nothing for nil.
func (s *session) giveWay() {
	if s == nil {
		return
	}
	s.serves.Store(true)
	s.leaving.Store(true)
	s.sayGoaway(wire.Status{Code: wire.CodeSuperseded, Message: "moved to a preferred transport"})
}
