package streamprotocol_test

import (
	"testing"

	"github.com/gridmux/gridmux/core/internal/lab"
	"github.com/gridmux/gridmux/core/internal/wire"
)

// TestMessages holds both ends of a stream to W81 and W82 in what they do right:
// messages arrive in order, empty ones, those in parts and the small ones between
// them, and the clean end comes behind the last.
func TestMessages(t *testing.T) {
	inRoles(t, "W81 W82", shape{in: 8, out: 8}, func(t *testing.T, b *bench) {
		e := b.open()
		long := lab.Pattern(1, 50_000)
		e.b.p.Send(e.data(nil), e.data([]byte("a")), e.dataStart(3, []byte("x")), e.fragment([]byte("yz")), e.dataStart(50_000, long[:1]))
		b.p.Send(e.fragment(long[1:]), e.data([]byte("last")), e.end())
		for _, want := range []string{"", "a", "xyz", string(long), "last"} {
			e.wantMessage(want, "W81: messages arrive in order")
		}
		e.wantEOF("W82: END says that it was the last one")
		e.wantEOF("W82: the end stays")

		sent := lab.Go(func() error {
			for _, msg := range []string{"", "b", string(long), "last"} {
				if err := e.Send([]byte(msg)); err != nil {
					return err
				}
			}
			return e.CloseSend()
		})
		for _, want := range []string{"", "b", string(long), "last"} {
			f, ok := b.skipCredit()
			if !ok || f.Type != wire.TypeData || f.ID != e.id || string(b.p.Message(&f)) != want {
				t.Fatalf("W81: got %v %v, want DATA with %.20q", f.Type, f.ID, want)
			}
		}
		if f := b.p.Want(wire.TypeEnd, "W82: CloseSend is END"); f.ID != e.id {
			t.Errorf("W82: END is for %v, want %v", f.ID, e.id)
		}
		if err := lab.Wait(t, sent, "all is sent"); err != nil {
			t.Errorf("W81: sending failed: %v", err)
		}
		e.returns(nil)
		if b.serving {
			if f := b.p.Want(wire.TypeResponse, "W80: the handler has returned"); f.Flags != wire.FlagNil || len(f.Body) != 0 {
				t.Errorf("W80: the answer has flags %#x and %d bytes, want NIL and none", f.Flags, len(f.Body))
			}
		}
		b.p.WantIdle("W80: the stream is over")
		b.wantLife("W80: a stream is over")
	})
}

