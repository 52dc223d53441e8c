package core

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/core/internal/wire"
)

// callerStream returns a stream of a test's session that is not opened yet.
func (s *session) callerStream(t *testing.T) (*RawStream, *slot) {
	t.Helper()
	st := &RawStream{s: s}
	st.in.init(st, 4, 1<<16, 0)
	st.out.init(st, 8, 1<<16)
	s.busy.Add(1)
	sl, err := s.calls.get(nil, 0, st)
	if err != nil {
		t.Fatal(err)
	}
	return st, sl
}

// TestOpenWhileTheStreamEnds has a stream end, as its context does, just before it is
// opened with a payload in parts: OpenStream returns, and leaves nothing that takes the
// place of other large requests (D3).
func TestOpenWhileTheStreamEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newTestManager(t, nil)
		s, _ := newTestSession(m)
		defer s.finishTest()
		st, sl := s.callerStream(t)
		s.calls.claim(sl)
		st.cutOut()
		opened := make(chan error, 1)
		go func() { opened <- st.open(t.Context(), &outRequest{payload: make([]byte, maxSmall+1)}) }()
		synctest.Wait()
		s.calls.put(sl)
		st.finish(st.callError(context.Canceled))
		s.release()
		synctest.Wait()
		select {
		case err := <-opened:
			if !errors.Is(err, context.Canceled) {
				t.Errorf("it was opened: %v", err)
			}
		default:
			t.Error("OpenStream waits although the stream is over")
			st.mu.Lock()
			st.out.large = nil
			st.out.wakeUp()
			st.mu.Unlock()
			<-opened
		}
		if n := len(s.w.bulk.begun[kindRequest]); n != 0 {
			t.Errorf("%d large requests have begun", n)
		}
	})
}

// TestChannelsWaitForTheError has the context of a stream end after END, and while the
// handler's error is being taken: Responses is not closed as if there were none.
func TestChannelsWaitForTheError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newTestManager(t, nil)
		s, _ := newTestSession(m)
		defer s.finishTest()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		st, _ := s.callerStream(t)
		st.out.opened = true
		st.watch(ctx)
		ch := st.channels(ctx, 0)
		s.feed(t, wire.AppendData(nil, st.id, []byte("one")))
		s.feed(t, wire.AppendEnd(nil, st.id))
		synctest.Wait()
		if r := <-ch.Responses; string(r.Msg) != "one" {
			t.Fatal(r)
		}
		// The reader has claimed the call for an ERROR, and not gone on yet.
		sl, _ := s.calls.takeWhole(st.id)
		cancel()
		synctest.Wait()
		select {
		case r, more := <-ch.Responses:
			t.Errorf("before the stream has ended there is %v, %v", r, more)
		default:
		}
		s.answerStream(sl, OutcomeRemote, &RemoteError{Code: 1001, Message: "broken"})
		if remote, ok := errors.AsType[*RemoteError]((<-ch.Responses).Err); !ok || remote.Code != 1001 {
			t.Errorf("the last response has no error of the handler's")
		}
	})
}

// TestTimersOfAConnEndWithItsStream expects the deadlines of a net.Conn that a handler
// has set to be gone when it has returned (I9).
func TestTimersOfAConnEndWithItsStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		served := make(chan *RawStream, 1)
		a, _ := newTestPair(t, nil, func(b *Manager) error {
			return b.HandleStreamFunc("conn", func(_ context.Context, _ []byte, s *RawStream) error {
				served <- s
				return s.Conn().SetDeadline(time.Now().Add(10 * time.Hour))
			})
		})
		st, err := a.Connection("b").OpenStream(t.Context(), "conn", nil)
		if err != nil {
			t.Fatal(err)
		}
		<-st.Done()
		synctest.Wait()
		c := (<-served).nc
		for name, timer := range map[string]*time.Timer{"reading": c.readLimit.timer, "writing": c.writeLimit.timer} {
			if timer != nil && timer.Stop() {
				t.Errorf("the deadline for %s waits though the stream has ended", name)
			}
		}
		if err := c.SetDeadline(time.Now().Add(10 * time.Hour)); err != nil {
			t.Error(err)
		}
		for name, timer := range map[string]*time.Timer{"reading": c.readLimit.timer, "writing": c.writeLimit.timer} {
			if timer != nil && timer.Stop() {
				t.Errorf("a deadline for %s was set though the stream has ended", name)
			}
		}
	})
}

// TestConnBelowMaxMessage expects a net.Conn to write where messages may be smaller
// than the pieces that it writes otherwise.
func TestConnBelowMaxMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		got := make(chan int, 1)
		a, _ := newTestPair(t, func(cfg *Config) { cfg.MaxMessage = 1000 }, func(b *Manager) error {
			return b.HandleStreamFunc("conn", func(_ context.Context, _ []byte, s *RawStream) error {
				all, err := io.ReadAll(s.Conn())
				got <- len(all)
				return err
			})
		})
		c, err := a.Connection("b").Dial(t.Context(), "conn")
		if err != nil {
			t.Fatal(err)
		}
		if n, err := c.Write(make([]byte, 5000)); n != 5000 || err != nil {
			t.Errorf("Write of 5000 bytes returned %d, %v", n, err)
		}
		_ = c.Close()
		if n := <-got; n != 5000 {
			t.Errorf("%d bytes arrived", n)
		}
	})
}

// TestTurnOfASmallMessageIsTold has a small message wait behind a large one, for which
// there is no credit, when another large one comes: that lets the small one go first,
// and it has to learn of it.
func TestTurnOfASmallMessageIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newTestManager(t, nil)
		s, _ := newTestSession(m)
		defer s.finishTest()
		st, sl := s.callerStream(t)
		st.out.opened = true
		st.out.bytes = 1000
		var sent [3]atomic.Bool
		var wg sync.WaitGroup
		send := func(i, size int) {
			wg.Go(func() { sent[i].Store(st.Send(make([]byte, size)) == nil) })
			synctest.Wait()
		}
		send(0, 1<<16)
		send(1, 100)
		if sent[1].Load() {
			t.Error("a small message has gone before a large one that waited")
		}
		send(2, 1<<16)
		if !sent[1].Load() {
			t.Error("the small message waits for ever")
		}
		s.calls.claim(sl)
		st.cutOut()
		s.calls.put(sl)
		st.finish(st.callError(context.Canceled))
		s.release()
		wg.Wait()
		if sent[0].Load() || sent[2].Load() {
			t.Error("a large message has gone without credit")
		}
	})
}
