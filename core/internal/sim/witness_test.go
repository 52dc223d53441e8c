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

// apartFrom bounds how much longer or shorter a witness may take. What a node
// does takes no time, so that only the instants of arrivals can differ, which
// avoid each other by nanoseconds.
const apartFrom = time.Microsecond

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

// runApart plays a seed, and if it has witnesses once more with them alone.
func runApart(t *testing.T, p *profile, events []*event, verbose bool, tell func(violation)) outcome {
	out := run(t, p, events, verbose, tell)
	if !p.apart || out.violations > 0 {
		return out
	}
	alone := slices.DeleteFunc(slices.Clone(events), func(e *event) bool { return e.act != actWitness })
	reference := run(t, p, alone, false, tell)
	out.violations += reference.violations
	for _, e := range alone {
		took, want := out.witnesses[e.index], reference.witnesses[e.index]
		if d := took - want; d < -apartFrom || d > apartFrom {
			out.violations++
			tell(violation{e.at, "I12", fmt.Sprintf("%v took %v beside what happens between two other nodes, alone %v", e, took, want)})
		}
	}
	return out
}
