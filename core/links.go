package core

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/gridmux/gridmux/core/internal/wire"
	"github.com/gridmux/gridmux/transport"
)

// A node has one transport or, by transport.Fallback, several in an order of
// preference. The rank of one is its place in that order, 0 the preferred. What
// is known of them is known for each peer by itself: what is blocked between two
// nodes need not be between others.

const (
	// attemptDelay is the head start of a transport over the next (RFC 8305
	// section 5).
	attemptDelay = 250 * time.Millisecond
	// provenDelay is that of one that has worked for this peer: falling back
	// from it is probably a mistake.
	provenDelay = 2 * time.Second
	// minHold and maxHold are for how long a transport is left alone that has
	// failed where another has worked: doubled each time, give or take a quarter.
	minHold = 5 * time.Minute
	maxHold = time.Hour
	// provenAfter is how long a session has to live for its transport to have
	// worked. One that is lost earlier counts as one that failed, so nobody
	// returns to it at once.
	provenAfter = 5 * time.Minute
	// probeAfter is how soon the preferred transports are looked at when there is
	// a session over another, and the same again at most by chance. The node
	// that does not dial first leaves the other probeAssist more.
	probeAfter  = 15 * time.Second
	probeAssist = 45 * time.Second
)

// linkMemory is what a Connection knows of one transport. Connection.mu guards
// it.
type linkMemory struct {
	worked   bool      // it has, and nothing was heard against it since
	failures int       // in a row
	hold     time.Time // until then it is dialled only if all others fail
	quiet    time.Time // until then nobody tries to move to it
	why      error     // what was against it last
}

var (
	errNotReached  = errors.New("another transport was faster: the peer was not reached by this one in that time")
	errNotAnswered = errors.New("another transport was faster: the peer was reached by this one, " +
		"but the handshake was not over in that time")
	errPeerChose = errors.New("the peer has connected over another")
)

func transportsOf(t transport.Transport) []transport.Transport {
	if multi, ok := t.(transport.MultiTransport); ok {
		return multi.Transports()
	}
	return []transport.Transport{t}
}

// plan returns the ranks of the transports to dial by, in order, and those to try
// if all of these fail.
func (c *Connection) plan() (order, reserve []int) {
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	for rank := range c.links {
		if now.Before(c.links[rank].hold) {
			reserve = append(reserve, rank)
		} else {
			order = append(order, rank)
		}
	}
	return order, reserve
}

// headStart is how long a transport has to itself before the next one is tried
// beside it.
func (c *Connection) headStart(rank int) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.links[rank].worked {
		return provenDelay
	}
	return attemptDelay
}

// linkFailedLocked notes that a transport does not work where another does. c.mu
// is held.
func (c *Connection) linkFailedLocked(rank int, err error) {
	c.moveFailedLocked(rank, err)
	l := &c.links[rank]
	l.worked = false
	if r, ok := errors.AsType[*rejectedError](err); !ok || r.code != wire.CodeDuplicate {
		l.hold = l.quiet
	} // else it works, and the peer does not want to move
}

// moveFailedLocked notes that it came to nothing to move to a transport. c.mu is
// held.
func (c *Connection) moveFailedLocked(rank int, err error) {
	l := &c.links[rank]
	l.failures++
	l.why, l.quiet = err, time.Now().Add(c.holdLocked(l.failures))
}

// holdLocked is for how long a transport is left alone after so many failures.
// c.mu is held.
func (c *Connection) holdLocked(failures int) time.Duration {
	d := min(minHold<<min(failures-1, 10), maxHold)
	return d*3/4 + c.randomLocked(d/2)
}

// randomLocked is a random part of d. c.mu is held.
func (c *Connection) randomLocked(d time.Duration) time.Duration {
	return time.Duration(rand.New(c.jitter).Int64N(int64(d)))
}

