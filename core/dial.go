package core

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/gridmux/gridmux/core/internal/wire"
	"github.com/gridmux/gridmux/transport"
)

const (
	// minBackoff is the first pause between attempts.
	minBackoff = 100 * time.Millisecond
	// spreadPerPeer is how much of a window each peer adds over which the peers
	// of a node that went away spread their first attempts to reach it again.
	// So a node that restarts is met by some 50 attempts a second, in clusters so
	// large that Config.MaxBackoff cuts the window by more: 20 ms for each peer
	// keep it at that. In a small one a lost link is back at once.
	spreadPerPeer = 20 * time.Millisecond
	// assistAfter is how long the node that does not dial first waits without a
	// session until it dials too: the other may be unable to.
	assistAfter = time.Second
	// stableAfter is how long a session must have lived for its loss to start
	// with short pauses again; otherwise a flapping link would be dialled
	// without end.
	stableAfter = 10 * time.Second
)

// dials reports whether the node a is the first to dial b (W60): the one for
// which the hash over its own name and the other's is lower.
func dials(a, b string) bool {
	ha := sha256.Sum256([]byte(a + "\x00" + b))
	hb := sha256.Sum256([]byte(b + "\x00" + a))
	return bytes.Compare(ha[:], hb[:]) < 0
}

// jitterOf returns the source of the pauses of a connection. Each has its own,
// made from the Manager's seed, so that what happens on one does not shift the
// pauses of another.
func (m *Manager) jitterOf(peer string) *rand.PCG {
	sum := sha256.Sum256(append(m.seed[:], peer...))
	return rand.NewPCG(binary.LittleEndian.Uint64(sum[:]), binary.LittleEndian.Uint64(sum[8:]))
}

// connect makes sure that this node tries to reach the peer.
func (c *Connection) connect() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dialing || c.state != StateConnecting {
		return
	}
	c.dialing = c.m.spawn(c.dialLoop)
}

// dialLoop dials until there is a session. It lives only as long as there is
// none, so a connected peer costs no goroutine for it.
func (c *Connection) dialLoop() {
	for first := true; c.needed(); {
		if pause := c.pause(first); pause > 0 && !c.sleep(pause) {
			// What has changed may be a session that is lost again by now.
			first = true
			continue
		}
		first = false
		err := c.dialOnce()
		c.mu.Lock()
		switch {
		case err == nil || errors.Is(err, errNotNeeded):
		case c.state == StateConnecting:
			c.attempts++
			c.lastErr = err
		}
		c.backoff++
		c.mu.Unlock()
	}
}

// needed reports whether the loop is to go on; if not it counts as ended.
func (c *Connection) needed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dialing = c.state == StateConnecting && c.m.ctx.Err() == nil && !c.m.draining.Load()
	return c.dialing
}

// pause is the time until the next attempt: a random part of a window that
// doubles with every attempt that did not lead to a lasting session.
func (c *Connection) pause(first bool) time.Duration {
	spread := spreadPerPeer * time.Duration(len(c.m.members.Load().list))
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.moved {
		return 0
	}
	var least, window time.Duration
	if first && !c.dials {
		least = assistAfter
	}
	if c.hadSession {
		window = spread
	}
	if c.backoff > 0 {
		window = max(window, minBackoff<<min(c.backoff-1, 20))
	}
	if window = min(window, c.m.cfg.MaxBackoff); window > 0 {
		window = time.Duration(rand.New(c.jitter).Int64N(int64(window)))
	}
	return least + window
}

// sleep waits, and reports false if something has changed meanwhile: there is a
// session, the peer has a new address, or the node was closed.
func (c *Connection) sleep(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-c.nudge:
		return false
	case <-c.m.ctx.Done():
		return false
	}
}

// wakeDialer makes the loop look again at once.
func (c *Connection) wakeDialer() {
	select {
	case c.nudge <- struct{}{}:
	default:
	}
}

// errNotNeeded ends an attempt because there is a session by now.
var errNotNeeded = &rejection{code: wire.CodeDuplicate, text: "another connection of the two nodes came first"}

// dialOnce makes one attempt.
func (c *Connection) dialOnce() error {
	order, reserve := c.plan()
	return c.newRace(nil).run(order, reserve)
}

// aim returns where to dial, and notes how to end the attempt when that changes:
// one to move, while there is a session, or one to get a session.
func (c *Connection) aim(move bool, cancel func()) transport.Peer {
	c.mu.Lock()
	defer c.mu.Unlock()
	if move {
		c.cancelMove = cancel
	} else {
		c.cancelDial = cancel
		if cancel != nil {
			c.moved = false
		}
	}
	return transport.Peer{Name: c.name, Addr: c.addr}
}
