package core

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/gridmux/gridmux/core/internal/wire"
	"github.com/gridmux/gridmux/transport"
)

const (
	minBackoff = 100 * time.Millisecond
	// stableAfter is how long a session must have lived for its loss to start
	// with short pauses again; otherwise a flapping link would be dialled
	// without end.
	stableAfter = 10 * time.Second
	// maxHandshakes bounds the inbound connections that have not finished their
	// handshake. What comes beyond is closed at once.
	maxHandshakes = 256
)

// dials reports whether the node a makes the connection to b (W60): the one for
// which the hash over its own name and the other's is lower.
func dials(a, b string) bool {
	ha := sha256.Sum256([]byte(a + "\x00" + b))
	hb := sha256.Sum256([]byte(b + "\x00" + a))
	return bytes.Compare(ha[:], hb[:]) < 0
}

// connect makes sure that somebody is dialling, if it is up to us.
func (c *Connection) connect() {
	if !c.dials {
		return
	}
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
	for c.needed() {
		pause := c.pause()
		if pause > 0 && !c.sleep(pause) {
			return
		}
		err := c.dialOnce()
		c.mu.Lock()
		if err != nil {
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
	c.dialing = c.state == StateConnecting && c.m.ctx.Err() == nil
	return c.dialing
}

// pause is the time until the next attempt: a random part of what doubles with
// every attempt that did not lead to a lasting session.
func (c *Connection) pause() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.backoff == 0 {
		return 0
	}
	limit := min(minBackoff<<min(c.backoff-1, 20), c.m.cfg.MaxBackoff)
	return rand.N(limit)
}

// sleep waits and reports whether the manager is still open.
func (c *Connection) sleep(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-c.m.ctx.Done():
		return false
	}
}

// dialOnce makes one attempt.
func (c *Connection) dialOnce() error {
	ctx, cancel := context.WithTimeout(c.m.ctx, c.m.cfg.ConnectTimeout)
	defer cancel()
	to := transport.Peer{Name: c.node.Name, Addr: c.node.Addr}
	tc, err := c.m.cfg.Transport.Dial(ctx, to)
	if err != nil {
		return err
	}
	a, err := c.m.greet(ctx, tc, c)
	if err != nil {
		return &transport.DialError{Transport: tc.Info().Transport, Peer: to, Phase: transport.PhaseHello, Err: err}
	}
	s := newSession(c.m, c, tc, a)
	if !c.attach(s) {
		_ = tc.CloseWithError(uint32(wire.CodeShutdown), errManagerDone.Error())
		return ErrClosed
	}
	return nil
}

// acceptLoop takes inbound connections until the listener is closed.
func (m *Manager) acceptLoop(ln transport.Listener) {
	slots := make(chan struct{}, maxHandshakes)
	for {
		tc, err := ln.Accept(m.ctx)
		if err != nil {
			if m.ctx.Err() == nil && !m.draining.Load() {
				m.cfg.Logger.Error("gridmux: the listener failed; peers cannot connect any more",
					"local", m.cfg.Local.Name, "addr", ln.Addr().String(), "error", err)
			}
			return
		}
		select {
		case slots <- struct{}{}:
		default:
			_ = tc.CloseWithError(uint32(wire.CodeRejected), "") // a stranger learns no reason (W57)
			continue
		}
		ok := m.spawn(func() {
			defer func() { <-slots }()
			m.acceptOne(tc)
		})
		if !ok {
			_ = tc.CloseWithError(uint32(wire.CodeRejected), "")
		}
	}
}

// acceptOne greets one inbound connection and attaches it.
func (m *Manager) acceptOne(tc transport.Conn) {
	ctx, cancel := context.WithTimeout(m.ctx, m.cfg.ConnectTimeout)
	defer cancel()
	c, a, err := m.welcome(ctx, tc)
	if err != nil {
		m.logRefusal(tc, err)
		return
	}
	if !c.attach(newSession(m, c, tc, a)) {
		_ = tc.CloseWithError(uint32(wire.CodeShutdown), errManagerDone.Error())
	}
}

// refusalInterval is how often a refused inbound connection is logged. Whoever
// reaches the port can cause them at any rate.
const refusalInterval = time.Minute

// logRefusal writes a line about an inbound connection that came to nothing,
// unless it did so just before.
func (m *Manager) logRefusal(tc transport.Conn, err error) {
	m.mu.Lock()
	if !m.refusalLogged.IsZero() && time.Since(m.refusalLogged) < refusalInterval {
		m.refusalsMissed++
		m.mu.Unlock()
		return
	}
	missed := m.refusalsMissed
	m.refusalLogged, m.refusalsMissed = time.Now(), 0
	m.mu.Unlock()
	m.cfg.Logger.Warn("gridmux: inbound connection refused", "local", m.cfg.Local.Name,
		"from", tc.Info().RemoteAddr.String(), "error", err, "others_since_the_last_such_line", missed)
}

// rejection is why a connection does not come about, as it is told to the other
// side.
type rejection struct {
	code wire.Code
	text string
}

func (r *rejection) Error() string { return r.text }

func reject(code wire.Code, format string, args ...any) error {
	return &rejection{code, fmt.Sprintf(format, args...)}
}