// TestBreaches holds both ends to what is a protocol error in W81 and W82, and
// for frames with a codec in W15.
func TestBreaches(t *testing.T) {
	for name, breach := range map[string]func(b *bench, e *end) [][]byte{
		"W82 DATA after END":         func(_ *bench, e *end) [][]byte { return [][]byte{e.end(), e.data([]byte("x"))} },
		"W82 a large DATA after END": func(_ *bench, e *end) [][]byte { return [][]byte{e.end(), e.dataStart(1<<60, []byte("x"))} },
		"W82 END after END":          func(_ *bench, e *end) [][]byte { return [][]byte{e.end(), e.end()} },
		"W81 FRAGMENT after END":     func(_ *bench, e *end) [][]byte { return [][]byte{e.end(), e.fragment([]byte("x"))} },
		"W82 END amid a message":     func(_ *bench, e *end) [][]byte { return [][]byte{e.dataStart(3, []byte("x")), e.end()} },
		"W81 DATA amid a message":    func(_ *bench, e *end) [][]byte { return [][]byte{e.dataStart(3, []byte("x")), e.data([]byte("y"))} },
		"W81 a first part amid a message": func(_ *bench, e *end) [][]byte {
			return [][]byte{e.dataStart(3, []byte("x")), e.dataStart(3, []byte("y"))}
		},
		"W81 a large first part amid a message": func(_ *bench, e *end) [][]byte {
			return [][]byte{e.dataStart(3, []byte("x")), e.dataStart(1<<60, []byte("y"))}
		},
		"W81 FRAGMENT of no message": func(_ *bench, e *end) [][]byte { return [][]byte{e.fragment([]byte("x"))} },
		"W81 FRAGMENT of a message that is whole": func(_ *bench, e *end) [][]byte {
			return [][]byte{e.dataStart(2, []byte("x")), e.fragment([]byte("y")), e.fragment([]byte("z"))}
		},
		"W23 FRAGMENT over the size": func(_ *bench, e *end) [][]byte {
			return [][]byte{e.dataStart(2, []byte("x")), e.fragment([]byte("yz"))}
		},
		"W22 a first part that is all": func(_ *bench, e *end) [][]byte { return [][]byte{e.dataStart(1, []byte("x"))} },
		"W22 a first part of nothing":  func(_ *bench, e *end) [][]byte { return [][]byte{e.dataStart(5, nil)} },
		"W22 a decoded size":           func(_ *bench, e *end) [][]byte { d := e.dataStart(5, []byte("x")); d[24]++; return [][]byte{d} },
		"W23 an empty FRAGMENT":        func(_ *bench, e *end) [][]byte { return [][]byte{e.dataStart(5, []byte("x")), e.fragment(nil)} },
		"W15 DATA with a codec, not smaller": func(_ *bench, e *end) [][]byte {
			return [][]byte{lab.Packed(e.data(append(lab.PackedSize, 'x')), 1, 0, 1)}
		},
		"W15 DATA with a dictionary":   func(_ *bench, e *end) [][]byte { d := e.data([]byte("x")); d[7] = 1; return [][]byte{d} },
		"W15 END with a codec":         func(_ *bench, e *end) [][]byte { d := e.end(); d[6] = 1; return [][]byte{d} },
		"W15 CREDIT with a dictionary": func(_ *bench, e *end) [][]byte { d := e.credit(0, 1); d[7] = 1; return [][]byte{d} },
		"W13 DATA with NIL":            func(_ *bench, e *end) [][]byte { d := e.data(nil); d[5] = 1; return [][]byte{d} },
		"W13 DATA with METADATA":       func(_ *bench, e *end) [][]byte { d := e.data([]byte{0, 0}); d[5] = 2; return [][]byte{d} },
		"W13 DATA with a priority":     func(_ *bench, e *end) [][]byte { d := e.data(nil); d[5] = 8; return [][]byte{d} },
		"W12 END with a body": func(_ *bench, e *end) [][]byte {
			return [][]byte{lab.RawFrame(wire.Frame{Type: wire.TypeEnd, ID: e.id, Body: []byte("x")})}
		},
		"W12 CREDIT of 7 bytes": func(_ *bench, e *end) [][]byte {
			return [][]byte{lab.RawFrame(wire.Frame{Type: wire.TypeCredit, ID: e.id, Body: make([]byte, 7)})}
		},
		"W83 CREDIT of nothing": func(_ *bench, e *end) [][]byte { return [][]byte{e.credit(0, 0)} },
	} {
		inRoles(t, name, shape{}, func(_ *testing.T, b *bench) {
			other, e := b.open(), b.open()
			for _, frame := range breach(b, e) {
				b.p.Send(frame)
			}
			b.p.WantClosed(wire.CodeProtocol, name)
			e.wantLost(name + ": the stream is broken")
			other.wantBroken(name + ": so are all others of the session")
			b.Alive(name)
		})
	}
}

