package streamprotocol_test

import (
	"encoding/binary"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/internal/lab"
	"github.com/gridmux/gridmux/core/internal/wire"
)

// TestOpenIsRefused holds a callee to W15, W29 and W32: an OPEN whose handler
// will not run is answered with REFUSED at once, with the code that says why, and
// what the caller has sent of it meanwhile is skipped.
func TestOpenIsRefused(t *testing.T) {
	limits := func(cfg *core.Config) {
		cfg.MaxMessage, cfg.MaxReassembly, cfg.MaxHandlers = 50_000, 50_000, 3
		cfg.MaxStreamBuffers = 2 * window
	}
	asCallee(t, "W15 W29 W32", shape{config: limits}, func(t *testing.T, b *bench) {
		p := b.p
		generation := uint32(0)
		refused := func(code wire.Code, sentence string, open func(generation uint32) []byte) {
			t.Helper()
			generation++
			e := &end{b: b, id: p.ID(50, generation)}
			p.Send(open(generation))
			p.WantStatus(wire.TypeRefused, code, sentence)
			p.Send(e.fragment([]byte("more")), e.data([]byte("x")), e.end(), e.credit(1<<31, 1<<31), wire.AppendGrant(nil, e.id))
			p.WantIdle("W19, W81: what crosses a REFUSED is skipped")
		}
		for _, test := range []struct {
			sentence string
			code     wire.Code
			open     func(g uint32) []byte
		}{
			{"W15: a codec", 14, func(g uint32) []byte { return lab.Packed(p.Open(50, g, "hold", 1, lab.PackedSize), 1, 0, 9) }},
			{"W15: a dictionary", 14, func(g uint32) []byte { return lab.Packed(p.Open(50, g, "hold", 1, lab.PackedSize), 1, 1, 9) }},
			{"W15: a codec, in parts", 14, func(g uint32) []byte {
				return lab.Packed(p.OpenStart(50, g, "hold", 1, 9, []byte("x")), 1, 0, 10)
			}},
			{"W32: no such handler", 10, func(g uint32) []byte { return p.Open(50, g, "nobody", 1, nil) }},
			{"W32: OPEN to a handler of single requests", 10, func(g uint32) []byte { return p.Open(50, g, "echo", 1, nil) }},
			{"W32: OPEN to the catalogue", 10, func(g uint32) []byte { return p.Open(50, g, "gridmux.catalogue", 1, nil) }},
			{"W32: OPEN to a handler of single requests, in parts", 10, func(g uint32) []byte { return p.OpenStart(50, g, "echo", 1, 9, []byte("x")) }},
			{"W32: REQUEST to a handler of streams", 10, func(g uint32) []byte { return p.Request(50, g, "hold", nil) }},
			{"W32: REQUEST to a handler of streams, in parts", 10, func(g uint32) []byte { return p.RequestStart(50, g, "hold", 9, []byte("x")) }},
			{"W29: an initial payload over maxmsg", 13, func(g uint32) []byte { return p.Open(50, g, "hold", 1, make([]byte, 50_001)) }},
			{"W29: an initial payload over maxmsg, in parts", 13, func(g uint32) []byte { return p.OpenStart(50, g, "hold", 1, 50_001, []byte("x")) }},
			{"W29: an endless initial payload", 13, func(g uint32) []byte { return p.OpenStart(50, g, "hold", 1, 1<<64-1, []byte("x")) }},
		} {
			refused(test.code, test.sentence, test.open)
		}
		first, second := b.open(), b.open()
		refused(11, "W32: no memory for another window", func(g uint32) []byte { return p.Open(50, g, "hold", 1, nil) })
		third := b.openRaw("wide")
		refused(11, "W32: no place for another handler", func(g uint32) []byte { return p.Open(50, g, "wide", 1, nil) })
		for _, e := range []*end{first, second, third} {
			e.result <- nil
			p.Want(wire.TypeResponse, "W80: the handler returns")
		}
		b.open().result <- errors.New("as asked")
		p.WantStatus(wire.TypeError, 0, "W33: what is refused costs nothing")

		p.Send(p.OpenStart(60, 1, "hold", 1, 50_000, []byte("x")))
		generation++
		p.Send(p.OpenStart(50, generation, "hold", 1, 2, []byte("x")))
		p.WantIdle("W45: it waits for memory")
		time.Sleep(5 * time.Second)
		p.WantStatus(wire.TypeRefused, 11, "W29: it has waited too long")
		p.Send(p.Fragment(50, generation, []byte("y")))
		p.WantIdle("W29: the parts that follow are skipped")
		if len(b.began) != 0 {
			t.Error("W32: the handler of a refused stream runs")
		}
	})
}

