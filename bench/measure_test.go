package main

import (
	"io"
	"testing"
	"time"
)

// TestFit expects a busy machine to measure fewer rounds in the same time, an odd number of them and
// three at least, and another one as many as were planned.
func TestFit(t *testing.T) {
	for took, want := range map[time.Duration]int{
		0: 9, time.Second: 9, 1250 * time.Millisecond: 9, 1400 * time.Millisecond: 7, 2 * time.Second: 5, 3 * time.Second: 3, time.Minute: 3,
	} {
		m := &measurement{plan: plan{rounds: 9}, options: options{duration: 10 * time.Second}}
		m.progress = newProgress(io.Discard, io.Discard, m.plan, 0, 0)
		rep := &report{Planned: 9}
		if m.fit(2, 2*took, rep); m.rounds != 9 {
			t.Errorf("with %v for each of two: %d rounds, want 9", took, m.rounds)
		}
		if m.fit(3, 3*took, rep); m.rounds != want || rep.Planned != want || m.progress.rounds != want {
			t.Errorf("with %v for each of three: %d rounds, and %d in the report, want %d", took, m.rounds, rep.Planned, want)
		}
	}
}

// TestFitAfterEveryRound expects rounds that become slow to end the measurement, and not only a slow first
// one, with none of those that were measured left out.
func TestFitAfterEveryRound(t *testing.T) {
	m := &measurement{plan: plan{rounds: 9}, options: options{duration: 9 * time.Second}}
	m.progress = newProgress(io.Discard, io.Discard, m.plan, 0, 0)
	rep := &report{Planned: 9}
	for round, want := range []int{9, 9, 5, 4} {
		round++
		took := time.Duration(round) * time.Second
		if round > 2 {
			took += time.Duration(round-2) * 3 * time.Second
		}
		if m.fit(round, took, rep); m.rounds != want || rep.Planned != want {
			t.Errorf("after round %d in %v: %d rounds, and %d in the report, want %d", round, took, m.rounds, rep.Planned, want)
		}
	}
}
