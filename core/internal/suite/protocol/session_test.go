package protocol_test

import (
	"bytes"
	"context"
	"math"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/tinylib/msgp/msgp"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/internal/lab"
	"github.com/gridmux/gridmux/core/internal/wire"
)

// TestProtocolErrors breaks every rule that a session can see broken. Each time
// the session ends with code 33 (W4) and nothing else does: the subject serves
// others, and the same peer again as soon as it has reconnected
// (T1, T10, T11, T12).
func TestProtocolErrors(t *testing.T) {
	raw := func(f wire.Frame) func(p *lab.RawPeer) []byte {
		return func(*lab.RawPeer) []byte { return lab.RawFrame(f) }
	}
	body := make([]byte, 24)
	cases := map[string]func(p *lab.RawPeer) []byte{
		// W1, W10
		"W1 a byte":                func(*lab.RawPeer) []byte { return []byte{0} },
		"W1 a frame and a byte":    func(p *lab.RawPeer) []byte { return append(p.Request(0, 1, "echo", nil), 7) },
		"W10 a length too long":    func(p *lab.RawPeer) []byte { b := p.Request(0, 1, "echo", nil); b[0]++; return b },
		"W10 the longest length":   func(*lab.RawPeer) []byte { return append(bytes.Repeat([]byte{255}, 4), make([]byte, 12)...) },
		"W2 a batch over maxframe": func(p *lab.RawPeer) []byte { return make([]byte, p.Hello.MaxFrame+1) },
		// W12, W55
		"W12 CREDIT":    raw(wire.Frame{Type: 0x07}),
		"W12 CATALOGUE": raw(wire.Frame{Type: 0x08}),
		"W12 OPEN":      raw(wire.Frame{Type: 0x20, ID: 1 << 32}),
		"W12 type 0x7f": raw(wire.Frame{Type: 0x7f}),
		"W12 type 0x16": raw(wire.Frame{Type: 0x16}),
		"W55 INIT":      func(*lab.RawPeer) []byte { return lab.RawInit(1, 1) },
		"W55 HELLO":     func(p *lab.RawPeer) []byte { return p.HelloBytes() },
		"W55 REJECT":    func(*lab.RawPeer) []byte { return lab.RawStatus(wire.TypeReject, 0, 20) },
		// W13
		"W13 an undefined flag": func(p *lab.RawPeer) []byte { b := p.Request(0, 1, "echo", nil); b[5] |= 0x20; return b },
		"W13 HIGH with LOW":     func(p *lab.RawPeer) []byte { b := p.Request(0, 1, "echo", nil); b[5] |= 0x18; return b },
		"W13 NIL with payload":  func(p *lab.RawPeer) []byte { b := p.Request(0, 1, "echo", []byte{1}); b[5] = 1; return b },
		"W13 RESPONSE HIGH": func(p *lab.RawPeer) []byte {
			return lab.RawFrame(wire.Frame{Type: wire.TypeResponse, Flags: 8, ID: p.TheirID(0)})
		},
		"W13 FRAGMENT with NIL": func(p *lab.RawPeer) []byte {
			return lab.RawFrame(wire.Frame{Type: wire.TypeFragment, Flags: 1, ID: p.ID(0, 1), Body: body})
		},
		"W13 PING with a flag":    raw(wire.Frame{Type: wire.TypePing, Flags: 1, Body: make([]byte, 8)}),
		"W13 NIL with FRAGMENTED": func(p *lab.RawPeer) []byte { b := p.RequestStart(0, 1, "echo", 9, []byte{1}); b[5] |= 1; return b },
		"W31 ERROR: NIL, detail": func(p *lab.RawPeer) []byte {
			return lab.RawFrame(wire.Frame{Type: wire.TypeError, Flags: 1, ID: p.TheirID(0), Body: make([]byte, 7)})
		},
		"W31 RESET with a detail": func(p *lab.RawPeer) []byte {
			return lab.RawFrame(wire.Frame{Type: wire.TypeReset, ID: p.ID(0, 1), Body: make([]byte, 7)})
		},
		"W31 RESET without a status": func(p *lab.RawPeer) []byte { return lab.RawFrame(wire.Frame{Type: wire.TypeReset, ID: p.ID(0, 1)}) },
		"W31 GOAWAY not in UTF-8":    raw(wire.Frame{Type: wire.TypeGoaway, Body: []byte{0, 0, 0, 0, 1, 0, 0xff}}),
		// W15, W16
		"W15 a codec in PING": raw(wire.Frame{Type: wire.TypePing, Codec: 1, Body: make([]byte, 8)}),
		"W15 a dictionary in FRAGMENT": func(p *lab.RawPeer) []byte {
			return lab.RawFrame(wire.Frame{Type: wire.TypeFragment, Dict: 1, ID: p.ID(0, 1), Body: body})
		},
		"W15 a codec in RESPONSE, without a size": func(p *lab.RawPeer) []byte {
			return lab.RawFrame(wire.Frame{Type: wire.TypeResponse, Codec: 1, ID: p.TheirID(0)})
		},
		"W15 a dictionary in REQUEST": func(p *lab.RawPeer) []byte { b := p.Request(0, 1, "echo", nil); b[7] = 1; return b },
		"W15 a codec in REQUEST that does not make it smaller": func(p *lab.RawPeer) []byte {
			return lab.Packed(p.Request(0, 1, "echo", append(lab.PackedSize, 1, 2)), 1, 0, 2)
		},
		"W15 a dictionary in RESPONSE": func(p *lab.RawPeer) []byte {
			return lab.RawFrame(wire.Frame{Type: wire.TypeResponse, Dict: 1, ID: p.TheirID(0)})
		},
		"W15 a codec in a large RESPONSE that does not make it smaller": func(p *lab.RawPeer) []byte {
			return lab.Packed(wire.AppendResponseStart(nil, p.TheirID(0), 9, []byte{1}), 1, 0, 9)
		},
		"W94 CODECS of nothing": raw(wire.Frame{Type: wire.TypeCodecs, Body: []byte{0}}),
		"W94 more names than there can be": func(*lab.RawPeer) []byte {
			many := wire.AppendCodecs(nil, slices.Repeat([]string{"some"}, 9), nil)
			return append(many, many...)
		},
		"W94 more dictionaries than there can be": func(*lab.RawPeer) []byte {
			many := wire.AppendCodecs(nil, nil, make([]wire.Dict, 128))
			return append(many, many...)
		},
		"W16 PING with a call id":   raw(wire.Frame{Type: wire.TypePing, ID: 1, Body: make([]byte, 8)}),
		"W16 PONG with a call id":   raw(wire.Frame{Type: wire.TypePong, ID: 1, Body: make([]byte, 8)}),
		"W16 GOAWAY with a call id": func(*lab.RawPeer) []byte { return lab.RawStatus(wire.TypeGoaway, 1<<32, 30) },
		"W40 a short PING":          raw(wire.Frame{Type: wire.TypePing, Body: make([]byte, 7)}),
		"W40 a long PONG":           raw(wire.Frame{Type: wire.TypePong, Body: make([]byte, 9)}),
		"W20 a short REQUEST": func(p *lab.RawPeer) []byte {
			return lab.RawFrame(wire.Frame{Type: wire.TypeRequest, ID: p.ID(0, 1), Body: make([]byte, 15)})
		},
		"W22 a first part that is all":     func(p *lab.RawPeer) []byte { return p.RequestStart(0, 1, "echo", 1, []byte{1}) },
		"W22 a first part that is nothing": func(p *lab.RawPeer) []byte { return p.RequestStart(0, 1, "echo", 1, nil) },
		"W22 sizes that differ":            func(p *lab.RawPeer) []byte { b := p.RequestStart(0, 1, "echo", 9, []byte{1}); b[40]++; return b },
		"W22 metadata over its limit":      func(p *lab.RawPeer) []byte { return metadata(p, 4097) },
		"W23 an empty part":                func(p *lab.RawPeer) []byte { return p.Fragment(0, 1, nil) },
		"W23 a part too many": func(p *lab.RawPeer) []byte {
			return append(p.RequestStart(0, 1, "echo", 3, []byte{1}), p.Fragment(0, 1, make([]byte, 3))...)
		},
		// W17
		"W17 the side of the receiver": func(p *lab.RawPeer) []byte { return wire.AppendRequest(nil, p.TheirID(0), 0, 0, 0, nil) },
		"W17 the id 0":                 func(*lab.RawPeer) []byte { return wire.AppendRequest(nil, 0, lab.HandlerHash("echo"), 0, 0, nil) },
		"W17 generation 0":             func(p *lab.RawPeer) []byte { return p.Request(5, 0, "echo", nil) },
		"W17 a generation twice":       func(p *lab.RawPeer) []byte { p.Once(3, 9); return p.Request(3, 9, "echo", nil) },
		"W17 a lower generation":       func(p *lab.RawPeer) []byte { p.Once(3, math.MaxUint32); return p.Request(3, 1<<31, "echo", nil) },
		"W17 a generation refused once": func(p *lab.RawPeer) []byte {
			return append(p.Request(3, 9, "nobody", nil), p.Request(3, 9, "echo", nil)...)
		},
		"W17 a slot out of range": func(p *lab.RawPeer) []byte { return p.Request(p.Hello.MaxCalls, 1, "echo", nil) },
		"W17 the last slot":       func(p *lab.RawPeer) []byte { return p.Request(math.MaxUint32>>1, 1, "echo", nil) },
		// W19
		"W19 RESPONSE to the caller's own": func(p *lab.RawPeer) []byte { return wire.AppendResponse(nil, p.ID(0, 1), nil) },
		"W19 ERROR to the caller's own":    func(p *lab.RawPeer) []byte { return lab.RawStatus(wire.TypeError, p.ID(0, 1), 0) },
		"W19 REFUSED to the caller's own":  func(p *lab.RawPeer) []byte { return lab.RawStatus(wire.TypeRefused, p.ID(0, 1), 11) },
		"W19 RESET of the callee":          func(p *lab.RawPeer) []byte { return lab.RawStatus(wire.TypeReset, p.TheirID(0), 2) },
	}
	for _, dials := range []bool{false, true} {
		name := map[bool]string{false: "W4 by the dialler", true: "W4 by the acceptor"}[dials]
		setup := lab.RawSetup{Dials: dials, Config: func(cfg *core.Config) { cfg.MaxCalls = 100 }}
		lab.RawTest(t, name, setup, func(t *testing.T, r *lab.RawCluster) {
			for name, violation := range cases {
				p := r.Reconnect()
				p.Write(violation(p))
				p.Drain(wire.TypeRefused)
				if reason := p.WantClosed(wire.CodeProtocol, name); reason == "" {
					t.Errorf("%s: the session ended without a word", name)
				}
			}
			r.Alive("after all that peers can do wrong")
			r.Reconnect().WantLife(0, "W4: the peer is back")
		})
	}
}