// TestIDs holds a callee to W17 and W18: REQUEST and OPEN share slots and
// generations, none is used twice, and slots, sides and generations have bounds
// (T10, F26).
func TestIDs(t *testing.T) {
	const slots = 20
	limits := func(cfg *core.Config) { cfg.MaxCalls = slots }
	for name, frames := range map[string]func(p *lab.RawPeer) [][]byte{
		"OPEN twice": func(p *lab.RawPeer) [][]byte {
			return [][]byte{p.Open(3, 5, "hold", 1, nil), p.Open(3, 5, "hold", 1, nil)}
		},
		"OPEN with a generation that was left out": func(p *lab.RawPeer) [][]byte {
			return [][]byte{p.Open(3, 5, "hold", 1, nil), p.Open(3, 4, "hold", 1, nil)}
		},
		"OPEN after REQUEST": func(p *lab.RawPeer) [][]byte {
			return [][]byte{p.Request(3, 5, "echo", nil), p.Open(3, 5, "hold", 1, nil)}
		},
		"REQUEST after OPEN": func(p *lab.RawPeer) [][]byte {
			return [][]byte{p.Open(3, 5, "hold", 1, nil), p.Request(3, 5, "echo", nil)}
		},
		"REQUEST after a refusal": func(p *lab.RawPeer) [][]byte {
			return [][]byte{p.Open(3, 5, "nobody", 1, nil), p.Request(3, 5, "echo", nil)}
		},
		"OPEN amid OPEN": func(p *lab.RawPeer) [][]byte {
			return [][]byte{p.OpenStart(3, 5, "hold", 1, 9, []byte("x")), p.Open(3, 5, "hold", 1, nil)}
		},
		"OPEN with generation 0":  func(p *lab.RawPeer) [][]byte { return [][]byte{p.Open(3, 0, "hold", 1, nil)} },
		"OPEN beyond the slots":   func(p *lab.RawPeer) [][]byte { return [][]byte{p.Open(slots, 1, "hold", 1, nil)} },
		"OPEN in the last of all": func(p *lab.RawPeer) [][]byte { return [][]byte{p.Open(1<<31-1, 1, "hold", 1, nil)} },
		"OPEN of the other side":  func(p *lab.RawPeer) [][]byte { f := p.Open(3, 1, "hold", 1, nil); f[8] ^= 1; return [][]byte{f} },
		"OPEN with a capacity 0":  func(p *lab.RawPeer) [][]byte { return [][]byte{p.Open(3, 1, "hold", 0, nil)} },
		"OPEN with 2^20+1":        func(p *lab.RawPeer) [][]byte { return [][]byte{p.Open(3, 1, "hold", 1<<20+1, nil)} },
		"OPEN without a capacity": func(p *lab.RawPeer) [][]byte {
			return [][]byte{lab.RawFrame(wire.Frame{Type: wire.TypeOpen, ID: p.ID(3, 1), Body: make([]byte, 19)})}
		},
		"OPEN with two priorities": func(p *lab.RawPeer) [][]byte { f := p.Open(3, 1, "hold", 1, nil); f[5] |= 0x18; return [][]byte{f} },
		"OPEN, nil with a payload": func(p *lab.RawPeer) [][]byte {
			f := p.Open(3, 1, "hold", 1, []byte("x"))
			f[5] |= 1
			return [][]byte{f}
		},
		"OPEN to nobody, too wide": func(p *lab.RawPeer) [][]byte { return [][]byte{p.Open(3, 1, "nobody", 1<<31, nil)} },
	} {
		asCallee(t, "W17 W80 "+name, shape{config: limits}, func(_ *testing.T, b *bench) {
			all := frames(b.p)
			for _, f := range all[:len(all)-1] {
				b.p.Send(f)
			}
			for f, ok := b.p.Next(); ok; f, ok = b.p.Next() {
				if f.Type != wire.TypeResponse && f.Type != wire.TypeRefused {
					b.t.Fatalf("W26: got %v", f.Type)
				}
			}
			b.p.Send(all[len(all)-1])
			b.p.WantClosed(wire.CodeProtocol, "W17, W80: "+name)
			if len(b.began) > 1 {
				b.t.Errorf("%s: %d handlers have begun for one id", name, len(b.began))
			}
			b.drainBegan()
		})
	}
	asCallee(t, "W18 W80 what is allowed", shape{config: limits}, func(t *testing.T, b *bench) {
		b.p.Send(b.p.Open(slots-1, 7, "hold", 1<<20, nil))
		e := b.taken(b.p.ID(slots-1, 7))
		// Whoever takes the slot again without RESET has given the call up.
		b.p.Send(b.p.Open(slots-1, 1<<32-1, "done", 1, nil))
		f := b.p.Want(wire.TypeResponse, "W18: the last generation there is")
		if f.ID != b.p.ID(slots-1, 1<<32-1) {
			t.Errorf("W26: RESPONSE is for %v", f.ID)
		}
		if e.ctx.Err() == nil {
			t.Error("W18: the call before goes on")
		}
		e.result <- nil
		b.p.WantIdle("W18: the call before is not answered any more")
	})
}

