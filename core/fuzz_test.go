package core

import (
	"context"
	"encoding/binary"
	"errors"
	"runtime"
	"testing"
	"time"

	"github.com/gridmux/gridmux/core/internal/wire"
	"github.com/gridmux/gridmux/transport/inmem"
)

// FuzzReader gives a session batches that a peer may have sent, with calls of
// both sides in progress. Whatever they contain, nothing panics, every call
// returns, and when the session has ended everything that the peer took is
// back. The input is a sequence of batches, each behind its length in 2 bytes.
func FuzzReader(f *testing.F) {
	seed := func(batches ...[]byte) {
		var in []byte
		for _, b := range batches {
			in = append(binary.LittleEndian.AppendUint16(in, uint16(len(b))), b...)
		}
		f.Add(in)
	}
	join := func(frames ...[]byte) (b []byte) {
		for _, f := range frames {
			b = append(b, f...)
		}
		return b
	}
	hash := func(id HandlerID) uint64 { return handlerKey{id: id}.hash() }
	theirs := func(generation, slot uint32) wire.CallID { return wire.MakeCallID(generation, slot, 0) }
	ours := func(generation, slot uint32) wire.CallID { return wire.MakeCallID(generation, slot, 1) }
	status := wire.Status{Code: 1001, Message: "m", Detail: []byte("d")}
	payload := []byte("payload")
	for _, h := range []HandlerID{"echo", "inline", "append", "panic", "goexit", "wait", "none"} {
		seed(wire.AppendRequest(nil, theirs(1, 0), hash(h), 0, 0, payload))
		seed(wire.AppendRequest(nil, theirs(1, 0), hash(h), 1_000_000, wire.FlagHigh, nil),
			wire.AppendStatus(nil, wire.TypeReset, theirs(1, 0), wire.Status{Code: wire.CodeCanceled}))
		seed(join(wire.AppendRequestStart(nil, theirs(1, 3), hash(h), 0, 0, 14, payload), wire.AppendFragment(nil, theirs(1, 3), payload)))
	}
	seed(wire.AppendResponse(nil, ours(1, 0), payload), wire.AppendResponse(nil, ours(1, 1), nil))
	seed(wire.AppendResponseStart(nil, ours(1, 0), 14, payload), wire.AppendFragment(nil, ours(1, 0), payload))
	seed(wire.AppendResponseStart(nil, ours(1, 0), 14, payload), wire.AppendResponse(nil, ours(1, 0), payload))
	seed(wire.AppendResponseStart(nil, ours(1, 0), 14, payload), wire.AppendStatus(nil, wire.TypeError, ours(1, 0), status))
	seed(wire.AppendResponseStart(nil, ours(1, 0), 1<<40, payload))
	seed(wire.AppendStatus(nil, wire.TypeError, ours(1, 2), status), wire.AppendStatus(nil, wire.TypeRefused, ours(1, 0), status))
	seed(wire.AppendRequestStart(nil, theirs(1, 0), hash("echo"), 0, 0, 20, payload), wire.AppendRequest(nil, theirs(2, 0), hash("echo"), 0, 0, payload))
	seed(join(wire.AppendPing(nil, wire.TypePing, 1), wire.AppendPing(nil, wire.TypePong, 2), wire.AppendStatus(nil, wire.TypeGoaway, 0, status)))
	seed(join(wire.AppendRequest(nil, theirs(1, 0), hash("wait"), 0, 0, nil), wire.AppendRequest(nil, theirs(2, 0), hash("wait"), 0, 0, nil)))
	f.Fuzz(readArbitrary)
}

func readArbitrary(t *testing.T, in []byte) {
	m, err := NewManager(Config{
		Local: Node{Addr: "a"}, Peers: []Node{{Addr: "b"}}, Transport: inmem.NewNetwork().Node("a"),
		MaxMessage: 1 << 16, MaxReassembly: 1 << 17, MaxHandlers: 8, MaxCalls: 64,
	})
	if err != nil {
		t.Fatal(err)
	}
	echo := func(_ context.Context, req []byte) ([]byte, error) { return req, nil }
	err = errors.Join(
		m.Handle("echo", echo),
		m.Handle("inline", echo, WithInline()),
		m.HandleAppend("append", func(_ context.Context, req, dst []byte) ([]byte, error) { return append(dst, req...), nil }),
		m.Handle("panic", func(context.Context, []byte) ([]byte, error) { panic("as asked") }),
		m.Handle("goexit", func(context.Context, []byte) ([]byte, error) { runtime.Goexit(); return nil, nil }),
		m.Handle("wait", func(ctx context.Context, _ []byte) ([]byte, error) { <-ctx.Done(); return nil, ctx.Err() }),
	)
	if err != nil {
		t.Fatal(err)
	}
	near, far := newPipe()
	go func() { // the peer reads what it is sent
		for {
			if _, err := far.ReadFrame(ownMaxFrame); err != nil {
				return
			}
		}
	}()
	peer := m.members.Load().list[0]
	s := newSession(m, peer, near, agreement{side: 1, remote: wire.Hello{MaxMsg: 1 << 16, MaxCalls: 64, Window: 1 << 16}})
	m.addSession(s)
	peer.current.Store(s)
	calls := make(chan result, 3)
	const outgoing = 3
	for i := range outgoing {
		go func() { calls <- s.roundTrip(t.Context(), 1, make([]byte, i*20_000), nil, 0, PriorityNormal) }()
	}
	for s.busy.Load() < outgoing {
		runtime.Gosched()
	}

	for len(in) >= 2 && !s.ending.Load() {
		n := min(int(binary.LittleEndian.Uint16(in)), len(in)-2)
		_, err := s.readBatch(in[2 : 2+n : 2+n])
		s.submit()
		if err != nil {
			if !errors.Is(err, wire.ErrMalformed) {
				t.Errorf("a batch failed with %v, which is no protocol error", err)
			}
			break
		}
		in = in[2+n:]
	}

	s.end(errManagerDone, wire.CodeNone)
	s.retire()
	for range outgoing {
		select {
		case r := <-calls:
			if r.err != nil && r.outcome == OutcomeRefused && r.resp != nil {
				t.Errorf("a refused call returned %v", r)
			}
		case <-time.After(20 * time.Second):
			t.Fatal("a call does not return although its session has ended")
		}
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	for began := time.Now(); m.handlersRunning.Load() != 0 || !peer.idle() || s.busy.Load() != 0; {
		if time.Since(began) > 20*time.Second {
			t.Fatalf("after the end %d handlers, %d of the peer and %d calls are there, or memory is taken; want none",
				m.handlersRunning.Load(), peer.handlers.Load(), s.busy.Load())
		}
		runtime.Gosched()
	}
}
