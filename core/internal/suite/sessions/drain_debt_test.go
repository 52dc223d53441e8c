package sessions_test

import (
	"context"
	"encoding/binary"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/coretest"
	"github.com/gridmux/gridmux/core/internal/lab"
	"github.com/gridmux/gridmux/core/internal/wire"
)

// debtPatience is how long a session that is to end waits at most for what its peer alone can
// bring: 2 * KeepAlive + KeepAliveTimeout.
const debtPatience = 15 * time.Second

// debtors are peers that answer pings, and owe something that a drain waits for.
var debtors = []struct {
	name   string
	setup  lab.RawSetup
	hello  []func(h *wire.Hello)
	owe    func(p *lab.RawPeer)
	each   func(p *lab.RawPeer) // ahead of every PONG
	reason string               // why its connection is closed
	left   string               // what is left when the time for the drain is over
}{
	{
		name:   "a part of a request",
		owe:    func(p *lab.RawPeer) { p.Send(p.RequestStart(0, 1, "echo", 1<<20, []byte("part"))) },
		reason: "does not send the rest of a request", left: `request of which "raw-0" has not sent all`,
	},
	{
		name: "an answer that it does not take",
		setup: lab.RawSetup{Handlers: map[core.HandlerID]core.HandlerFunc{
			"big": func(context.Context, []byte) ([]byte, error) { return make([]byte, 1<<20), nil },
		}},
		owe: func(p *lab.RawPeer) {
			p.AckByHand()
			p.Send(p.Request(0, 1, "big", nil))
		},
		reason: "does not take an answer", left: `answer that "raw-0" has not taken`,
	},
	{
		name:   "a lane that never comes",
		setup:  lab.RawSetup{Lanes: true},
		hello:  []func(h *wire.Hello){func(h *wire.Hello) { h.Lanes = 64 }},
		owe:    func(p *lab.RawPeer) { p.Send(wire.AppendLanes(nil, 1)) },
		reason: "keeps lanes open", left: `lane of "raw-0"`,
	},
	{
		name: "no end of what it asks for",
		owe:  func(*lab.RawPeer) {},
		each: func(p *lab.RawPeer) {
			p.Send(lab.RawFrame(wire.Frame{Type: wire.TypeMark}))
			synctest.Wait()
		},
		reason: "does not say that it has read the last answers", left: "a peer had not read the last answers",
	},
}

// liveOn answers the pings of every second at its end, until the connection of the peer has
// ended, for at most an hour, and does each before that.
func liveOn(p *lab.RawPeer, each func()) {
	for began := time.Now(); p.Ended() == nil; {
		if time.Since(began) > time.Hour {
			p.T.Error("an hour later the connection is there still")
			return
		}
		time.Sleep(time.Second)
		ping := uint64(0)
		for f, ok := p.Next(); ok; f, ok = p.Next() {
			if f.Type == wire.TypePing {
				ping = binary.LittleEndian.Uint64(f.Body)
			}
		}
		if p.Ended() != nil {
			return
		}
		each()
		if ping != 0 {
			p.Send(wire.AppendPing(nil, wire.TypePong, ping))
			synctest.Wait()
		}
	}
}

// drainWithin has the subject shut down.
func drainWithin(r *lab.RawCluster, limit time.Duration) <-chan error {
	return lab.Go(func() error {
		ctx, cancel := context.WithTimeout(r.T.Context(), limit)
		defer cancel()
		return r.Subject.Shutdown(ctx)
	})
}

// TestDebtorsHoldUpNobody drains nodes, and takes members out, whose peers live but do nothing
// about what they owe: their connections are closed when patience is over. They used to hold
// up Shutdown, or keep their sessions, for ever (F19, T23).
func TestDebtorsHoldUpNobody(t *testing.T) {
	for _, d := range debtors {
		each := func(p *lab.RawPeer) func() {
			return func() {
				if d.each != nil {
					d.each(p)
				}
			}
		}
		lab.RawTest(t, d.name+", Shutdown", d.setup, func(t *testing.T, r *lab.RawCluster) {
			p := connectOwing(r, d.owe, d.hello...)
			began := time.Now()
			done := drainWithin(r, time.Hour)
			liveOn(p, each(p))
			if err := lab.Wait(t, done, "Shutdown returns"); err != nil || time.Since(began) > debtPatience {
				t.Errorf("Shutdown returned %v after %v", err, time.Since(began))
			}
			lab.WantText(t, "the end of the connection", p.Ended(), d.reason)
		})
		lab.RawTest(t, d.name+", SetPeers", d.setup, func(t *testing.T, r *lab.RawCluster) {
			p := connectOwing(r, d.owe, d.hello...)
			began := time.Now()
			if err := r.Subject.SetPeers([]core.Node{{Name: lab.HonestName, Addr: lab.HonestName}}); err != nil {
				t.Fatal(err)
			}
			liveOn(p, each(p))
			if d := time.Since(began); d > debtPatience {
				t.Errorf("the connection of a peer that was taken out was closed after %v", d)
			}
			lab.WantText(t, "the end of the connection", p.Ended(), d.reason)
			r.Alive("afterwards")
		})
		lab.RawTest(t, d.name+", no time", d.setup, func(t *testing.T, r *lab.RawCluster) {
			p := connectOwing(r, d.owe, d.hello...)
			done := drainWithin(r, time.Second)
			liveOn(p, each(p))
			lab.WantText(t, "Shutdown", lab.Wait(t, done, "Shutdown returns"), d.left)
		})
	}
}

func nothing() {}

