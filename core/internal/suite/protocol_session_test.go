package suite_test

import (
	"bytes"
	"context"
	"math"
	"testing"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/internal/wire"
)

// TestProtocolErrors breaks every rule that a session can see broken. Each time
// the session ends with code 33 (W4) and nothing else does: the subject serves
// others, and the same peer again as soon as it has reconnected
// (T1, T10, T11, T12).
func TestProtocolErrors(t *testing.T) {
	raw := func(f wire.Frame) func(p *rawPeer) []byte { return func(*rawPeer) []byte { return rawFrame(f) } }
	body := make([]byte, 24)
	cases := map[string]func(p *rawPeer) []byte{
		// W1, W10
		"W1 a byte":                func(*rawPeer) []byte { return []byte{0} },
		"W1 a frame and a byte":    func(p *rawPeer) []byte { return append(p.request(0, 1, "echo", nil), 7) },
		"W10 a length too long":    func(p *rawPeer) []byte { b := p.request(0, 1, "echo", nil); b[0]++; return b },
		"W10 the longest length":   func(*rawPeer) []byte { return append(bytes.Repeat([]byte{255}, 4), make([]byte, 12)...) },
		"W2 a batch over maxframe": func(p *rawPeer) []byte { return make([]byte, p.hello.MaxFrame+1) },
		// W12, W55
		"W12 CREDIT":    raw(wire.Frame{Type: 0x07}),
		"W12 CATALOGUE": raw(wire.Frame{Type: 0x08}),
		"W12 OPEN":      raw(wire.Frame{Type: 0x20, ID: 1 << 32}),
		"W12 type 0x7f": raw(wire.Frame{Type: 0x7f}),
		"W12 type 0x16": raw(wire.Frame{Type: 0x16}),
		"W55 INIT":      func(*rawPeer) []byte { return rawInit(1, 1) },
		"W55 HELLO":     func(p *rawPeer) []byte { return p.helloBytes() },
		"W55 REJECT":    func(*rawPeer) []byte { return rawStatus(wire.TypeReject, 0, 20) },
		// W13
		"W13 an undefined flag": func(p *rawPeer) []byte { b := p.request(0, 1, "echo", nil); b[5] |= 0x20; return b },
		"W13 HIGH with LOW":     func(p *rawPeer) []byte { b := p.request(0, 1, "echo", nil); b[5] |= 0x18; return b },
		"W13 NIL with payload":  func(p *rawPeer) []byte { b := p.request(0, 1, "echo", []byte{1}); b[5] = 1; return b },
		"W13 RESPONSE HIGH": func(p *rawPeer) []byte {
			return rawFrame(wire.Frame{Type: wire.TypeResponse, Flags: 8, ID: p.theirs(0)})
		},
		"W13 FRAGMENT with NIL": func(p *rawPeer) []byte {
			return rawFrame(wire.Frame{Type: wire.TypeFragment, Flags: 1, ID: p.id(0, 1), Body: body})
		},
		"W13 PING with a flag":    raw(wire.Frame{Type: wire.TypePing, Flags: 1, Body: make([]byte, 8)}),
		"W13 NIL with FRAGMENTED": func(p *rawPeer) []byte { b := p.requestStart(0, 1, "echo", 9, []byte{1}); b[5] |= 1; return b },
		"W31 ERROR: NIL, detail": func(p *rawPeer) []byte {
			return rawFrame(wire.Frame{Type: wire.TypeError, Flags: 1, ID: p.theirs(0), Body: make([]byte, 7)})
		},
		"W31 RESET with a detail": func(p *rawPeer) []byte {
			return rawFrame(wire.Frame{Type: wire.TypeReset, ID: p.id(0, 1), Body: make([]byte, 7)})
		},
		"W31 RESET without a status": func(p *rawPeer) []byte { return rawFrame(wire.Frame{Type: wire.TypeReset, ID: p.id(0, 1)}) },
		"W31 GOAWAY not in UTF-8":    raw(wire.Frame{Type: wire.TypeGoaway, Body: []byte{0, 0, 0, 0, 1, 0, 0xff}}),
		// W15, W16
		"W15 a codec in PING": raw(wire.Frame{Type: wire.TypePing, Codec: 1, Body: make([]byte, 8)}),
		"W15 a dictionary in FRAGMENT": func(p *rawPeer) []byte {
			return rawFrame(wire.Frame{Type: wire.TypeFragment, Dict: 1, ID: p.id(0, 1), Body: body})
		},
		"W15 a codec in RESPONSE": func(p *rawPeer) []byte {
			return rawFrame(wire.Frame{Type: wire.TypeResponse, Codec: 1, ID: p.theirs(0)})
		},
		"W15 a dictionary in RESPONSE": func(p *rawPeer) []byte {
			return rawFrame(wire.Frame{Type: wire.TypeResponse, Dict: 1, ID: p.theirs(0)})
		},
		"W15 a codec in a large RESPONSE": func(p *rawPeer) []byte {
			b := wire.AppendResponseStart(nil, p.theirs(0), 9, []byte{1})
			b[6] = 1
			return b
		},
		"W16 PING with a call id":   raw(wire.Frame{Type: wire.TypePing, ID: 1, Body: make([]byte, 8)}),
		"W16 PONG with a call id":   raw(wire.Frame{Type: wire.TypePong, ID: 1, Body: make([]byte, 8)}),
		"W16 GOAWAY with a call id": func(*rawPeer) []byte { return rawStatus(wire.TypeGoaway, 1<<32, 30) },
		"W40 a short PING":          raw(wire.Frame{Type: wire.TypePing, Body: make([]byte, 7)}),
		"W40 a long PONG":           raw(wire.Frame{Type: wire.TypePong, Body: make([]byte, 9)}),
		"W20 a short REQUEST": func(p *rawPeer) []byte {
			return rawFrame(wire.Frame{Type: wire.TypeRequest, ID: p.id(0, 1), Body: make([]byte, 15)})
		},
		"W22 a first part that is all":     func(p *rawPeer) []byte { return p.requestStart(0, 1, "echo", 1, []byte{1}) },
		"W22 a first part that is nothing": func(p *rawPeer) []byte { return p.requestStart(0, 1, "echo", 1, nil) },
		"W22 sizes that differ":            func(p *rawPeer) []byte { b := p.requestStart(0, 1, "echo", 9, []byte{1}); b[40]++; return b },
		"W22 metadata over its limit":      func(p *rawPeer) []byte { return p.metadata(4097) },
		"W23 an empty part":                func(p *rawPeer) []byte { return p.part(0, 1, nil) },
		"W23 a part too many": func(p *rawPeer) []byte {
			return append(p.requestStart(0, 1, "echo", 3, []byte{1}), p.part(0, 1, make([]byte, 3))...)
		},
		// W17
		"W17 the side of the receiver": func(p *rawPeer) []byte { return wire.AppendRequest(nil, p.theirs(0), 0, 0, 0, nil) },
		"W17 the id 0":                 func(*rawPeer) []byte { return wire.AppendRequest(nil, 0, rawHash("echo"), 0, 0, nil) },
		"W17 generation 0":             func(p *rawPeer) []byte { return p.request(5, 0, "echo", nil) },
		"W17 a generation twice":       func(p *rawPeer) []byte { p.once(3, 9); return p.request(3, 9, "echo", nil) },
		"W17 a lower generation":       func(p *rawPeer) []byte { p.once(3, math.MaxUint32); return p.request(3, 1<<31, "echo", nil) },
		"W17 a generation refused once": func(p *rawPeer) []byte {
			return append(p.request(3, 9, "nobody", nil), p.request(3, 9, "echo", nil)...)
		},
		"W17 a slot out of range": func(p *rawPeer) []byte { return p.request(p.hello.MaxCalls, 1, "echo", nil) },
		"W17 the last slot":       func(p *rawPeer) []byte { return p.request(math.MaxUint32>>1, 1, "echo", nil) },
		// W19
		"W19 RESPONSE to the caller's own": func(p *rawPeer) []byte { return wire.AppendResponse(nil, p.id(0, 1), nil) },
		"W19 ERROR to the caller's own":    func(p *rawPeer) []byte { return rawStatus(wire.TypeError, p.id(0, 1), 0) },
		"W19 REFUSED to the caller's own":  func(p *rawPeer) []byte { return rawStatus(wire.TypeRefused, p.id(0, 1), 11) },
		"W19 RESET of the callee":          func(p *rawPeer) []byte { return rawStatus(wire.TypeReset, p.theirs(0), 2) },
	}
	for _, dials := range []bool{false, true} {
		name := map[bool]string{false: "W4 by the dialler", true: "W4 by the acceptor"}[dials]
		setup := rawSetup{dials: dials, config: func(cfg *core.Config) { cfg.MaxCalls = 100 }}
		rawTest(t, name, setup, func(t *testing.T, r *rawCluster) {
			for name, violation := range cases {
				p := r.again()
				p.write(violation(p))
				p.drain(wire.TypeRefused)
				if reason := p.wantClosed(wire.CodeProtocol, name); reason == "" {
					t.Errorf("%s: the session ended without a word", name)
				}
			}
			r.alive("after all that peers can do wrong")
			r.again().wantLife(0, "W4: the peer is back")
		})
	}
}

