package suite_test

import (
	"bytes"
	"context"
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/internal/wire"
)

// TestAllTypesInAllStates sends a frame of each of the 256 types, with short and
// long bodies, in each state of a connection. In a handshake all but the one
// that is due is refused alike; in a session (W12) the reserved and the
// malformed end it, the rest is skipped (T11, T12).
func TestAllTypesInAllStates(t *testing.T) {
	sizes := []int{0, 8, 40}
	rawTest(t, "W55 W57", rawSetup{auth: identityKinds[0].auth}, func(t *testing.T, r *rawCluster) {
		twin := r.dial()
		twin.handshakeAs(identityKinds[0].of(r.raw))
		states := map[string]func(p *rawPeer){
			"at first":   func(*rawPeer) {},
			"after INIT": func(p *rawPeer) { p.swapInits() },
			"after HELLO": func(p *rawPeer) {
				p.swapInits()
				p.write(p.helloBytes())
			},
		}
		for name, reach := range states {
			for typ := range 256 {
				for _, size := range sizes {
					p := r.dial()
					reach(p)
					p.write(rawFrame(wire.Frame{Type: wire.Type(typ), Body: make([]byte, size)}))
					p.wantRejected(fmt.Sprintf("%s, type %#x with %d bytes", name, typ, size))
				}
			}
		}
		twin.wantLife(0, "others have sent all there is")
	})
	rawTest(t, "W55 before READY", rawSetup{}, func(_ *testing.T, r *rawCluster) {
		for typ := range 256 {
			for _, size := range sizes {
				if typ == int(wire.TypeReady) && size == 0 {
					continue
				}
				name := fmt.Sprintf("in place of READY type %#x with %d bytes", typ, size)
				p := r.dial()
				p.swapInits()
				p.sayHello()
				p.takeSaid(wire.TypeHello)
				p.takeSaid(wire.TypeProof)
				p.write(rawFrame(wire.Frame{Type: wire.Type(typ), Body: make([]byte, size)}))
				if typ != int(wire.TypeReject) {
					p.wantStatus(wire.TypeReject, wire.CodeProtocol, name)
					p.wantClosed(wire.CodeProtocol, name)
				}
			}
		}
		r.connect().wantLife(0, "others have sent all there is")
	})
	rawTest(t, "W55 W57 towards a dialler", rawSetup{auth: identityKinds[0].auth, dials: true}, func(_ *testing.T, r *rawCluster) {
		states := map[string]func(p *rawPeer){
			"in place of INIT": func(p *rawPeer) { p.takeInit() },
			"in place of HELLO": func(p *rawPeer) {
				p.takeInit()
				p.write(rawInit(1, 1))
				p.takeHello()
			},
			"in place of PROOF": func(p *rawPeer) { p.introduce(p.helloBytes()) },
		}
		for name, reach := range states {
			for typ := range 256 {
				for _, size := range sizes {
					p := r.accept()
					reach(p)
					p.write(rawFrame(wire.Frame{Type: wire.Type(typ), Body: make([]byte, size)}))
					code := wire.CodeProtocol
					if name == "in place of PROOF" && typ == int(wire.TypeProof) {
						code = wire.CodeRejected
					}
					p.wantClosed(code, fmt.Sprintf("%s, type %#x with %d bytes", name, typ, size))
				}
			}
		}
		r.alive("after false acceptors")
	})
	rawTest(t, "W12", rawSetup{}, func(_ *testing.T, r *rawCluster) {
		p, life := r.connect(), uint32(0)
		for typ := range 256 {
			for _, size := range sizes {
				name := fmt.Sprintf("type %#x with %d bytes in a session", typ, size)
				p.send(rawFrame(wire.Frame{Type: wire.Type(typ), Body: make([]byte, size)}))
				switch typ := wire.Type(typ); {
				case typ == wire.TypePing && size == 8:
					p.want(wire.TypePong, name)
				case typ == wire.TypePadding, typ.Ignorable(), typ == wire.TypePong && size == 8,
					typ == wire.TypeFragment && size > 0: // of a call that was never made (W19)
					p.wantIdle(name)
				default:
					p.wantClosed(wire.CodeProtocol, name)
					p, life = r.connect(), 0
					continue
				}
				p.wantLife(life, name)
				life++
			}
		}
	})
}

