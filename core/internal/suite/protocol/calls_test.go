package protocol_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/internal/lab"
	"github.com/gridmux/gridmux/core/internal/wire"
)

// TestProtocolRefusals holds a callee to W32, W29 and W15: a request whose
// handler will not run is refused with the code that says why, at the first
// part, and what follows of it is skipped.
func TestProtocolRefusals(t *testing.T) {
	lab.Bubble(t, "W32 W29 W15", func(t *testing.T) {
		const limit = 1000
		g := lab.NewGate(t, 10)
		r := lab.NewRawCluster(t, lab.RawSetup{
			Config: func(cfg *core.Config) {
				cfg.MaxMessage, cfg.MaxReassembly, cfg.MaxHandlers = limit, limit+500, 2
			},
			Handlers: map[core.HandlerID]core.HandlerFunc{"gate": g.Handle},
		})
		p := r.Connect()
		generation := uint32(0)
		refused := func(code wire.Code, sentence string, first func(generation uint32) []byte) {
			t.Helper()
			generation++
			p.Send(first(generation), p.Fragment(0, generation, []byte("more")))
			p.WantStatus(wire.TypeRefused, code, sentence)
			p.Send(p.Fragment(0, generation, make([]byte, 5000)))
			p.WantIdle("W29: the parts of a refused request are skipped")
		}
		for _, test := range []struct {
			name    string
			code    wire.Code
			request func(generation uint32) []byte
		}{
			{"no such handler", 10, func(g uint32) []byte { return p.Request(0, g, "nobody", nil) }},
			{"no such handler, large", 10, func(g uint32) []byte { return p.RequestStart(0, g, "nobody", 500, []byte("x")) }},
			{"a message over maxmsg", 13, func(g uint32) []byte { return p.Request(0, g, "echo", make([]byte, limit+1)) }},
			{"a message over maxmsg in parts", 13, func(g uint32) []byte { return p.RequestStart(0, g, "echo", limit+1, []byte("x")) }},
			{"an endless message", 13, func(g uint32) []byte { return p.RequestStart(0, g, "echo", 1<<64-1, []byte("x")) }},
			{"a codec", 14, func(g uint32) []byte { return lab.Packed(p.Request(0, g, "echo", lab.PackedSize), 1, 0, 9) }},
			{"a codec and a dictionary", 14, func(g uint32) []byte { return lab.Packed(p.Request(0, g, "echo", lab.PackedSize), 1, 1, 9) }},
			{"a codec, large", 14, func(g uint32) []byte {
				return lab.Packed(p.RequestStart(0, g, "echo", 1<<50, []byte("x")), 255, 255, 1<<51)
			}},
		} {
			refused(test.code, test.name, test.request)
		}
		p.Send(p.RequestStart(5, 1, "echo", limit, []byte("x")))
		generation++
		p.Send(p.RequestStart(0, generation, "echo", 501, []byte("x")))
		p.WantIdle("W45: a request without memory waits")
		time.Sleep(5 * time.Second)
		p.WantStatus(wire.TypeRefused, wire.CodeOverloaded, "W29: it has waited too long for memory")
		p.Send(p.Fragment(0, generation, make([]byte, 500)))
		p.WantIdle("W29: the parts of a refused request are skipped")
		p.Send(p.Fragment(5, 1, make([]byte, limit-1)))
		if f := p.Want(wire.TypeResponse, "the request that had the memory"); len(f.Body) != limit {
			t.Errorf("an echo of %d bytes returned %d", limit, len(f.Body))
		}
		p.Send(p.Request(1, 1, "gate", nil), p.Request(2, 1, "gate", nil))
		lab.Wait(t, g.Began, "a call up to the limit begins")
		lab.Wait(t, g.Began, "a call up to the limit begins")
		refused(wire.CodeOverloaded, "no place for a handler", func(g uint32) []byte { return p.Request(0, g, "echo", nil) })
		g.Release()
		p.Want(wire.TypeResponse, "the first that had a place")
		p.Want(wire.TypeResponse, "the second that had a place")
		// Never kept until the reason has gone (W32).
		time.Sleep(time.Second)
		p.WantIdle("W32, W26: what was refused does not run later")
		p.WantLife(3, "W32: refusals cost nothing")
	})
}

