package core

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/core/internal/wire"
	"github.com/gridmux/gridmux/transport/inmem"
)

// newTestManager returns a Manager with one peer, not started.
func newTestManager(t testing.TB, adjust func(cfg *Config)) *Manager {
	t.Helper()
	cfg := Config{Local: Node{Addr: "a"}, Peers: []Node{{Addr: "b"}}, Transport: inmem.NewNetwork().Node("a")}
	if adjust != nil {
		adjust(&cfg)
	}
	m, err := NewManager(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// newTestSession returns a session of m with its peer whose reader is the test,
// and the other end of its link.
func newTestSession(m *Manager) (*session, *pipe) {
	near, far := newPipe()
	peer := m.members.Load().list[0]
	s := newSession(m, peer, near, agreement{side: 1, remote: wire.Hello{MaxMsg: 1 << 16, MaxCalls: 64, Window: 1 << 16}})
	m.addSession(s)
	peer.current.Store(s)
	return s, far
}

// feed has the session read a batch.
func (s *session) feed(t testing.TB, batch []byte) {
	t.Helper()
	if _, err := s.readBatch(batch); err != nil {
		t.Fatalf("a batch was refused: %v", err)
	}
	s.submit()
}

// finishTest ends the session as its reader would, and the manager.
func (s *session) finishTest() {
	s.end(errManagerDone, wire.CodeNone)
	s.retire()
	_ = s.m.Close()
}

// TestCollidingHash forges a handler whose hash is another's.
func TestCollidingHash(t *testing.T) {
	m := newTestManager(t, nil)
	fn := func(context.Context, []byte) ([]byte, error) { return nil, nil }
	if err := m.Handle("first", fn, WithRoute("r")); err != nil {
		t.Fatal(err)
	}
	forged := handlerKey{id: "second"}.hash()
	m.handlers.byHash[forged] = m.handlers.byHash[handlerKey{"first", "r"}.hash()]
	err := m.Handle("second", fn)
	for _, want := range []string{`"second"`, `"first"`, `"r"`, "same hash", "rename"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("a colliding hash gives %v, want it to mention %s", err, want)
		}
	}
}

// TestHashCacheIsBounded holds that routes that are made from data fill no
// memory, and that their hashes are right all the same.
func TestHashCacheIsBounded(t *testing.T) {
	var c hashCache
	full := make(map[handlerKey]uint64, maxCachedHashes)
	for i := range maxCachedHashes - 10 {
		full[handlerKey{"id", strings.Repeat("x", i%200) + string(rune('a'+i/200))}] = 0
	}
	c.m.Store(&full)
	for i := range 20 {
		k := handlerKey{"other", strings.Repeat("x", i)}
		if first, again := c.hash(k), c.hash(k); first != k.hash() || again != first {
			t.Fatalf("the hash of %v is wrong", k)
		}
	}
	if n := len(*c.m.Load()); n > maxCachedHashes {
		t.Errorf("the cache holds %d hashes, want at most %d", n, maxCachedHashes)
	}
}

// TestDialsIsAntisymmetric holds that of any two names exactly one dials, and
// that the work is spread.
func TestDialsIsAntisymmetric(t *testing.T) {
	names := make([]string, 35)
	for i := range names {
		names[i] = "host-" + string(rune('a'+i%26)) + strings.Repeat("i", i/26) + ":9000"
	}
	for _, a := range names {
		n := 0
		for _, b := range names {
			if a == b {
				continue
			}
			if dials(a, b) == dials(b, a) {
				t.Errorf("%s and %s agree on nobody to dial", a, b)
			}
			if dials(a, b) {
				n++
			}
		}
		if n < 5 {
			t.Errorf("%s dials %d of %d", a, n, len(names)-1)
		}
	}
}

// TestTimersEndWithTheSession holds that a session which is over is not kept by what was to
// end it later.
func TestTimersEndWithTheSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newTestManager(t, nil)
		s, _ := newTestSession(m)
		s.endWithin(time.Hour, errLeft, wire.CodeNone)
		s.end(errLeft, wire.CodeNone)
		if timer := s.last.Load(); timer == nil || timer.Stop() {
			t.Error("the timer that was to end the session runs on")
		}
		s.endWithin(time.Hour, errLeft, wire.CodeNone)
		if s.last.Load().Stop() {
			t.Error("a timer of a session that is over was set, and runs")
		}
		s.finishTest()
	})
}