// learn keeps what a race has shown: by which attempt it was won, if it was, who
// failed, and who was still running.
func (c *Connection) learn(r *race, a attempt, running []int) {
	won := a.s
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.links) == 1 || won == nil && r.from == nil {
		return // that the peer is not there says nothing of a transport
	}
	for rank, err := range r.failed {
		switch {
		case err == nil || won != nil && rank > won.rank:
		case won != nil && (won.first || a.took > c.m.cfg.ConnectTimeout/2):
			// It may have failed before the process was there, or before the network
			// was. Another look, soon, will tell.
			c.links[rank].worked, c.links[rank].why = false, err
		default:
			c.linkFailedLocked(rank, err)
		}
	}
	if won == nil {
		return
	}
	for _, rank := range running {
		if l := &c.links[rank]; rank < won.rank {
			l.worked, l.why = false, errNotReached
			if r.dialled[rank].Load() {
				l.why = errNotAnswered
			}
		}
	}
	c.links[won.rank].worked, c.links[won.rank].hold = true, time.Time{}
}

// blameLocked is told that a session was lost. c.mu is held.
func (c *Connection) blameLocked(s *session, err error) {
	now := c.current.Load()
	lived := time.Since(s.born)
	switch {
	case s.rank >= len(c.links)-1 || s.leaving.Load() || c.state == StateClosed || now != nil && now.rank < s.rank:
	case lived >= provenAfter:
		c.links[s.rank].failures = 0
	case s.goaway.Load() || orderly(err):
		if s.moves {
			// The peer did not keep to the move. It may do the same the next time.
			c.moveFailedLocked(s.rank, fmt.Errorf("the peer has left it after %v: %w", lived.Round(time.Millisecond), err))
		}
	default:
		c.linkFailedLocked(s.rank, fmt.Errorf("lost after %v: %w", lived.Round(time.Millisecond), err))
	}
}

// onTransport says what the session went over, where that is not the same for all.
func (s *session) onTransport(err error) error {
	if err == nil || len(s.m.transports) == 1 {
		return err
	}
	return fmt.Errorf("over %s: %w", s.tc.Info().Transport, err)
}

// orderly reports whether a session has ended because one side meant it to.
func orderly(err error) bool {
	if errors.Is(err, errSuperseded) || errors.Is(err, errLeft) || errors.Is(err, errManagerDone) {
		return true
	}
	closed, ok := errors.AsType[*transport.CloseError](err)
	return ok && (closed.Code == uint32(wire.CodeShutdown) || closed.Code == uint32(wire.CodeSuperseded))
}

// metLocked is told which process of the peer has connected. Of a new one nothing
// is known: what was against a transport may have been the end of the last one.
// c.mu is held.
func (c *Connection) metLocked(s *session) {
	if s.instance != c.instance {
		c.instance, s.first = s.instance, true
		clear(c.links)
	}
	if l := &c.links[s.rank]; !time.Now().Before(l.hold) {
		l.worked = true // also where the peer has dialled
	}
	if s.rank == 0 {
		return
	}
	soon := probeAfter + c.randomLocked(probeAfter)
	if !c.dials {
		soon += probeAssist
	}
	at := time.Now().Add(soon)
	for rank := range s.rank {
		if l := &c.links[rank]; l.quiet.Before(at) {
			l.quiet = at
		}
	}
}

// passedLocked is why the transports that are preferred to that of s are not in
// use; nil if there are none. c.mu is held.
func (c *Connection) passedLocked(s *session) error {
	var all linkErrors
	for rank := range s.rank {
		l := &c.links[rank]
		why := l.why
		if why == nil {
			why = errPeerChose
		}
		err := fmt.Errorf("transport %d of %d: %w", rank+1, len(c.links), why)
		if wait := time.Until(l.quiet).Round(time.Second); wait > 0 {
			err = fmt.Errorf("%w (tried again in %v)", err, wait)
		}
		all = append(all, err)
	}
	return all.orNil()
}

// linkErrors are errors of several transports, in one line.
type linkErrors []error

func (e linkErrors) orNil() error {
	switch len(e) {
	case 0:
		return nil
	case 1:
		return e[0]
	default:
		return e
	}
}

func (e linkErrors) Error() string {
	texts := make([]string, len(e))
	for i, err := range e {
		texts[i] = err.Error()
	}
	return strings.Join(texts, "; ")
}

func (e linkErrors) Unwrap() []error { return e }
