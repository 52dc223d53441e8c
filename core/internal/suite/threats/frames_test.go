package threats_test

import (
	"bytes"
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/internal/lab"
	"github.com/gridmux/gridmux/core/internal/wire"
)

// TestAllTypesInAllStates sends a frame of each of the 256 types, with short and
// long bodies, in each state of a connection. In a handshake all but the one
// that is due is refused alike; in a session (W12) the reserved and the
// malformed end it, the rest is skipped (T11, T12).
func TestAllTypesInAllStates(t *testing.T) {
	sizes := []int{0, 8, 40}
	lab.RawTest(t, "W55 W57", lab.RawSetup{Auth: identityKinds[0].auth}, func(t *testing.T, r *lab.RawCluster) {
		twin := r.Dial()
		handshakeAs(twin, identityKinds[0].of(r.Name))
		states := map[string]func(p *lab.RawPeer){
			"at first":   func(*lab.RawPeer) {},
			"after INIT": func(p *lab.RawPeer) { p.SwapInits() },
			"after HELLO": func(p *lab.RawPeer) {
				p.SwapInits()
				p.Write(p.HelloBytes())
			},
		}
		for name, reach := range states {
			for typ := range 256 {
				for _, size := range sizes {
					p := r.Dial()
					reach(p)
					p.Write(lab.RawFrame(wire.Frame{Type: wire.Type(typ), Body: make([]byte, size)}))
					p.WantRejected(fmt.Sprintf("%s, type %#x with %d bytes", name, typ, size))
				}
			}
		}
		twin.WantLife(0, "others have sent all there is")
	})
	lab.RawTest(t, "W55 before READY", lab.RawSetup{}, func(_ *testing.T, r *lab.RawCluster) {
		for typ := range 256 {
			for _, size := range sizes {
				if typ == int(wire.TypeReady) && size == 0 {
					continue
				}
				name := fmt.Sprintf("in place of READY type %#x with %d bytes", typ, size)
				p := r.Dial()
				p.SwapInits()
				p.SayHello()
				takeSaid(p, wire.TypeHello)
				takeSaid(p, wire.TypeProof)
				p.Write(lab.RawFrame(wire.Frame{Type: wire.Type(typ), Body: make([]byte, size)}))
				if typ != int(wire.TypeReject) {
					p.WantStatus(wire.TypeReject, wire.CodeProtocol, name)
					p.WantClosed(wire.CodeProtocol, name)
				}
			}
		}
		r.Connect().WantLife(0, "others have sent all there is")
	})
	lab.RawTest(t, "W55 W57 towards a dialler", lab.RawSetup{Auth: identityKinds[0].auth, Dials: true}, func(_ *testing.T, r *lab.RawCluster) {
		states := map[string]func(p *lab.RawPeer){
			"in place of INIT": func(p *lab.RawPeer) { p.TakeInit() },
			"in place of HELLO": func(p *lab.RawPeer) {
				p.TakeInit()
				p.Write(lab.RawInit(1, 1))
				p.TakeHello()
			},
			"in place of PROOF": func(p *lab.RawPeer) { introduce(p, p.HelloBytes()) },
		}
		for name, reach := range states {
			for typ := range 256 {
				for _, size := range sizes {
					p := r.Accept()
					reach(p)
					p.Write(lab.RawFrame(wire.Frame{Type: wire.Type(typ), Body: make([]byte, size)}))
					code := wire.CodeProtocol
					if name == "in place of PROOF" && typ == int(wire.TypeProof) {
						code = wire.CodeRejected
					}
					p.WantClosed(code, fmt.Sprintf("%s, type %#x with %d bytes", name, typ, size))
				}
			}
		}
		r.Alive("after false acceptors")
	})
	lab.RawTest(t, "W12", lab.RawSetup{}, func(_ *testing.T, r *lab.RawCluster) {
		p, life := r.Connect(), uint32(0)
		for typ := range 256 {
			for _, size := range sizes {
				name := fmt.Sprintf("type %#x with %d bytes in a session", typ, size)
				p.Send(lab.RawFrame(wire.Frame{Type: wire.Type(typ), Body: make([]byte, size)}))
				switch typ := wire.Type(typ); {
				case typ == wire.TypePing && size == 8:
					p.Want(wire.TypePong, name)
				case typ == wire.TypePadding, typ.Ignorable(), typ == wire.TypePong && size == 8,
					typ == wire.TypeMark && size == 0,    // its ACK is passed over
					typ == wire.TypeAck && size == 8,     // of what was acknowledged before (W44)
					typ == wire.TypeFragment && size > 0: // of a call that was never made (W19)
					p.WantIdle(name)
				default:
					p.WantClosed(wire.CodeProtocol, name)
					p, life = r.Connect(), 0
					continue
				}
				p.WantLife(life, name)
				life++
			}
		}
	})
}

