package protocol_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/internal/lab"
	"github.com/gridmux/gridmux/core/internal/wire"
	"github.com/gridmux/gridmux/transport"
	"github.com/gridmux/gridmux/transport/inmem"
)

// movingTest runs a test in which the subject has a second network, better, that
// it prefers to the cluster's own. The raw peer has a session over the latter.
func movingTest(t *testing.T, name string, test func(t *testing.T, r *lab.RawCluster, better *inmem.Network, old *lab.RawPeer)) {
	t.Helper()
	lab.Bubble(t, name, func(t *testing.T) {
		better := inmem.NewNetwork()
		r := lab.NewRawCluster(t, lab.RawSetup{Config: func(cfg *core.Config) {
			cfg.Transport = transport.Fallback(better.Node(lab.SubjectName), cfg.Transport)
		}})
		test(t, r, better, r.Connect())
	})
}

func moves(h *wire.Hello) { h.Features |= wire.FeatureMove }

func pong(ping wire.Frame) []byte {
	return wire.AppendPing(nil, wire.TypePong, binary.LittleEndian.Uint64(ping.Body))
}

// TestProtocolMoveAccepted has the raw peer take over from its own session, and
// holds the acceptor to W66.
func TestProtocolMoveAccepted(t *testing.T) {
	movingTest(t, "W66 the acceptor goes over", func(t *testing.T, r *lab.RawCluster, better *inmem.Network, old *lab.RawPeer) {
		old.WantLife(0, "before the move")
		r.Network = better
		p := r.Dial()
		p.SwapInits()
		p.SayHello(moves)
		old.WantIdle("W66: the old session is not asked")
		p.TakeHello()
		if p.Hello.Features&wire.FeatureMove != 0 {
			t.Error("W66: the acceptor says that it moves too")
		}
		left := time.Now()
		call := r.Call(t.Context(), []byte("x"))
		f := p.Want(wire.TypeRequest, "W66: new calls of the acceptor are on the new session")
		p.Send(lab.RawFrame(wire.Frame{Type: wire.TypeResponse, ID: f.ID, Body: []byte("y")}))
		if got := lab.Wait(t, call, "the call returns"); string(got.Resp) != "y" || got.Err != nil {
			t.Errorf("a call on the new session returned %q, %v", got.Resp, got.Err)
		}
		for ; time.Since(left) < 5*time.Second; time.Sleep(time.Second) {
			old.Once(1, 1+uint32(time.Since(left)/time.Second))
		}
		old.WantStatus(wire.TypeGoaway, wire.CodeSuperseded, "W66: the acceptor leaves the old session a while later")
		fence := old.Want(wire.TypePing, "W43: a ping behind GOAWAY")
		old.Send(old.Request(2, 1, "echo", []byte("crossed")))
		if f := old.Want(wire.TypeResponse, "W66: a call that crossed GOAWAY is served"); string(f.Body) != "crossed" {
			t.Errorf("W66: a call that crossed GOAWAY returned %q", f.Body)
		}
		old.WantIdle("W43: a call may still be on its way")
		old.Send(pong(fence))
		old.Send(pong(old.Want(wire.TypePing, "W43: a ping behind the last frame of a call")))
		old.WantClosed(wire.CodeShutdown, "W43: who said GOAWAY closes when all is done")
		p.WantLife(5, "the new session")
	})
	calls := uint32(0)
	refused := func(t *testing.T, r *lab.RawCluster, old *lab.RawPeer, why string, change func(h *wire.Hello)) {
		t.Helper()
		p := r.Dial()
		p.SwapInits()
		p.SayHello(change)
		ping := old.Want(wire.TypePing, "W63, W66: the old session is asked, since "+why)
		old.Send(pong(ping))
		p.WantStatus(wire.TypeReject, wire.CodeDuplicate, "W63, W66: the old session lives, and "+why)
		p.WantClosed(wire.CodeDuplicate, "W63, W66: the old session lives, and "+why)
		calls++
		old.WantLife(calls, "a newcomer was refused")
	}
	movingTest(t, "W66 the acceptor stays", func(t *testing.T, r *lab.RawCluster, better *inmem.Network, old *lab.RawPeer) {
		refused(t, r, old, "the newcomer's link is not better", moves)
		r.Network = better
		refused(t, r, old, "the newcomer does not say that it moves", func(*wire.Hello) {})
		refused(t, r, old, "the newcomer is another process", func(h *wire.Hello) {
			moves(h)
			h.Instance[0]++
		})
	})
	movingTest(t, "W66 the newcomer does not get through", func(_ *testing.T, r *lab.RawCluster, better *inmem.Network, old *lab.RawPeer) {
		r.Network = better
		p := r.Dial()
		p.SwapInits()
		p.SayHello(moves)
		p.Want(wire.TypeHello, "W66: the newcomer is answered")
		_ = p.Conn.CloseWithError(0, "")
		time.Sleep(time.Second)
		old.WantLife(1, "W66: the old session is the only one")
	})
}

