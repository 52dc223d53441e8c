package core

import (
	"context"
	"errors"
	"io"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/core/internal/wire"
	"github.com/gridmux/gridmux/transport/inmem"
)

// newTestPair returns two connected Managers, a and b, in the bubble of the test.
// b has what serve registers.
func newTestPair(t *testing.T, adjust func(cfg *Config), serve func(b *Manager) error) (a, b *Manager) {
	t.Helper()
	network := inmem.NewNetwork()
	start := func(name string) *Manager {
		cfg := Config{Local: Node{Addr: name}, Peers: []Node{{Addr: "a"}, {Addr: "b"}}, Transport: network.Node(name)}
		if adjust != nil {
			adjust(&cfg)
		}
		m, err := NewManager(cfg)
		if err != nil {
			t.Fatal(err)
		}
		if name == "b" {
			if err := serve(m); err != nil {
				t.Fatal(err)
			}
		}
		if err := m.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = m.Close() })
		return m
	}
	b, a = start("b"), start("a")
	if err := a.WaitConnected(t.Context()); err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
	return a, b
}

// hold is a handler that keeps its request until release is closed.
func hold(release <-chan struct{}) HandlerFunc {
	return func(ctx context.Context, _ []byte) ([]byte, error) {
		select {
		case <-release:
		case <-ctx.Done():
		}
		return nil, nil
	}
}

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
	a := assembleInto(s, wire.MakeCallID(1, 0, s.side), 1<<20, nil)
	a.letGo()
	a.drop()
	if err := s.begin(a); err != nil {
		t.Fatal(err)
	}
	if held, waiting := s.peer.memory[kindResponse].inUse(); held != 0 || waiting != 0 {
		t.Errorf("%d bytes are reserved for a response that was given up, %d wait", held, waiting)
	}
}

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
			if err := st.deliverFirst(40<<10, make([]byte, 20<<10)); err != nil {
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
			if held, waiting := s.peer.memory[kindMessage].inUse(); held != 0 || waiting != 0 {
				t.Errorf("%s: %d bytes are reserved, %d messages wait", what, held, waiting)
			}
		}

		cut := open()
		if err := cut.deliverFirst(1<<20, make([]byte, 1<<10)); err != nil {
			t.Fatal(err)
		}
		cut.giveUp(ErrDisconnected, wire.CodeNone)
		if _, err := cut.Recv(nil); !errors.Is(err, ErrDisconnected) {
			t.Errorf("half a message is received as %v", err)
		}
		wantLeft("cut off", cut)

		unread := open()
		if err := unread.deliverFirst(100<<10, make([]byte, 50<<10)); err != nil {
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
		s.w.bulk.pace.sent = 1 << 20 // nothing goes out
		s.w.mu.Unlock()
		deadline := m.now() + int64(time.Second)
		opened := make(chan result, 1)
		go func() {
			_, res := s.openStream(t.Context(), handlerKey{id: "x"}, make([]byte, 50<<10), PriorityNormal, deadline, false)
			opened <- res
		}()
		synctest.Wait()
		st := s.calls.streams()[0]
		// The writer comes first.
		large, ok := st.takeOut(deadline)
		if !ok {
			t.Fatal("there is no turn")
		}
		var bt batch
		large.part(&bt, s.layout, deadline)
		st.endTurn(large)
		if res := <-opened; res.outcome != OutcomeNotSent || !errors.Is(res.err, context.DeadlineExceeded) {
			t.Errorf("it ended with %v (%v), want its deadline, not sent", res.err, res.outcome)
		}
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
		s := raw.channels(ctx)
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

// TestOldSourcesBetweenOtherWrites has every second write be one without bulk,
// while there are always sources that have just got something to send. One that
// has been sending for longer, and one of low priority, get their turns all the
// same. Which write is theirs used to be counted over all writes, so that it could
// always be one without bulk.
func TestOldSourcesBetweenOtherWrites(t *testing.T) {
	m := newTestManager(t, nil)
	s, _ := newTestSession(m)
	defer s.finishTest()
	w := &s.w
	send := func(prio Priority) *bulkSend {
		return &bulkSend{
			kind: kindResponse, prio: prio, data: make([]byte, maxSmall+1), size: maxSmall + 1,
			may: true, granted: true, scheduled: true,
		}
	}
	old, low := send(PriorityNormal), send(PriorityLow)
	w.mu.Lock()
	w.bulk.putBack([]source{old}, nil)
	w.bulk.add(low)
	w.mu.Unlock()
	var served [2]int
	var fresh *bulkSend
	for write := range 64 {
		w.mu.Lock()
		w.settle()
		if write%2 == 0 {
			if fresh == nil {
				fresh = send(PriorityNormal)
				w.bulk.add(fresh)
			}
			w.turns = w.bulk.take(w.turns)
			w.unserved = len(w.turns) - 1 // one turn fills the write
			switch first := w.turns[0]; first {
			case source(old):
				served[0]++
				w.served = append(w.served, first)
			case source(low):
				served[1]++
				w.served = append(w.served, first)
			default:
				fresh = nil // all of it is sent
			}
		}
		w.mu.Unlock()
	}
	if served[0] < 8 || served[1] < 4 {
		t.Errorf("in 32 writes of bulk the old source had %d turns and the low one %d", served[0], served[1])
	}
	w.mu.Lock()
	w.bulk.close()
	w.turns = nil
	w.mu.Unlock()
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
