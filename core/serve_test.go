package core

import (
	"bytes"
	"context"
	"errors"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/core/internal/wire"
)

// TestSlotUsedAgainEndsTheCallBefore plays a peer that opens a call in a slot
// whose last call it neither awaited nor gave up. The context of the handler
// before it used to be forgotten, so that it never ended.
func TestSlotUsedAgainEndsTheCallBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newTestManager(t, nil)
		began := make(chan context.Context, 2)
		err := m.Handle("wait", func(ctx context.Context, _ []byte) ([]byte, error) {
			began <- ctx
			<-ctx.Done()
			return nil, ctx.Err()
		})
		if err != nil {
			t.Fatal(err)
		}
		s, _ := newTestSession(m)
		hash := handlerKey{id: "wait"}.hash()
		s.feed(t, wire.AppendRequest(nil, wire.MakeCallID(1, 5, 0), hash, 0, 0, nil))
		first := <-began
		s.feed(t, wire.AppendRequest(nil, wire.MakeCallID(2, 5, 0), hash, 0, 0, nil))
		second := <-began
		synctest.Wait()
		if first.Err() == nil {
			t.Error("the call before in the same slot is still alive")
		}
		if second.Err() != nil {
			t.Errorf("the new call in the slot has ended with %v", second.Err())
		}
		s.finishTest()
		synctest.Wait()
		if n := m.handlersRunning.Load(); n != 0 || second.Err() == nil {
			t.Errorf("after the session %d handlers run, the last one's context says %v", n, second.Err())
		}
	})
}

// TestInlineResultInBorrowedMemory has inline handlers return a large request
// that came in one frame, whose memory belongs to the transport.
func TestInlineResultInBorrowedMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newTestManager(t, nil)
		err := errors.Join(
			m.Handle("handle", func(_ context.Context, req []byte) ([]byte, error) { return req, nil }, WithInline()),
			m.HandleAppend("append", func(_ context.Context, req, _ []byte) ([]byte, error) { return req, nil }, WithInline()),
		)
		if err != nil {
			t.Fatal(err)
		}
		s, far := newTestSession(m)
		paced := 0
		for slot, id := range []HandlerID{"handle", "append"} {
			payload := make([]byte, 50_000)
			for i := range payload {
				payload[i] = byte(i * 7)
			}
			// The writer is busy until the peer reads.
			for range pipeDepth {
				_ = s.tc.WriteFrames([][]byte{wire.AppendPing(nil, wire.TypePing, 0)})
			}
			s.feed(t, wire.AppendPing(nil, wire.TypePing, 0))
			synctest.Wait()
			batch := wire.AppendRequest(nil, wire.MakeCallID(1, uint32(slot), 0), handlerKey{id: id}.hash(), 0, 0, payload)
			s.feed(t, batch)
			clear(batch) // the next frame arrives
			for range pipeDepth + 1 {
				if _, err := far.ReadFrame(ownMaxFrame); err != nil {
					t.Fatal(err)
				}
			}
			var got, b []byte
			for len(got) < len(payload) {
				var err error
				if len(b) == 0 {
					if b, err = far.ReadFrame(ownMaxFrame); err != nil {
						t.Fatal(err)
					}
				}
				var f wire.Frame
				if f, b, err = wire.Next(b); err != nil {
					t.Fatal(err)
				}
				if f.Paced() {
					paced += wire.HeaderSize + len(f.Body)
					s.feed(t, wire.AppendAck(nil, uint64(paced)))
				}
				part := f.Body
				if f.Type == wire.TypeResponse {
					r, err := wire.ParseResponse(&f)
					if err != nil {
						t.Fatal(err)
					}
					part = r.Payload
				}
				got = append(got, part...)
			}
			if !bytes.Equal(got, payload) {
				t.Errorf("%s: the result changed when the memory of its request was used again", id)
			}
		}
		s.finishTest()
	})
}

