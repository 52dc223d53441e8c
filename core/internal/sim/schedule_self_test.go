package sim_test

import (
	"fmt"
	"strings"
	"testing"
)

// TestScheduleIsTheSeeds holds that profile and schedule come from the seed
// alone, that every event has an instant of its own, and that every action is
// part of some seed.
func TestScheduleIsTheSeeds(t *testing.T) {
	drawn := map[*action]bool{}
	for seed := range uint64(300) {
		p := newProfile(seed, overMemory)
		events := newSchedule(p)
		again := newSchedule(newProfile(seed, overMemory))
		if p.String() != newProfile(seed, overMemory).String() || fmt.Sprint(events) != fmt.Sprint(again) {
			t.Fatalf("seed %d does not always give the same schedule", seed)
		}
		for i, e := range events {
			drawn[e.act] = true
			if i > 0 && e.at <= events[i-1].at {
				t.Errorf("seed %d: %v is not after %v", seed, e, events[i-1])
			}
		}
	}
	for _, table := range [][]*action{operations, faults} {
		for _, act := range table {
			if !drawn[act] {
				t.Errorf("no seed of 300 has %s", act.name)
			}
		}
	}
}

// TestChildRequest holds that what a child is asked for arrives.
func TestChildRequest(t *testing.T) {
	for _, want := range []childRequest{
		{over: overMemory, first: 1, step: 2, count: 3},
		{over: carriers[1], first: 7, count: 1, verbose: true, only: []int{}},
		{over: carriers[2], first: 7, count: 1, only: []int{3, 14, 15}},
	} {
		got, err := parseChildRequest(want.String())
		if err != nil || got.String() != want.String() || (got.only == nil) != (want.only == nil) {
			t.Errorf("%v arrives as %v, %v", want, got, err)
		}
	}
}

// TestOnly holds that leaving out events leaves the others as they are.
func TestOnly(t *testing.T) {
	events := newSchedule(newProfile(1, overMemory))
	few := only(events, []int{2, 5})
	if len(few) != 2 || few[0] != events[2] || few[1] != events[5] {
		t.Errorf("events 2 and 5 of %d are %v", len(events), few)
	}
}

// TestRogueGetsIn holds that nodes take the rogue for a member: else it would
// harm nobody, and no checker would notice.
func TestRogueGetsIn(t *testing.T) {
	const connected = "sees rogue: connecting -> connected"
	for seed := range uint64(200) {
		p := newProfile(seed, overMemory)
		if !p.rogue {
			continue
		}
		if out := run(t, p, newSchedule(p), false, func(v violation) { t.Log(v) }); strings.Contains(string(out.trace.text), connected) {
			return
		}
	}
	t.Error("no seed of 200 has it connected")
}