// again connects anew, whoever it is that dials.
func (r *rawCluster) again() *rawPeer {
	r.t.Helper()
	if r.listener == nil {
		return r.connect()
	}
	p := r.accept()
	p.handshake()
	return p
}

// drain takes the frames of a type that have arrived, and returns their number.
func (p *rawPeer) drain(typ wire.Type) (n int) {
	p.t.Helper()
	for f, ok := p.next(); ok; f, ok = p.next() {
		if f.Type != typ {
			p.t.Fatalf("got %v %v with %q, want nothing but %v", f.Type, f.ID, f.Body, typ)
		}
		n++
	}
	return n
}

// theirs names a call that the subject makes, or may make.
func (p *rawPeer) theirs(slot uint32) wire.CallID {
	return wire.MakeCallID(1, slot, 1-p.side)
}

// once makes a call that is answered.
func (p *rawPeer) once(slot, generation uint32) {
	p.t.Helper()
	p.send(p.request(slot, generation, "echo", nil))
	p.want(wire.TypeResponse, "a first call is in order")
}

// metadata returns a REQUEST of an echo with n bytes of metadata.
func (p *rawPeer) metadata(n int) []byte {
	b := []byte{byte(n), byte(n >> 8)}
	head := p.request(0, 1, "echo", []byte{})[wire.HeaderSize:]
	b = append(append(append(head, b...), make([]byte, n)...), "payload"...)
	return rawFrame(wire.Frame{Type: wire.TypeRequest, Flags: wire.FlagMetadata, ID: p.id(0, 1), Body: b})
}

