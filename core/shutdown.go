package core

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/gridmux/gridmux/core/internal/wire"
)

// Shutdown closes the Manager when its calls are done: peers are told to send
// no more, requests that still arrive are refused, new calls fail with
// [ErrDraining] unless a running handler makes them with its own context, and
// when nothing is in progress any more, and the peers have read the last answers,
// the connections are closed. Handlers, and calls of this node, may take as long as they
// like; a peer that nothing else is waited for, and that does nothing about that, has
// twice Config.KeepAlive and once Config.KeepAliveTimeout. Peers that repeat what was not sent or refused lose no
// call. Handlers see it coming by [Draining]. If ctx ends first, everything is closed
// at once and its error returned. It must not be called from a handler, for which it
// would wait; see Close.
//
// No connection is made any more: the node may have a successor already. What waits for
// one, with [WaitForConnection] or in one of the functions for that, fails with
// [ErrDraining] at once, and so does a handler's call to a peer without one, be it that
// the link was lost meanwhile.
func (m *Manager) Shutdown(ctx context.Context) error {
	if !m.made() {
		return fmt.Errorf("gridmux: Shutdown: %w", errNoManager)
	}
	if ctx == nil {
		return fmt.Errorf("gridmux: Shutdown: %w", errNilContext)
	}
	m.draining.Store(true)
	m.giveUpWaiting()
	m.mu.Lock()
	listeners := m.listeners
	m.mu.Unlock()
	// Before the listeners close, which over QUIC may take a moment of the time that
	// peers and handlers have to finish in.
	for _, s := range m.liveSessions() {
		switch {
		case s.peer == m.local:
			s.link.drain() // handlers that run may still call their own node
		case !s.isLane(): // whose root says it on them
			s.sayGoaway(shutdownStatus)
		}
	}
	_ = closeAll(listeners)
	for !m.quiet() {
		select {
		case <-m.drained:
		case <-m.ctx.Done():
			return m.Close()
		case <-ctx.Done():
			left := m.unfinished()
			_ = m.Close()
			return fmt.Errorf("gridmux: Shutdown: %s: %w", left, ctx.Err())
		}
	}
	return m.Close()
}

// unfinished says what is in progress, for who waited for it in vain: handlers, also those
// whose callers have given up, calls of this node, and what peers owe.
func (m *Manager) unfinished() string {
	count := make(map[string]int)
	for _, h := range m.handlers.byHash {
		if n := h.running.Load(); n > 0 {
			count[fmt.Sprintf("handler %v", handlerKey{h.id, h.route})] += int(n)
		}
	}
	for _, s := range m.liveSessions() {
		if n := s.calls.pending(); n > 0 {
			count[fmt.Sprintf("call to %q", s.peer.name)] += n
		}
		if s.isLane() || s.peer == m.local {
			continue
		}
		d, _ := s.debt()
		for what, n := range map[string]int{
			"request of which %q has not sent all": d.requests, "answer that %q has not taken": d.answers, "lane of %q": d.lanes,
		} {
			if n > 0 {
				count[fmt.Sprintf(what, s.peer.name)] += n
			}
		}
	}
	var list []string
	for _, what := range slices.Sorted(maps.Keys(count)) {
		if n := count[what]; n > 1 {
			what = fmt.Sprintf("%d × %s", n, what)
		}
		list = append(list, what)
	}
	if n := len(list) - maxUnfinished; n > 0 {
		list = append(list[:maxUnfinished], fmt.Sprintf("and %d more", n))
	}
	if len(list) == 0 {
		return "a peer had not read the last answers, or had not said so"
	}
	return "calls were still in progress (" + strings.Join(list, ", ") + ")"
}

// maxUnfinished is how many lines of what is in progress an error has.
const maxUnfinished = 8

// shutdownStatus is what peers are told of a node that shuts down.
var shutdownStatus = wire.Status{Code: wire.CodeShutdown, Message: "the node is shutting down"}

var errDrainingHere = fmt.Errorf("%w: the local node is shutting down", ErrDraining)

// refuseCall returns why a call is not made: the node drains, or did, and the
// caller is none of its handlers that run, which could not finish otherwise.
func (m *Manager) refuseCall(ctx context.Context) error {
	if !m.draining.Load() {
		return nil
	}
	if c := callContextOf(ctx); c != nil && c.link.peer.m == m && c.runs() {
		return nil
	}
	switch {
	case m.ctx.Err() != nil:
		return ErrClosed
	default:
		return errDrainingHere
	}
}

// signalDrained makes Shutdown look again.
func (m *Manager) signalDrained() {
	select {
	case m.drained <- struct{}{}:
	default:
	}
}

// promise is called before the peer of a connection can take it for a session:
// Shutdown then waits until it is one here too, and no call on it is lost. It
// fails if the node drains already.
func (m *Manager) promise() error {
	m.promised.Add(1)
	err := m.goingAway()
	if err != nil {
		m.redeem()
	}
	return err
}

// goingAway is why a node that drains takes no connection.
func (m *Manager) goingAway() error {
	if !m.draining.Load() {
		return nil
	}
	return reject(wire.CodeShutdown, "node %q is shutting down", m.cfg.Local.Name)
}

// redeem is called when the connection is a session, or nothing any more.
func (m *Manager) redeem() {
	m.promised.Add(-1)
	if m.draining.Load() {
		m.signalDrained()
	}
}

// quiet reports whether no call is in progress and peers have read what was written.
func (m *Manager) quiet() bool {
	if m.promised.Load() != 0 {
		return false
	}
	all := true
	for _, s := range m.liveSessions() {
		all = s.quiet() && all // each of them asks its peer, at the same time
	}
	return all
}

// Close ends all connections at once. Calls in progress fail with
// [ErrDisconnected]. It waits for the goroutines of the library but not for
// those that run user code, so a handler may call it. Calling it again waits
// for the first call.
func (m *Manager) Close() error {
	if !m.made() {
		return nil
	}
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		<-m.finish
		return nil
	}
	m.closed = true
	listeners := m.listeners
	m.mu.Unlock()
	m.cancel()
	err := closeAll(listeners)
	m.peersMu.Lock()
	m.local.setState(StateClosed)
	for _, c := range m.members.Load().list {
		c.setState(StateClosed)
	}
	m.peersMu.Unlock()
	m.endSessions()
	m.pool.close()
	m.wg.Wait()
	close(m.finish)
	if err != nil {
		return fmt.Errorf("gridmux: Close: %w", err)
	}
	return nil
}

// endSessions ends all sessions side by side, since telling a peer that takes
// nothing may take a moment, and waits for their readers.
func (m *Manager) endSessions() {
	var wg sync.WaitGroup
	for _, s := range m.liveSessions() {
		wg.Go(func() {
			s.end(errManagerDone, wire.CodeShutdown)
			<-s.over
			// A reader inside an inline handler may be the one that called
			// Close.
			if !s.inUserCode.Load() {
				<-s.readerDone
			}
		})
	}
	wg.Wait()
}