// listenOn lets the subject reach the raw peer by its preferred transport.
func listenOn(t *testing.T, r *lab.RawCluster, better *inmem.Network) {
	t.Helper()
	ln, err := better.Node(r.Name).Listen(t.Context(), r.Name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	r.Listener = ln
}

// acceptMove waits for an attempt to move, and answers the pings of the old session.
func acceptMove(t *testing.T, r *lab.RawCluster, old *lab.RawPeer) *lab.RawPeer {
	t.Helper()
	began := time.Now()
	for {
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		tc, err := r.Listener.Accept(ctx)
		cancel()
		if err == nil {
			return r.Play(tc)
		}
		if time.Since(began) > 2*time.Hour {
			t.Fatal("W66: the subject does not try to move")
		}
		time.Sleep(time.Second)
		if f, ok := old.Next(); ok && f.Type == wire.TypePing {
			old.Send(pong(f))
		}
	}
}

// TestProtocolMoveDialled has the subject find that the raw peer can be reached by
// the transport that it prefers, and holds the dialler to W66.
func TestProtocolMoveDialled(t *testing.T) {
	movingTest(t, "W66 the dialler goes over", func(t *testing.T, r *lab.RawCluster, better *inmem.Network, old *lab.RawPeer) {
		listenOn(t, r, better)
		p := acceptMove(t, r, old)
		p.Handshake()
		if p.Hello.Features&wire.FeatureMove == 0 {
			t.Error("W66: the dialler does not say that it moves")
		}
		ping := p.Want(wire.TypePing, "W66: the dialler asks whether the acceptor has gone over")
		p.WantLife(0, "W66: calls are served on the new session")
		call := r.Call(t.Context(), []byte("x"))
		f := old.Want(wire.TypeRequest, "W66: until then its calls are on the old session")
		old.Send(lab.RawFrame(wire.Frame{Type: wire.TypeResponse, ID: f.ID}))
		lab.Wait(t, call, "the call returns")
		p.Send(pong(ping))
		synctest.Wait()
		call = r.Call(t.Context(), []byte("x"))
		f = p.Want(wire.TypeRequest, "W66: then its calls are on the new session")
		p.Send(lab.RawFrame(wire.Frame{Type: wire.TypeResponse, ID: f.ID}))
		lab.Wait(t, call, "the call returns")
		old.WantLife(1, "W66: the old session was not left yet")
		old.Send(lab.RawStatus(wire.TypeGoaway, 0, wire.CodeSuperseded))
		call = r.Call(t.Context(), []byte("x"))
		p.Want(wire.TypeRequest, "W66: the acceptor leaves the old session")
		_ = p.Conn.CloseWithError(0, "")
		lab.Wait(t, call, "the call returns")
	})
	movingTest(t, "W66 another process answers", func(t *testing.T, r *lab.RawCluster, better *inmem.Network, old *lab.RawPeer) {
		listenOn(t, r, better)
		p := acceptMove(t, r, old)
		p.TakeInit()
		p.Write(lab.RawInit(1, 1))
		p.TakeHello()
		p.Write(p.HelloBytes(func(h *wire.Hello) { h.Instance[0]++ }))
		p.Write(lab.RawProof())
		p.WantClosed(wire.CodeDuplicate, "W66: the dialler does not move to another process")
		refused := time.Now()
		old.WantLife(0, "W66: the session with the first process goes on")
		acceptMove(t, r, old)
		if pause := time.Since(refused); pause < 3*time.Minute {
			t.Errorf("the dialler tries again after %v", pause)
		}
	})
	movingTest(t, "W66 the acceptor refuses", func(t *testing.T, r *lab.RawCluster, better *inmem.Network, old *lab.RawPeer) {
		listenOn(t, r, better)
		p := acceptMove(t, r, old)
		p.TakeInit()
		p.Write(lab.RawInit(1, 1))
		p.TakeHello()
		p.Write(lab.RawStatus(wire.TypeReject, 0, wire.CodeDuplicate))
		refused := time.Now()
		synctest.Wait()
		old.WantLife(0, "W66: the old session goes on")
		acceptMove(t, r, old)
		if pause := time.Since(refused); pause < 3*time.Minute {
			t.Errorf("the dialler tries again after %v", pause)
		}
	})
}

// TestProtocolMovesThatEndInOrder has the raw peer take part in every move and end
// the new session in order soon after. The subject moves less and less often.
func TestProtocolMovesThatEndInOrder(t *testing.T) {
	for name, end := range map[string]func(p *lab.RawPeer, ping wire.Frame){
		"GOAWAY before the dialler has gone over": func(p *lab.RawPeer, _ wire.Frame) {
			p.Send(lab.RawStatus(wire.TypeGoaway, 0, wire.CodeSuperseded))
			time.Sleep(time.Second)
			_ = p.Conn.CloseWithError(uint32(wire.CodeSuperseded), "")
		},
		"the end after the dialler has gone over": func(p *lab.RawPeer, ping wire.Frame) {
			p.Send(pong(ping))
			time.Sleep(time.Second)
			_ = p.Conn.CloseWithError(uint32(wire.CodeShutdown), "")
		},
	} {
		movingTest(t, "W66 "+name, func(t *testing.T, r *lab.RawCluster, better *inmem.Network, old *lab.RawPeer) {
			listenOn(t, r, better)
			var moved []time.Duration
			for began := time.Now(); time.Since(began) < 5*time.Hour; {
				p := acceptMove(t, r, old)
				moved = append(moved, time.Since(began))
				p.Handshake()
				end(p, p.Want(wire.TypePing, "W66: the dialler asks whether the acceptor has gone over"))
				synctest.Wait()
			}
			for i := 1; i < len(moved); i++ {
				if pause, want := moved[i]-moved[i-1], min(5*time.Minute<<min(i-1, 4), time.Hour); pause < want*3/4 {
					t.Errorf("W66: the subject has moved for time %d after %v, want %v at least: %v", i+1, pause, want*3/4, moved)
				}
			}
			if s := r.Conn().State(); s != core.StateConnected {
				t.Errorf("W66: the old session is gone: %v", s)
			}
		})
	}
}

// TestProtocolSeveralLinks has the raw peer dial by two transports at once. The
// acceptor answers on both, and the first READY counts.
func TestProtocolSeveralLinks(t *testing.T) {
	// twoLinks returns two connections, over the transport that the subject prefers
	// and the other, on which HELLO was said.
	twoLinks := func(t *testing.T, change func(h *wire.Hello)) (r *lab.RawCluster, links [2]*lab.RawPeer) {
		t.Helper()
		better := inmem.NewNetwork()
		r = lab.NewRawCluster(t, lab.RawSetup{Config: func(cfg *core.Config) {
			cfg.Transport = transport.Fallback(better.Node(lab.SubjectName), cfg.Transport)
		}})
		lesser := r.Network
		for i, n := range []*inmem.Network{better, lesser} {
			r.Network = n
			links[i] = r.Dial()
			links[i].SwapInits()
			if i == 0 {
				links[i].SayHello()
			} else {
				links[i].SayHello(change)
			}
			synctest.Wait()
		}
		return r, links
	}
	same := func(*wire.Hello) {}
	for first := range 2 {
		lab.Bubble(t, fmt.Sprintf("W60 W63 READY on link %d", first), func(t *testing.T) {
			_, links := twoLinks(t, same)
			second := links[1-first]
			second.Want(wire.TypeHello, "W63: the other link is answered too")
			second.Want(wire.TypeProof, "W63: the other link is answered too")
			links[first].TakeHello()
			second.WantClosed(wire.CodeDuplicate, "W63: the link that was not chosen is closed")
			links[first].WantLife(0, "W63: the link that was chosen")
		})
	}
	lab.Bubble(t, "W63 READY on both links", func(t *testing.T) {
		_, links := twoLinks(t, same)
		for _, p := range links {
			p.Want(wire.TypeHello, "W63: both are answered")
			p.Want(wire.TypeProof, "W63: both are answered")
		}
		for _, p := range links {
			p.Write(wire.AppendReady(nil))
		}
		synctest.Wait()
		alive := 0
		for _, p := range links {
			if p.Ended() == nil {
				alive++
			}
		}
		if alive != 1 {
			t.Errorf("W63: %d sessions live after READY on both links, want 1", alive)
		}
	})
	lab.Bubble(t, "W63 another process waits", func(t *testing.T) {
		_, links := twoLinks(t, func(h *wire.Hello) { h.Instance[0]++ })
		links[1].WantIdle("W63: another process is not answered while a handshake is under way")
		links[0].TakeHello()
		ping := links[0].Want(wire.TypePing, "W63: the session is asked")
		links[0].Send(pong(ping))
		links[1].WantStatus(wire.TypeReject, wire.CodeDuplicate, "W63: the session lives")
	})
	lab.Bubble(t, "W63 a second one over the same transport waits", func(t *testing.T) {
		r, links := twoLinks(t, same)
		links[1].Want(wire.TypeHello, "W63: the other link is answered too")
		third := r.Dial() // as links[1]
		third.SwapInits()
		third.SayHello()
		synctest.Wait()
		third.WantIdle("W63: one by each transport is answered")
		links[0].TakeHello()
		ping := links[0].Want(wire.TypePing, "W63: the session is asked")
		links[0].Send(pong(ping))
		third.WantStatus(wire.TypeReject, wire.CodeDuplicate, "W63: the session lives")
	})
}
