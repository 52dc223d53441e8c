package core

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"strings"
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
	seedStreams(seed, join)
	seedPacked(seed, join)
	f.Fuzz(readArbitrary)
}

// seedStreams adds frames of streams: in order, out of order, beyond their credit
// and for calls that are none, of streams that the peer has opened and of the one
// that this side has, which is in slot 3.
func seedStreams(seed func(batches ...[]byte), join func(frames ...[]byte) []byte) {
	hash := func(id HandlerID) uint64 { return handlerKey{id: id}.hash() }
	message, large := []byte("message"), make([]byte, 40_000)
	both := []wire.CallID{wire.MakeCallID(1, 0, 0), wire.MakeCallID(1, 3, 1)}
	for i, id := range both {
		data, end := wire.AppendData(nil, id, message), wire.AppendEnd(nil, id)
		first, rest := wire.AppendDataStart(nil, id, 14, message), wire.AppendFragment(nil, id, message)
		reset := wire.AppendStatus(nil, wire.TypeReset, id, wire.Status{Code: wire.CodeCanceled})
		failed := wire.AppendStatus(nil, wire.TypeError, id, wire.Status{Code: 1001})
		for _, h := range []HandlerID{"stream.echo", "stream.close", "stream.wait", "stream.deaf", "stream.panic", "echo", "none"} {
			var open []byte
			if i == 0 {
				open = wire.AppendOpen(nil, id, hash(h), 0, 2, 0, message)
			} else if h != "none" {
				continue // that stream is there already
			}
			seed(join(open, data, first, rest), join(data, end, end))
			seed(join(open, data, data, data, data, data), data, reset, join(data, end))
			seed(open, first, failed, rest)
			seed(open, first, reset, join(rest, rest))
			seed(open, wire.AppendResponse(nil, id, nil), data, end)
			seed(open, join(first, end), data)
			seed(open, wire.AppendDataStart(nil, id, 40_000, large[:20_000]), wire.AppendFragment(nil, id, large[:20_000]), end)
			seed(open, wire.AppendDataStart(nil, id, 1<<40, message), data)
			seed(open, wire.AppendCredit(nil, id, 1, 1), wire.AppendCredit(nil, id, 1<<32-1, 1<<32-1), data)
			seed(open, wire.AppendGrant(nil, id), wire.AppendAck(nil, 0), wire.AppendAck(nil, 1<<40))
			seed(wire.AppendOpenStart(nil, id, hash(h), 1000, 1, wire.FlagLow, 14, message), rest, data)
			seed(wire.AppendOpenStart(nil, id, hash(h), 0, 1, 0, 60_000, large[:20_000]), data)
			seed(wire.AppendOpenStart(nil, id, hash(h), 0, 1, 0, 60_000, large[:20_000]), reset, open)
		}
	}
}

// seedPacked adds compressed messages of all kinds, in one frame and in parts: such
// that can be restored, by a known codec and dictionary, and such that cannot.
func seedPacked(seed func(batches ...[]byte), join func(frames ...[]byte) []byte) {
	hash := func(id HandlerID) uint64 { return handlerKey{id: id}.hash() }
	theirs, ours := wire.MakeCallID(1, 0, 0), wire.MakeCallID(1, 3, 1)
	const room = "\x00\x00\x00\x00"
	for _, c := range []struct {
		codec, dict uint8
		decoded     uint64
		body        string
	}{
		{1, 0, 20, "\x14a"},
		{1, 1, 20, "\x14a"},
		{1, 0, 60_000, "\xffa"},
		{1, 0, 40_035, strings.Repeat("\xffa", 157)},
		{1, 0, 21, "\x14a"},
		{1, 0, 19, "\x14a"},
		{2, 0, 20, "\x14a"},
		{1, 2, 20, "\x14a"},
		{1, 0, 1 << 31, "\x14a"},
		{1, 0, 2, "\x14a"},
	} {
		packed := func(frame []byte) []byte {
			wire.SetCodec(frame, c.codec, c.dict, c.decoded)
			return frame
		}
		whole, size, first, rest := []byte(room+c.body), uint64(len(c.body)), []byte(c.body[:1]), []byte(c.body[1:])
		for _, h := range []HandlerID{"echo", "inline", "append"} {
			seed(packed(wire.AppendRequest(nil, theirs, hash(h), 0, 0, whole)))
			seed(wire.InsertAccept(packed(wire.AppendRequest(nil, theirs, hash(h), 0, wire.FlagLow, whole)), 0, wire.Accept{Said: true, Codec: c.codec}))
			seed(packed(wire.AppendRequestStart(nil, theirs, hash(h), 0, 0, size, first)), wire.AppendFragment(nil, theirs, rest))
		}
		seed(packed(wire.AppendOpen(nil, theirs, hash("stream.echo"), 0, 2, 0, whole)))
		open := wire.AppendOpen(nil, theirs, hash("stream.echo"), 0, 2, 0, nil)
		for _, id := range []wire.CallID{theirs, ours} {
			seed(open, packed(wire.AppendData(nil, id, whole)), wire.AppendEnd(nil, id))
			seed(open, packed(wire.AppendDataStart(nil, id, size, first)), join(wire.AppendFragment(nil, id, rest), wire.AppendEnd(nil, id)))
		}
		seed(packed(wire.AppendResponse(nil, wire.MakeCallID(1, 0, 1), whole)))
		seed(packed(wire.AppendResponseStart(nil, wire.MakeCallID(1, 0, 1), size, first)), wire.AppendFragment(nil, wire.MakeCallID(1, 0, 1), rest))
	}
	seed(wire.AppendCodecs(nil, []string{"runs", "other"}, []wire.Dict{{Codec: 1, ID: 1}}), wire.AppendRequest(nil, theirs, hash("echo"), 0, 0, make([]byte, 600)))
}

