package protocol_test

import (
	"context"
	"encoding/binary"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/internal/lab"
	"github.com/gridmux/gridmux/core/internal/wire"
)

// TestProtocolSessionEnds holds the subject to W61 in every way that a session
// ends: calls are over on both sides, contexts of handlers have ended, and
// nothing of it shows in the next session, which knows nothing of it (W62)
// (D30, D31, F9).
func TestProtocolSessionEnds(t *testing.T) {
	for name, end := range map[string]func(r *lab.RawCluster, p *lab.RawPeer){
		"closed by the peer": func(_ *lab.RawCluster, p *lab.RawPeer) { p.Conn.CloseWithError(uint32(wire.CodeShutdown), "bye") },
		"the link is cut":    func(r *lab.RawCluster, p *lab.RawPeer) { r.Network.Cut(r.Name, lab.SubjectName) },
		"closed for a fault": func(_ *lab.RawCluster, p *lab.RawPeer) { p.Write([]byte{1}) },
		"displaced":          func(r *lab.RawCluster, p *lab.RawPeer) { displace(r, p).Conn.CloseWithError(0, "") },
		"silent":             func(*lab.RawCluster, *lab.RawPeer) { time.Sleep(time.Minute) },
	} {
		lab.Bubble(t, "W61 W62 "+name, func(t *testing.T) {
			g := lab.NewGate(t, 10)
			r := lab.NewRawCluster(t, lab.RawSetup{Handlers: map[core.HandlerID]core.HandlerFunc{"gate": g.Handle, "note": func(context.Context, []byte) ([]byte, error) {
				t.Error("W62: a request in parts was put together from two sessions")
				return nil, nil
			}}})
			p := r.Connect(func(h *wire.Hello) { h.MaxCalls, h.MaxMsg = 1, 100 })
			id, answer := p.Called()
			p.Send(wire.AppendResponseStart(nil, id, 9, []byte("abc")))
			p.Send(p.Request(0, 1<<31, "gate", []byte("stale")), p.RequestStart(1, 1<<31, "note", 9, []byte("abc")))
			ctx := lab.Wait(t, g.Began, "a call begins")
			end(r, p)
			lab.WantFailure(t, "W61: a call in progress", lab.Wait(t, answer, "it ends").Err, core.ErrDisconnected, core.OutcomeMaybeRun)
			synctest.Wait()
			if ctx.Err() == nil {
				t.Error("W61: the session is over and the context of its handler is not")
			}
			next := r.Connect()
			g.Release()
			next.WantIdle("W61: the answer to a call of the session before")
			next.Send(next.Fragment(1, 1<<31, []byte("defghi")), lab.RawStatus(wire.TypeReset, next.ID(0, 1<<31), 2))
			next.WantIdle("W62: frames for calls of the session before")
			// Lower generations than before, more slots, and larger messages.
			next.Once(0, 1)
			first, answerA := next.Called()
			_, answerB := next.Called()
			next.Send(wire.AppendFragment(nil, wire.MakeCallID(99, 99, first.Side()), []byte("defghi")))
			next.Send(next.Request(1, 1, "echo", make([]byte, 1000)))
			next.Want(wire.TypeResponse, "W62: a message that was too large for the session before")
			next.Conn.CloseWithError(0, "")
			for _, answer := range []<-chan lab.Reply{answerA, answerB} {
				lab.WantFailure(t, "a call in progress", lab.Wait(t, answer, "it ends").Err, core.ErrDisconnected, core.OutcomeMaybeRun)
			}
		})
	}
}

// probePatience is longer than a node waits for the answer of an old session.
const probePatience = 3 * time.Second

// displace connects once more while the subject has a session that does not
// answer its ping any more, and returns the new one.
func displace(r *lab.RawCluster, old *lab.RawPeer, changes ...func(h *wire.Hello)) *lab.RawPeer {
	r.T.Helper()
	p := r.Dial()
	p.SwapInits()
	p.SayHello(changes...)
	old.Want(wire.TypePing, "W63: the old session is asked whether it lives")
	p.WantIdle("W63: the newcomer waits meanwhile")
	time.Sleep(probePatience)
	p.TakeHello()
	return p
}