// metadata returns a REQUEST of an echo with n bytes of metadata: one pair with a
// long value.
func metadata(p *lab.RawPeer, n int) []byte {
	const heads = 1 + 2 + 3 // of the map, of the key "k" and of the value
	block := msgp.AppendString(msgp.AppendString(msgp.AppendMapHeader(nil, 1), "k"), strings.Repeat("v", n-heads))
	return withMetadata(p, 1, block)
}

// withMetadata returns a REQUEST of an echo with any metadata.
func withMetadata(p *lab.RawPeer, generation uint32, block []byte) []byte {
	return wire.InsertMetadata(p.Request(0, generation, "echo", []byte("payload")), 0, block)
}

// TestMalformedMetadata sends calls with metadata that is no map of strings: each
// is refused for itself (W22).
func TestMalformedMetadata(t *testing.T) {
	lab.RawTest(t, "W22", lab.RawSetup{}, func(_ *testing.T, r *lab.RawCluster) {
		p := r.Connect()
		pair := func(b []byte, k, v string) []byte { return msgp.AppendString(msgp.AppendString(b, k), v) }
		generation := uint32(0)
		for name, block := range map[string][]byte{
			"nothing":                {},
			"no map":                 msgp.AppendString(nil, "x"),
			"a pair missing":         pair(msgp.AppendMapHeader(nil, 2), "k", "v"),
			"2^32 pairs":             {0xdf, 0xff, 0xff, 0xff, 0xff, 0xa1, 'k'},
			"a string of 4 GiB":      {0x81, 0xdb, 0xff, 0xff, 0xff, 0xff, 'k'},
			"a number as a key":      msgp.AppendString(msgp.AppendInt(msgp.AppendMapHeader(nil, 1), 7), "v"),
			"a number as a value":    msgp.AppendInt(msgp.AppendString(msgp.AppendMapHeader(nil, 1), "k"), 7),
			"a key twice":            pair(pair(msgp.AppendMapHeader(nil, 2), "k", "v"), "k", "v"),
			"bytes behind it":        append(pair(msgp.AppendMapHeader(nil, 1), "k", "v"), 0),
			"a map as a value, deep": append(msgp.AppendString(msgp.AppendMapHeader(nil, 1), "k"), bytes.Repeat([]byte{0x81, 0xa0}, 1000)...),
		} {
			generation++
			p.Send(withMetadata(p, generation, block))
			f := p.Want(wire.TypeRefused, "W22: metadata with "+name)
			st, err := wire.ParseStatus(&f)
			if err != nil || st.Code != wire.CodeMalformed {
				p.T.Errorf("W22: metadata with %s: %+v, %v, want code %d", name, st, err, wire.CodeMalformed)
			}
		}
		p.WantLife(1, "W22: the connection lives")
	})
}

