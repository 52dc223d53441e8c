package core

import (
	"context"
	"errors"
	"io"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/gridmux/gridmux/core/internal/wire"
)

// TestLargeMessagesThatNobodyTakes has a handler that takes no more messages and
// goes on with other things, while its caller sends large ones. Nothing of them
// is kept. They all used to be kept, for as long as the handler ran.
func TestLargeMessagesThatNobodyTakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		streams := make(chan *RawStream, 1)
		a, _ := newTestPair(t, nil, func(b *Manager) error {
			return b.HandleStreamFunc("deaf", func(_ context.Context, _ []byte, s *RawStream) error {
				_ = s.Close()
				streams <- s
				<-release
				return nil
			})
		})
		st, err := a.Connection("b").OpenStream(t.Context(), "deaf", nil)
		if err != nil {
			t.Fatal(err)
		}
		serving := <-streams
		for range 20 {
			if err := st.Send(make([]byte, 1<<20)); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		serving.mu.Lock()
		if n := len(serving.in.large) + len(serving.in.chunks); n != 0 {
			t.Errorf("of messages that nobody takes %d are kept", n)
		}
		serving.mu.Unlock()
		close(release)
		if _, err := st.Recv(nil); err != io.EOF {
			t.Errorf("Recv returned %v, want io.EOF", err)
		}
	})
}

// TestCreditGivenBackOnce has one goroutine take messages, and the reader bring
// large ones, while another closes the stream for reading. Each message is paid
// back once. What was given back just then, or had just begun, used to be paid
// back twice, and the other side ended the stream for it.
func TestCreditGivenBackOnce(t *testing.T) {
	m := newTestManager(t, nil)
	s, _ := newTestSession(m)
	defer s.finishTest()
	const capacity, window = 4, 64 << 10
	for round := range 3000 {
		st := &RawStream{s: s, id: wire.MakeCallID(uint32(round+1), 0, 1-s.side)}
		st.in.init(st, capacity, window, window)
		st.out.init(st, capacity, window)
		for range 2 {
			if err := st.deliver([]byte("small")); err != nil {
				t.Fatal(err)
			}
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			for range 2 {
				if _, err := st.Recv(nil); err != nil {
					return
				}
			}
		})
		wg.Go(func() {
			if err := st.deliverFirst(40<<10, make([]byte, 20<<10), packed{}); err != nil {
				t.Error(err)
			}
			if err := st.deliverPart(make([]byte, 20<<10)); err != nil {
				t.Error(err)
			}
		})
		for range round % 40 {
			runtime.Gosched()
		}
		st.discard(errStreamClosed)
		wg.Wait()
		if q := &st.in; q.messages != q.capacity || q.bytes != q.window {
			t.Fatalf("round %d: at rest there is credit for %d messages and %d bytes, want all of %d and %d",
				round, q.messages, q.bytes, q.capacity, q.window)
		}
	}
}

// TestReceivingAfterTheHandlerReturned has a goroutine of a handler receive when
// the handler returns, before the caller has sent its last message. That is no
// clean end of the input. At that very moment it used to look like one.
func TestReceivingAfterTheHandlerReturned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newTestManager(t, nil)
		s, _ := newTestSession(m)
		defer s.finishTest()
		st := &RawStream{s: s, id: wire.MakeCallID(1, 0, 1-s.side)}
		st.in.init(st, 4, 1<<16, 0)
		st.out.init(st, 4, 1<<16)
		got := make(chan error, 1)
		go func() {
			_, err := st.Recv(nil)
			got <- err
		}()
		synctest.Wait()
		st.finish(nil) // as answer does first
		if err := <-got; err == nil || errors.Is(err, io.EOF) {
			t.Errorf("Recv returned %v, want an error that is no clean end", err)
		}
	})
}

// TestPartsWhileAStreamIsBeingEnded reads the rest of a message, and the next
// one, between the moments at which a caller claims the call of its stream and
// ends it. The parts used to be skipped and the message not, which stood in the
// middle of the first one then, and ended the session of an honest peer.
func TestPartsWhileAStreamIsBeingEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newTestManager(t, nil)
		s, _ := newTestSession(m)
		st := &RawStream{s: s}
		st.in.init(st, 8, 1<<16, 0)
		st.out.init(st, 0, 1<<16)
		st.out.opened = true
		s.busy.Add(1)
		sl, err := s.calls.get(nil, 0, st)
		if err != nil {
			t.Fatal(err)
		}
		s.feed(t, wire.AppendDataStart(nil, st.id, 40_000, make([]byte, 1000)))
		if s.calls.take(st.id) != sl {
			t.Fatal("the call of the stream cannot be claimed")
		}
		s.feed(t, wire.AppendFragment(nil, st.id, make([]byte, 39_000)))
		s.feed(t, wire.AppendData(nil, st.id, []byte("next")))
		s.abandon(sl, context.Canceled, wire.CodeCanceled)
		s.finishTest()
	})
}
