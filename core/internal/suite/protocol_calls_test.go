package suite_test

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
	"github.com/gridmux/gridmux/core/internal/wire"
)

// TestProtocolRefusals holds a callee to W32, W29 and W15: a request whose
// handler will not run is refused with the code that says why, at the first
// part, and what follows of it is skipped.
func TestProtocolRefusals(t *testing.T) {
	rawBubble(t, "W32 W29 W15", func(t *testing.T) {
		const limit = 1000
		g := newGate(t, 10)
		r := newRawCluster(t, rawSetup{
			config: func(cfg *core.Config) {
				cfg.MaxMessage, cfg.MaxReassembly, cfg.MaxHandlers = limit, limit+500, 2
			},
			handler: map[core.HandlerID]core.HandlerFunc{"gate": g.handle},
		})
		p := r.connect()
		coded := func(b []byte, codec, dictionary byte) []byte { b[6], b[7] = codec, dictionary; return b }
		generation := uint32(0)
		refused := func(code wire.Code, sentence string, first func(generation uint32) []byte) {
			t.Helper()
			generation++
			p.send(first(generation), p.part(0, generation, []byte("more")))
			p.wantStatus(wire.TypeRefused, code, sentence)
			p.send(p.part(0, generation, make([]byte, 5000)))
			p.wantIdle("W29: the parts of a refused request are skipped")
		}
		for _, test := range []struct {
			name    string
			code    wire.Code
			request func(generation uint32) []byte
		}{
			{"no such handler", 10, func(g uint32) []byte { return p.request(0, g, "nobody", nil) }},
			{"no such handler, large", 10, func(g uint32) []byte { return p.requestStart(0, g, "nobody", 500, []byte("x")) }},
			{"a message over maxmsg", 13, func(g uint32) []byte { return p.request(0, g, "echo", make([]byte, limit+1)) }},
			{"a message over maxmsg in parts", 13, func(g uint32) []byte { return p.requestStart(0, g, "echo", limit+1, []byte("x")) }},
			{"an endless message", 13, func(g uint32) []byte { return p.requestStart(0, g, "echo", 1<<64-1, []byte("x")) }},
			{"a codec", 14, func(g uint32) []byte { return coded(p.request(0, g, "echo", nil), 1, 0) }},
			{"a dictionary", 14, func(g uint32) []byte { return coded(p.request(0, g, "echo", nil), 0, 1) }},
			{"a codec, large", 14, func(g uint32) []byte { return coded(p.requestStart(0, g, "echo", 1<<50, []byte("x")), 255, 255) }},
		} {
			refused(test.code, test.name, test.request)
		}
		p.send(p.requestStart(5, 1, "echo", limit, []byte("x")))
		refused(wire.CodeOverloaded, "no memory to put it together", func(g uint32) []byte { return p.requestStart(0, g, "echo", 501, []byte("x")) })
		p.send(p.part(5, 1, make([]byte, limit-1)))
		if f := p.want(wire.TypeResponse, "the request that had the memory"); len(f.Body) != limit {
			t.Errorf("an echo of %d bytes returned %d", limit, len(f.Body))
		}
		p.send(p.request(1, 1, "gate", nil), p.request(2, 1, "gate", nil))
		wait(t, g.began, "a call up to the limit begins")
		wait(t, g.began, "a call up to the limit begins")
		refused(wire.CodeOverloaded, "no place for a handler", func(g uint32) []byte { return p.request(0, g, "echo", nil) })
		g.release()
		p.want(wire.TypeResponse, "the first that had a place")
		p.want(wire.TypeResponse, "the second that had a place")
		// Never kept until the reason has gone (W32).
		time.Sleep(time.Second)
		p.wantIdle("W32, W26: what was refused does not run later")
		p.wantLife(3, "W32: refusals cost nothing")
	})
}

