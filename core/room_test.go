package core

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/core/internal/wire"
)

// testRoom returns a writer whose output is at its limit of 100 bytes, and one more.
func testRoom(t *testing.T) *writer {
	s, _ := newTestSession(newTestManager(t, func(cfg *Config) { cfg.MaxOutput = 100 }))
	t.Cleanup(s.finishTest)
	w := &s.w
	w.mu.Lock()
	t.Cleanup(w.mu.Unlock)
	w.unsent = 101
	return w
}

// TestRoomIsPassedOn has callers wait for room, and give up before and after they were
// told to go on. Nobody comes in between, and the room of whoever leaves goes to the
// next in line.
func TestRoomIsPassedOn(t *testing.T) {
	w := testRoom(t)
	var places [4]*place
	for i := range places {
		if places[i] = w.enter(nil, 50, PriorityNormal, nil); places[i] == nil {
			t.Fatalf("caller %d does not wait for a full output", i)
		}
	}
	want := func(what string, promised ...bool) {
		t.Helper()
		for i, p := range places {
			if p.promised != promised[i] || len(p.wake) == 1 != promised[i] {
				t.Errorf("%s: caller %d may go on: %v, was woken: %v; want %v", what, i, p.promised, len(p.wake) == 1, promised[i])
			}
		}
	}
	w.vacate(places[1])
	w.unsent = 60
	w.admit()
	want("room for one", true, false, false, false)
	if w.hasRoom() {
		t.Error("a newcomer passes by those who wait")
	}
	w.vacate(places[0])
	want("the first one leaves", true, false, true, false)
	if w.enter(places[2], 50, PriorityNormal, nil) != nil {
		t.Error("a caller waits for room that it was promised")
	}
	w.unsent += 30 // less than it had asked for
	if w.hasRoom() {
		t.Error("a newcomer takes what those who wait have left")
	}
	w.unsent += 20
	w.admit()
	want("the output is full again", true, false, true, false)
	if w.enter(places[3], 50, PriorityNormal, nil) != places[3] {
		t.Error("a caller that looked at something else has lost its place")
	}
	w.unsent = 0
	w.admit()
	want("the output is empty", true, false, true, true)
	w.vacate(places[3])
	if !w.hasRoom() || w.room.promised != 0 {
		t.Errorf("nobody waits, and %d bytes are promised", w.room.promised)
	}
}

// TestLinesForRoom has small, urgent and large frames wait for room. Each line keeps its
// order, both get as many bytes, and no frame is too large.
func TestLinesForRoom(t *testing.T) {
	w := testRoom(t)
	const large, urgent, small = maxSmall, 10_000, 100
	var queue [3][]*place
	for range 200 {
		queue[0] = append(queue[0], w.enter(nil, large, PriorityNormal, nil))
		queue[1] = append(queue[1], w.enter(nil, urgent, PriorityHigh, nil))
		queue[2] = append(queue[2], w.enter(nil, small, PriorityNormal, nil))
	}
	var bytes [2]int
	for range 100 {
		w.unsent = 100 // for one frame, however large
		w.admit()
		for i, q := range queue {
			if len(q) > 0 && q[0].promised {
				w.enter(q[0], q[0].bytes, PriorityNormal, nil)
				bytes[min(i, 1)] += q[0].bytes
				queue[i] = q[1:]
				break
			}
		}
		if w.room.promised != 0 {
			t.Fatal("somebody goes on out of turn")
		}
	}
	if lead := bytes[1] - bytes[0]; lead < -large || lead > urgent {
		t.Errorf("of the bytes large frames got %d, and small and urgent ones %d; want as many", bytes[0], bytes[1])
	}
}

// TestNobodyIsLeftInLineForRoom ends calls whose requests and answers wait for room in
// all ways in which that happens. They return, and are not waited for: a place that
// somebody has left would keep what is promised to it.
func TestNobodyIsLeftInLineForRoom(t *testing.T) {
	const calls, size = 20, 10_000
	id := func(i int) wire.CallID { return wire.MakeCallID(1, uint32(i), 0) }
	for name, end := range map[string]func(t *testing.T, s *session, cancel func()){
		"their contexts":  func(_ *testing.T, _ *session, cancel func()) { cancel() },
		"their time-outs": func(*testing.T, *session, func()) { time.Sleep(time.Minute) },
		"they are recalled": func(_ *testing.T, s *session, _ func()) {
			for _, id := range s.w.recall() {
				s.abandon(s.calls.take(id), errNoNewCalls, wire.CodeCanceled)
			}
		},
		"the session": func(_ *testing.T, s *session, _ func()) { s.end(errManagerDone, wire.CodeNone) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newTestManager(t, func(cfg *Config) { cfg.MaxOutput = 50_000 })
				if err := m.Handle("result", func(context.Context, []byte) ([]byte, error) { return make([]byte, size), nil }); err != nil {
					t.Fatal(err)
				}
				s, _ := newTestSession(m)
				defer s.finishTest()
				ctx, cancel := context.WithCancel(t.Context())
				var wg sync.WaitGroup
				for i := range calls {
					s.feed(t, wire.AppendRequest(nil, id(i), handlerKey{id: "result"}.hash(), 0, 0, nil))
					wg.Go(func() {
						s.roundTrip(ctx, handlerKey{}, 1, make([]byte, size), nil, m.now()+int64(time.Minute), callSettings{})
					})
				}
				synctest.Wait()
				end(t, s, cancel)
				wg.Wait()
				if name != "the session" { // which looks after its answers itself
					for i := range calls {
						s.feed(t, wire.AppendStatus(nil, wire.TypeReset, id(i), wire.Status{Code: wire.CodeCanceled}))
					}
				}
				synctest.Wait()
				s.w.mu.Lock()
				if !s.w.room.empty() || s.w.room.promised != 0 {
					t.Errorf("somebody is in line for room, %d bytes are promised", s.w.room.promised)
				}
				s.w.mu.Unlock()
				if n := m.handlersRunning.Load(); n != 0 {
					t.Errorf("%d handlers wait to answer", n)
				}
				cancel()
			})
		})
	}
}