// TestProtocolErrorsOfAnswers breaks the rules on answers, in the middle of a
// call, which then ends like every call of a session that is lost (T10).
func TestProtocolErrorsOfAnswers(t *testing.T) {
	begun := func(id wire.CallID) []byte { return wire.AppendResponseStart(nil, id, 9, []byte("abc")) }
	for name, answer := range map[string]func(id wire.CallID) []byte{
		"W23 a part of no answer": func(id wire.CallID) []byte { return wire.AppendFragment(nil, id, []byte{1}) },
		"W23 a part too many": func(id wire.CallID) []byte {
			return append(begun(id), wire.AppendFragment(nil, id, make([]byte, 7))...)
		},
		"W26 a second RESPONSE":       func(id wire.CallID) []byte { return append(begun(id), wire.AppendResponse(nil, id, nil)...) },
		"W26 a second large RESPONSE": func(id wire.CallID) []byte { return append(begun(id), begun(id)...) },
		"W26 a second RESPONSE that is too large": func(id wire.CallID) []byte {
			return append(begun(id), wire.AppendResponseStart(nil, id, 1<<40, []byte("abc"))...)
		},
		"W26 an ERROR besides":  func(id wire.CallID) []byte { return append(begun(id), rawStatus(wire.TypeError, id, 0)...) },
		"W26 a REFUSED besides": func(id wire.CallID) []byte { return append(begun(id), rawStatus(wire.TypeRefused, id, 11)...) },
		"W15 a codec":           func(id wire.CallID) []byte { return rawFrame(wire.Frame{Type: wire.TypeResponse, Codec: 1, ID: id}) },
		"W15 a dictionary":      func(id wire.CallID) []byte { return rawFrame(wire.Frame{Type: wire.TypeResponse, Dict: 1, ID: id}) },
	} {
		rawTest(t, name, rawSetup{}, func(t *testing.T, r *rawCluster) {
			p := r.connect()
			id, reply := p.called()
			p.send(answer(id))
			p.wantClosed(wire.CodeProtocol, name)
			wantFailure(t, "the call in progress", wait(t, reply, "the call ends").err, core.ErrDisconnected, core.OutcomeMaybeRun)
			r.alive(name)
			r.connect().wantLife(0, name)
		})
	}
}