// TestFramesOfOtherCalls holds both ends to what W81 says of DATA, END, CREDIT
// and GRANT for calls that are no open streams: a protocol error for those that
// were never opened and for single requests, skipped for those that are over
// (T8, T10, F26).
func TestFramesOfOtherCalls(t *testing.T) {
	four := map[string]func(id wire.CallID) []byte{
		"DATA":   func(id wire.CallID) []byte { return wire.AppendData(nil, id, []byte("x")) },
		"parts":  func(id wire.CallID) []byte { return wire.AppendDataStart(nil, id, 1<<30, []byte("x")) },
		"END":    func(id wire.CallID) []byte { return wire.AppendEnd(nil, id) },
		"CREDIT": func(id wire.CallID) []byte { return wire.AppendCredit(nil, id, 1<<32-1, 1<<32-1) },
		"GRANT":  func(id wire.CallID) []byte { return wire.AppendGrant(nil, id) },
	}
	for name, frame := range four {
		for which, id := range map[string]func(e *end) wire.CallID{
			"the next generation": func(e *end) wire.CallID { return e.id + 1<<32 },
			"the last generation": func(e *end) wire.CallID { return e.id | 0xffffffff<<32 },
			"generation 0":        func(e *end) wire.CallID { return e.id & 0xffffffff },
			"the next slot":       func(e *end) wire.CallID { return e.id + 2 },
			"a far slot":          func(e *end) wire.CallID { return e.id | 0xfffffffe },
			"the other side":      func(e *end) wire.CallID { return (e.id ^ 1) + 2*9 },
			"the id 0":            func(*end) wire.CallID { return 0 },
		} {
			inRoles(t, "W81 "+name+" for "+which, shape{}, func(_ *testing.T, b *bench) {
				e := b.open()
				b.p.Send(frame(id(e)))
				b.p.WantClosed(wire.CodeProtocol, "W81: "+name+" for "+which)
			})
		}
		asCaller(t, "W81 "+name+" for a single request", shape{}, func(_ *testing.T, b *bench) {
			id, _ := b.p.Called()
			b.p.Send(frame(id))
			b.p.WantClosed(wire.CodeProtocol, "W81: "+name+" for a single request")
		})
		asCallee(t, "W81 "+name+" for a single request", shape{}, func(_ *testing.T, b *bench) {
			b.p.Send(b.p.RequestStart(9, 1, "echo", 10, []byte("x")), frame(b.p.ID(9, 1)))
			b.p.WantClosed(wire.CodeProtocol, "W81: "+name+" for a single request")
		})
		asCallee(t, "W81 "+name+" ahead of the whole OPEN", shape{}, func(_ *testing.T, b *bench) {
			b.p.Send(b.p.OpenStart(9, 1, "hold", 1, 10, []byte("x")), frame(b.p.ID(9, 1)))
			b.p.WantClosed(wire.CodeProtocol, "W81: "+name+" ahead of the whole OPEN")
		})
		inRoles(t, "W81 "+name+" for a call that is over", shape{}, func(_ *testing.T, b *bench) {
			e, other := b.open(), b.open()
			e.returns(nil)
			settle()
			if b.serving {
				b.p.Want(wire.TypeResponse, "the handler has returned")
			}
			for range 3 {
				b.p.Send(frame(e.id))
			}
			b.p.WantIdle("W81: " + name + " for a call that is over is skipped")
			b.p.Send(frame(e.id), other.data([]byte("y")))
			other.wantMessage("y", "W81: other streams go on")
		})
		inRoles(t, "W81 "+name+" for a call that was reset", shape{}, func(_ *testing.T, b *bench) {
			e := b.open()
			if b.serving {
				b.p.Send(lab.RawStatus(wire.TypeReset, e.id, wire.CodeCanceled))
			} else {
				e.Close()
				b.p.WantStatus(wire.TypeReset, wire.CodeCanceled, "the caller gives up")
			}
			for range 3 {
				b.p.Send(frame(e.id), frame(e.id))
			}
			b.p.WantIdle("W81: " + name + " for a call that was reset is skipped")
			e.wantBroken("nothing arrives after RESET")
		})
	}
}

