package fallback_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/coretest"
	"github.com/gridmux/gridmux/core/internal/lab"
	"github.com/gridmux/gridmux/transport"
	"github.com/gridmux/gridmux/transport/inmem"
)

// TestMovesUp connects two nodes while the preferred transport is blocked, opens
// it again, and waits. They move to it, and of the calls and streams that go on all
// the time, in both directions, none fails. Nobody is told of a change of state,
// and the old link is gone in the end.
func TestMovesUp(t *testing.T) {
	bothRoles(t, func(t *testing.T, p *pair) {
		l := p.moveBy(dialler)
		time.Sleep(8 * time.Second)
		p.want("udp", "after udp was opened")
		l.wantNoFailure("during the move")
		time.Sleep(time.Minute)
		p.wantOpen(1, 0, "after the move")
		p.wantStates("after a move", core.StateConnecting, core.StateConnected)
	})
}

// TestMovesWhicheverNodeCan connects two nodes of which only one reaches the other
// over udp, as behind a firewall that lets one direction through. Whichever it is,
// they are on udp within two minutes, and lose nothing on the way.
func TestMovesWhicheverNodeCan(t *testing.T) {
	for _, blocked := range []int{dialler, other} {
		t.Run(fmt.Sprintf("node %d is blocked", blocked), func(t *testing.T) {
			bothRoles(t, func(t *testing.T, p *pair) {
				p.refuseUDP()
				began := time.Now()
				p.start()
				p.want("tcp", "with udp refused")
				p.udp.AllowDials(p.name(1-blocked), p.name(blocked))
				l := p.loadWhenDialled(1 - blocked)
				time.Sleep(8 * time.Second)
				l.wantNoFailure("during the move")
				time.Sleep(2*time.Minute - time.Since(began))
				p.want("udp", "two minutes later")
				p.wantOpen(1, 0, "after the move")
			})
		})
	}
}

// TestNoMoveAgainstThePeersWill connects nodes that do not prefer the same
// transport, or of which one has a single one, and has them for a day. They stay
// with what they have: nobody moves to and fro, and no state changes.
func TestNoMoveAgainstThePeersWill(t *testing.T) {
	day := time.Duration(lab.Scale(24, 6, 24)) * time.Hour
	for name, transports := range map[string]func(p *pair, i int) transport.Transport{
		"contrary orders": func(p *pair, i int) transport.Transport {
			if i == other {
				return transport.Fallback(p.tcpOf(i), p.udpOf(i))
			}
			return transport.Fallback(p.udpOf(i), p.tcpOf(i))
		},
		"the other has tcp alone": func(p *pair, i int) transport.Transport {
			if i == other {
				return p.tcpOf(i)
			}
			return transport.Fallback(p.udpOf(i), p.tcpOf(i))
		},
		"the dialler has tcp alone": func(p *pair, i int) transport.Transport {
			if i == dialler {
				return p.tcpOf(i)
			}
			return transport.Fallback(p.udpOf(i), p.tcpOf(i))
		},
	} {
		t.Run(name, func(t *testing.T) {
			bothRoles(t, func(t *testing.T, p *pair) {
				p.transport = func(i int) transport.Transport { return transports(p, i) }
				p.start()
				over := p.stats(dialler).Transport
				began := time.Now()
				time.Sleep(day)
				p.want(over, "a day later")
				p.wantStates("within a day", core.StateConnecting, core.StateConnected)
				for i := range p.nodes {
					if n := len(p.udps.since(i, began)) + len(p.tcps.since(i, began)); n > 40 {
						t.Errorf("node %d has dialled %d times in a day for nothing", i, n)
					}
				}
				if over == "udp" {
					return
				}
				p.cut(p.tcp)
				p.wait()
				p.want("tcp", "after a cut")
			})
		})
	}
}