// TestProtocolAnswers holds a callee to W26 and W33: one answer, and its code.
func TestProtocolAnswers(t *testing.T) {
	fails := func(err error) core.HandlerFunc {
		return func(context.Context, []byte) ([]byte, error) { return nil, err }
	}
	setup := lab.RawSetup{Handlers: map[core.HandlerID]core.HandlerFunc{
		"text":     fails(errors.New("plain")),
		"own":      fails(fmt.Errorf("wrapped: %w", &core.RemoteError{Code: 4711, Message: "own", Detail: []byte("detail")})),
		"empty":    fails(&core.RemoteError{Code: 1000, Detail: []byte{}}),
		"reserved": fails(&core.RemoteError{Code: 999, Message: "reserved"}),
		"context":  fails(context.Canceled),
		"panic":    func(context.Context, []byte) ([]byte, error) { panic("secret") },
		"deadline": func(ctx context.Context, _ []byte) ([]byte, error) { <-ctx.Done(); return nil, ctx.Err() },
		"late":     func(ctx context.Context, _ []byte) ([]byte, error) { <-ctx.Done(); return []byte("late"), nil },
		"nil":      fails(nil),
		"large":    func(context.Context, []byte) ([]byte, error) { return make([]byte, 2001), nil },
	}}
	lab.RawTest(t, "W26 W33", setup, func(t *testing.T, r *lab.RawCluster) {
		p := r.Connect(func(h *wire.Hello) { h.MaxMsg = 2000 })
		for i, test := range []struct {
			handler string
			code    wire.Code
			message string
			detail  []byte
		}{
			{"text", 0, "plain", nil},
			{"own", 4711, "wrapped: own", []byte("detail")},
			{"empty", 1000, "", []byte{}},
			{"reserved", 0, "reserved", nil},
			{"context", 0, "context canceled", nil},
			{"panic", 1, "panicked", nil},
			{"large", 4, "2001 bytes", nil},
			{"deadline", 3, "", nil},
		} {
			b := p.Request(0, uint32(i)+1, test.handler, nil)
			wire.SetTimeout(b, 1_000_000)
			p.Send(b)
			if test.handler == "deadline" {
				time.Sleep(time.Second - 1)
				p.WantIdle("W24: the handler has time left")
				time.Sleep(time.Nanosecond)
			}
			f := p.Want(wire.TypeError, "W33: a handler that fails: "+test.handler)
			st, err := wire.ParseStatus(&f)
			if err != nil || st.Code != test.code || !strings.Contains(st.Message, test.message) {
				t.Errorf("W33: handler %q: got code %d, %q, %v; want code %d, %q", test.handler, st.Code, st.Message, err, test.code, test.message)
			}
			if !bytes.Equal(st.Detail, test.detail) || (st.Detail == nil) != (test.detail == nil) {
				t.Errorf("W31: handler %q: got detail %#v, want %#v", test.handler, st.Detail, test.detail)
			}
			if strings.Contains(st.Message, "secret") {
				t.Errorf("W33: the peer learns %q of a panic", st.Message)
			}
		}
		late := p.Request(1, 1, "late", nil)
		wire.SetTimeout(late, 1)
		p.Send(p.Request(0, 1000, "nil", nil), late)
		if f := p.Want(wire.TypeResponse, "a nil result"); f.Flags != wire.FlagNil {
			t.Errorf("W13: a nil result has flags %#x, want NIL", f.Flags)
		}
		time.Sleep(time.Second)
		p.Want(wire.TypeResponse, "W26: a handler that ends late with a result")
		time.Sleep(time.Minute)
		p.Drain(wire.TypePing)
	})
}