// TestMarkAheadOfAHandlerThatLeaves has an inline handler take the reader with it
// by runtime.Goexit behind a MARK: that is answered all the same (W44).
func TestMarkAheadOfAHandlerThatLeaves(t *testing.T) {
	lab.Bubble(t, "W44", func(t *testing.T) {
		r := lab.NewRawCluster(t, lab.RawSetup{Inline: map[core.HandlerID]core.AppendFunc{
			"leaves": func(context.Context, []byte, []byte) ([]byte, error) { runtime.Goexit(); return nil, nil },
		}})
		p := r.Connect()
		p.Flow = true
		p.Send(wire.AppendMark(nil), p.Request(0, 1, "leaves", nil))
		// In either order.
		var got []string
		for f, ok := p.Next(); ok; f, ok = p.Next() {
			got = append(got, f.Type.String())
		}
		if slices.Sort(got); !slices.Equal(got, []string{"ACK", "ERROR"}) {
			t.Errorf("W44: the answers to MARK and to the call are %q, before the reader waits", got)
		}
	})
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
		"W26 an ERROR besides":  func(id wire.CallID) []byte { return append(begun(id), lab.RawStatus(wire.TypeError, id, 0)...) },
		"W26 a REFUSED besides": func(id wire.CallID) []byte { return append(begun(id), lab.RawStatus(wire.TypeRefused, id, 11)...) },
		"W15 a dictionary":      func(id wire.CallID) []byte { return lab.RawFrame(wire.Frame{Type: wire.TypeResponse, Dict: 1, ID: id}) },
	} {
		lab.RawTest(t, name, lab.RawSetup{}, func(t *testing.T, r *lab.RawCluster) {
			p := r.Connect()
			id, reply := p.Called()
			p.Send(answer(id))
			p.WantClosed(wire.CodeProtocol, name)
			lab.WantFailure(t, "the call in progress", lab.Wait(t, reply, "the call ends").Err, core.ErrDisconnected, core.OutcomeMaybeRun)
			r.Alive(name)
			r.Connect().WantLife(0, name)
		})
	}
}

