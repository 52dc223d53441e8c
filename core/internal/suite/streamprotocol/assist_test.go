package streamprotocol_test

import (
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/internal/lab"
	"github.com/gridmux/gridmux/core/internal/wire"
)

// shape is what the streams of a test look like, seen from the subject.
type shape struct {
	in, out uint32 // capacities; 0: 4
	config  func(cfg *core.Config)
	win     uint32 // of the raw peer; 0: the default
	maxmsg  uint64 // of the raw peer; 0: 1 GiB
}

func (s shape) capacities() (in, out uint32) {
	if in, out = s.in, s.out; in == 0 {
		in = 4
	}
	if out == 0 {
		out = 4
	}
	return in, out
}

// bench is a raw cluster whose raw peer opens streams to the subject, or has
// them opened to it.
type bench struct {
	t *testing.T
	*lab.RawCluster
	p       *lab.RawPeer
	serving bool // the subject is the callee
	in, out uint32

	began chan *held // of the subject's handlers
	slots uint32     // that the raw peer has used
}

// held is a handler of the subject that runs until the test says otherwise,
// whatever becomes of its context.
type held struct {
	ctx     context.Context
	payload []byte
	stream  *core.RawStream
	result  chan error
}

// end is the subject's end of an open stream.
type end struct {
	*core.RawStream
	*held        // of the callee
	b     *bench // whose raw peer has the other end
	id    wire.CallID
}

// inRoles runs a test with the subject as caller and as callee, and each where it
// has dialled and where it was dialled.
func inRoles(t *testing.T, rules string, s shape, test func(t *testing.T, b *bench)) {
	t.Helper()
	for role, serving := range map[string]bool{"caller": false, "callee": true} {
		for side, dials := range map[string]bool{" of its own connection": true, "": false} {
			lab.Bubble(t, rules+" "+role+side, func(t *testing.T) { test(t, newBench(t, s, serving, dials)) })
		}
	}
}

func asCallee(t *testing.T, rules string, s shape, test func(t *testing.T, b *bench)) {
	t.Helper()
	lab.Bubble(t, rules+" callee", func(t *testing.T) { test(t, newBench(t, s, true, false)) })
}

func asCaller(t *testing.T, rules string, s shape, test func(t *testing.T, b *bench)) {
	t.Helper()
	lab.Bubble(t, rules+" caller", func(t *testing.T) { test(t, newBench(t, s, false, false)) })
}

func newBench(t *testing.T, s shape, serving, dials bool) *bench {
	b := &bench{t: t, serving: serving, began: make(chan *held, 1000)}
	b.in, b.out = s.capacities()
	hold := func(ctx context.Context, payload []byte, st *core.RawStream) error {
		h := &held{ctx, payload, st, make(chan error)}
		b.began <- h
		return <-h.result
	}
	b.RawCluster = lab.NewRawCluster(t, lab.RawSetup{Dials: dials, Config: s.config, Register: func(m *core.Manager) error {
		return errors.Join(
			m.HandleStreamFunc("hold", hold, core.WithCapacity(int(b.in), int(b.out))),
			m.HandleStreamFunc("wide", hold, core.WithCapacity(0, int(b.out))),
			m.HandleStreamFunc("done", func(context.Context, []byte, *core.RawStream) error { return nil }),
		)
	}})
	b.p = b.ConnectServing(lab.RawCatalogue(
		lab.RawEntry{ID: "hold", Kind: 2, In: b.out, Out: b.in},
		lab.RawEntry{ID: "none", Kind: 2},
		lab.RawEntry{ID: "single", Kind: 1},
		lab.RawEntry{ID: "future", Kind: 77, In: 9, Out: 9},
	), func(h *wire.Hello) {
		if s.win != 0 {
			h.Window = uint64(s.win)
		}
		if s.maxmsg != 0 {
			h.MaxMsg = s.maxmsg
		}
	})
	return b
}

// open opens a stream.
func (b *bench) open() *end {
	b.t.Helper()
	if b.serving {
		return b.openRaw("hold")
	}
	return b.openSubject(b.t.Context(), "hold")
}

// openRaw has the raw peer open a stream.
func (b *bench) openRaw(handler string) *end {
	b.t.Helper()
	slot := b.slots
	b.slots++
	b.p.Send(b.p.Open(slot, 1, handler, b.out, []byte("initial")))
	return b.taken(b.p.ID(slot, 1))
}

// taken waits for the handler of a stream that the raw peer has opened.
func (b *bench) taken(id wire.CallID) *end {
	b.t.Helper()
	h := lab.Wait(b.t, b.began, "the handler begins")
	b.t.Cleanup(func() {
		select {
		case h.result <- nil:
		default:
		}
	})
	return &end{h.stream, h, b, id}
}

// openSubject has the subject open a stream.
func (b *bench) openSubject(ctx context.Context, handler core.HandlerID, opts ...core.CallOption) *end {
	b.t.Helper()
	st, err := b.Conn().OpenStream(ctx, handler, []byte("initial"), opts...)
	if err != nil {
		b.t.Fatalf("the subject cannot open a stream: %v", err)
	}
	f := b.p.Want(wire.TypeOpen, "the subject opens a stream")
	b.t.Cleanup(func() { st.Close() })
	return &end{st, nil, b, f.ID}
}

