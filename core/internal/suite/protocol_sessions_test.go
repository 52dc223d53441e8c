package suite_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/internal/wire"
)

// TestProtocolSessionEnds holds the subject to W61 in every way that a session
// ends: calls are over on both sides, contexts of handlers have ended, and
// nothing of it shows in the next session, which knows nothing of it (W62).
func TestProtocolSessionEnds(t *testing.T) {
	for name, end := range map[string]func(r *rawCluster, p *rawPeer){
		"closed by the peer": func(_ *rawCluster, p *rawPeer) { p.tc.CloseWithError(uint32(wire.CodeShutdown), "bye") },
		"the link is cut":    func(r *rawCluster, p *rawPeer) { r.network.Cut(r.raw, rawSubject) },
		"closed for a fault": func(_ *rawCluster, p *rawPeer) { p.write([]byte{1}) },
		"superseded":         func(r *rawCluster, _ *rawPeer) { r.connect() },
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

// TestProtocolSuperseded holds that of two connections of a pair the new one
// lives and the old one ends with code 31, whoever the instance is, and that one
// that has not got through its handshake ends nothing.
func TestProtocolSuperseded(t *testing.T) {
	rawTest(t, "W62", rawSetup{}, func(_ *testing.T, r *rawCluster) {
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
			p := r.connect(func(h *wire.Hello) { h.Instance[0] = i })
			old.wantClosed(wire.CodeSuperseded, "W62: another connection took over")
			p.wantLife(0, "W62: the new connection lives")
			old = p
		}
	})
}
