package fallback_test

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/internal/lab"
	"github.com/gridmux/gridmux/transport"
	"github.com/gridmux/gridmux/transport/faulty"
)

// TestDialsByPreference connects two nodes under conditions of each kind, and
// holds over which transport they are connected, how long that took, what the
// node says of the other, and that nothing is left of the one that lost. A dial is
// a round trip of 20 ms, and so are INIT and HELLO; the acceptor has the session
// half of one later.
func TestDialsByPreference(t *testing.T) {
	const handshake = 60 * ms
	for _, test := range []struct {
		name    string
		disturb func(p *pair)
		over    string
		after   time.Duration
		passed  string // "": none
	}{
		{name: "both work", over: "udp", after: handshake},
		{
			name:    "udp refuses",
			disturb: func(p *pair) { p.udp.RefuseDials(p.name(dialler), p.name(other)) },
			over:    "tcp", after: 20*ms + handshake, passed: "udp to",
		},
		{
			name:    "udp is blocked",
			disturb: func(p *pair) { p.block(p.udp) },
			over:    "tcp", after: 250*ms + handshake, passed: "transport 1 of 2: another transport was faster: the peer was not reached",
		},
		{
			name: "udp connects and carries nothing",
			disturb: func(p *pair) {
				p.transport = func(i int) transport.Transport {
					f := faulty.Wrap(p.udp.Node(p.name(i)))
					f.StallAfter(faulty.Out, 0)
					p.t.Cleanup(f.Heal)
					return transport.Fallback(named{f, "udp", i, &p.udps}, p.tcpOf(i))
				}
			},
			over: "tcp", after: 250*ms + handshake, passed: "another transport was faster: the peer was reached",
		},
		{
			name:    "udp is slow, and still first",
			disturb: func(p *pair) { p.udp.SetLatency(50 * ms) },
			over:    "udp", after: 300 * ms,
		},
		{
			name:    "udp is too slow",
			disturb: func(p *pair) { p.udp.SetLatency(80 * ms) },
			over:    "tcp", after: 250*ms + handshake, passed: "another transport was faster",
		},
		{
			name: "udp is too slow, but tcp refuses",
			disturb: func(p *pair) {
				p.udp.SetLatency(80 * ms)
				p.tcp.RefuseDials(p.name(dialler), p.name(other))
			},
			over: "udp", after: 480 * ms,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			bothRoles(t, func(t *testing.T, p *pair) {
				if test.disturb != nil {
					test.disturb(p)
				}
				p.startOne(other)
				began := time.Now()
				p.startOne(dialler)
				if err := p.manager(dialler).WaitConnected(t.Context()); err != nil {
					t.Fatal(err)
				}
				if took := time.Since(began); took != test.after {
					t.Errorf("connecting took %v, want %v", took, test.after)
				}
				p.wait()
				p.want(test.over, "at the beginning")
				stats := p.stats(dialler)
				switch {
				case test.passed == "" && stats.Passed != nil:
					t.Errorf("the node is connected over the preferred transport and says that it passed one: %v", stats.Passed)
				case test.passed != "" && !lab.Mentions(stats.Passed, test.passed):
					t.Errorf("the node says that it passed a transport because of %v, want it to mention %q", stats.Passed, test.passed)
				}
				time.Sleep(6 * time.Second) // an acceptor gives up a stalled handshake after 5 s
				udp := map[string]int{"udp": 1}[test.over]
				p.wantOpen(udp, 1-udp, "a moment later")
				if log := p.logs[other].String(); strings.Contains(log, "refused") && !strings.Contains(log, "not finished within 5s") {
					t.Errorf("the node that was dialled complains about a race: %s", log)
				}
			})
		})
	}
}

// TestDownByAllTransports dials a peer that none of three transports reaches. The
// error of a call says what became of each, in the order of preference.
func TestDownByAllTransports(t *testing.T) {
	bothRoles(t, func(t *testing.T, p *pair) {
		p.transport = func(i int) transport.Transport {
			// The last one is not meant for this peer.
			return transport.Fallback(p.udpOf(i), p.tcpOf(i), named{p.tcp.Node(p.name(i)), "third", i, new(tally)})
		}
		for i := range p.nodes {
			p.nodes[i].Addr += "," + p.nodes[i].Addr + ",third-" + p.nodes[i].Addr
		}
		p.startOne(dialler)
		p.block(p.udp)
		time.Sleep(10 * time.Second)
		_, err := p.conn(dialler).Request(t.Context(), "echo", nil)
		lab.WantFailure(t, "a peer that is down", err, core.ErrDisconnected, core.OutcomeNotSent)
		lab.WantText(t, "a peer that is down", err, "udp to "+p.name(other), "tcp to "+p.name(other), "third to "+p.name(other))
		if s := err.Error(); strings.Index(s, "udp to") > strings.Index(s, "tcp to") || strings.Index(s, "tcp to") > strings.Index(s, "third to") {
			t.Errorf("the transports are not in their order: %v", err)
		}
		if got := p.stats(dialler); got.Transport != "" || got.Passed != nil {
			t.Errorf("a peer that is down is connected over %q, and passed is %v", got.Transport, got.Passed)
		}
		p.heal(p.udp)
		p.startOne(other)
		p.wait()
		p.want("udp", "when the peer is there")
		if got, want := p.manager(dialler).Addr(), p.nodes[dialler].Addr; got != want {
			t.Errorf("the node listens on %q, want %q", got, want)
		}
	})
}