// TestProtocolAnswers holds a callee to W26 and W33: one answer, and its code.
func TestProtocolAnswers(t *testing.T) {
	fails := func(err error) core.HandlerFunc {
		return func(context.Context, []byte) ([]byte, error) { return nil, err }
	}
	setup := rawSetup{handler: map[core.HandlerID]core.HandlerFunc{
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
	rawTest(t, "W26 W33", setup, func(t *testing.T, r *rawCluster) {
		p := r.connect(func(h *wire.Hello) { h.MaxMsg = 2000 })
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
			b := p.request(0, uint32(i)+1, test.handler, nil)
			wire.SetTimeout(b, 1_000_000)
			p.send(b)
			if test.handler == "deadline" {
				time.Sleep(time.Second - 1)
				p.wantIdle("W24: the handler has time left")
				time.Sleep(time.Nanosecond)
			}
			f := p.want(wire.TypeError, "W33: a handler that fails: "+test.handler)
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
		late := p.request(1, 1, "late", nil)
		wire.SetTimeout(late, 1)
		p.send(p.request(0, 1000, "nil", nil), late)
		if f := p.want(wire.TypeResponse, "a nil result"); f.Flags != wire.FlagNil {
			t.Errorf("W13: a nil result has flags %#x, want NIL", f.Flags)
		}
		time.Sleep(time.Second)
		p.want(wire.TypeResponse, "W26: a handler that ends late with a result")
		time.Sleep(time.Minute)
		p.drain(wire.TypePing)
	})
}

// TestProtocolHash holds REQUEST to W25 with the bytes of PROTOCOL.md, and the
// callee to the same.
func TestProtocolHash(t *testing.T) {
	rawTest(t, "W25", rawSetup{}, func(t *testing.T, r *rawCluster) {
		p := r.connect()
		for route, want := range map[string]string{"": "aee66c35f2a1d446", "disk1": "d912768729df28d6"} {
			answer := startCall(t.Context(), r.conn().Route(route), "storage.stat", []byte("hello"))
			f := p.want(wire.TypeRequest, "W25: a call on route "+route)
			if got := hex.EncodeToString(f.Body[:8]); got != want {
				t.Errorf("W25: the hash on route %q is %s, want %s", route, got, want)
			}
			p.send(wire.AppendResponse(nil, f.ID, []byte("world")))
			if got := wait(t, answer, "the call ends"); string(got.resp) != "world" || got.err != nil {
				t.Errorf("the call returned %q, %v; want world", got.resp, got.err)
			}
		}
		p.wantIdle("W26: nothing follows an answer")
	})
}

// TestProtocolReset holds a callee to W27.
func TestProtocolReset(t *testing.T) {
	rawBubble(t, "W27", func(t *testing.T) {
		g := newGate(t, 10)
		ran := make(chan int, 10)
		r := newRawCluster(t, rawSetup{
			handler: map[core.HandlerID]core.HandlerFunc{
				"gate": g.handleCtx,
				"note": func(_ context.Context, req []byte) ([]byte, error) { ran <- len(req); return nil, nil },
				"big":  func(context.Context, []byte) ([]byte, error) { return make([]byte, 1<<20), nil },
			},
			buffer: 1,
		})
		p := r.connect()
		p.send(p.request(0, 1, "gate", nil))
		ctx := wait(t, g.began, "a call begins")
		p.send(rawStatus(wire.TypeReset, p.id(0, 1), 12345))
		select {
		case <-ctx.Done():
		case <-time.After(time.Nanosecond):
			t.Error("W27: RESET has not ended the handler's context")
		}
		// After a RESET there is one answer or none.
		if f, ok := p.next(); ok && f.Type != wire.TypeError && f.Type != wire.TypeResponse {
			t.Errorf("W26: got %v after RESET", f.Type)
		}
		p.send(p.requestStart(1, 1, "note", 3, []byte("a")), p.part(1, 1, []byte("b")), rawStatus(wire.TypeReset, p.id(1, 1), 2), p.part(1, 1, []byte("c")))
		p.wantIdle("W27: a request that was given up half way")
		p.send(rawStatus(wire.TypeReset, p.id(1, 1), 2), p.request(1, 2, "note", make([]byte, 7)))
		p.want(wire.TypeResponse, "W18: the slot is used again")
		if n := <-ran; n != 7 || len(ran) > 0 {
			t.Errorf("W27: a handler ran with %d bytes, want the 7 of the second request alone", n)
		}

		// A large answer is given up after its first parts.
		p.tc.CloseWithError(0, "")
		p = r.dial()
		p.deafHandshake()
		p.send(p.request(0, 1, "big", nil))
		p.allow(2)
		p.want(wire.TypeResponse, "the first part of a large answer")
		p.want(wire.TypeFragment, "the second part of a large answer")
		p.wantIdle("the reader rests")
		p.send(rawStatus(wire.TypeReset, p.id(0, 1), 2))
		p.wantIdle("the RESET arrives")
		p.allow(unlimited)
		if n := p.drain(wire.TypeFragment); n > 8 {
			t.Errorf("W27: %d more parts of an answer arrived after RESET, want those that were being written at most", n)
		}
		p.wantLife(0, "W27: the slot is used again")
	})
}

// TestProtocolSlotTakenTwice uses a slot again without RESET and without having
// got an answer, which no caller may (W18). The old call counts as given up: it
// used to stay for ever, since nothing ended its context any more (T10).
func TestProtocolSlotTakenTwice(t *testing.T) {
	rawBubble(t, "W18", func(t *testing.T) {
		g := newGate(t, 10)
		r := newRawCluster(t, rawSetup{
			config:  func(cfg *core.Config) { cfg.MaxHandlers = 3 },
			handler: map[core.HandlerID]core.HandlerFunc{"gate": g.handleCtx},
		})
		p := r.connect()
		var contexts []context.Context
		for i := range uint32(20) {
			p.send(p.request(0, i+1, "gate", nil))
			contexts = append(contexts, wait(t, g.began, "a call begins"))
			p.wantIdle("W26: a call that was given up has no answer")
		}
		p.tc.CloseWithError(0, "")
		r.connect().wantLife(0, "W61: all places are free again")
		for i, ctx := range contexts {
			if ctx.Err() == nil {
				t.Errorf("W61: the session is over and the context of call %d is not", i)
			}
		}
	})
}