// drainBegan lets all handlers go that have begun.
func (b *bench) drainBegan() {
	for len(b.began) > 0 {
		(<-b.began).result <- nil
	}
}

// TestSlotsOfStreams holds a caller to W17 and W18: streams and requests together
// keep to maxcalls slots, no id is used twice, and RESET goes ahead of the next
// OPEN of its slot (T10).
func TestSlotsOfStreams(t *testing.T) {
	asCaller(t, "W17 W18", shape{}, func(t *testing.T, b *bench) {
		b.p.Conn.CloseWithError(0, "")
		settle()
		b.p = b.Connect(func(h *wire.Hello) { h.MaxCalls, h.Catalogue = 3, b.p.Said.Catalogue })
		seen := make(map[wire.CallID]bool)
		open := func() (*end, error) {
			st, err := b.Conn().OpenStream(t.Context(), "hold", nil)
			if err != nil {
				return nil, err
			}
			f := b.p.Want(wire.TypeOpen, "W17: a stream is opened")
			if f.ID.Slot() >= 3 || f.ID.Side() == b.p.Side || f.ID.Generation() == 0 || seen[f.ID] {
				t.Fatalf("W17, W18: the id %v is used, after %v", f.ID, seen)
			}
			seen[f.ID] = true
			return &end{st, nil, b, f.ID}, nil
		}
		for range 20 {
			first, errA := open()
			second, errB := open()
			id, answer := b.p.Called()
			if errA != nil || errB != nil || id.Slot() >= 3 || seen[id] {
				t.Fatalf("W17: %v, %v, and a call with the id %v", errA, errB, id)
			}
			seen[id] = true
			_, err := open()
			lab.WantFailure(t, "W17: a stream beyond the slots", err, core.ErrOverloaded, core.OutcomeNotSent)
			b.p.WantIdle("W17: a stream beyond the slots")
			b.p.Send(wire.AppendResponse(nil, id, nil))
			lab.Wait(t, answer, "the call is answered")
			first.returns(nil)
			second.Close()
			if f := b.p.Want(wire.TypeReset, "W18: RESET"); f.ID != second.id {
				t.Errorf("RESET is for %v", f.ID)
			}
		}
	})
}