// TestProtocolNoErrors holds that what is to be skipped is skipped: types of
// tomorrow (W12), PADDING (W14), what belongs to no call (W19), PONGs that
// nobody waits for (W40), metadata (W22), advice (W13) (T10, T12).
func TestProtocolNoErrors(t *testing.T) {
	lab.RawTest(t, "W12 W14 W19 W40", lab.RawSetup{}, func(_ *testing.T, r *lab.RawCluster) {
		p := r.Connect()
		odd := wire.Frame{Flags: 0xff, Codec: 3, Dict: 4, ID: math.MaxUint64, Body: []byte("anything")}
		frames := map[string][]byte{
			"no frame at all":    nil,
			"PONG":               wire.AppendPing(nil, wire.TypePong, 5),
			"a part of nothing":  p.Fragment(7, 7, []byte("abc")),
			"a part beyond":      p.Fragment(math.MaxUint32>>1, 7, []byte("abc")),
			"RESET of nothing":   lab.RawStatus(wire.TypeReset, p.ID(7, 7), 2),
			"RESET beyond":       lab.RawStatus(wire.TypeReset, p.ID(math.MaxUint32>>1, 7), 99999),
			"RESPONSE":           wire.AppendResponse(nil, p.TheirID(0), []byte("abc")),
			"RESPONSE beyond":    wire.AppendResponse(nil, p.TheirID(math.MaxUint32>>1), []byte("abc")),
			"a large RESPONSE":   wire.AppendResponseStart(nil, p.TheirID(0), 1000, []byte("abc")),
			"an endless one":     wire.AppendResponseStart(nil, p.TheirID(0), math.MaxUint64, []byte("abc")),
			"a part of answers":  wire.AppendFragment(nil, p.TheirID(0), []byte("abc")),
			"ERROR":              lab.RawStatus(wire.TypeError, p.TheirID(0), 1000),
			"REFUSED":            lab.RawStatus(wire.TypeRefused, p.TheirID(0), 11),
			"ERROR in slot 2^31": lab.RawStatus(wire.TypeError, p.TheirID(math.MaxUint32>>1), 1000),
		}
		for typ, name := range map[wire.Type]string{0x00: "PADDING", 0x80: "type 0x80", 0xff: "type 0xff", 0xa0: "type 0xa0"} {
			odd.Type = typ
			frames[name] = lab.RawFrame(odd)
		}
		slot := uint32(0)
		for name, b := range frames {
			slot++
			p.Send(b, b)
			p.WantIdle("W19: " + name + " is skipped")
			p.WantLife(slot, name)
		}
		p.Send(metadata(p, 4096))
		if f := p.Want(wire.TypeResponse, "W22: a key that is not known means nothing"); string(f.Body) != "payload" || f.Flags != 0 {
			p.T.Errorf("W22: a request with metadata was answered with %q, flags %#x; want the payload alone", f.Body, f.Flags)
		}
		for i, flag := range []wire.Flags{wire.FlagHigh, wire.FlagLow} {
			b := p.Request(1, 1<<31+uint32(i)+1, "echo", []byte("x"))
			b[5] |= byte(flag)
			p.Send(b)
			p.Want(wire.TypeResponse, "W13: a request with a priority")
		}
		// FRAGMENTs of a request that was refused, and of one that is complete.
		p.Send(p.RequestStart(9, 1<<31+1, "nobody", 5, []byte("a")), p.Fragment(9, 1<<31+1, make([]byte, 100)))
		p.WantStatus(wire.TypeRefused, wire.CodeUnknownHandler, "W19: a large request to nobody")
		p.Send(p.RequestStart(9, 1<<31+2, "echo", 5, []byte("ab")), p.Fragment(9, 1<<31+2, []byte("cde")), p.Fragment(9, 1<<31+2, []byte("f")))
		if f := p.Want(wire.TypeResponse, "W19: a part after the last one"); string(f.Body) != "abcde" {
			p.T.Errorf("W19, W23: an echo of a request in parts returned %q, want abcde", f.Body)
		}
		p.WantIdle("W26: one answer each")
	})
}

