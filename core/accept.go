package core

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/gridmux/gridmux/core/internal/wire"
	"github.com/gridmux/gridmux/transport"
)

// acceptLoop takes inbound connections by one transport until its listener is
// closed.
func (m *Manager) acceptLoop(ln transport.Listener, rank int) {
	for {
		tc, err := ln.Accept(m.ctx)
		if err != nil {
			if m.ctx.Err() == nil && !m.draining.Load() {
				// The logger is the user's, and Close waits for this goroutine.
				go m.log(slog.LevelError, "gridmux: the listener failed; peers cannot connect any more",
					"local", m.cfg.Local.Name, "addr", ln.Addr().String(), "error", err)
			}
			return
		}
		stranger := m.strangers.enter(tc)
		if !m.spawn(func() { m.acceptOne(tc, rank, stranger) }) {
			m.strangers.leave(stranger)
			_ = tc.CloseWithError(uint32(wire.CodeRejected), "")
		}
	}
}

// acceptOne greets one inbound connection and attaches it.
func (m *Manager) acceptOne(tc transport.Conn, rank int, s *stranger) {
	ctx, stop := context.WithTimeout(m.ctx, m.cfg.ConnectTimeout)
	defer stop()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	n := &newcomer{rank: rank, cancel: cancel}
	c, a, err := m.welcome(ctx, tc, n, func() { m.strangers.leave(s) })
	m.strangers.leave(s)
	switch {
	case err != nil && errors.Is(context.Cause(ctx), errNotNeeded):
		err = errNotNeeded
	case err != nil:
	case !c.choose(n):
		err = errNotNeeded
		_ = tc.CloseWithError(uint32(errNotNeeded.code), errNotNeeded.text)
		c.dismiss(n)
	default:
		session := newSession(m, c, tc, a)
		session.rank = rank
		err = c.attach(session)
		c.dismiss(n)
	}
	if err != nil && !notMeant(err) && !m.draining.Load() && m.ctx.Err() == nil {
		m.logRefusal(tc, err)
	}
}

// notMeant reports whether an inbound connection came to nothing because one side
// found that it is not needed, as one by another transport that was slower.
func notMeant(err error) bool {
	closed, ok := errors.AsType[*transport.CloseError](err)
	return errors.Is(err, errNotNeeded) || ok && closed.Code == uint32(wire.CodeDuplicate)
}

// maxStrangers bounds the inbound connections that have not proved who they
// are. The slots are never full for a newcomer: it takes the place of the oldest
// one from where most of them come. So whoever holds connections open without a
// word keeps nobody out.
const maxStrangers = 256

// strangers are the inbound connections of which nothing is known yet.
type strangers struct {
	mu  sync.Mutex
	all []*stranger // oldest first
}

type stranger struct {
	tc   transport.Conn
	host string
	gone bool
}

func (s *strangers) enter(tc transport.Conn) *stranger {
	newcomer := &stranger{tc: tc, host: transport.RemoteHost(tc.Info().RemoteAddr)}
	s.mu.Lock()
	var victim *stranger
	if len(s.all) >= maxStrangers {
		victim = s.oldestOfMost()
		s.remove(victim)
	}
	s.all = append(s.all, newcomer)
	s.mu.Unlock()
	if victim != nil {
		// A stranger learns no reason (W57). What the link takes may be nothing,
		// so nobody waits for it.
		go victim.tc.CloseWithError(uint32(wire.CodeRejected), "")
	}
	return newcomer
}

// oldestOfMost returns the oldest connection of the host that has most. s.mu is
// held.
func (s *strangers) oldestOfMost() *stranger {
	counts := map[string]int{}
	most := 0
	for _, x := range s.all {
		counts[x.host]++
		most = max(most, counts[x.host])
	}
	i := slices.IndexFunc(s.all, func(x *stranger) bool { return counts[x.host] == most })
	return s.all[i]
}

// leave is told that a connection is none of a stranger any more, or is over.
func (s *strangers) leave(x *stranger) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.remove(x)
}

func (s *strangers) remove(x *stranger) {
	if x.gone {
		return
	}
	x.gone = true
	i := slices.Index(s.all, x)
	s.all = slices.Delete(s.all, i, i+1)
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
	// The logger is the user's, and Close waits for this goroutine.
	go m.log(slog.LevelWarn, "gridmux: inbound connection refused", "local", m.cfg.Local.Name,
		"from", tc.Info().RemoteAddr.String(), "error", err, "others_since_the_last_such_line", missed)
}