func readArbitrary(t *testing.T, in []byte) {
	m, err := NewManager(Config{
		Local: Node{Addr: "a"}, Peers: []Node{{Addr: "b"}}, Transport: inmem.NewNetwork().Node("a"),
		MaxMessage: 1 << 16, MaxReassembly: 1 << 17, MaxHandlers: 8, MaxCalls: 64,
		StreamWindow: 1 << 12, MaxStreamBuffers: 1 << 15, Compressors: []Compressor{runs{name: "runs", ids: []uint64{1}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	echo := func(_ context.Context, req []byte) ([]byte, error) { return req, nil }
	err = errors.Join(
		m.Handle("echo", echo),
		m.Handle("inline", echo, WithInline(), WithCompression(runs{name: "runs"})),
		m.HandleAppend("append", func(_ context.Context, req, dst []byte) ([]byte, error) { return append(dst, req...), nil }),
		m.Handle("panic", func(context.Context, []byte) ([]byte, error) { panic("as asked") }),
		m.Handle("goexit", func(context.Context, []byte) ([]byte, error) { runtime.Goexit(); return nil, nil }),
		m.Handle("wait", func(ctx context.Context, _ []byte) ([]byte, error) { <-ctx.Done(); return nil, ctx.Err() }),
		registerStreams(m),
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
		go func() {
			calls <- s.roundTrip(t.Context(), handlerKey{}, 1, make([]byte, i*20_000), nil, 0, callSettings{})
		}()
	}
	for s.busy.Load() < outgoing {
		runtime.Gosched()
	}
	m.catalogues.add(&catalogue{digest: s.catalogue, entries: map[uint64]handlerEntry{handlerKey{id: "theirs"}.hash(): {streamHandler, 2, 2, 0}}})
	st, res := s.openStream(t.Context(), handlerKey{id: "theirs"}, []byte("initial"), callSettings{}, 0, false, nil)
	if res.err != nil {
		t.Fatal(res.err)
	}
	streamed := make(chan error, 2)
	go func() { streamed <- exchange(st) }()
	go func() { streamed <- receiveAll(st) }()

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
	for range cap(streamed) {
		select {
		case err := <-streamed:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(20 * time.Second):
			t.Fatal("a method of a stream does not return although its session has ended")
		}
	}
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
	for began := time.Now(); m.handlersRunning.Load() != 0 || !peer.idle() || s.busy.Load() != 0 || peer.windows.held.Load() != 0; {
		if time.Since(began) > 20*time.Second {
			t.Fatalf("after the end %d handlers, %d of the peer, %d calls and %d bytes of windows are there, or memory is taken; want none",
				m.handlersRunning.Load(), peer.handlers.Load(), s.busy.Load(), peer.windows.held.Load())
		}
		runtime.Gosched()
	}
}

// registerStreams registers handlers of streams that do what a handler may.
func registerStreams(m *Manager) error {
	echo := func(_ context.Context, _ []byte, s *RawStream) error {
		for msg, err := range s.All() {
			if err != nil {
				return err
			}
			if err := s.Send(msg); err != nil {
				return err
			}
		}
		return nil
	}
	return errors.Join(
		m.HandleStreamFunc("stream.echo", echo, WithCapacity(4, 4)),
		m.HandleStreamFunc("stream.close", func(ctx context.Context, _ []byte, s *RawStream) error { s.Close(); <-ctx.Done(); return nil }),
		m.HandleStreamFunc("stream.wait", func(ctx context.Context, _ []byte, _ *RawStream) error { <-ctx.Done(); return ctx.Err() }, WithCapacity(4, 4)),
		m.HandleStreamFunc("stream.deaf", func(ctx context.Context, _ []byte, s *RawStream) error {
			return errors.Join(s.Send(make([]byte, 5000)), s.CloseSend())
		}, WithCapacity(0, 1)),
		m.HandleStreamFunc("stream.panic", func(context.Context, []byte, *RawStream) error { panic("as asked") }),
	)
}

// exchange sends until it cannot any more.
func exchange(st *RawStream) error {
	for i := range 100 {
		if err := st.Send(make([]byte, i*50)); err != nil {
			return nil //nolint:nilerr // However the stream ends, it does.
		}
	}
	return st.CloseSend()
}

// receiveAll receives until the end, which has to stay.
func receiveAll(st *RawStream) error {
	for {
		if _, err := st.Recv(nil); err == nil {
			continue
		}
		msg, err := st.Recv(nil)
		if err == nil {
			return fmt.Errorf("a message of %d bytes arrived behind the end of its stream", len(msg))
		}
		return nil
	}
}
