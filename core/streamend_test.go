package core

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/gridmux/gridmux/core/internal/wire"
)

// TestEndedStreamsLeaveTheirContexts ends streams of which a large message is
// left: the one is cut off in the middle of it, the other is closed with it unread.
// Nothing of them hangs on their context then. Both used to, for as long as it
// lived.
func TestEndedStreamsLeaveTheirContexts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newTestManager(t, nil)
		s, _ := newTestSession(m)
		defer s.finishTest()
		open := func() *RawStream {
			s.busy.Add(1)
			st := &RawStream{s: s}
			st.in.init(st, 4, 1<<16, 0)
			st.out.init(st, 4, 1<<16)
			if _, err := s.calls.get(nil, 0, st); err != nil {
				t.Fatal(err)
			}
			st.watch(t.Context())
			return st
		}
		wantLeft := func(what string, st *RawStream) {
			if st.mu.Lock(); st.stop != nil {
				t.Errorf("%s: the stream is still watched", what)
			}
			st.mu.Unlock()
			if held, waiting := s.peer.memory[kindOutput].inUse(); held != 0 || waiting != 0 {
				t.Errorf("%s: %d bytes are reserved, %d messages wait", what, held, waiting)
			}
		}

		cut := open()
		if err := cut.deliverFirst(1<<20, make([]byte, 1<<10), packed{}); err != nil {
			t.Fatal(err)
		}
		cut.giveUp(ErrDisconnected, wire.CodeNone)
		if _, err := cut.Recv(nil); !errors.Is(err, ErrDisconnected) {
			t.Errorf("half a message is received as %v", err)
		}
		wantLeft("cut off", cut)

		unread := open()
		if err := unread.deliverFirst(100<<10, make([]byte, 50<<10), packed{}); err != nil {
			t.Fatal(err)
		}
		if err := unread.deliverPart(make([]byte, 50<<10)); err != nil {
			t.Fatal(err)
		}
		s.answerStream(s.calls.take(unread.id), OutcomeRemote, nil)
		_ = unread.Close()
		wantLeft("closed", unread)
	})
}

// TestChannelsOfAStreamThatEndsAtOnce ends a stream before the form with channels
// watches over it. When its context ends, Responses is closed all the same,
// whether or not anybody reads it. It used to keep a goroutine for ever.
func TestChannelsOfAStreamThatEndsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _ := newTestPair(t, nil, func(b *Manager) error {
			return b.HandleStreamFunc("brief", func(_ context.Context, _ []byte, s *RawStream) error {
				_ = s.Send([]byte("message"))
				return &RemoteError{Code: 1001}
			}, WithCapacity(0, 1))
		})
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		raw, err := a.Connection("b").OpenStream(ctx, "brief", nil)
		if err != nil {
			t.Fatal(err)
		}
		<-raw.Done()
		synctest.Wait()
		s := raw.channels(ctx, 0)
		synctest.Wait()
		cancel()
		synctest.Wait()
		var got []Response
		for range 2 {
			select {
			case r, ok := <-s.Responses:
				if ok {
					got = append(got, r)
				}
			default:
				t.Error("Responses is still open")
			}
		}
		if len(got) != 1 || got[0].Err == nil {
			t.Errorf("Responses brings %v, want an error alone", got)
		}
	})
}

// TestPayloadThatIsNotSentIsNotCounted opens a stream on a session that has stopped
// taking requests meanwhile. Its payload, which another session then sends, was
// counted by both.
func TestPayloadThatIsNotSentIsNotCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := newTestSession(newTestManager(t, nil))
		defer s.finishTest()
		s.busy.Add(1)
		var sizes callSizes
		st := &RawStream{s: s, sizes: &sizes}
		st.in.init(st, 4, 1<<16, 0)
		st.out.init(st, 4, 1<<16)
		if _, err := s.calls.get(nil, 0, st); err != nil {
			t.Fatal(err)
		}
		s.w.recall()
		if err := st.open(t.Context(), &outRequest{payload: make([]byte, 100)}); err == nil {
			t.Error("the stream is open")
		}
		if n := sizes.toHandler.Load(); n != 0 {
			t.Errorf("%d bytes are counted that were not sent", n)
		}
	})
}