// TestOutputIsBounded lets requests, results and errors pile up towards a peer
// that does not read: all but a few wait, and what is queued keeps to
// Config.MaxOutput and one frame.
func TestOutputIsBounded(t *testing.T) {
	const limit, size, n = 50_000, 10_000, 100
	for _, test := range []struct {
		name string
		fill func(t *testing.T, s *session)
	}{
		{"requests", func(t *testing.T, s *session) {
			for range n {
				go func() { s.roundTrip(t.Context(), handlerKey{}, 1, make([]byte, size), nil, 0, callSettings{}) }()
			}
		}},
		{"results", func(t *testing.T, s *session) {
			for i := range n {
				s.feed(t, wire.AppendRequest(nil, wire.MakeCallID(1, uint32(i), 0), handlerKey{id: "result"}.hash(), 0, 0, nil))
			}
		}},
		{"errors", func(t *testing.T, s *session) {
			for i := range n {
				s.feed(t, wire.AppendRequest(nil, wire.MakeCallID(1, uint32(i), 0), handlerKey{id: "error"}.hash(), 0, 0, nil))
			}
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newTestManager(t, func(cfg *Config) { cfg.MaxOutput = limit })
				big := make([]byte, size)
				err := errors.Join(
					m.Handle("result", func(context.Context, []byte) ([]byte, error) { return big, nil }),
					m.Handle("error", func(context.Context, []byte) ([]byte, error) { return nil, &RemoteError{Code: 1000, Detail: big} }),
				)
				if err != nil {
					t.Fatal(err)
				}
				s, far := newTestSession(m)
				s.calls.limit = n
				test.fill(t, s)
				synctest.Wait()
				s.w.mu.Lock()
				unsent, closed := s.w.unsent, s.w.closed
				s.w.mu.Unlock()
				// Those who wait go on when half of it is written, so there may be less.
				if unsent <= limit/2 || unsent > limit+size+1000 || closed {
					t.Errorf("%d bytes are queued for a peer that does not read, session over: %v; want up to %d and to go on", unsent, closed, limit)
				}
				// It reads after all, and nobody waits any longer.
				go func() {
					for {
						if _, err := far.ReadFrame(ownMaxFrame); err != nil {
							return
						}
					}
				}()
				synctest.Wait()
				if !s.w.flushed() || s.w.closed {
					t.Error("the output is not empty although the peer has read all")
				}
				if n := m.handlersRunning.Load(); n != 0 {
					t.Errorf("%d handlers still wait to answer", n)
				}
				s.finishTest()
			})
		})
	}
}

// TestIdleWorkersEnd holds that the workers that a burst needed end when nobody
// needs them any more.
func TestIdleWorkersEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newTestManager(t, nil)
		release := make(chan struct{})
		err := m.Handle("wait", func(context.Context, []byte) ([]byte, error) { <-release; return nil, nil })
		if err != nil {
			t.Fatal(err)
		}
		s, far := newTestSession(m)
		go func() {
			for {
				if _, err := far.ReadFrame(ownMaxFrame); err != nil {
					return
				}
			}
		}()
		idle := func() int {
			synctest.Wait()
			m.pool.mu.Lock()
			defer m.pool.mu.Unlock()
			return len(m.pool.idle)
		}
		const n = 200
		for i := range n {
			s.feed(t, wire.AppendRequest(nil, wire.MakeCallID(1, uint32(i), 0), handlerKey{id: "wait"}.hash(), 0, 0, nil))
		}
		synctest.Wait() // each of them has a handler by now
		close(release)
		if got := idle(); got != n {
			t.Errorf("after a burst %d workers are idle, want the %d that it needed", got, n)
		}
		time.Sleep(2*trimInterval + time.Second)
		if got := idle(); got != 0 {
			t.Errorf("%d workers are idle some time after a burst, want none", got)
		}
		s.finishTest()
	})
}

