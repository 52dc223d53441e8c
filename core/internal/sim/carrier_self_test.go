package sim_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/core/coretest"
	"github.com/gridmux/gridmux/transport/inmem"
)

// TestRealTransports runs a few seeds over every transport but that of memory, and
// holds that no invariant is violated. More of them are run with the flags -transport
// and -seeds.
func TestRealTransports(t *testing.T) {
	n := uint64(20)
	switch {
	case raceEnabled: // what core and the transports do at once is tested without the simulator too
		n = 1
	case brief():
		n = 2
	}
	for _, over := range carriers[1:] {
		t.Run(over.name, func(t *testing.T) {
			f := &fleet{over: over, workers: workers(), maxFailures: *failures}
			f.runAll(t, 1, n)
		})
	}
}

// TestFaultsOfCarriers holds that each fault does over each transport what the others
// are to find out: connections between two nodes are lost, calls between them take
// longer, or neither dials the other.
func TestFaultsOfCarriers(t *testing.T) {
	byName := map[string]*action{}
	for _, act := range faults {
		byName[act.name] = act
	}
	for _, over := range carriers {
		t.Run(over.name, func(t *testing.T) {
			p := quietProfile(over)
			slow := p.conditions(0, 1)
			slow.Latency = 400 * time.Millisecond
			flips := p.conditions(0, 1)
			flips.Corrupt = 1
			for _, f := range []struct {
				name string
				e    event
				want string
			}{
				{"cut", event{}, "lost"},
				{"partition", event{}, "lost"},
				{"partition-one-way", event{}, "lost"},
				{"stall", event{}, "lost"},
				{"latency", event{link: slow}, "slow"},
				{"conditions", event{link: flips}, "lost"},
				{"cut-after", event{n: 3000}, "lost"},
				{"stall-after", event{n: 3000}, "lost"},
				{"corrupt", event{n: 1500}, "lost"},
				{"slow-accept", event{d: time.Second}, ""},
				{"crash", event{}, "lost"},
			} {
				act := byName[f.name]
				if !over.has(act) || over == overQUIC && f.name == "corrupt" {
					continue // a datagram that is spoilt is sent again
				}
				e := f.e
				e.act, e.at, e.a, e.b, e.c = act, p.settling(), 0, 1, -1
				took, text := playFault(t, p, &e)
				lost := strings.Contains(text, "sees node-1: connected -> connecting") || strings.Contains(text, "sees node-0: connected -> connecting")
				if lost != (f.want == "lost") || f.want == "slow" && took < slow.Latency {
					t.Errorf("%s: lost %v, a call takes %v; want %q", f.name, lost, took, f.want)
				}
			}
		})
	}
}

// quietProfile is one of a cluster in which nothing happens by itself.
func quietProfile(over *carrier) *profile {
	p := newProfile(1, over)
	p.nodes, p.tight, p.rogue, p.apart, p.buffer, p.prefers = 3, false, false, false, 0, nil
	p.latency, p.link = time.Millisecond, inmem.Conditions{Latency: time.Millisecond}
	p.drawPaths(stream(1, 1))
	p.limits.KeepAlive, p.limits.KeepAliveTimeout = 2*time.Second, 2*time.Second
	p.limits.ConnectTimeout, p.limits.MaxBackoff = time.Second, time.Second
	p.limits.MaxHandlers, p.limits.MaxHandlersTotal, p.limits.MaxCalls, p.limits.MaxOutput = 0, 0, 0, 0
	p.length = p.settling() + 20*time.Second
	return p
}

// playFault plays a schedule of one event and a call a second behind it, and returns
// how long the first of them took and what happened.
func playFault(t *testing.T, p *profile, e *event) (took time.Duration, text string) {
	events := []*event{e}
	for i := range 10 {
		call := &callSpec{to: 1, handler: hAppend, job: coretest.Job{Request: 300, Response: 300}, end: endTimeout, after: 900 * time.Millisecond}
		events = append(events, &event{act: operations[0], at: e.at + time.Duration(i+1)*time.Second, index: i + 1, a: 0, b: 1, c: -1, call: call})
	}
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(p, false, func(v violation) { t.Errorf("%s: %v", e.act.name, v) })
		w.play(events)
		w.finish()
		for _, c := range w.calls {
			if c.number == 1 {
				took = c.returned - c.issued
			}
		}
		text, _, _ = strings.Cut(string(w.trace.text), "faults end")
	})
	return took, text
}
