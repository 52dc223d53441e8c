package streamprotocol_test

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/gridmux/gridmux/core/internal/lab"
	"github.com/gridmux/gridmux/core/internal/wire"
)

// An interleaving is a sequence of these operations, some of the subject's user
// and some of the raw peer.
const (
	opSend      = 's' // the subject's user sends a message
	opCloseSend = 'c'
	opClose     = 'x'
	opReturn    = 'r' // the subject's handler returns nil
	opData      = 'D' // the raw peer sends DATA
	opEnd       = 'E' // END
	opReset     = 'R' // RESET, as the caller
	opAnswer    = 'A' // RESPONSE, as the callee
	opFail      = 'F' // ERROR, as the callee
)

// streamTable is the state of a stream as the rules have it (W27, W81, W82), and
// what they make the subject's end of it do.
type streamTable struct {
	serving                  bool
	localEnded, remoteEnded  bool
	closed, over, gone       bool // gone: over, and nothing that had arrived is left
	failed                   bool // the end is no clean one
	returned                 bool // the handler has
	arrived, frames          []string
	sends, datas, operations int
}

// breach reports whether the operation breaks a rule.
func (m *streamTable) breach(op rune) bool {
	return (op == opData || op == opEnd) && !m.over && m.remoteEnded
}

// apply takes an operation into account. fails is set if the user gets an error.
func (m *streamTable) apply(op rune) (fails bool) {
	m.operations++
	switch op {
	case opSend:
		m.sends++
		if m.over || m.localEnded {
			return true
		}
		m.frames = append(m.frames, fmt.Sprint("DATA ", m.sends))
	case opCloseSend:
		m.endLocal()
	case opClose:
		if m.serving {
			m.endLocal()
		} else if !m.over {
			m.over, m.failed = true, true
			m.frames = append(m.frames, "RESET")
		}
		m.closed, m.arrived = true, nil
	case opReturn:
		if !m.returned && !m.over {
			m.frames = append(m.frames, "RESPONSE")
		}
		m.over, m.returned, m.gone = true, true, true
	case opData:
		m.datas++
		if !m.over && !m.closed {
			m.arrived = append(m.arrived, fmt.Sprint(m.datas))
		}
	case opEnd:
		m.remoteEnded = m.remoteEnded || !m.over
	case opReset:
		m.failed = m.failed || !m.over
		m.over, m.gone = true, true
	case opAnswer, opFail:
		if !m.over {
			m.over, m.failed = true, op == opFail
		}
	}
	return false
}

func (m *streamTable) endLocal() {
	if !m.localEnded && !m.over {
		m.frames = append(m.frames, "END")
	}
	m.localEnded = true
}

// interleavings returns all sequences of n operations, but those that go on after
// a breach.
func interleavings(ops string, serving bool, n int) (all []string) {
	var grow func(before string)
	grow = func(before string) {
		m := &streamTable{serving: serving}
		for i, op := range before {
			if m.breach(op) {
				if i == len(before)-1 {
					all = append(all, before)
				}
				return
			}
			m.apply(op)
		}
		if len(before) == n {
			all = append(all, before)
			return
		}
		for _, op := range ops {
			grow(before + string(op))
		}
	}
	grow("")
	return all
}

// TestEveryOrderOfEnds does five operations of both ends of a stream in every
// order there is, again and again the same among them, and holds the subject to
// the table of states after each: which frames it sends and in which order,
// what its user gets, that nothing follows RESET or the answer, what breaks a rule,
// and that every id is free once (F20, F26, T10).
func TestEveryOrderOfEnds(t *testing.T) {
	for serving, ops := range map[bool]string{
		true:  string([]rune{opSend, opCloseSend, opClose, opReturn, opData, opEnd, opReset}),
		false: string([]rune{opSend, opCloseSend, opClose, opData, opEnd, opAnswer, opFail}),
	} {
		all := interleavings(ops, serving, lab.Scale(5, 4, 6))
		test := func(t *testing.T, b *bench) {
			for i, order := range all {
				if !runOrder(t, b, order) {
					b.p.Conn.CloseWithError(0, "")
					settle()
					b.p, b.slots = b.Connect(func(h *wire.Hello) { h.Catalogue = b.p.Said.Catalogue }), 0
				}
				if t.Failed() {
					t.Fatalf("order %d of %d", i, len(all))
				}
			}
			b.wantLife("F20: all orders")
		}
		if serving {
			asCallee(t, "W27 W81 W82", shape{in: 16, out: 16}, test)
		} else {
			asCaller(t, "W27 W81 W82", shape{in: 16, out: 16}, test)
		}
	}
}