// harmless are frames that a session skips, or answers with little, and that a
// peer may send without end.
var harmless = map[string]func(p *lab.RawPeer, n uint32) []byte{
	"empty batches":            func(*lab.RawPeer, uint32) []byte { return nil },
	"PADDING":                  func(*lab.RawPeer, uint32) []byte { return lab.RawFrame(wire.Frame{}) },
	"types of tomorrow":        func(*lab.RawPeer, uint32) []byte { return lab.RawFrame(wire.Frame{Type: 0x99}) },
	"PONG":                     func(_ *lab.RawPeer, n uint32) []byte { return wire.AppendPing(nil, wire.TypePong, uint64(n)) },
	"RESET of nothing":         func(p *lab.RawPeer, n uint32) []byte { return lab.RawStatus(wire.TypeReset, p.ID(n%1000, n), 2) },
	"RESPONSE to nothing":      func(p *lab.RawPeer, n uint32) []byte { return wire.AppendResponse(nil, p.TheirID(n%1000), nil) },
	"REFUSED to nothing":       func(p *lab.RawPeer, n uint32) []byte { return lab.RawStatus(wire.TypeRefused, p.TheirID(n%1000), 11) },
	"parts of one byte":        func(p *lab.RawPeer, n uint32) []byte { return p.Fragment(n%1000, n, []byte{1}) },
	"parts of other's answers": func(p *lab.RawPeer, n uint32) []byte { return wire.AppendFragment(nil, p.TheirID(n%1000), []byte{1}) },
}

// TestTinyFrames floods a session with the smallest frames there are, one by
// one and many in a batch. They cost no memory and no goroutine, the same
// session serves calls all the while, and no other suffers (T2, T7, T10).
func TestTinyFrames(t *testing.T) {
	lab.RawTest(t, "flood", lab.RawSetup{}, func(t *testing.T, r *lab.RawCluster) {
		p := r.Connect()
		heap, goroutines := lab.HeapInUse(), lab.Goroutines()
		life := uint32(2000)
		for name, frame := range harmless {
			for i := range uint32(lab.Scale(2000, 500, 100_000)) {
				p.Send(frame(p, i+1))
				p.Send(bytes.Repeat(frame(p, i+1), 50))
				if i%500 == 0 {
					p.WantLife(life, "a flood of "+name)
					life++
				}
			}
			p.WantIdle("a flood of " + name)
		}
		p.WantLife(life, "all floods")
		r.Alive("after the floods")
		if grown := int64(lab.HeapInUse()) - int64(heap); grown > 1<<20 || lab.Goroutines() > goroutines+2 {
			t.Errorf("floods of tiny frames left %d bytes and %d goroutines", grown, lab.Goroutines()-goroutines)
		}
	})
}

// TestManyTinyParts is the twin: a message that an honest peer cuts into parts
// of one byte, between those of others, arrives whole (T2).
func TestManyTinyParts(t *testing.T) {
	lab.RawTest(t, "W23", lab.RawSetup{}, func(t *testing.T, r *lab.RawCluster) {
		p := r.Connect()
		const size, messages = 2000, 5
		for m := range uint32(messages) {
			p.Send(p.RequestStart(m, 1, "echo", size, lab.Pattern(int(m), size)[:1]))
		}
		for i := 1; i < size; i++ {
			for m := range uint32(messages) {
				p.Send(p.Fragment(m, 1, lab.Pattern(int(m), size)[i:i+1]))
			}
		}
		for range messages {
			f := p.Want(wire.TypeResponse, "a message in parts of one byte")
			if !bytes.Equal(f.Body, lab.Pattern(int(f.ID.Slot()), size)) {
				t.Errorf("the message in slot %d did not arrive as it was sent", f.ID.Slot())
			}
		}
	})
}