// TestStaleBeforeTheFirstTick reads a request on a session whose keep-alive has
// not begun, of a manager that is a while old. It used to count as one that had
// waited all that while.
func TestStaleBeforeTheFirstTick(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newTestManager(t, nil)
		time.Sleep(time.Minute)
		s, _ := newTestSession(m)
		defer s.finishTest()
		if s.alive.stale(m.now(), time.Second) {
			t.Error("a request on a new session counts as stale")
		}
		s.alive.start(s)
		time.Sleep(3 * time.Second)
		if s.alive.stale(m.now(), time.Second) {
			t.Error("a request counts as stale before the first tick is due")
		}
	})
}

// TestAnnouncedSizesCostLittle has a peer begin large requests and give them up.
// Each used to cost the whole memory that it had announced (T1).
func TestAnnouncedSizesCostLittle(t *testing.T) {
	m := newTestManager(t, nil)
	if err := m.Handle("echo", func(_ context.Context, req []byte) ([]byte, error) { return req, nil }); err != nil {
		t.Fatal(err)
	}
	m.handlers.seal()
	s, _ := newTestSession(m)
	defer s.finishTest()
	hash := handlerKey{id: "echo"}.hash()
	const times = 100
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for i := range uint32(times) {
		id := wire.MakeCallID(i+1, 0, 0)
		s.feed(t, wire.AppendStatus(wire.AppendRequestStart(nil, id, hash, 0, 0, 16<<20, []byte{1}),
			wire.TypeReset, id, wire.Status{Code: wire.CodeCanceled}))
	}
	runtime.ReadMemStats(&after)
	if per := (after.TotalAlloc - before.TotalAlloc) / times; per > 3<<19 {
		t.Errorf("a request of 16 MiB that was announced and given up cost %d KiB, want at most 1536", per>>10)
	}
}

// TestPlaceOfAHandlerThatIsNotRead has a peer read and never acknowledge a large
// result: the handler has returned and serves the next call. Its place used to be
// kept, and no peer got the handler again.
func TestPlaceOfAHandlerThatIsNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newTestManager(t, nil)
		ran := 0
		big := func(context.Context, []byte) ([]byte, error) { ran++; return make([]byte, 200<<10), nil }
		if err := m.Handle("big", big, WithConcurrency(1)); err != nil {
			t.Fatal(err)
		}
		s, far := newTestSession(m)
		go func() {
			for {
				if _, err := far.ReadFrame(1 << 20); err != nil {
					return
				}
			}
		}()
		for slot := range uint32(3) {
			s.feed(t, wire.AppendRequest(nil, wire.MakeCallID(1, slot, 0), handlerKey{id: "big"}.hash(), 0, 0, nil))
			synctest.Wait()
		}
		if n := m.handlersRunning.Load(); ran != 3 || n != 0 {
			t.Errorf("the handler ran %d times, and %d run: want 3 and none", ran, n)
		}
		s.finishTest()
	})
}

// TestBuffersForResultsAreBounded holds that large buffers which handlers are given
// for their results, and may not use, are no more than MaxReassembly for one peer
// (T9).
func TestBuffersForResultsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newTestManager(t, func(cfg *Config) { cfg.MaxReassembly = 64 << 20 })
		size, given, release := 8<<20, 0, make(chan struct{})
		app := func(_ context.Context, req, dst []byte) ([]byte, error) {
			if len(req) == 0 {
				return append(dst, make([]byte, size)...), nil
			}
			given += cap(dst)
			<-release
			return nil, nil
		}
		if err := m.HandleAppend("app", app); err != nil {
			t.Fatal(err)
		}
		s, far := newTestSession(m)
		go func() {
			for {
				if _, err := far.ReadFrame(1 << 20); err != nil {
					return
				}
			}
		}()
		hash := handlerKey{id: "app"}.hash()
		for slot := range uint32(100) {
			var req []byte
			if slot >= 10 {
				req = []byte("x")
			}
			s.feed(t, wire.AppendRequest(nil, wire.MakeCallID(1, slot, 0), hash, 0, 0, req))
			synctest.Wait()
		}
		if given < 8<<20 || given > 2*64<<20+100*freeHint {
			t.Errorf("90 handlers that run were given buffers of %d bytes", given)
		}
		close(release)
		s.finishTest()
	})
}