// TestProtocolHash holds REQUEST to W25 with the bytes of PROTOCOL.md, and the
// callee to the same.
func TestProtocolHash(t *testing.T) {
	lab.RawTest(t, "W25", lab.RawSetup{}, func(t *testing.T, r *lab.RawCluster) {
		p := r.Connect()
		for route, want := range map[string]string{"": "aee66c35f2a1d446", "disk1": "d912768729df28d6"} {
			answer := lab.GoCall(t.Context(), r.Conn().Route(route), "storage.stat", []byte("hello"))
			f := p.Want(wire.TypeRequest, "W25: a call on route "+route)
			if got := hex.EncodeToString(f.Body[:8]); got != want {
				t.Errorf("W25: the hash on route %q is %s, want %s", route, got, want)
			}
			p.Send(wire.AppendResponse(nil, f.ID, []byte("world")))
			if got := lab.Wait(t, answer, "the call ends"); string(got.Resp) != "world" || got.Err != nil {
				t.Errorf("the call returned %q, %v; want world", got.Resp, got.Err)
			}
		}
		p.WantIdle("W26: nothing follows an answer")
	})
}

// TestProtocolTimeoutOfParts holds a callee to W24 for what comes in parts: the time-out
// counts from the first. Where the last one comes too late, or where there is no memory
// until then, no handler begins.
func TestProtocolTimeoutOfParts(t *testing.T) {
	const limit = 10_000
	timeout := wire.Micros(time.Second)
	for name, start := range map[string]func(p *lab.RawPeer) []byte{
		"REQUEST": func(p *lab.RawPeer) []byte {
			return wire.AppendRequestStart(nil, p.ID(1, 1), lab.HandlerHash("ran"), timeout, 0, limit, []byte("x"))
		},
		"OPEN": func(p *lab.RawPeer) []byte {
			return wire.AppendOpenStart(nil, p.ID(1, 1), lab.HandlerHash("ran.stream"), timeout, 8, 0, limit, []byte("x"))
		},
	} {
		ran := false
		setup := lab.RawSetup{
			Config: func(cfg *core.Config) { cfg.MaxMessage, cfg.MaxReassembly = limit, limit },
			Handlers: map[core.HandlerID]core.HandlerFunc{
				"ran": func(context.Context, []byte) ([]byte, error) { ran = true; return nil, nil },
			},
			Register: func(m *core.Manager) error {
				return m.HandleStreamFunc("ran.stream", func(context.Context, []byte, *core.RawStream) error { ran = true; return nil })
			},
		}
		rest := make([]byte, limit-1)
		tooLate := func(p *lab.RawPeer, when string) {
			p.T.Helper()
			p.WantStatus(wire.TypeError, wire.CodeDeadline, "W24: "+when)
			p.WantLife(1, "W24: "+when)
			if ran {
				p.T.Errorf("W24: %s the handler ran", when)
			}
		}
		lab.RawTest(t, "W24 "+name+" whole too late", setup, func(_ *testing.T, r *lab.RawCluster) {
			p := r.Connect()
			p.Send(start(p))
			time.Sleep(time.Second)
			p.Send(p.Fragment(1, 1, rest))
			tooLate(p, "a message that is whole when its time is over")
		})
		lab.RawTest(t, "W24 "+name+" memory too late", setup, func(_ *testing.T, r *lab.RawCluster) {
			p := r.Connect()
			p.Send(p.RequestStart(0, 1, "echo", limit, []byte("x")), start(p), p.Fragment(1, 1, rest))
			time.Sleep(time.Second)
			p.Send(lab.RawStatus(wire.TypeReset, p.ID(0, 1), wire.CodeCanceled))
			tooLate(p, "a message for which there is memory when its time is over")
		})
	}
}