// TestProtocolErrorStopsTheBatch holds that the frame that broke a rule and what
// follows it have no effect (W4), and W61: the rest ends as a whole (T12).
func TestProtocolErrorStopsTheBatch(t *testing.T) {
	lab.Bubble(t, "W4 W61", func(t *testing.T) {
		ran := make(chan string, 10)
		g := lab.NewGate(t, 1)
		r := lab.NewRawCluster(t, lab.RawSetup{Handlers: map[core.HandlerID]core.HandlerFunc{
			"gate": g.HandleContext,
			"note": func(_ context.Context, req []byte) ([]byte, error) { ran <- string(req); return nil, nil },
		}})
		p := r.Connect()
		_, reply := p.Called()
		p.Send(p.Request(0, 1, "gate", nil))
		ctx := lab.Wait(t, g.Began, "a call before begins")
		p.Send(p.Request(1, 1, "echo", nil), []byte{1, 2, 3}, p.Request(2, 1, "note", []byte("after")))
		p.Drain(wire.TypeResponse)
		p.WantClosed(wire.CodeProtocol, "W4: a batch with rubbish in the middle")
		lab.WantFailure(t, "W61: the call in progress", lab.Wait(t, reply, "the call ends").Err, core.ErrDisconnected, core.OutcomeMaybeRun)
		if ctx.Err() == nil {
			t.Error("W61: the session is over and the context of its handler is not")
		}
		if len(ran) > 0 {
			t.Error("W4: a request behind rubbish in its batch has run")
		}
	})
}
