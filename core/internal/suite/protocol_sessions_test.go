package suite_test

import (
	"context"
	"encoding/binary"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/internal/wire"
)

// TestProtocolSessionEnds holds the subject to W61 in every way that a session
// ends: calls are over on both sides, contexts of handlers have ended, and
// nothing of it shows in the next session, which knows nothing of it (W62)
// (D30, D31, F9).
func TestProtocolSessionEnds(t *testing.T) {
	for name, end := range map[string]func(r *rawCluster, p *rawPeer){
		"closed by the peer": func(_ *rawCluster, p *rawPeer) { p.tc.CloseWithError(uint32(wire.CodeShutdown), "bye") },
		"the link is cut":    func(r *rawCluster, p *rawPeer) { r.network.Cut(r.raw, rawSubject) },
		"closed for a fault": func(_ *rawCluster, p *rawPeer) { p.write([]byte{1}) },
		"displaced":          func(r *rawCluster, p *rawPeer) { r.displace(p).tc.CloseWithError(0, "") },
		"silent":             func(*rawCluster, *rawPeer) { time.Sleep(time.Minute) },
	} {
		rawBubble(t, "W61 W62 "+name, func(t *testing.T) {
			g := newGate(t, 10)
			r := newRawCluster(t, rawSetup{handler: map[core.HandlerID]core.HandlerFunc{"gate": g.handle, "note": func(context.Context, []byte) ([]byte, error) {
				t.Error("W62: a request in parts was put together from two sessions")
				return nil, nil
			}}})
			p := r.connect(func(h *wire.Hello) { h.MaxCalls, h.MaxMsg = 1, 100 })
			id, answer := p.called()
			p.send(wire.AppendResponseStart(nil, id, 9, []byte("abc")))
			p.send(p.request(0, 1<<31, "gate", []byte("stale")), p.requestStart(1, 1<<31, "note", 9, []byte("abc")))
			ctx := wait(t, g.began, "a call begins")
			end(r, p)
			wantFailure(t, "W61: a call in progress", wait(t, answer, "it ends").err, core.ErrDisconnected, core.OutcomeMaybeRun)
			synctest.Wait()
			if ctx.Err() == nil {
				t.Error("W61: the session is over and the context of its handler is not")
			}
			next := r.connect()
			g.release()
			next.wantIdle("W61: the answer to a call of the session before")
			next.send(next.part(1, 1<<31, []byte("defghi")), rawStatus(wire.TypeReset, next.id(0, 1<<31), 2))
			next.wantIdle("W62: frames for calls of the session before")
			// Lower generations than before, more slots, and larger messages.
			next.once(0, 1)
			first, answerA := next.called()
			_, answerB := next.called()
			next.send(wire.AppendFragment(nil, wire.MakeCallID(99, 99, first.Side()), []byte("defghi")))
			next.send(next.request(1, 1, "echo", make([]byte, 1000)))
			next.want(wire.TypeResponse, "W62: a message that was too large for the session before")
			next.tc.CloseWithError(0, "")
			for _, answer := range []<-chan reply{answerA, answerB} {
				wantFailure(t, "a call in progress", wait(t, answer, "it ends").err, core.ErrDisconnected, core.OutcomeMaybeRun)
			}
		})
	}
}

// probePatience is longer than a node waits for the answer of an old session.
const probePatience = 3 * time.Second

// displace connects once more while the subject has a session that does not
// answer its ping any more, and returns the new one.
func (r *rawCluster) displace(old *rawPeer, changes ...func(h *wire.Hello)) *rawPeer {
	r.t.Helper()
	p := r.dial()
	p.swapInits()
	p.sayHello(changes...)
	old.want(wire.TypePing, "W63: the old session is asked whether it lives")
	p.wantIdle("W63: the newcomer waits meanwhile")
	time.Sleep(probePatience)
	p.takeHello()
	return p
}