// TestRapidReset opens calls and resets them, in the same batch or right after,
// as fast as it can, to a handler that ignores its context: no more run at once than the
// limit allows, the rest is refused, and when they have returned all places
// are back (T6, F15).
func TestRapidReset(t *testing.T) {
	const limit = 20
	lab.Bubble(t, "W27 W32", func(t *testing.T) {
		var running, most atomic.Int32
		release := make(chan struct{})
		r := lab.NewRawCluster(t, lab.RawSetup{
			Config: func(cfg *core.Config) { cfg.MaxHandlers = limit },
			Handlers: map[core.HandlerID]core.HandlerFunc{"stubborn": func(context.Context, []byte) ([]byte, error) {
				n := running.Add(1)
				for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
				}
				<-release
				running.Add(-1)
				return nil, nil
			}},
		})
		p := r.Connect()
		heap := lab.HeapInUse()
		for i := range uint32(lab.Scale(100, 30, 5000)) {
			var opens, resets []byte
			for slot := range uint32(200) {
				opens = append(opens, p.Request(slot, i+1, "stubborn", nil)...)
				resets = append(resets, lab.RawStatus(wire.TypeReset, p.ID(slot, i+1), wire.CodeCanceled)...)
			}
			if i%2 == 0 {
				p.Send(opens)
				p.Drain(wire.TypeRefused)
				p.Send(resets)
			} else {
				p.Send(opens, resets)
			}
			p.Drain(wire.TypeRefused)
		}
		if n := most.Load(); n > limit || n < limit/2 {
			t.Errorf("%d handlers ran at once, the limit is %d", n, limit)
		}
		if grown := int64(lab.HeapInUse()) - int64(heap); grown > 2<<20 {
			t.Errorf("calls that were opened and reset left %d bytes", grown)
		}
		p.Send(p.Request(500, 1, "echo", nil))
		p.WantStatus(wire.TypeRefused, wire.CodeOverloaded, "a call while all places are taken")
		close(release)
		synctest.Wait()
		// The twin: as many honest calls as there are places, all at once.
		var b []byte
		for slot := range uint32(limit) {
			b = append(b, p.Request(1000+slot, 1, "echo", []byte("honest"))...)
		}
		p.Send(b)
		if n := p.Drain(wire.TypeResponse); n != limit {
			t.Errorf("%d of %d honest calls were answered after the flood", n, limit)
		}
	})
}

// TestNewcomersAreBounded opens connections without end under a name that has
// proved itself and has a session: no more than a few wait for the session to be
// asked, the others are refused at once; the session is asked once at a time and
// goes on (T24, F10).
func TestNewcomersAreBounded(t *testing.T) {
	lab.RawTest(t, "W63", lab.RawSetup{Auth: identityKinds[0].auth}, func(t *testing.T, r *lab.RawCluster) {
		id := identityKinds[0].of(r.Name)
		session := r.Dial()
		handshakeAs(session, id)
		var waiting []*lab.RawPeer
		refused := 0
		for range 100 {
			p := r.Dial()
			p.Write(id.proof(rawDialler, introduce(p, p.HelloBytes())))
			if _, ok := p.Next(); !ok && p.Ended() == nil {
				waiting = append(waiting, p)
				continue
			}
			refused++
		}
		if len(waiting) > 8 || len(waiting) == 0 || refused+len(waiting) != 100 {
			t.Errorf("of 100 newcomers %d wait, want 8 at most", len(waiting))
		}
		for session.Ended() == nil {
			f, ok := session.Next()
			if !ok {
				break
			}
			if f.Type != wire.TypePing {
				t.Fatalf("the session got %v while newcomers knocked", f.Type)
			}
			session.Send(lab.RawFrame(wire.Frame{Type: wire.TypePong, Body: f.Body}))
		}
		for _, p := range waiting {
			if st := p.WantStatus(wire.TypeReject, wire.CodeDuplicate, "a newcomer while the session lives"); st.Message == "" {
				t.Error("a newcomer is not told why it was refused")
			}
		}
		session.WantLife(0, "a hundred newcomers have knocked")
		r.Alive("after a hundred newcomers")
	})
}

// TestFinishingSessionsAreBounded begins one session after another, each with a
// call in progress, and says GOAWAY on each. A few finish what they have beside
// the current one; the oldest is ended for one more (W65, T24).
func TestFinishingSessionsAreBounded(t *testing.T) {
	const most = 4
	lab.Bubble(t, "W65", func(t *testing.T) {
		g := lab.NewGate(t, 20)
		r := lab.NewRawCluster(t, lab.RawSetup{Handlers: map[core.HandlerID]core.HandlerFunc{"gate": g.Handle}})
		var sessions []*lab.RawPeer
		for range 10 {
			p := r.Connect()
			p.Send(p.Request(0, 1, "gate", []byte("patient")))
			lab.Wait(t, g.Began, "the call begins")
			p.Send(lab.RawStatus(wire.TypeGoaway, 0, wire.CodeShutdown))
			sessions = append(sessions, p)
		}
		for i, p := range sessions[:10-most] {
			p.WantClosed(wire.CodeSuperseded, fmt.Sprintf("session %d of ten that finish", i))
		}
		g.Release()
		for i, p := range sessions[10-most:] {
			if f := p.Want(wire.TypeResponse, fmt.Sprintf("session %d of the last four", i)); string(f.Body) != "patient" {
				t.Errorf("a session that finishes answered %q", f.Body)
			}
		}
		r.Alive("after ten sessions")
	})
}
