package core

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/core/internal/wire"
)

// TestRequestsGivenUpWhileTheyWaitForMemory has callers give up, one after the
// other, requests that have arrived whole and wait for memory. What they waited
// with is free again. They used to go on waiting, and the node ended the session
// over more of them than a peer may have (W46), although the peer had kept to it.
func TestRequestsGivenUpWhileTheyWaitForMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		a, b := newTestPair(t, func(cfg *Config) { cfg.MaxMessage, cfg.MaxReassembly = 1<<20, 1<<20 }, func(b *Manager) error {
			return b.Handle("hold", hold(release))
		})
		conn := a.Connection("b")
		s := conn.current.Load()
		go func() { _, _ = conn.Request(t.Context(), "hold", make([]byte, 1<<20)) }()
		synctest.Wait()
		for range 4 * maxWaiting {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
			_, err := conn.Request(ctx, "hold", make([]byte, 40<<10))
			cancel()
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Fatalf("a request that waits for memory ended with %v, want its deadline", err)
			}
			synctest.Wait()
		}
		if conn.current.Load() != s {
			t.Error("the session was ended")
		}
		if waiting := b.Stats().Peers[0].Waiting; waiting != 0 {
			t.Errorf("%d requests that were given up wait for memory", waiting)
		}
		close(release)
		synctest.Wait()
		if held := b.Stats().Peers[0].Held; held != 0 || b.Stats().Peers[0].Handlers != 0 {
			t.Errorf("at rest %d bytes are reserved, and %d handlers run", held, b.Stats().Peers[0].Handlers)
		}
		if err := b.Shutdown(t.Context()); err != nil {
			t.Errorf("Shutdown returned %v", err)
		}
	})
}

// TestPatienceWhileOthersComeAndGo has a request wait for memory that is never
// given back, while others come and give up after a short time. It is refused
// when nothing was given back for 5 s. It used to wait for as long as others came.
func TestPatienceWhileOthersComeAndGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		defer close(release)
		a, _ := newTestPair(t, func(cfg *Config) { cfg.MaxMessage, cfg.MaxReassembly = 1<<20, 1<<20 }, func(b *Manager) error {
			return b.Handle("hold", hold(release))
		})
		conn := a.Connection("b")
		go func() { _, _ = conn.Request(t.Context(), "hold", make([]byte, 1<<20)) }()
		synctest.Wait()
		type ending struct {
			err   error
			after time.Duration
		}
		began, refused := time.Now(), make(chan ending, 1)
		go func() {
			_, err := conn.Request(t.Context(), "hold", make([]byte, 1<<20))
			refused <- ending{err, time.Since(began)}
		}()
		for range 10 {
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			_, _ = conn.Request(ctx, "hold", make([]byte, 40<<10))
			cancel()
		}
		select {
		case e := <-refused:
			if !errors.Is(e.err, ErrOverloaded) || OutcomeOf(e.err) != OutcomeRefused || e.after != grantPatience {
				t.Errorf("it ended after %v with %v, want ErrOverloaded after %v", e.after, e.err, grantPatience)
			}
		default:
			t.Errorf("it still waits after %v", time.Since(began))
		}
	})
}

// TestResponseGivenUpAtItsFirstPart has a caller give up while the reader begins
// with a response in parts. No memory stays reserved for it. What the caller had
// given back before it was reserved was never given back after.
func TestResponseGivenUpAtItsFirstPart(t *testing.T) {
	m := newTestManager(t, nil)
	s, _ := newTestSession(m)
	defer s.finishTest()
	a := assembleInto(s, wire.MakeCallID(1, 0, s.side), 1<<20, nil, packed{})
	a.letGo()
	a.drop()
	if err := s.begin(a); err != nil {
		t.Fatal(err)
	}
	if held, waiting := s.peer.memory[kindResponse].inUse(); held != 0 || waiting != 0 {
		t.Errorf("%d bytes are reserved for a response that was given up, %d wait", held, waiting)
	}
}
