package core

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/core/internal/wire"
)

// TestGivenUpBeforeItIsAnnounced has a stream given up when Send has a large
// message ready and has not told the writer. The message takes no place among
// those that wait for the peer's memory. It used to keep it for ever: after 16 of
// them no large message of the session got through.
func TestGivenUpBeforeItIsAnnounced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newTestManager(t, nil)
		s, _ := newTestSession(m)
		defer s.finishTest()
		s.busy.Add(1)
		st := &RawStream{s: s}
		st.in.init(st, 4, 1<<16, 0)
		st.out.init(st, 4, 1<<16)
		if _, err := s.calls.get(nil, 0, st); err != nil {
			t.Fatal(err)
		}
		b := &bulkSend{id: st.id, kind: kindRequest, stream: st, open: true, capacity: 4, data: make([]byte, 1<<20), size: 1 << 20}
		st.out.large, st.out.parts, st.out.scheduled = b, true, true
		st.giveUp(context.Canceled, wire.CodeCanceled)
		s.w.announce(b, true)
		synctest.Wait()
		s.w.mu.Lock()
		defer s.w.mu.Unlock()
		if n := len(s.w.bulk.begun[kindRequest]); n != 0 {
			t.Errorf("%d messages that were given up wait for the peer's memory", n)
		}
	})
}

// TestOpenTooLate opens a stream whose time is over before the first part of its
// payload can be written. It is that, and nothing was sent. It used to be
// ErrDisconnected, and nothing was known, if the writer was faster than the timer.
func TestOpenTooLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newTestManager(t, nil)
		s, _ := newTestSession(m)
		defer s.finishTest()
		known, err := parseCatalogue(nil)
		if err != nil {
			t.Fatal(err)
		}
		s.catalogue = known.digest
		m.catalogues.add(known)
		s.w.mu.Lock()
		s.w.bulk.pace.sent, s.w.bulk.pace.marked = 1<<20, 1<<20 // nothing goes out
		s.w.mu.Unlock()
		deadline := m.now() + int64(time.Second)
		opened := make(chan result, 1)
		go func() {
			_, res := s.openStream(t.Context(), handlerKey{id: "x"}, make([]byte, 50<<10), callSettings{}, deadline, false, nil)
			opened <- res
		}()
		synctest.Wait()
		st := s.calls.streams()[0]
		// The writer comes first.
		var bt batch
		large, ok := st.takeOut(&bt, deadline)
		if !ok {
			t.Fatal("there is no turn")
		}
		large.part(&bt, s.layout, deadline)
		st.endTurn(large)
		if res := <-opened; res.outcome != OutcomeNotSent || !errors.Is(res.err, context.DeadlineExceeded) {
			t.Errorf("it ended with %v (%v), want its deadline, not sent", res.err, res.outcome)
		}
	})
}

// TestSendBetweenCutAndEnd sends a large message between the moments at which a
// stream that ends is cut and at which it is over. Send used to wait for ever: the
// message came too late to be dropped, and nobody sent it.
func TestSendBetweenCutAndEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newTestManager(t, nil)
		s, _ := newTestSession(m)
		st := &RawStream{s: s}
		st.in.init(st, 1, 1<<16, 0)
		st.out.init(st, 8, 1<<16)
		st.out.opened = true
		s.busy.Add(1)
		sl, err := s.calls.get(nil, 0, st)
		if err != nil {
			t.Fatal(err)
		}
		s.calls.claim(sl)
		st.cutOut()
		sent := make(chan error, 1)
		go func() { sent <- st.Send(make([]byte, 40_000)) }()
		synctest.Wait()
		st.finish(st.callError(ErrDisconnected))
		if err := <-sent; !errors.Is(err, ErrDisconnected) {
			t.Errorf("Send returned %v, want what the stream ended with", err)
		}
		s.calls.put(sl)
		s.release()
		s.finishTest()
	})
}