// TestEndsOfStreams holds both ends to W80 and W82: which end is a clean one.
func TestEndsOfStreams(t *testing.T) {
	asCaller(t, "W80 W82", shape{}, func(t *testing.T, b *bench) {
		for name, c := range map[string]struct {
			frames func(e *end) [][]byte
			msgs   []string
			clean  bool
		}{
			"RESPONSE":            {func(e *end) [][]byte { return [][]byte{wire.AppendResponse(nil, e.id, nil)} }, nil, true},
			"DATA, RESPONSE":      {func(e *end) [][]byte { return [][]byte{e.data([]byte("a")), wire.AppendResponse(nil, e.id, nil)} }, []string{"a"}, true},
			"DATA, END, RESPONSE": {func(e *end) [][]byte { return [][]byte{e.data(nil), e.end(), wire.AppendResponse(nil, e.id, nil)} }, []string{""}, true},
			"END, ERROR":          {func(e *end) [][]byte { return [][]byte{e.end(), lab.RawStatus(wire.TypeError, e.id, 1000)} }, nil, false},
			"ERROR":               {func(e *end) [][]byte { return [][]byte{lab.RawStatus(wire.TypeError, e.id, 1000)} }, nil, false},
			"REFUSED":             {func(e *end) [][]byte { return [][]byte{lab.RawStatus(wire.TypeRefused, e.id, 11)} }, nil, false},
			"ERROR amid a message": {func(e *end) [][]byte {
				return [][]byte{e.data([]byte("a")), e.dataStart(9, []byte("b")), lab.RawStatus(wire.TypeError, e.id, 1000)}
			}, []string{"a"}, false},
			"REFUSED amid a message": {func(e *end) [][]byte {
				return [][]byte{e.dataStart(9, []byte("b")), lab.RawStatus(wire.TypeRefused, e.id, 11)}
			}, nil, false},
		} {
			e := b.openSubject(t.Context(), "hold")
			for _, frame := range c.frames(e) {
				b.p.Send(frame)
			}
			settle()
			for _, msg := range c.msgs {
				e.wantMessage(msg, name+": what had arrived is delivered")
			}
			// The end says how it came about, and what was not whole is not there.
			if name == "END, ERROR" {
				// END came first: the messages have ended cleanly, the stream has not.
				if e.Err() == nil {
					t.Errorf("%s: the stream has no error", name)
				}
				continue
			}
			if c.clean {
				e.wantEOF("W82: " + name + " is a clean end")
			} else {
				e.wantBroken("W82: " + name + " is no clean end")
			}
			if err := e.Err(); (err == nil) != c.clean {
				t.Errorf("W80: after %s the stream's error is %v", name, err)
			}
			b.p.WantIdle("W82: the caller sends nothing after the answer")
		}
	})
	asCallee(t, "W82 RESET", shape{}, func(t *testing.T, b *bench) {
		for name, frames := range map[string]func(e *end) [][]byte{
			"RESET":                func(*end) [][]byte { return nil },
			"RESET amid a message": func(e *end) [][]byte { return [][]byte{e.dataStart(9, []byte("x"))} },
			"RESET after END":      func(e *end) [][]byte { return [][]byte{e.end()} },
		} {
			e := b.open()
			for _, frame := range append(frames(e), lab.RawStatus(wire.TypeReset, e.id, wire.CodeCanceled)) {
				b.p.Send(frame)
			}
			settle()
			if e.ctx.Err() == nil {
				t.Errorf("W27: %s does not end the context", name)
			}
			e.wantBroken("W82: " + name + " is no clean end")
			if err := e.Send([]byte("late")); err == nil {
				t.Errorf("W27: after %s a message is sent", name)
			}
			e.returns(nil)
			b.p.WantIdle("W27: " + name + ": what was not written is dropped")
		}
	})
	for name, frame := range map[string]func(e *end) [][]byte{
		"with an empty payload": func(e *end) [][]byte { return [][]byte{wire.AppendResponse(nil, e.id, []byte{})} },
		"with a payload":        func(e *end) [][]byte { return [][]byte{wire.AppendResponse(nil, e.id, []byte("x"))} },
		"in parts":              func(e *end) [][]byte { return [][]byte{wire.AppendResponseStart(nil, e.id, 9, []byte("x"))} },
		"amid a message": func(e *end) [][]byte {
			return [][]byte{e.dataStart(9, []byte("x")), wire.AppendResponse(nil, e.id, nil)}
		},
	} {
		asCaller(t, "W80 W82 RESPONSE "+name, shape{}, func(_ *testing.T, b *bench) {
			e := b.open()
			for _, f := range frame(e) {
				b.p.Send(f)
			}
			b.p.WantClosed(wire.CodeProtocol, "W80, W82: RESPONSE "+name)
			e.wantBroken("W80, W82: RESPONSE " + name)
		})
	}
}