// returns ends a stream as the handler's return does, for whichever side it is.
func (e *end) returns(err error) {
	e.b.t.Helper()
	if e.b.serving {
		e.held.result <- err
		return
	}
	if err == nil {
		e.b.p.Send(wire.AppendResponse(nil, e.id, nil))
		return
	}
	e.b.p.Send(lab.RawStatus(wire.TypeError, e.id, 1000))
}

// data returns a DATA of the raw peer.
func (e *end) data(msg []byte) []byte { return wire.AppendData(nil, e.id, msg) }

// dataStart returns a DATA of the raw peer that begins a message of size bytes.
func (e *end) dataStart(size uint64, part []byte) []byte {
	return wire.AppendDataStart(nil, e.id, size, part)
}

func (e *end) fragment(part []byte) []byte { return wire.AppendFragment(nil, e.id, part) }

func (e *end) end() []byte { return wire.AppendEnd(nil, e.id) }

func (e *end) credit(messages, bytes uint32) []byte {
	return wire.AppendCredit(nil, e.id, messages, bytes)
}

// recv starts to receive a message.
func (e *end) recv() <-chan lab.Reply {
	return lab.Go(func() lab.Reply {
		msg, err := e.Recv(nil)
		return lab.Reply{Resp: msg, Err: err}
	})
}

// wantMessage holds that the next message of the subject's user is msg.
func (e *end) wantMessage(msg string, sentence string) {
	e.b.t.Helper()
	if got := lab.Wait(e.b.t, e.recv(), sentence); string(got.Resp) != msg || got.Err != nil {
		e.b.t.Errorf("%s: received %.40q, %v; want %.40q", sentence, got.Resp, got.Err, msg)
	}
}

// wantEOF holds that the messages have ended cleanly.
func (e *end) wantEOF(sentence string) {
	e.b.t.Helper()
	if got := lab.Wait(e.b.t, e.recv(), sentence); got.Err != io.EOF {
		e.b.t.Errorf("%s: received %.40q, %v; want a clean end", sentence, got.Resp, got.Err)
	}
}

// wantBroken holds that the messages have ended, but not cleanly.
func (e *end) wantBroken(sentence string) {
	e.b.t.Helper()
	if got := lab.Wait(e.b.t, e.recv(), sentence); got.Err == nil || errors.Is(got.Err, io.EOF) {
		e.b.t.Errorf("%s: received %.40q, %v; want an error", sentence, got.Resp, got.Err)
	}
}

// wantLost is wantBroken behind messages that had arrived before.
func (e *end) wantLost(sentence string) {
	e.b.t.Helper()
	for {
		if got := lab.Wait(e.b.t, e.recv(), sentence); got.Err != nil {
			if errors.Is(got.Err, io.EOF) {
				e.b.t.Errorf("%s: got a clean end, want an error", sentence)
			}
			return
		}
	}
}

// wantEnded holds that the subject has ended this stream with the code, and
// nothing else.
func (e *end) wantEnded(code wire.Code, sentence string) {
	e.b.t.Helper()
	typ := wire.TypeReset
	if e.b.serving {
		typ = wire.TypeError
	}
	for f, ok := e.b.p.Next(); ok; f, ok = e.b.p.Next() {
		if f.Type == wire.TypeCredit && f.ID == e.id {
			continue
		}
		st, err := wire.ParseStatus(&f)
		if f.Type != typ || f.ID != e.id || err != nil || st.Code != code {
			e.b.t.Fatalf("%s: got %v %v with %.60q, want %v of %v with code %d", sentence, f.Type, f.ID, f.Body, typ, e.id, code)
		}
		return
	}
	e.b.t.Fatalf("%s: nothing arrived, want %v of %v with code %d; the connection's end: %v", sentence, typ, e.id, code, e.b.p.Ended())
}

// takeCredit takes all CREDIT of a stream that has arrived, and returns their sum.
func (e *end) takeCredit() (messages, bytes int) {
	e.b.t.Helper()
	for f, ok := e.b.p.Next(); ok; f, ok = e.b.p.Next() {
		m, n, err := wire.ParseCredit(&f)
		if f.Type != wire.TypeCredit || f.ID != e.id || err != nil {
			e.b.t.Fatalf("got %v %v with %.60q, want CREDIT of %v: %v", f.Type, f.ID, f.Body, e.id, err)
		}
		messages += int(m)
		bytes += int(n)
	}
	return messages, bytes
}

// skipCredit takes the CREDIT that has arrived, and returns the next other frame.
func (b *bench) skipCredit() (wire.Frame, bool) {
	for {
		if f, ok := b.p.Next(); !ok || f.Type != wire.TypeCredit {
			return f, ok
		}
	}
}

// wantLife holds that the session and its streams go on.
func (b *bench) wantLife(sentence string) {
	b.t.Helper()
	slot := b.slots
	b.slots++
	b.p.WantLife(slot, sentence)
}

// settle lets everybody do what there is to do.
func settle() { synctest.Wait() }
