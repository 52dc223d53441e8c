package core

import (
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/core/internal/wire"
)

// TestRemovedWhileItConnects removes a peer at the moment at which a connection
// to it comes about. Whichever comes first, the session is left: a peer that is
// no member has none that takes calls. It used to keep one for ever (D25, F19).
func TestRemovedWhileItConnects(t *testing.T) {
	m := newTestManager(t, nil)
	t.Cleanup(func() { _ = m.Close() })
	for round := range 5000 {
		c := newConnection(m, Node{Name: "b", Addr: "b"})
		c.setState(StateConnecting)
		near, _ := newPipe()
		s := newSession(m, c, near, agreement{side: 1, remote: wire.Hello{MaxMsg: 1 << 16, MaxCalls: 64, Window: 1 << 16}})
		var wg sync.WaitGroup
		// Both come to the lock, one after the other.
		c.mu.Lock()
		wg.Go(func() { _ = c.attach(s) })
		for range round % 100 {
			runtime.Gosched()
		}
		wg.Go(c.remove)
		for range round / 100 % 100 {
			runtime.Gosched()
		}
		c.mu.Unlock()
		wg.Wait()
		if c.current.Load() != nil || !s.leaving.Load() {
			t.Fatalf("round %d: a peer that was removed has a session; it was left: %v", round, s.leaving.Load())
		}
		s.end(errManagerDone, wire.CodeNone)
	}
}

// TestAtRestBeforeGoaway has the last call of a session end while the session is
// about to say GOAWAY. It does not end with it, since the peer may have sent
// requests that are on their way: it ends when the peer has answered the ping
// behind GOAWAY. It used to end at once, and left callers in doubt (F19).
func TestAtRestBeforeGoaway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newTestManager(t, nil)
		s, _ := newTestSession(m)
		s.busy.Add(1)
		s.leaving.Store(true) // as leave does first
		s.release()
		synctest.Wait()
		if s.ending.Load() {
			t.Error("the session has ended, and the peer was not told to send no more")
		}
		s.sayGoaway(wire.Status{})
		synctest.Wait()
		if s.ending.Load() {
			t.Error("the session has ended before the peer answered")
		}
		s.feed(t, wire.AppendPing(nil, wire.TypePong, s.fence.Load()))
		synctest.Wait()
		if !s.ending.Load() {
			t.Error("the session goes on, although the peer has answered and nothing is in progress")
		}
		s.finishTest()
	})
}

// newReadSession makes a session whose peer reads everything, and says nothing by itself.
func newReadSession(m *Manager) *session {
	s, far := newTestSession(m)
	go func() {
		for {
			if _, err := far.ReadFrame(ownMaxFrame); err != nil {
				return
			}
		}
	}()
	return s
}

// chatter keeps the session alive by something else than answers to pings.
func (s *session) chatter() {
	s.alive.start(s)
	go func() {
		for !s.ending.Load() {
			s.alive.received()
			time.Sleep(time.Second)
		}
	}()
}

func (s *session) feedPong(t testing.TB, value uint64) {
	t.Helper()
	s.feed(t, wire.AppendPing(nil, wire.TypePong, value))
}

// TestDrainAsksAtMost holds that peers which read, and send other things, but do not answer
// the ping behind the last answer, hold up the end of their sessions once, all together.
func TestDrainAsksAtMost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newTestManager(t, nil)
		all := make([]*session, 4)
		for i := range all {
			all[i] = newReadSession(m)
			all[i].chatter()
			all[i].busy.Add(1)
		}
		done := make(chan error, 1)
		go func() { done <- m.Shutdown(t.Context()) }()
		synctest.Wait()
		for _, s := range all {
			s.feedPong(t, s.fence.Load())
			s.w.mu.Lock()
			s.w.appendStatus(wire.TypeError, 0, wire.Status{})
			s.w.kick(true)
			s.release()
			go s.retire()
		}
		limit := 2*m.cfg.KeepAlive + m.cfg.KeepAliveTimeout
		time.Sleep(limit - time.Second)
		for i, s := range all {
			if s.ending.Load() {
				t.Errorf("session %d has ended before the peer had read its last frame", i)
			}
		}
		time.Sleep(2 * time.Second)
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("Shutdown returned %v", err)
			}
		default:
			t.Errorf("Shutdown waits for peers that answer no ping for more than %v", limit)
			_ = m.Close()
		}
	})
}

// TestGoawayAgain holds that a peer which answers no more pings does not hold up a session that
// said GOAWAY a second time, as Shutdown does on those that a peer's removal has left.
func TestGoawayAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newTestManager(t, nil)
		s := newReadSession(m)
		s.chatter()
		s.busy.Add(1)
		s.leave("")
		synctest.Wait()
		s.feedPong(t, s.fence.Load())
		s.sayGoaway(shutdownStatus)
		s.release()
		time.Sleep(2*m.cfg.KeepAlive + m.cfg.KeepAliveTimeout + time.Second)
		if !s.ending.Load() {
			t.Error("the session waits for a peer that answers no ping")
		}
		s.finishTest()
	})
}

// TestRequestsBehindTheFence holds that a peer which goes on with requests, against W43,
// does not keep a session alive that is at rest.
func TestRequestsBehindTheFence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newTestManager(t, nil)
		s := newReadSession(m)
		s.leave("")
		synctest.Wait()
		s.w.mu.Lock()
		s.w.appendStatus(wire.TypeError, 0, wire.Status{})
		s.w.kick(true)
		s.feedPong(t, s.fence.Load())
		for range 100 {
			s.w.answer(wire.TypeRefused, 0, wire.Status{Code: wire.CodeDraining})
			ping := s.w.lastPing() // as asked so far
			time.Sleep(20 * time.Millisecond)
			s.w.answer(wire.TypeRefused, 0, wire.Status{Code: wire.CodeDraining})
			if s.ending.Load() {
				break
			}
			s.feedPong(t, ping)
		}
		if !s.ending.Load() {
			t.Error("the session goes on, as long as the peer sends requests")
		}
		s.finishTest()
	})
}

// TestGuestsOfALostSession has a newcomer wait for others of its process that are about to
// take over from a session, and that session be lost: it joins them then, and does not wait
// for the end of their handshakes.
func TestGuestsOfALostSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newTestManager(t, nil)
		s, _ := newTestSession(m)
		c := s.peer
		if err := c.takeTurn(t.Context()); err != nil {
			t.Fatal(err)
		}
		first := &newcomer{instance: s.instance, rank: 1, moves: true}
		c.seat(first)
		second := &newcomer{instance: s.instance}
		shares := false
		go func() { shares, _ = c.enter(t.Context(), second) }()
		synctest.Wait()
		if shares {
			t.Error("the newcomer does not wait, although there is a session that it does not take over from")
		}
		s.end(errUnanswered, wire.CodeNone)
		synctest.Wait()
		if !shares {
			t.Error("the newcomer waits on, although the session was lost")
		}
		c.rise(first)
		c.rise(second)
		s.finishTest()
	})
}
