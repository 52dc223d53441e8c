package sim_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/gridmux/gridmux/core/coretest"
)

// In some seeds all that users do, and all that goes wrong, is between the first
// two nodes. Witnesses are calls and streams of the others, and of those two with
// the others. The seed is then played again with the witnesses alone, and each
// must have taken as long (I12).

var actWitness = &action{name: "witness", do: doWitness}

// drawWitnesses adds witnesses to a schedule.
func (g *generator) drawWitnesses() {
	for range 10 + g.IntN(30) {
		e := g.event(actWitness, g.p.settling()+g.within(g.p.length))
		e.a, e.b = 2+g.IntN(g.p.nodes-2), g.IntN(g.p.nodes)
		if e.a == e.b {
			e.b = g.IntN(2)
		}
		if g.IntN(2) == 0 {
			e.a, e.b = e.b, e.a
		}
		if g.IntN(2) == 0 {
			e.call = &callSpec{to: e.b, handler: hAppend, job: coretest.Job{Request: g.size(), Response: g.size()}, prio: g.prio()}
		} else {
			h := &talkHandlers[1+g.IntN(3)]
			e.talk = &talkSpec{to: e.b, handler: h.id, channels: g.IntN(3) == 0, prio: g.prio()}
			if h.takes {
				e.talk.up = lane{sizes: g.messages(), half: true}
			}
			e.talk.down = lane{sizes: g.messages()}
		}
		g.add(e)
	}
}

// settling is how long nodes take to connect at first.
func (p *profile) settling() time.Duration {
	return p.healTime() + time.Duration(p.nodes)*2*time.Millisecond
}

func doWitness(w *world, e *event) {
	in := w.nodes[e.a].run
	w.background(func() {
		began := w.now()
		var err error
		if e.call != nil {
			err = w.perform(w.ctx, in, e.call, false)
		} else {
			err = w.talk(w.ctx, in, e.talk)
		}
		took := w.now() - began
		if err != nil {
			w.violatef("I12", "witness #%d failed: %v", e.index, err)
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		w.witnesses[e.index] = took
	})
}

// runApart plays a seed, and if it has witnesses once more with them alone. What
// differs is played again: a process that the machine does not run for a while is
// made to take its goroutines in another order.
func runApart(t *testing.T, p *profile, events []*event, verbose bool, tell func(violation)) outcome {
	out := run(t, p, events, verbose, tell)
	if !p.apart {
		return out
	}
	alone := slices.DeleteFunc(slices.Clone(events), func(e *event) bool { return e.act != actWitness })
	for again := range 3 {
		if again > 0 {
			out = run(t, p, events, verbose, tell)
		}
		reference := run(t, p, alone, false, tell)
		late := compareWitnesses(p, alone, out.witnesses, reference.witnesses)
		if out.violations += reference.violations; len(late) == 0 || out.violations > 0 {
			break
		}
		if again == 2 {
			out.violations += len(late)
			for _, v := range late {
				tell(v)
			}
		}
	}
	return out
}

// compareWitnesses returns which witnesses did not take as long as they do alone. Two
// that meet between the same nodes may change places: which of two messages of one
// instant is written first decides which of them has memory first, and the other one
// waits for a round trip or two.
func compareWitnesses(p *profile, witnesses []*event, took, alone map[int]time.Duration) (late []violation) {
	for _, e := range witnesses {
		may := p.over.apart + 4*p.maxLatency() + time.Duration(p.over.apartShare*float64(alone[e.index]))
		if d := took[e.index] - alone[e.index]; d < -may || d > may {
			late = append(late, violation{e.at, "I12", fmt.Sprintf("%v took %v beside what happens between two other nodes, alone %v",
				e, took[e.index], alone[e.index])})
		}
	}
	return late
}