// TestLossNamesTheTransport cuts all links of two nodes that have two transports. Why
// there is no connection says over which one it was.
func TestLossNamesTheTransport(t *testing.T) {
	bothRoles(t, func(t *testing.T, p *pair) {
		p.block(p.udp)
		p.start()
		p.want("tcp", "with udp blocked")
		p.cut(p.tcp)
		synctest.Wait()
		for i := range p.nodes {
			lab.WantText(t, "why there is no connection", p.stats(i).Down, "over tcp: ")
			_, err := p.conn(i).Request(t.Context(), "echo", nil)
			lab.WantText(t, "a call without a connection", err, "over tcp: ")
		}
		p.wait()
	})
}

// TestTransportThatEndsItsGoroutine holds that a transport which calls runtime.Goexit
// where it is dialled has failed: the next one is taken, and it is tried again later,
// also where that was to move to it.
func TestTransportThatEndsItsGoroutine(t *testing.T) {
	bothRoles(t, func(t *testing.T, p *pair) {
		p.udps.whenDialled(func(int) { runtime.Goexit() })
		p.start()
		p.want("tcp", "where the preferred transport ends its goroutines")
		time.Sleep(3 * time.Hour)
		p.udps.whenDialled(nil)
		time.Sleep(2 * time.Hour)
		p.want("udp", "two hours after it has stopped doing so")
	})
}

// TestHeadStartOfTheProven breaks all links of two nodes, one of whose transports
// has become slow. Where it has worked for the peer before, it is waited for; it
// has two seconds for that.
func TestHeadStartOfTheProven(t *testing.T) {
	bothRoles(t, func(t *testing.T, p *pair) {
		p.start()
		p.want("udp", "at the beginning")
		for _, test := range []struct {
			latency time.Duration
			over    string
		}{{300 * ms, "udp"}, {600 * ms, "tcp"}} {
			time.Sleep(10 * time.Minute) // so that what is lost does not count as broken
			p.udp.SetLatency(test.latency)
			p.cut(p.udp)
			synctest.Wait()
			p.wait()
			p.want(test.over, "after a cut, with a latency of "+test.latency.String())
		}
	})
}

// TestOneWayLinks connects two nodes of which one is heard over udp up to INIT and no
// further, as over a link that loses what is large in one direction. Whichever it
// is, tcp has to wait for its head start alone: neither for the time-out of the
// handshake nor for a reconnect, where udp has worked, or is tried once more. Later
// probes cost no call anything.
func TestOneWayLinks(t *testing.T) {
	const handshake = 60 * ms
	for _, mute := range []int{dialler, other} {
		t.Run(fmt.Sprintf("node %d is mute", mute), func(t *testing.T) {
			bothRoles(t, func(t *testing.T, p *pair) {
				var silent atomic.Bool
				silent.Store(true)
				p.transport = func(i int) transport.Transport {
					udp := transport.Transport(p.udp.Node(p.name(i)))
					if i == mute {
						udp = onceHeard{udp, &silent}
					}
					return transport.Fallback(named{udp, "udp", i, &p.udps}, p.tcpOf(i))
				}
				p.startOne(other)
				began := time.Now()
				p.startOne(dialler)
				if err := p.manager(dialler).WaitConnected(t.Context()); err != nil {
					t.Fatal(err)
				}
				if took := time.Since(began); took != 250*ms+handshake {
					t.Errorf("connecting took %v, want %v", took, 250*ms+handshake)
				}
				p.wait()
				p.want("tcp", "at the start")
				for _, wait := range []time.Duration{ms, 100 * ms, 3 * time.Second, time.Minute, 10 * time.Minute} {
					time.Sleep(wait)
					cut := time.Now()
					p.cut(p.tcp)
					p.wait()
					if took := time.Since(cut); took > 1500*ms {
						t.Errorf("%v after the last time, connecting again took %v", wait, took)
					}
					p.want("tcp", "after a cut")
				}
				l := p.loadWhenDialled(dialler)
				time.Sleep(8 * time.Second)
				l.wantNoFailure("while a node looks ahead")
				p.want("tcp", "after a look ahead")
				silent.Store(false)
				time.Sleep(75 * time.Minute)
				p.want("udp", "after udp was mended")
				time.Sleep(time.Minute)
				p.wantOpen(1, 0, "in the end")
			})
		})
	}
}

// onceHeard is a transport over which the first write of this node on a connection
// is the only one that arrives, as long as it is silent.
type onceHeard struct {
	transport.Transport

	silent *atomic.Bool
}

func (o onceHeard) Dial(ctx context.Context, to transport.Peer) (transport.Conn, error) {
	tc, err := o.Transport.Dial(ctx, to)
	if err != nil {
		return nil, err
	}
	return &onceHeardConn{Conn: tc, silent: o.silent}, nil
}

func (o onceHeard) Listen(ctx context.Context, addr string) (transport.Listener, error) {
	ln, err := o.Transport.Listen(ctx, addr)
	return onceHeardListener{ln, o.silent}, err
}

type onceHeardListener struct {
	transport.Listener

	silent *atomic.Bool
}

func (l onceHeardListener) Accept(ctx context.Context) (transport.Conn, error) {
	tc, err := l.Listener.Accept(ctx)
	if err != nil {
		return nil, err
	}
	return &onceHeardConn{Conn: tc, silent: l.silent}, nil
}

type onceHeardConn struct {
	transport.Conn

	silent *atomic.Bool
	spoken bool
}

func (c *onceHeardConn) Info() transport.Info {
	info := c.Conn.Info()
	info.Lanes = false
	return info
}

func (c *onceHeardConn) WriteFrames(frames [][]byte) error {
	if c.spoken && c.silent.Load() {
		return nil // and it is lost
	}
	c.spoken = true
	return c.Conn.WriteFrames(frames)
}