// TestProtocolNewcomer holds an acceptor to W63: a newcomer does not displace a
// session that answers, whatever instance it says it is, and one that does not
// get through its handshake displaces nothing; a session that is silent gives
// way (F10).
func TestProtocolNewcomer(t *testing.T) {
	rawTest(t, "W63 the old session lives", rawSetup{}, func(t *testing.T, r *rawCluster) {
		old := r.connect()
		for i := range 3 {
			half := r.dial()
			half.swapInits()
			other := r.dial()
			other.swapInits()
			other.write(other.helloBytes(func(h *wire.Hello) { h.Cluster = "other" }))
			old.wantLife(uint32(i), "others are half way through the handshake")
		}
		for i := range byte(5) {
			p := r.dial()
			p.swapInits()
			p.sayHello(func(h *wire.Hello) { h.Instance[0] = 9 + i })
			ping := old.want(wire.TypePing, "W63: the old session is asked whether it lives")
			p.wantIdle("W63: the newcomer waits meanwhile")
			old.send(wire.AppendPing(nil, wire.TypePong, binary.LittleEndian.Uint64(ping.Body)))
			st := p.wantStatus(wire.TypeReject, wire.CodeDuplicate, "W63: the old session has answered")
			if i > 0 && !strings.Contains(st.Message, "another process has the same name") {
				t.Errorf("a second node of the same name is told %q, want the reason", st.Message)
			}
			p.wantClosed(wire.CodeDuplicate, "W63: the old session has answered")
			old.wantLife(uint32(10+i), "W63: a newcomer was refused")
		}
	})
	rawTest(t, "W63 the old session is silent", rawSetup{}, func(_ *testing.T, r *rawCluster) {
		old := r.connect()
		for i := range byte(5) {
			p := r.displace(old, func(h *wire.Hello) { h.Instance[0] = 9 + i/2 })
			old.wantClosed(wire.CodeTimeout, "W63: the old session did not answer")
			p.wantLife(0, "W63: the newcomer lives")
			old = p
		}
	})
	rawTest(t, "W63 one newcomer at a time", rawSetup{}, func(_ *testing.T, r *rawCluster) {
		old := r.connect()
		first, second := r.dial(), r.dial()
		for _, p := range []*rawPeer{first, second} {
			p.swapInits()
			p.sayHello()
			p.wantIdle("the old session is asked")
		}
		time.Sleep(probePatience)
		old.want(wire.TypePing, "W63: the old session is asked whether it lives")
		old.wantClosed(wire.CodeTimeout, "W63: the old session did not answer")
		first.takeHello()
		ping := first.want(wire.TypePing, "W63: the second newcomer finds the first")
		first.send(wire.AppendPing(nil, wire.TypePong, binary.LittleEndian.Uint64(ping.Body)))
		second.wantStatus(wire.TypeReject, wire.CodeDuplicate, "W63: the first newcomer lives")
		first.wantLife(0, "W63: the second newcomer was refused")
	})
	rawTest(t, "W65 the old session is on its way out", rawSetup{}, func(_ *testing.T, r *rawCluster) {
		old := r.connect()
		for i := range byte(3) {
			old.send(rawStatus(wire.TypeGoaway, 0, wire.CodeShutdown))
			p := r.connect(func(h *wire.Hello) { h.Instance[0] = 9 + i })
			p.wantLife(0, "W65: a session after GOAWAY")
			old.wantLife(uint32(1+i), "W65: the session before finishes what it has")
			old = p
		}
	})
}

// TestProtocolSimultaneous holds both nodes to W64, when both dial at once
// (F11).
func TestProtocolSimultaneous(t *testing.T) {
	rawTest(t, "W64 the subject decides", rawSetup{dials: true, name: "z-raw"}, func(_ *testing.T, r *rawCluster) {
		mine := r.accept()
		mine.takeInit()
		theirs := r.dial()
		theirs.swapInits()
		mine.write(rawInit(1, 1))
		mine.takeHello() // from now on the subject's own connection goes first
		theirs.sayHello()
		theirs.wantIdle("W64: the subject's own HELLO is not answered yet")
		mine.sayHello()
		ping := mine.want(wire.TypePing, "W63: the subject's connection lives")
		mine.send(wire.AppendPing(nil, wire.TypePong, binary.LittleEndian.Uint64(ping.Body)))
		theirs.wantStatus(wire.TypeReject, wire.CodeDuplicate, "W64: the connection of the node with the larger name")
		mine.wantLife(0, "W64: the connection of the node with the smaller name")
	})
	rawTest(t, "W64 the subject's own connection fails", rawSetup{dials: true, name: "z-raw"}, func(_ *testing.T, r *rawCluster) {
		mine := r.accept()
		mine.takeInit()
		mine.write(rawInit(1, 1))
		mine.takeHello()
		theirs := r.dial()
		theirs.swapInits()
		theirs.sayHello()
		theirs.wantIdle("W64: the subject's own HELLO is not answered yet")
		mine.tc.CloseWithError(0, "")
		theirs.takeHello()
		theirs.wantLife(0, "W64: the other connection is the only one")
	})
	rawTest(t, "W64 the raw peer decides", rawSetup{dials: true}, func(_ *testing.T, r *rawCluster) {
		mine := r.accept()
		mine.takeInit()
		mine.write(rawInit(1, 1))
		mine.takeHello()
		theirs := r.dial()
		theirs.swapInits()
		theirs.sayHello()
		theirs.takeHello() // at once: the raw peer decides
		theirs.wantLife(0, "W64: the connection of the node with the smaller name")
		mine.sayHello() // it has changed its mind
		theirs.wantClosed(wire.CodeSuperseded, "W64: the other side has taken another one")
		mine.wantLife(0, "W64: the connection that the other side has taken")
	})
	rawTest(t, "W60 no HELLO beside a session", rawSetup{dials: true}, func(_ *testing.T, r *rawCluster) {
		mine := r.accept()
		mine.takeInit()
		r.connect().wantLife(0, "the raw peer has dialled")
		mine.write(rawInit(1, 1))
		mine.wantClosed(wire.CodeDuplicate, "W60: there is a session by now")
	})
}
