package sim_test

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/gridmux/gridmux/transport/inmem"
)

// action is an entry of the tables operations and faults: something that a
// schedule can contain. To add one, add it to its table; nothing else needs to
// know of it.
type action struct {
	name string
	// weight says how often it is drawn, relative to the others of its table.
	weight int
	// rare makes it part of a seventh of the seeds instead of more than half.
	rare bool
	// pair: it concerns no more than two nodes, which keep running.
	pair bool
	// plan draws the particulars of one occurrence into e, and may add further
	// events that belong to it, such as the end of a fault. It returns false if
	// the profile has no use for the action.
	plan func(g *generator, e *event) bool
	// do carries it out. It runs on the driver's goroutine and does not wait.
	do func(w *world, e *event)
}

// event is one occurrence of an action. What its fields mean is up to the
// action; every one is drawn beforehand, so that an event stays the same when
// others are left out.
type event struct {
	index int
	at    time.Duration
	act   *action

	a, b, c int // nodes
	n       int
	d       time.Duration
	link    inmem.Conditions
	call    *callSpec
	talk    *talkSpec
	seed    uint64 // for what it does at random
}

func (e *event) String() string {
	s := fmt.Sprintf("%s #%-4d %-18s", stamp(e.at), e.index, e.act.name)
	for _, f := range []struct {
		name string
		v    any
		show bool
	}{
		{"a", e.a, true},
		{"b", e.b, e.b >= 0},
		{"c", e.c, e.c >= 0},
		{"n", e.n, e.n != 0},
		{"d", e.d, e.d != 0},
		{"link", fmt.Sprintf("%+v", e.link), e.link != inmem.Conditions{}},
		{"call", e.call, e.call != nil},
		{"stream", e.talk, e.talk != nil},
	} {
		if f.show {
			s += fmt.Sprintf(" %s=%v", f.name, f.v)
		}
	}
	return s
}

// generator draws a schedule.
type generator struct {
	*rand.Rand
	p      *profile
	events []*event
	taken  map[time.Duration]bool
}

// newSchedule draws what happens in the run of a profile, in order of time.
func newSchedule(p *profile) []*event {
	g := &generator{Rand: stream(p.seed, 2), p: p, taken: map[time.Duration]bool{}}
	for range p.operations {
		g.draw(p.mix.operations, g.within(p.length))
	}
	for range p.faults {
		g.draw(p.mix.faults, g.within(p.length))
	}
	if p.apart {
		g.drawWitnesses()
	}
	g.drawBlocks()
	g.drawEchoes()
	slices.SortFunc(g.events, func(a, b *event) int { return cmp.Compare(a.at, b.at) })
	for i, e := range g.events {
		e.index = i
	}
	return g.events
}

// draw adds one event of a table.
func (g *generator) draw(table []weighted, at time.Duration) {
	total := 0.0
	for _, w := range table {
		total += w.weight
	}
	x := g.Float64() * total
	for _, w := range table {
		if x -= w.weight; x < 0 {
			e := g.event(w.act, at)
			if g.p.over.has(w.act) && (w.act.plan == nil || w.act.plan(g, e)) {
				g.add(e)
			}
			return
		}
	}
}

func (g *generator) event(act *action, at time.Duration) *event {
	return &event{at: at, act: act, a: g.IntN(g.p.actors()), b: -1, c: -1, seed: g.Uint64()}
}

// add enters an event at an instant of its own.
func (g *generator) add(e *event) {
	for g.taken[e.at] {
		e.at++
	}
	g.taken[e.at] = true
	g.events = append(g.events, e)
}

// follow enters another event that belongs to e, some time after it.
func (g *generator) follow(e *event, after time.Duration, act *action) *event {
	next := *e
	next.at, next.act = e.at+after, act
	g.add(&next)
	return &next
}

// within returns an instant between 0 and d, to the nanosecond.
func (g *generator) within(d time.Duration) time.Duration {
	return 1 + time.Duration(g.Int64N(int64(d)))
}

// between returns a duration from low to high, short ones as often as long ones.
func (g *generator) between(low, high time.Duration) time.Duration { return between(g.Rand, low, high) }

// other returns a node that is not a.
func (g *generator) other(a int) int {
	n := g.p.actors()
	return (a + 1 + g.IntN(n-1)) % n
}

// pair draws two nodes for an event.
func (g *generator) pair(e *event) { e.b = g.other(e.a) }

// only returns the events with the given indexes; all if none are given.
func only(events []*event, indexes []int) []*event {
	if indexes == nil {
		return events
	}
	return slices.DeleteFunc(slices.Clone(events), func(e *event) bool { return !slices.Contains(indexes, e.index) })
}

// listOf writes indexes for a command line, and parseList reads them.
func listOf(indexes []int) string {
	return strings.Trim(strings.Join(strings.Fields(fmt.Sprint(indexes)), ","), "[]")
}

func parseList(s string) (indexes []int, err error) {
	if s == "none" {
		return []int{}, nil
	}
	for part := range strings.SplitSeq(s, ",") {
		var i int
		if _, err := fmt.Sscanf(part, "%d", &i); err != nil {
			return nil, fmt.Errorf("%q in the list of events: %w", part, err)
		}
		indexes = append(indexes, i)
	}
	return indexes, nil
}