// TestProtocolNewcomer holds an acceptor to W63: a newcomer does not displace a
// session that answers, whatever instance it says it is, and one that does not
// get through its handshake displaces nothing; a session that is silent gives
// way (F10).
func TestProtocolNewcomer(t *testing.T) {
	lab.RawTest(t, "W63 the old session lives", lab.RawSetup{}, func(t *testing.T, r *lab.RawCluster) {
		old := r.Connect()
		for i := range 3 {
			half := r.Dial()
			half.SwapInits()
			other := r.Dial()
			other.SwapInits()
			other.Write(other.HelloBytes(func(h *wire.Hello) { h.Cluster = "other" }))
			old.WantLife(uint32(i), "others are half way through the handshake")
		}
		for i := range byte(5) {
			p := r.Dial()
			p.SwapInits()
			p.SayHello(func(h *wire.Hello) { h.Instance[0] = 9 + i })
			ping := old.Want(wire.TypePing, "W63: the old session is asked whether it lives")
			p.WantIdle("W63: the newcomer waits meanwhile")
			old.Send(wire.AppendPing(nil, wire.TypePong, binary.LittleEndian.Uint64(ping.Body)))
			st := p.WantStatus(wire.TypeReject, wire.CodeDuplicate, "W63: the old session has answered")
			if i > 0 && !strings.Contains(st.Message, "another process has the same name") {
				t.Errorf("a second node of the same name is told %q, want the reason", st.Message)
			}
			p.WantClosed(wire.CodeDuplicate, "W63: the old session has answered")
			old.WantLife(uint32(10+i), "W63: a newcomer was refused")
		}
	})
	lab.RawTest(t, "W63 the old session is silent", lab.RawSetup{}, func(_ *testing.T, r *lab.RawCluster) {
		old := r.Connect()
		for i := range byte(5) {
			p := displace(r, old, func(h *wire.Hello) { h.Instance[0] = 9 + i/2 })
			old.WantClosed(wire.CodeTimeout, "W63: the old session did not answer")
			p.WantLife(0, "W63: the newcomer lives")
			old = p
		}
	})
	lab.RawTest(t, "W63 one newcomer at a time", lab.RawSetup{}, func(_ *testing.T, r *lab.RawCluster) {
		old := r.Connect()
		first, second := r.Dial(), r.Dial()
		for _, p := range []*lab.RawPeer{first, second} {
			p.SwapInits()
			p.SayHello()
			p.WantIdle("the old session is asked")
		}
		time.Sleep(probePatience)
		old.Want(wire.TypePing, "W63: the old session is asked whether it lives")
		old.WantClosed(wire.CodeTimeout, "W63: the old session did not answer")
		first.TakeHello()
		ping := first.Want(wire.TypePing, "W63: the second newcomer finds the first")
		first.Send(wire.AppendPing(nil, wire.TypePong, binary.LittleEndian.Uint64(ping.Body)))
		second.WantStatus(wire.TypeReject, wire.CodeDuplicate, "W63: the first newcomer lives")
		first.WantLife(0, "W63: the second newcomer was refused")
	})
	lab.RawTest(t, "W65 the old session is on its way out", lab.RawSetup{}, func(_ *testing.T, r *lab.RawCluster) {
		old := r.Connect()
		for i := range byte(3) {
			old.Send(lab.RawStatus(wire.TypeGoaway, 0, wire.CodeShutdown))
			p := r.Connect(func(h *wire.Hello) { h.Instance[0] = 9 + i })
			p.WantLife(0, "W65: a session after GOAWAY")
			old.WantLife(uint32(1+i), "W65: the session before finishes what it has")
			old = p
		}
	})
}

// TestProtocolSimultaneous holds both nodes to W64, when both dial at once
// (F11).
func TestProtocolSimultaneous(t *testing.T) {
	lab.RawTest(t, "W64 the subject decides", lab.RawSetup{Dials: true, Name: "z-raw"}, func(_ *testing.T, r *lab.RawCluster) {
		mine := r.Accept()
		mine.TakeInit()
		theirs := r.Dial()
		theirs.SwapInits()
		mine.Write(lab.RawInit(1, 1))
		mine.TakeHello() // from now on the subject's own connection goes first
		theirs.SayHello()
		theirs.WantIdle("W64: the subject's own HELLO is not answered yet")
		mine.SayHello()
		ping := mine.Want(wire.TypePing, "W63: the subject's connection lives")
		mine.Send(wire.AppendPing(nil, wire.TypePong, binary.LittleEndian.Uint64(ping.Body)))
		theirs.WantStatus(wire.TypeReject, wire.CodeDuplicate, "W64: the connection of the node with the larger name")
		mine.WantLife(0, "W64: the connection of the node with the smaller name")
	})
	lab.RawTest(t, "W64 the subject's own connection fails", lab.RawSetup{Dials: true, Name: "z-raw"}, func(_ *testing.T, r *lab.RawCluster) {
		mine := r.Accept()
		mine.TakeInit()
		mine.Write(lab.RawInit(1, 1))
		mine.TakeHello()
		theirs := r.Dial()
		theirs.SwapInits()
		theirs.SayHello()
		theirs.WantIdle("W64: the subject's own HELLO is not answered yet")
		mine.Conn.CloseWithError(0, "")
		theirs.TakeHello()
		theirs.WantLife(0, "W64: the other connection is the only one")
	})
	lab.RawTest(t, "W64 the raw peer decides", lab.RawSetup{Dials: true}, func(_ *testing.T, r *lab.RawCluster) {
		mine := r.Accept()
		mine.TakeInit()
		mine.Write(lab.RawInit(1, 1))
		mine.TakeHello()
		theirs := r.Dial()
		theirs.SwapInits()
		theirs.SayHello()
		theirs.TakeHello() // at once: the raw peer decides
		theirs.WantLife(0, "W64: the connection of the node with the smaller name")
		mine.SayHello() // it has changed its mind
		theirs.WantClosed(wire.CodeSuperseded, "W64: the other side has taken another one")
		mine.WantLife(0, "W64: the connection that the other side has taken")
	})
	lab.RawTest(t, "W60 no HELLO beside a session", lab.RawSetup{Dials: true}, func(_ *testing.T, r *lab.RawCluster) {
		mine := r.Accept()
		mine.TakeInit()
		r.Connect().WantLife(0, "the raw peer has dialled")
		mine.Write(lab.RawInit(1, 1))
		mine.WantClosed(wire.CodeDuplicate, "W60: there is a session by now")
	})
}