// TestOpenFields holds a caller to W80, W85 and W54: what OPEN says follows the
// catalogue of the callee, and to whom the catalogue gives no room no message is
// sent.
func TestOpenFields(t *testing.T) {
	asCaller(t, "W80 W85 W54", shape{in: 9, out: 7}, func(t *testing.T, b *bench) {
		for handler, want := range map[core.HandlerID]struct{ capacity, send uint32 }{
			"hold": {9, 7}, "none": {1, 0}, "single": {1, 0}, "future": {1, 0}, "unknown": {1, 0},
		} {
			st, err := b.Conn().OpenStream(t.Context(), handler, []byte("initial"), core.WithTimeout(2*time.Second), core.WithPriority(core.PriorityHigh))
			if err != nil {
				t.Fatal(err)
			}
			f := b.p.Want(wire.TypeOpen, "a stream is opened")
			o, err := wire.ParseOpen(&f)
			if err != nil || o.Handler != lab.HandlerHash(string(handler)) || o.Timeout != 2_000_000 || string(o.Payload) != "initial" || f.Flags != wire.FlagHigh {
				t.Errorf("W80: OPEN to %s says %+v with flags %#x, %v", handler, o, f.Flags, err)
			}
			if o.Capacity != want.capacity {
				t.Errorf("W85: OPEN to %s has the capacity %d, want %d", handler, o.Capacity, want.capacity)
			}
			e := &end{st, nil, b, f.ID}
			var sent <-chan error
			if want.send == 0 {
				// To one that is in no catalogue it waits for the refusal that comes.
				sent = lab.Go(func() error { return e.Send([]byte("x")) })
				b.p.WantIdle("W85: nothing is sent to " + string(handler))
			}
			if err := e.CloseSend(); err != nil {
				t.Error(err)
			}
			if want.send == 0 && lab.Wait(t, sent, "Send ends with CloseSend") == nil {
				t.Errorf("W85: a message is sent to %s", handler)
			}
			b.p.Want(wire.TypeEnd, "W85: END may be sent")
			e.returns(nil)
			e.wantEOF("the stream ends")
		}
	})
	asCaller(t, "W85 without a digest", shape{}, func(t *testing.T, b *bench) {
		b.p.Conn.CloseWithError(0, "")
		settle()
		b.p = b.Connect()
		b.p.WantIdle("W54: a peer without a digest is not asked")
		opened := lab.Go(func() error {
			st, err := b.Conn().OpenStream(t.Context(), "hold", nil)
			if err == nil {
				err = st.Send([]byte("x"))
			}
			return err
		})
		f := b.p.Want(wire.TypeRequest, "W85: the catalogue comes before the stream")
		b.p.WantIdle("W85: until it is there nothing is sent")
		b.p.Send(wire.AppendResponse(nil, f.ID, lab.RawCatalogue(lab.RawEntry{ID: "hold", Kind: 2, In: 1, Out: 1})))
		if err := lab.Wait(t, opened, "the stream is opened"); err != nil {
			t.Error(err)
		}
		open := b.p.Want(wire.TypeOpen, "W85: now it is opened")
		if f := b.p.Want(wire.TypeData, "W85: and a message is sent"); f.ID != open.ID {
			t.Errorf("DATA is for %v", f.ID)
		}
	})
	asCaller(t, "W85 another catalogue than announced", shape{}, func(t *testing.T, b *bench) {
		b.p.Conn.CloseWithError(0, "")
		settle()
		b.p = b.Connect(func(h *wire.Hello) { h.Catalogue[0] = 1 })
		another := lab.RawCatalogue(lab.RawEntry{ID: "hold", Kind: 2, In: 1, Out: 1})
		b.p.TakeQuestion(another)
		opened := lab.Go(func() error {
			_, err := b.Conn().OpenStream(t.Context(), "hold", nil)
			return err
		})
		b.p.TakeQuestion(another)
		if err := lab.Wait(t, opened, "it fails"); core.OutcomeOf(err) != core.OutcomeNotSent {
			t.Errorf("W85: a stream to a peer whose catalogue is not the announced one returned %v, want that it was not sent", err)
		}
		b.p.WantIdle("W85: nothing is sent")
	})
}

// TestCatalogueEntries holds the catalogue of a node to W54, and its HELLO to the
// digest of it.
func TestCatalogueEntries(t *testing.T) {
	asCallee(t, "W54", shape{in: 9, out: 7}, func(t *testing.T, b *bench) {
		b.p.Send(b.p.Request(7, 1, "gridmux.catalogue", []byte("whatever it is")))
		f := b.p.Want(wire.TypeResponse, "W54: the catalogue")
		got := slices.Clone(f.Body)
		want := lab.RawCatalogue(
			lab.RawEntry{ID: "echo", Kind: 1}, lab.RawEntry{ID: "echo.append", Kind: 1}, lab.RawEntry{ID: "echo.inline", Kind: 1},
			lab.RawEntry{ID: "hold", Kind: 2, In: 9, Out: 7}, lab.RawEntry{ID: "wide", Kind: 2, Out: 7}, lab.RawEntry{ID: "done", Kind: 2, In: 64, Out: 64},
		)
		if string(got) != string(want) {
			t.Errorf("W54: the catalogue is\n% x\nwant\n% x", got, want)
		}
		for at := 0; at+18 <= len(got); at += 18 {
			if at > 0 && binary.LittleEndian.Uint64(got[at-18:]) >= binary.LittleEndian.Uint64(got[at:]) {
				t.Error("W54: the entries are not in order")
			}
		}
		if b.p.Hello.Catalogue != lab.CatalogueDigest(got) {
			t.Error("W54: the digest in HELLO is another one")
		}
	})
	// A handler that takes no messages: END changes nothing, DATA breaks W84.
	asCallee(t, "W85", shape{}, func(_ *testing.T, b *bench) {
		e := b.openRaw("wide")
		b.p.Send(e.end())
		b.p.WantIdle("W85: END may be sent to a handler that takes no messages")
		e.wantEOF("it is the end of them")
		f := b.openRaw("wide")
		b.p.Send(f.credit(0, 5))
		b.p.WantIdle("W83: CREDIT is for the other direction")
		b.p.Send(f.data(nil))
		f.wantEnded(wire.CodeFlowControl, "W85, W84: a message to a handler that takes none")
		b.p.Send(b.p.Open(b.slots, 1, "wide", 1, nil))
		g := b.taken(b.p.ID(b.slots, 1))
		b.slots++
		b.p.Send(g.dataStart(9, []byte("x")))
		g.wantEnded(wire.CodeFlowControl, "W85, W84: a part of one")
	})
}