// runOrder does the operations on a new stream. It reports false if the session
// has ended as the last one broke a rule.
func runOrder(t *testing.T, b *bench, order string) bool {
	m := &streamTable{serving: b.serving}
	e := b.again()
	var got []string
	take := func() {
		for f, ok := b.p.Next(); ok; f, ok = b.p.Next() {
			switch {
			case f.Type == wire.TypeCredit && f.ID == e.id && !slices.Contains(got, "RESET") && !slices.Contains(got, "RESPONSE"):
			case f.Type == wire.TypeData && f.ID == e.id:
				got = append(got, "DATA "+string(f.Body))
			case f.ID == e.id && f.Type != wire.TypeCredit:
				got = append(got, f.Type.String())
			default:
				t.Fatalf("order %s: got %v of %v after %v", order, f.Type, f.ID, got)
			}
		}
	}
	for _, op := range order {
		if m.breach(op) {
			b.p.Send(e.frame(op, m))
			b.p.WantClosed(wire.CodeProtocol, "W82: order "+order)
			if b.serving && !m.returned {
				e.result <- nil
			}
			return false
		}
		fails := m.apply(op)
		var err error
		switch op {
		case opSend:
			err = e.Send(fmt.Append(nil, m.sends))
		case opCloseSend:
			_ = e.CloseSend()
		case opClose:
			_ = e.Close()
		case opReturn:
			if e.result != nil {
				e.result <- nil
				e.result = nil
			}
		default:
			b.p.Send(e.frame(op, m))
		}
		if (err != nil) != fails {
			t.Errorf("order %s: after %d operations the user got %v, want an error: %v", order, m.operations, err, fails)
		}
		take()
		if !slices.Equal(got, m.frames) {
			t.Fatalf("order %s: after %d operations the subject has sent %v, want %v", order, m.operations, got, m.frames)
		}
	}
	e.wantInput(t, order, m)
	// Its end, if it was none yet. The slot is used again.
	if b.serving {
		b.p.Send(lab.RawStatus(wire.TypeReset, e.id, wire.CodeCanceled))
		settle()
		if e.result != nil {
			e.result <- nil
		}
	} else {
		e.Close()
	}
	if take(); len(got) > len(m.frames) && (b.serving || m.over) {
		t.Errorf("order %s: at the end the subject has sent %v, want %v", order, got, m.frames)
	}
	return true
}

// frame returns the frame of an operation of the raw peer.
func (e *end) frame(op rune, m *streamTable) []byte {
	switch op {
	case opData:
		return e.data(fmt.Append(nil, m.datas))
	case opEnd:
		return e.end()
	case opReset:
		return lab.RawStatus(wire.TypeReset, e.id, wire.CodeCanceled)
	case opAnswer:
		return wire.AppendResponse(nil, e.id, nil)
	default:
		return lab.RawStatus(wire.TypeError, e.id, 1000)
	}
}

// wantInput holds that the subject's user gets what the table says, to the end.
func (e *end) wantInput(t *testing.T, order string, m *streamTable) {
	if m.gone || m.closed {
		if _, err := e.Recv(nil); err == nil {
			t.Errorf("order %s: a message arrives on a stream that is over", order)
		}
		return
	}
	for _, want := range m.arrived {
		if msg, err := e.Recv(nil); string(msg) != want || err != nil {
			t.Errorf("order %s: received %q, %v; want %q of %s", order, msg, err, want, strings.Join(m.arrived, " "))
			return
		}
	}
	if !m.over && !m.remoteEnded {
		return // there may come more
	}
	if _, err := e.Recv(nil); err == nil || errors.Is(err, io.EOF) == m.failed {
		t.Errorf("order %s: the messages end with %v, want a clean end: %v", order, err, !m.failed)
	}
}

// again opens a stream in the slot of the one before, whose id is free now.
func (b *bench) again() *end {
	b.t.Helper()
	b.slots++ // generations here
	if b.serving {
		id := b.p.ID(0, b.slots)
		b.p.Send(b.p.Open(0, b.slots, "hold", b.out, nil))
		h := lab.Wait(b.t, b.began, "the handler begins")
		return &end{h.stream, h, b, id}
	}
	st, err := b.Conn().OpenStream(b.t.Context(), "hold", nil)
	if err != nil {
		b.t.Fatalf("the subject cannot open a stream: %v", err)
	}
	f := b.p.Want(wire.TypeOpen, "the subject opens a stream")
	if f.ID.Slot() != 0 {
		b.t.Fatalf("W18: the stream is in slot %d: that of the one before is not free, or was freed twice", f.ID.Slot())
	}
	return &end{st, new(held), b, f.ID}
}