// TestNoFlapping has a preferred transport that works for half a minute at a time:
// its links break, and then it seems well again. The nodes move to it less and
// less often, and live on the other meanwhile.
func TestNoFlapping(t *testing.T) {
	day := time.Duration(lab.Scale(24, 6, 24)) * time.Hour
	bothRoles(t, func(t *testing.T, p *pair) {
		p.block(p.udp)
		p.start()
		p.heal(p.udp)
		var moves []time.Duration
		began := time.Now()
		for time.Since(began) < day {
			for p.stats(dialler).Transport == "tcp" {
				time.Sleep(time.Second)
			}
			moves = append(moves, time.Since(began))
			time.Sleep(30 * time.Second)
			p.want("udp", "half a minute after a move")
			p.cut(p.udp)
			p.wait()
			p.want("tcp", "after udp was lost")
		}
		for i := 1; i < len(moves); i++ {
			// Either node looks for itself, so it is the sooner of two.
			if pause, want := moves[i]-moves[i-1], min(5*time.Minute<<min(i-1, 4), time.Hour); pause < want*3/4 {
				t.Errorf("the nodes moved to udp for time %d after %v, want %v at least: %v", i+1, pause, want*3/4, moves)
			}
		}
		if n := len(moves); n < 5 {
			t.Errorf("the nodes moved only %d times in a day: %v", n, moves)
		}
	})
}

// TestOldSessionFinishes moves two nodes while a stream is open, and a call is in
// progress that takes longer than the move. Both end well on the old link, which
// is kept for as long; the handler of the stream is told that it drains.
func TestOldSessionFinishes(t *testing.T) {
	bothRoles(t, func(t *testing.T, p *pair) {
		p.block(p.udp)
		p.start()
		var streams []*core.RawStream
		var calls []<-chan error
		for i := range p.nodes {
			st, err := p.conn(i).OpenStream(t.Context(), "stream.echo", []byte("first"))
			if err != nil {
				t.Fatal(err)
			}
			streams = append(streams, st)
			calls = append(calls, lab.Go(func() error {
				return p.ledger.Call(t.Context(), p.conn(i), p.name(i), coretest.LedgerHandle, coretest.Job{Mode: coretest.Slow, For: 5 * time.Minute})
			}))
		}
		p.heal(p.udp)
		time.Sleep(2 * time.Minute)
		p.want("udp", "two minutes later")
		p.wantOpen(1, 1, "while the old session has something to finish")
		for i, st := range streams {
			for k := range 3 {
				if err := st.Send(fmt.Append(nil, k)); err != nil {
					t.Errorf("node %d: sending on a stream of the old session failed: %v", i, err)
				}
			}
			if err := st.CloseSend(); err != nil {
				t.Error(err)
			}
			n := 0
			for _, err := range st.All() {
				if n++; err != nil {
					t.Errorf("node %d: the stream of the old session failed: %v", i, err)
				}
			}
			if n != 4 {
				t.Errorf("node %d: a stream of the old session had %d messages, want 4", i, n)
			}
		}
		for i, call := range calls {
			if err := <-call; err != nil {
				t.Errorf("node %d: the call of the old session failed: %v", i, err)
			}
		}
		time.Sleep(time.Second)
		p.wantOpen(1, 0, "when the old session has nothing to do any more")
	})
}

// TestHandlersSeeTheMove holds that a handler on the old session sees it drain,
// so that a stream that would go on for ever can be opened anew.
func TestHandlersSeeTheMove(t *testing.T) {
	bothRoles(t, func(t *testing.T, p *pair) {
		p.handlers = func(_ int, m *core.Manager) error {
			return m.Handle("wait", func(ctx context.Context, req []byte) ([]byte, error) {
				select {
				case <-core.Draining(ctx):
					return req, nil
				case <-ctx.Done():
					return nil, ctx.Err()
				}
			})
		}
		p.block(p.udp)
		p.start()
		var calls []<-chan lab.Reply
		for i := range p.nodes {
			calls = append(calls, lab.GoCall(t.Context(), p.conn(i), "wait", nil))
		}
		synctest.Wait()
		p.heal(p.udp)
		time.Sleep(time.Minute)
		for i, call := range calls {
			if r := lab.Wait(t, call, "the handler sees that its session drains"); r.Err != nil {
				t.Errorf("node %d: the call failed: %v", i, r.Err)
			}
		}
		p.want("udp", "after the move")
	})
}