// harmless are frames that a session skips, or answers with little, and that a
// peer may send without end.
var harmless = map[string]func(p *rawPeer, n uint32) []byte{
	"empty batches":            func(*rawPeer, uint32) []byte { return nil },
	"PADDING":                  func(*rawPeer, uint32) []byte { return rawFrame(wire.Frame{}) },
	"types of tomorrow":        func(*rawPeer, uint32) []byte { return rawFrame(wire.Frame{Type: 0x99}) },
	"PONG":                     func(_ *rawPeer, n uint32) []byte { return wire.AppendPing(nil, wire.TypePong, uint64(n)) },
	"RESET of nothing":         func(p *rawPeer, n uint32) []byte { return rawStatus(wire.TypeReset, p.id(n%1000, n), 2) },
	"RESPONSE to nothing":      func(p *rawPeer, n uint32) []byte { return wire.AppendResponse(nil, p.theirs(n%1000), nil) },
	"REFUSED to nothing":       func(p *rawPeer, n uint32) []byte { return rawStatus(wire.TypeRefused, p.theirs(n%1000), 11) },
	"parts of one byte":        func(p *rawPeer, n uint32) []byte { return p.part(n%1000, n, []byte{1}) },
	"parts of other's answers": func(p *rawPeer, n uint32) []byte { return wire.AppendFragment(nil, p.theirs(n%1000), []byte{1}) },
}

// TestTinyFrames floods a session with the smallest frames there are, one by
// one and many in a batch. They cost no memory and no goroutine, the same
// session serves calls all the while, and no other suffers (T2, T7, T10).
func TestTinyFrames(t *testing.T) {
	rawTest(t, "flood", rawSetup{}, func(t *testing.T, r *rawCluster) {
		p := r.connect()
		heap, goroutines := heapInUse(), runtime.NumGoroutine()
		life := uint32(2000)
		for name, frame := range harmless {
			for i := range uint32(scale(2000, 500, 100_000)) {
				p.send(frame(p, i+1))
				p.send(bytes.Repeat(frame(p, i+1), 50))
				if i%500 == 0 {
					p.wantLife(life, "a flood of "+name)
					life++
				}
			}
			p.wantIdle("a flood of " + name)
		}
		p.wantLife(life, "all floods")
		r.alive("after the floods")
		if grown := int64(heapInUse()) - int64(heap); grown > 1<<20 || runtime.NumGoroutine() > goroutines+2 {
			t.Errorf("floods of tiny frames left %d bytes and %d goroutines", grown, runtime.NumGoroutine()-goroutines)
		}
	})
}