// TestProtocolReset holds a callee to W27.
func TestProtocolReset(t *testing.T) {
	lab.Bubble(t, "W27", func(t *testing.T) {
		g := lab.NewGate(t, 10)
		ran := make(chan int, 10)
		r := lab.NewRawCluster(t, lab.RawSetup{
			Handlers: map[core.HandlerID]core.HandlerFunc{
				"gate": g.HandleContext,
				"note": func(_ context.Context, req []byte) ([]byte, error) { ran <- len(req); return nil, nil },
				"big":  func(context.Context, []byte) ([]byte, error) { return make([]byte, 1<<20), nil },
			},
			Buffer: 1,
		})
		p := r.Connect()
		p.Send(p.Request(0, 1, "gate", nil))
		ctx := lab.Wait(t, g.Began, "a call begins")
		p.Send(lab.RawStatus(wire.TypeReset, p.ID(0, 1), 12345))
		select {
		case <-ctx.Done():
		case <-time.After(time.Nanosecond):
			t.Error("W27: RESET has not ended the handler's context")
		}
		// After a RESET there is one answer or none.
		if f, ok := p.Next(); ok && f.Type != wire.TypeError && f.Type != wire.TypeResponse {
			t.Errorf("W26: got %v after RESET", f.Type)
		}
		p.Send(p.RequestStart(1, 1, "note", 3, []byte("a")), p.Fragment(1, 1, []byte("b")), lab.RawStatus(wire.TypeReset, p.ID(1, 1), 2), p.Fragment(1, 1, []byte("c")))
		p.WantIdle("W27: a request that was given up half way")
		p.Send(lab.RawStatus(wire.TypeReset, p.ID(1, 1), 2), p.Request(1, 2, "note", make([]byte, 7)))
		p.Want(wire.TypeResponse, "W18: the slot is used again")
		if n := <-ran; n != 7 || len(ran) > 0 {
			t.Errorf("W27: a handler ran with %d bytes, want the 7 of the second request alone", n)
		}

		// A large answer is given up after its first parts.
		p.Conn.CloseWithError(0, "")
		p = r.Dial()
		p.DeafHandshake()
		p.Send(p.Request(0, 1, "big", nil))
		p.Allow(2)
		p.Want(wire.TypeResponse, "the first part of a large answer")
		p.Want(wire.TypeFragment, "the second part of a large answer")
		p.WantIdle("the reader rests")
		p.Send(lab.RawStatus(wire.TypeReset, p.ID(0, 1), 2))
		p.WantIdle("the RESET arrives")
		p.Allow(lab.Unlimited)
		if n := p.Drain(wire.TypeFragment); n > 8 {
			t.Errorf("W27: %d more parts of an answer arrived after RESET, want those that were being written at most", n)
		}
		p.WantLife(0, "W27: the slot is used again")
	})
}

// TestProtocolSlotTakenTwice uses a slot again without RESET and without having
// got an answer, which no caller may (W18). The old call counts as given up: it
// used to stay for ever, since nothing ended its context any more (T10).
func TestProtocolSlotTakenTwice(t *testing.T) {
	lab.Bubble(t, "W18", func(t *testing.T) {
		g := lab.NewGate(t, 10)
		r := lab.NewRawCluster(t, lab.RawSetup{
			Config:   func(cfg *core.Config) { cfg.MaxHandlers = 3 },
			Handlers: map[core.HandlerID]core.HandlerFunc{"gate": g.HandleContext},
		})
		p := r.Connect()
		var contexts []context.Context
		for i := range uint32(20) {
			p.Send(p.Request(0, i+1, "gate", nil))
			contexts = append(contexts, lab.Wait(t, g.Began, "a call begins"))
			// As after a RESET, the answer may have been on its way.
			if n := p.Drain(wire.TypeError); n > 1 {
				t.Errorf("W26: %d answers to calls that were given up, want one for each at most", n)
			}
		}
		p.Conn.CloseWithError(0, "")
		r.Connect().WantLife(0, "W61: all places are free again")
		for i, ctx := range contexts {
			if ctx.Err() == nil {
				t.Errorf("W61: the session is over and the context of call %d is not", i)
			}
		}
	})
}
