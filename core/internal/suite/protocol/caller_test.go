package protocol_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"testing"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/internal/lab"
	"github.com/gridmux/gridmux/core/internal/wire"
)

// TestProtocolSlots holds a caller to W17 and W18: it keeps to the slots that
// it may use and to the side that is its own, and uses no id twice (T10).
func TestProtocolSlots(t *testing.T) {
	lab.RawTest(t, "W17 W18", lab.RawSetup{}, func(t *testing.T, r *lab.RawCluster) {
		p := r.Connect(func(h *wire.Hello) { h.MaxCalls = 3 })
		seen := map[wire.CallID]bool{}
		last := map[uint32]uint32{}
		take := func() wire.CallID {
			t.Helper()
			id := p.Want(wire.TypeRequest, "the subject calls").ID
			if id.Side() != 1-p.Side || id.Slot() >= 3 || id.Generation() <= last[id.Slot()] || seen[id] {
				t.Fatalf("W17, W18: a call has the id %v; want side %d, a slot below 3 and a new generation", id, 1-p.Side)
			}
			seen[id], last[id.Slot()] = true, id.Generation()
			return id
		}
		for range 20 {
			var ids []wire.CallID
			var replies []<-chan lab.Reply
			ctx, cancel := context.WithCancel(t.Context())
			for range 3 {
				replies = append(replies, r.Call(ctx, nil))
				ids = append(ids, take())
			}
			_, err := r.Conn().Request(t.Context(), "storage.stat", nil)
			lab.WantFailure(t, "W17: a call over maxcalls", err, core.ErrOverloaded, core.OutcomeNotSent)
			p.WantIdle("W17: a call over maxcalls")
			p.Send(wire.AppendResponse(nil, ids[1], nil), lab.RawStatus(wire.TypeRefused, ids[0], wire.CodeOverloaded))
			lab.WantFailure(t, "a refused call", lab.Wait(t, replies[0], "it ends").Err, core.ErrOverloaded, core.OutcomeRefused)
			if err := lab.Wait(t, replies[1], "it ends").Err; err != nil {
				t.Errorf("an answered call failed: %v", err)
			}
			cancel()
			lab.WantFailure(t, "a cancelled call", lab.Wait(t, replies[2], "it ends").Err, context.Canceled, core.OutcomeMaybeRun)
			// W18: RESET ahead of the next REQUEST in this slot.
			if f := p.Want(wire.TypeReset, "W27: a call was given up"); f.ID != ids[2] || binary.LittleEndian.Uint32(f.Body) != 2 {
				t.Fatalf("W27: got RESET of %v with %x, want that of %v with code 2", f.ID, f.Body, ids[2])
			}
			// Too late: it must not be taken for the answer to a later call.
			p.Send(wire.AppendResponse(nil, ids[2], []byte("late")))
		}
		p.WantIdle("W27: one RESET per call that was given up, and no other")
	})
	lab.RawTest(t, "W17 no slots at all", lab.RawSetup{}, func(t *testing.T, r *lab.RawCluster) {
		p := r.Connect(func(h *wire.Hello) { h.MaxCalls = 0 })
		_, err := r.Conn().Request(t.Context(), "storage.stat", nil)
		lab.WantFailure(t, "W17: a call where none is allowed", err, core.ErrOverloaded, core.OutcomeNotSent)
		p.WantLife(0, "W17: calls are allowed one way only")
	})
}