// TestManyTinyParts is the twin: a message that an honest peer cuts into parts
// of one byte, between those of others, arrives whole (T2).
func TestManyTinyParts(t *testing.T) {
	rawTest(t, "W23", rawSetup{}, func(t *testing.T, r *rawCluster) {
		p := r.connect()
		const size, messages = 2000, 5
		for m := range uint32(messages) {
			p.send(p.requestStart(m, 1, "echo", size, pattern(int(m), size)[:1]))
		}
		for i := 1; i < size; i++ {
			for m := range uint32(messages) {
				p.send(p.part(m, 1, pattern(int(m), size)[i:i+1]))
			}
		}
		for range messages {
			f := p.want(wire.TypeResponse, "a message in parts of one byte")
			if !bytes.Equal(f.Body, pattern(int(f.ID.Slot()), size)) {
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
	rawBubble(t, "W27 W32", func(t *testing.T) {
		var running, most atomic.Int32
		release := make(chan struct{})
		r := newRawCluster(t, rawSetup{
			config: func(cfg *core.Config) { cfg.MaxHandlers = limit },
			handler: map[core.HandlerID]core.HandlerFunc{"stubborn": func(context.Context, []byte) ([]byte, error) {
				n := running.Add(1)
				for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
				}
				<-release
				running.Add(-1)
				return nil, nil
			}},
		})
		p := r.connect()
		heap := heapInUse()
		for i := range uint32(scale(100, 30, 5000)) {
			var opens, resets []byte
			for slot := range uint32(200) {
				opens = append(opens, p.request(slot, i+1, "stubborn", nil)...)
				resets = append(resets, rawStatus(wire.TypeReset, p.id(slot, i+1), wire.CodeCanceled)...)
			}
			if i%2 == 0 {
				p.send(opens)
				p.drain(wire.TypeRefused)
				p.send(resets)
			} else {
				p.send(opens, resets)
			}
			p.drain(wire.TypeRefused)
		}
		if n := most.Load(); n > limit || n < limit/2 {
			t.Errorf("%d handlers ran at once, the limit is %d", n, limit)
		}
		if grown := int64(heapInUse()) - int64(heap); grown > 2<<20 {
			t.Errorf("calls that were opened and reset left %d bytes", grown)
		}
		p.send(p.request(500, 1, "echo", nil))
		p.wantStatus(wire.TypeRefused, wire.CodeOverloaded, "a call while all places are taken")
		close(release)
		synctest.Wait()
		// The twin: as many honest calls as there are places, all at once.
		var b []byte
		for slot := range uint32(limit) {
			b = append(b, p.request(1000+slot, 1, "echo", []byte("honest"))...)
		}
		p.send(b)
		if n := p.drain(wire.TypeResponse); n != limit {
			t.Errorf("%d of %d honest calls were answered after the flood", n, limit)
		}
	})
}

// TestNewcomersAreBounded opens connections without end under a name that has
// proved itself and has a session: no more than a few wait for the session to be
// asked, the others are refused at once; the session is asked once at a time and
// goes on (T24, F10).
func TestNewcomersAreBounded(t *testing.T) {
	rawTest(t, "W63", rawSetup{auth: identityKinds[0].auth}, func(t *testing.T, r *rawCluster) {
		id := identityKinds[0].of(r.raw)
		session := r.dial()
		session.handshakeAs(id)
		var waiting []*rawPeer
		refused := 0
		for range 100 {
			p := r.dial()
			p.write(id.proof(rawDialler, p.introduce(p.helloBytes())))
			if _, ok := p.next(); !ok && p.ended() == nil {
				waiting = append(waiting, p)
				continue
			}
			refused++
		}
		if len(waiting) > 8 || len(waiting) == 0 || refused+len(waiting) != 100 {
			t.Errorf("of 100 newcomers %d wait, want 8 at most", len(waiting))
		}
		for session.ended() == nil {
			f, ok := session.next()
			if !ok {
				break
			}
			if f.Type != wire.TypePing {
				t.Fatalf("the session got %v while newcomers knocked", f.Type)
			}
			session.send(rawFrame(wire.Frame{Type: wire.TypePong, Body: f.Body}))
		}
		for _, p := range waiting {
			if st := p.wantStatus(wire.TypeReject, wire.CodeDuplicate, "a newcomer while the session lives"); st.Message == "" {
				t.Error("a newcomer is not told why it was refused")
			}
		}
		session.wantLife(0, "a hundred newcomers have knocked")
		r.alive("after a hundred newcomers")
	})
}

// TestFinishingSessionsAreBounded begins one session after another, each with a
// call in progress, and says GOAWAY on each. A few finish what they have beside
// the current one; the oldest is ended for one more (W65, T24).
func TestFinishingSessionsAreBounded(t *testing.T) {
	const most = 4
	rawBubble(t, "W65", func(t *testing.T) {
		g := newGate(t, 20)
		r := newRawCluster(t, rawSetup{handler: map[core.HandlerID]core.HandlerFunc{"gate": g.handle}})
		var sessions []*rawPeer
		for range 10 {
			p := r.connect()
			p.send(p.request(0, 1, "gate", []byte("patient")))
			wait(t, g.began, "the call begins")
			p.send(rawStatus(wire.TypeGoaway, 0, wire.CodeShutdown))
			sessions = append(sessions, p)
		}
		for i, p := range sessions[:10-most] {
			p.wantClosed(wire.CodeSuperseded, fmt.Sprintf("session %d of ten that finish", i))
		}
		g.release()
		for i, p := range sessions[10-most:] {
			if f := p.want(wire.TypeResponse, fmt.Sprintf("session %d of the last four", i)); string(f.Body) != "patient" {
				t.Errorf("a session that finishes answered %q", f.Body)
			}
		}
		r.alive("after ten sessions")
	})
}