// TestProtocolNoErrors holds that what is to be skipped is skipped: types of
// tomorrow (W12), PADDING (W14), what belongs to no call (W19), PONGs that
// nobody waits for (W40), metadata (W22), advice (W13) (T10, T12).
func TestProtocolNoErrors(t *testing.T) {
	rawTest(t, "W12 W14 W19 W40", rawSetup{}, func(_ *testing.T, r *rawCluster) {
		p := r.connect()
		odd := wire.Frame{Flags: 0xff, Codec: 3, Dict: 4, ID: math.MaxUint64, Body: []byte("anything")}
		frames := map[string][]byte{
			"no frame at all":    nil,
			"PONG":               wire.AppendPing(nil, wire.TypePong, 5),
			"a part of nothing":  p.part(7, 7, []byte("abc")),
			"a part beyond":      p.part(math.MaxUint32>>1, 7, []byte("abc")),
			"RESET of nothing":   rawStatus(wire.TypeReset, p.id(7, 7), 2),
			"RESET beyond":       rawStatus(wire.TypeReset, p.id(math.MaxUint32>>1, 7), 99999),
			"RESPONSE":           wire.AppendResponse(nil, p.theirs(0), []byte("abc")),
			"RESPONSE beyond":    wire.AppendResponse(nil, p.theirs(math.MaxUint32>>1), []byte("abc")),
			"a large RESPONSE":   wire.AppendResponseStart(nil, p.theirs(0), 1000, []byte("abc")),
			"an endless one":     wire.AppendResponseStart(nil, p.theirs(0), math.MaxUint64, []byte("abc")),
			"a part of answers":  wire.AppendFragment(nil, p.theirs(0), []byte("abc")),
			"ERROR":              rawStatus(wire.TypeError, p.theirs(0), 1000),
			"REFUSED":            rawStatus(wire.TypeRefused, p.theirs(0), 11),
			"ERROR in slot 2^31": rawStatus(wire.TypeError, p.theirs(math.MaxUint32>>1), 1000),
		}
		for typ, name := range map[wire.Type]string{0x00: "PADDING", 0x80: "type 0x80", 0xff: "type 0xff", 0xa0: "type 0xa0"} {
			odd.Type = typ
			frames[name] = rawFrame(odd)
		}
		slot := uint32(0)
		for name, b := range frames {
			slot++
			p.send(b, b)
			p.wantIdle("W19: " + name + " is skipped")
			p.wantLife(slot, name)
		}
		p.send(p.metadata(4096))
		if f := p.want(wire.TypeResponse, "W22: metadata is ignored"); string(f.Body) != "payload" || f.Flags != 0 {
			p.t.Errorf("W22: a request with metadata was answered with %q, flags %#x; want the payload alone", f.Body, f.Flags)
		}
		for i, flag := range []wire.Flags{wire.FlagHigh, wire.FlagLow} {
			b := p.request(1, 1<<31+uint32(i)+1, "echo", []byte("x"))
			b[5] |= byte(flag)
			p.send(b)
			p.want(wire.TypeResponse, "W13: a request with a priority")
		}
		// FRAGMENTs of a request that was refused, and of one that is complete.
		p.send(p.requestStart(9, 1<<31+1, "nobody", 5, []byte("a")), p.part(9, 1<<31+1, make([]byte, 100)))
		p.wantStatus(wire.TypeRefused, wire.CodeUnknownHandler, "W19: a large request to nobody")
		p.send(p.requestStart(9, 1<<31+2, "echo", 5, []byte("ab")), p.part(9, 1<<31+2, []byte("cde")), p.part(9, 1<<31+2, []byte("f")))
		if f := p.want(wire.TypeResponse, "W19: a part after the last one"); string(f.Body) != "abcde" {
			p.t.Errorf("W19, W23: an echo of a request in parts returned %q, want abcde", f.Body)
		}
		p.wantIdle("W26: one answer each")
	})
}

// TestProtocolErrorStopsTheBatch holds that the frame that broke a rule and what
// follows it have no effect (W4), and W61: the rest ends as a whole (T12).
func TestProtocolErrorStopsTheBatch(t *testing.T) {
	rawBubble(t, "W4 W61", func(t *testing.T) {
		ran := make(chan string, 10)
		g := newGate(t, 1)
		r := newRawCluster(t, rawSetup{handler: map[core.HandlerID]core.HandlerFunc{
			"gate": g.handleCtx,
			"note": func(_ context.Context, req []byte) ([]byte, error) { ran <- string(req); return nil, nil },
		}})
		p := r.connect()
		_, reply := p.called()
		p.send(p.request(0, 1, "gate", nil))
		ctx := wait(t, g.began, "a call before begins")
		p.send(p.request(1, 1, "echo", nil), []byte{1, 2, 3}, p.request(2, 1, "note", []byte("after")))
		p.drain(wire.TypeResponse)
		p.wantClosed(wire.CodeProtocol, "W4: a batch with rubbish in the middle")
		wantFailure(t, "W61: the call in progress", wait(t, reply, "the call ends").err, core.ErrDisconnected, core.OutcomeMaybeRun)
		if ctx.Err() == nil {
			t.Error("W61: the session is over and the context of its handler is not")
		}
		if len(ran) > 0 {
			t.Error("W4: a request behind rubbish in its batch has run")
		}
	})
}