// TestBackToThePrevious moves two nodes and breaks the new link a moment later.
// They go on with the old one, which was not left yet: no state changes, and of
// the calls those fail that were on the broken link. They do not move again for
// minutes.
func TestBackToThePrevious(t *testing.T) {
	bothRoles(t, func(t *testing.T, p *pair) {
		p.block(p.udp)
		p.start()
		p.heal(p.udp)
		for p.stats(dialler).Transport == "tcp" || p.stats(other).Transport == "tcp" {
			time.Sleep(ms)
		}
		time.Sleep(time.Second)
		p.want("udp", "after the move")
		p.wantOpen(1, 1, "a second after the move")
		p.cut(p.udp)
		p.want("tcp", "after the new link was cut")
		p.wantStates("after a move and back", core.StateConnecting, core.StateConnected)
		for i := range p.nodes {
			if err := p.stats(i).Passed; !lab.Mentions(err, "lost after 1") || !lab.Mentions(err, "reset") {
				t.Errorf("node %d says that it passed udp because of %v, want how soon it was lost, and why", i, err)
			}
		}
		back := time.Now()
		for p.stats(dialler).Transport == "tcp" {
			time.Sleep(time.Second)
		}
		if pause := time.Since(back); pause < 3*time.Minute || pause > 7*time.Minute {
			t.Errorf("the nodes moved again after %v, want about five minutes", pause)
		}
	})
}

// TestPreferredDiesSilently moves two nodes and lets the preferred transport carry
// nothing any more, ten minutes later, without a word. They are back on the other
// within the time of the keep-alive and of an attempt, and no call lies.
func TestPreferredDiesSilently(t *testing.T) {
	bothRoles(t, func(t *testing.T, p *pair) {
		p.start()
		time.Sleep(10 * time.Minute)
		l := p.begin()
		time.Sleep(time.Second)
		p.block(p.udp)
		time.Sleep(15*time.Second + 5*time.Second)
		p.want("tcp", "after udp went dead")
		_, errs := l.end()
		for _, err := range errs {
			if core.OutcomeOf(err) == core.OutcomeRemote {
				t.Errorf("a handler failed because a link did: %v", err)
			}
		}
		time.Sleep(time.Hour)
		p.want("tcp", "an hour later")
		p.heal(p.udp)
		time.Sleep(75 * time.Minute)
		p.want("udp", "after udp was healed")
	})
}

// TestMoveUnderPressure moves two nodes whose old link is so narrow that calls and
// streams queue up for seconds on both sides. Those that are queued are sent, or
// go over the new link; none fails.
func TestMoveUnderPressure(t *testing.T) {
	bothRoles(t, func(t *testing.T, p *pair) {
		p.configure = func(_ int, cfg *core.Config) { cfg.MaxOutput = 100_000 }
		p.block(p.udp)
		p.start()
		p.tcp.SetConditions(inmem.Conditions{Latency: 10 * ms, Bandwidth: 300_000})
		p.udp.SetLatency(200 * ms)
		p.heal(p.udp)
		l := p.loadWhenDialled(dialler)
		for range 8 {
			for i := range p.nodes {
				l.repeat(l.ctx, 0, func() error {
					return p.ledger.Call(t.Context(), p.conn(i), p.name(i), coretest.LedgerHandle, coretest.Job{Request: 20_000, Response: 20_000})
				})
				l.repeat(l.ctx, 0, func() error { return talk(p.conn(i), 5_000) })
			}
		}
		time.Sleep(4 * time.Second)
		l.wantNoFailure("during the move")
		p.want("udp", "after the move")
	})
}

// TestQueuedCallsGoOver moves two nodes whose old link is so slow that it is left
// while calls still wait to be written to it. Those that were on their way are
// served, and the others go over the new link; none fails, and none runs twice.
func TestQueuedCallsGoOver(t *testing.T) {
	bothRoles(t, func(t *testing.T, p *pair) {
		p.configure = func(_ int, cfg *core.Config) {
			cfg.MaxOutput, cfg.KeepAlive, cfg.KeepAliveTimeout = 20_000, time.Second, 10*time.Minute
		}
		p.block(p.udp)
		p.start()
		p.tcp.SetConditions(inmem.Conditions{Latency: 10 * ms, Bandwidth: 10_000})
		p.heal(p.udp)
		time.Sleep(14 * time.Second)
		p.want("tcp", "before the move")
		var calls []<-chan error
		for range 100 {
			for i := range p.nodes {
				calls = append(calls, lab.Go(func() error {
					return p.ledger.Call(t.Context(), p.conn(i), p.name(i), coretest.LedgerHandle, coretest.Job{Request: 20_000, Response: 100})
				}))
			}
		}
		time.Sleep(30 * time.Second)
		for _, call := range calls {
			select {
			case err := <-call:
				if err != nil {
					t.Errorf("a call failed: %v", err)
				}
			case <-time.After(10 * time.Minute):
				t.Fatal("a call did not return for ten minutes")
			}
		}
		p.want("udp", "after the move")
		p.wantOpen(1, 0, "after the move")
	})
}