// TestProtocolCallerEndsCalls holds a caller to W27 and W28: by its own clock,
// and with a RESET behind what it has sent of the request, once.
func TestProtocolCallerEndsCalls(t *testing.T) {
	lab.RawTest(t, "W27 W28 W24", lab.RawSetup{Buffer: 1}, func(t *testing.T, r *lab.RawCluster) {
		p := r.Connect()
		began := time.Now()
		answer := r.Call(t.Context(), nil, core.WithTimeout(1500*time.Millisecond))
		f := p.Want(wire.TypeRequest, "a call with a time-out")
		if micros := binary.LittleEndian.Uint64(f.Body[8:]); micros != 1_500_000 {
			t.Errorf("W24: the time-out is %d microseconds, want 1500000", micros)
		}
		lab.WantFailure(t, "W27: a call that is not answered", lab.Wait(t, answer, "it ends").Err, context.DeadlineExceeded, core.OutcomeMaybeRun)
		if d := time.Since(began); d != 1500*time.Millisecond {
			t.Errorf("W27: it ended after %v, want exactly 1.5s", d)
		}
		p.WantStatus(wire.TypeReset, wire.CodeDeadline, "W27: the reason is the time")

		// A large request is given up half way.
		p.Conn.CloseWithError(0, "")
		p = r.Dial()
		p.DeafHandshake()
		ctx, cancel := context.WithCancel(t.Context())
		answer = r.Call(ctx, make([]byte, 1<<20))
		p.Allow(3)
		first := p.Want(wire.TypeRequest, "W28: the request begins")
		p.Want(wire.TypeFragment, "W28: a part of it")
		p.Want(wire.TypeFragment, "W28: a part of it")
		cancel()
		lab.WantFailure(t, "a call given up half way", lab.Wait(t, answer, "it ends").Err, context.Canceled, core.OutcomeMaybeRun)
		p.Allow(lab.Unlimited)
		parts := 0
		for f, _ = p.Next(); f.Type == wire.TypeFragment; f, _ = p.Next() {
			parts++
		}
		if f.Type != wire.TypeReset || f.ID != first.ID || parts > 8 {
			t.Errorf("W27, W28: after %d more parts came %v of %v, want RESET of %v soon", parts, f.Type, f.ID, first.ID)
		}
		p.WantIdle("W27: nothing of the call follows RESET")

		// A request that is refused at its first part is not sent any further.
		p.Conn.CloseWithError(0, "")
		p = r.Dial()
		p.DeafHandshake()
		answer = r.Call(t.Context(), make([]byte, 1<<20))
		p.Allow(1)
		first = p.Want(wire.TypeRequest, "the request begins")
		p.Send(lab.RawStatus(wire.TypeRefused, first.ID, wire.CodeOverloaded))
		lab.WantFailure(t, "a call refused half way", lab.Wait(t, answer, "it ends").Err, core.ErrOverloaded, core.OutcomeRefused)
		p.Allow(lab.Unlimited)
		if n := p.Drain(wire.TypeFragment); n > 8 {
			t.Errorf("W26: %d more parts were sent of a request that was refused", n)
		}
		p.WantLife(0, "W26: a call was refused half way")
	})
}

// TestProtocolLargeResponses holds a caller to W29 and W23: it takes messages up
// to its maxmsg, cut in any way, and gives up a call whose answer is over it.
func TestProtocolLargeResponses(t *testing.T) {
	const limit = 2000
	setup := lab.RawSetup{Config: func(cfg *core.Config) { cfg.MaxMessage, cfg.MaxReassembly = limit, limit }}
	lab.RawTest(t, "W29 W23", setup, func(t *testing.T, r *lab.RawCluster) {
		p := r.Connect()
		for name, response := range map[string]func(id wire.CallID) []byte{
			"in one frame": func(id wire.CallID) []byte { return wire.AppendResponse(nil, id, make([]byte, limit+1)) },
			"in parts":     func(id wire.CallID) []byte { return wire.AppendResponseStart(nil, id, limit+1, make([]byte, limit)) },
			"without end":  func(id wire.CallID) []byte { return wire.AppendResponseStart(nil, id, 1<<64-1, make([]byte, limit)) },
		} {
			id, answer := p.Called()
			p.Send(response(id))
			lab.WantFailure(t, "W29: an answer over maxmsg "+name, lab.Wait(t, answer, "the call ends").Err, core.ErrMessageTooLarge, core.OutcomeMaybeRun)
			if f := p.Want(wire.TypeReset, "W29: an answer over maxmsg "+name); f.ID != id {
				t.Errorf("W29: RESET is for %v, want %v", f.ID, id)
			}
			p.Send(wire.AppendFragment(nil, id, make([]byte, 9000)))
			p.WantIdle("W19: the other parts of it")
		}
		whole := lab.Pattern(1, limit)
		a, answerA := p.Called()
		p.Send(wire.AppendResponseStart(nil, a, limit, whole[:1]))
		b, answerB := p.Called()
		p.Send(wire.AppendResponseStart(nil, b, 2, whole[:1]))
		p.Send(wire.AppendFragment(nil, b, whole[1:2]))
		time.Sleep(time.Second)
		if len(answerB) != 0 {
			t.Error("W45: a call has returned an answer that there is no memory for yet")
		}
		for i := 1; i < limit; i += 7 {
			p.Send(wire.AppendFragment(nil, a, whole[i:min(i+7, limit)]))
		}
		if got := lab.Wait(t, answerA, "the call ends"); !bytes.Equal(got.Resp, whole) {
			t.Errorf("W23: an answer in many parts returned %d bytes, %v; want the %d that were sent", len(got.Resp), got.Err, limit)
		}
		if got := lab.Wait(t, answerB, "the call whose answer has waited for memory ends"); !bytes.Equal(got.Resp, whole[:2]) {
			t.Errorf("W45: an answer that has waited for memory returned %q, %v", got.Resp, got.Err)
		}
		p.WantIdle("W26: all calls are over")
		_, err := r.Conn().Request(t.Context(), "storage.stat", make([]byte, limit+1))
		lab.WantFailure(t, "W29: a request over maxmsg", err, core.ErrMessageTooLarge, core.OutcomeNotSent)
		p.WantIdle("W29: a request over maxmsg")
	})
}