// connectOwing connects a peer that owes something.
func connectOwing(r *lab.RawCluster, owe func(p *lab.RawPeer), hello ...func(h *wire.Hello)) *lab.RawPeer {
	p := r.Connect(hello...)
	owe(p)
	synctest.Wait()
	if err := p.Ended(); err != nil {
		r.T.Fatal(err)
	}
	return p
}

// TestOwnQuestionsEndWithADrain drains a node whose question for the catalogue of a peer has no
// answer: it is the library's own, and nobody waits for it. It used to hold up Shutdown.
func TestOwnQuestionsEndWithADrain(t *testing.T) {
	lab.RawTest(t, "", lab.RawSetup{}, func(t *testing.T, r *lab.RawCluster) {
		p := r.Connect(func(h *wire.Hello) { h.Catalogue = lab.CatalogueDigest([]byte("x")) })
		p.Want(wire.TypeRequest, "the subject asks for the catalogue")
		began := time.Now()
		done := drainWithin(r, time.Hour)
		liveOn(p, nothing)
		if err := lab.Wait(t, done, "Shutdown returns"); err != nil || time.Since(began) > 2*time.Second {
			t.Errorf("Shutdown returned %v after %v", err, time.Since(began))
		}
	})
}

// TestSlowDebtorsAreWaitedFor drains a node while a request arrives, a part in less than
// patience: it is served, however long that takes (F19).
func TestSlowDebtorsAreWaitedFor(t *testing.T) {
	lab.RawTest(t, "", lab.RawSetup{}, func(t *testing.T, r *lab.RawCluster) {
		const parts = 20
		p := connectOwing(r, func(p *lab.RawPeer) { p.Send(p.RequestStart(0, 1, "echo", parts, []byte("p"))) })
		began := time.Now()
		done := drainWithin(r, time.Hour)
		sent, seconds := 1, 0
		liveOn(p, func() {
			if seconds++; seconds%9 == 0 && sent < parts {
				sent++
				p.Send(p.Fragment(0, 1, []byte("p")))
			}
		})
		if err := lab.Wait(t, done, "Shutdown returns"); err != nil || sent < parts {
			t.Errorf("Shutdown returned %v after %v, when %d of %d parts were there", err, time.Since(began), sent, parts)
		}
		if lab.Mentions(p.Ended(), "the rest of a request") {
			t.Errorf("the connection was closed: %v", p.Ended())
		}
	})
}

// TestHandlersOfDebtorsTakeTheirTime takes a member out while a handler runs for it: its
// session ends when that has returned, though the peer owes something, and not before.
func TestHandlersOfDebtorsTakeTheirTime(t *testing.T) {
	const takes = 10 * time.Minute
	slow := func(ctx context.Context, req []byte) ([]byte, error) {
		select {
		case <-time.After(takes):
			return req, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	lab.RawTest(t, "", lab.RawSetup{Handlers: map[core.HandlerID]core.HandlerFunc{"slow": slow}}, func(t *testing.T, r *lab.RawCluster) {
		p := connectOwing(r, func(p *lab.RawPeer) {
			p.Send(p.Request(0, 1, "slow", nil), p.RequestStart(1, 1, "echo", 1<<20, []byte("part")))
		})
		began := time.Now()
		if err := r.Subject.SetPeers([]core.Node{{Name: lab.HonestName, Addr: lab.HonestName}}); err != nil {
			t.Fatal(err)
		}
		liveOn(p, nothing)
		if d := time.Since(began); d < takes || d > takes+debtPatience {
			t.Errorf("the session ended after %v, want between %v and %v more", d, takes, debtPatience)
		}
		lab.WantText(t, "the end of the connection", p.Ended(), "the rest of a request")
	})
}

// TestDrainOverALongLink drains a node over a link that takes longer than its keep-alive waits
// for an answer, and lives by what else arrives. As long as a handler runs that goes on; the
// session used to end with its first ping unanswered (F19).
func TestDrainOverALongLink(t *testing.T) {
	lab.Bubble(t, "", func(t *testing.T) {
		const takes = 20 * time.Second
		c := lab.InmemLink().Cluster(t, 2,
			coretest.WithHandlers(func(_ int, m *core.Manager) error { return m.HandleStreamFunc("stream", lab.EchoStream) }),
			lab.Configure(func(cfg *core.Config) {
				cfg.KeepAlive, cfg.KeepAliveTimeout = 200*time.Millisecond, 400*time.Millisecond
			}),
			lab.Handle("slow", func(ctx context.Context, req []byte) ([]byte, error) {
				select {
				case <-time.After(takes):
					return req, nil
				case <-ctx.Done():
					return nil, ctx.Err()
				}
			}))
		c.Memory().SetLatency(500 * time.Millisecond)
		var streams []*core.RawStream
		for i := range 2 {
			st, err := c.Conn(i, 1-i).OpenStream(t.Context(), "stream", nil)
			if err != nil {
				t.Fatal(err)
			}
			streams = append(streams, st)
			go func() {
				for st.Send([]byte("x")) == nil {
					time.Sleep(50 * time.Millisecond)
				}
			}()
			go func() {
				for _, err := range st.All() {
					if err != nil {
						return
					}
				}
			}()
		}
		time.Sleep(time.Minute)
		call := lab.GoCall(t.Context(), c.Conn(1, 0), "slow", []byte("x"))
		time.Sleep(5 * time.Second)
		done := lab.Go(func() error { return c.Manager(0).Shutdown(t.Context()) })
		time.Sleep(takes - 2*time.Second)
		for _, st := range streams {
			st.Close()
		}
		if r := lab.Wait(t, call, "the call ends"); r.Err != nil {
			t.Errorf("the call returned %v", r.Err)
		}
		if err := lab.Wait(t, done, "Shutdown returns"); err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("Shutdown returned %v", err)
		}
	})
}