// TestProtocolOrder holds both directions to W28 and W2: parts of two messages
// may stand between one another, but each arrives in order, in batches that
// fit, and the answer to a PING need not wait for them.
func TestProtocolOrder(t *testing.T) {
	lab.RawTest(t, "W28 W2", lab.RawSetup{}, func(t *testing.T, r *lab.RawCluster) {
		p := r.Connect()
		messages := map[wire.CallID][]byte{}
		for slot := range uint32(3) {
			message := lab.Pattern(int(slot), 300_000)
			messages[p.ID(slot, 1)] = message
			p.Send(p.RequestStart(slot, 1, "echo", uint64(len(message)), message[:1]))
		}
		for i := 1; i < 300_000; i += 60_000 {
			for id, message := range messages {
				p.Send(wire.AppendFragment(nil, id, message[i:min(i+60_000, len(message))]))
			}
		}
		p.Send(wire.AppendPing(nil, wire.TypePing, 1))
		got := map[wire.CallID][]byte{}
		for f, ok := p.Next(); ok; f, ok = p.Next() {
			switch f.Type {
			case wire.TypePong:
			case wire.TypeResponse:
				resp, err := wire.ParseResponse(&f)
				if err != nil || got[f.ID] != nil {
					t.Fatalf("W28: an answer begins twice, or wrongly: %v", err)
				}
				got[f.ID] = bytes.Clone(resp.Payload)
				p.Send(wire.AppendGrant(nil, f.ID))
			case wire.TypeFragment:
				if got[f.ID] == nil {
					t.Fatal("W28: a part came ahead of the answer's beginning")
				}
				got[f.ID] = append(got[f.ID], f.Body...)
			default:
				t.Fatalf("got %v", f.Type)
			}
		}
		for id, message := range messages {
			if !bytes.Equal(got[id], message) {
				t.Errorf("W28: the answer to %v has %d bytes, want the %d of the request", id, len(got[id]), len(message))
			}
		}
		// Small answers, as many as one batch can ask for.
		var batch []byte
		small := 0
		for slot := uint32(10); len(batch) < int(p.Hello.MaxFrame)-2000; slot++ {
			batch = append(batch, p.Request(slot, 1, "echo.inline", make([]byte, 1000))...)
			small++
		}
		p.Send(batch)
		if n := p.Drain(wire.TypeResponse); n != small {
			t.Fatalf("W26: %d answers to %d calls", n, small)
		}
		if p.LongestBatch() > wire.MinMaxFrame {
			t.Errorf("W2: the subject sent a batch of %d bytes, %d were announced", p.LongestBatch(), wire.MinMaxFrame)
		}
	})
}
