package main

import (
	"strings"
	"testing"

	"github.com/gridmux/gridmux/bench/peers/h"
)

// TestReport holds that medians are those of all rounds, that a ratio compares
// only what ran in the same round, and that a reference that varies too much is
// marked.
func TestReport(t *testing.T) {
	t.Parallel()
	o := options{mode: "stream", peers: names{"fast", "slow"}, against: names{"fast"}, rounds: 3}
	result := func(peer string, round int, perS, allocs float64, err string) h.OpenLoopResult {
		return h.OpenLoopResult{Result: h.Result{Peer: peer, Rep: round, OpsPerS: perS, AllocsOp: allocs, CPUusOp: 1, Err: err}}
	}
	rep := newReport(o, []h.OpenLoopResult{
		result("fast", 1, 1000, 0, ""),
		result("slow", 1, 500, 2, ""), // 0.50
		result("slow", 2, 9000, 0, "lost its way"),
		result("fast", 2, 3000, 0, ""),
		result("fast", 3, 2000, 0, ""),
		result("slow", 3, 900, 4, ""), // 0.45
	})
	var out strings.Builder
	if code := rep.render(&out); code != exitFailed {
		t.Errorf("exit code %d, want %d", code, exitFailed)
	}
	var got strings.Builder
	for line := range strings.Lines(out.String()) {
		if strings.HasPrefix(line, "|") || strings.HasPrefix(line, "FAILED") {
			got.WriteString(line)
		}
	}
	const want = `|  | fast | slow |
| --- | --- | --- |
| messages per s | 2000 ±50 % | 500 ±80 % |
| allocations each | 0 ±0 % | 2.00 ±100 % |
| CPU each, µs | 1.00 ±0 % | 1.00 ±0 % |
|  | slow | spread of fast |
| --- | --- | --- |
| messages per s | 0.45 ±11 % | 50 %, too much |
| allocations each | – | 0 % |
| CPU each, µs | 1.00 ±0 % | 0 % |
FAILED: slow, round 2: lost its way
`
	if got.String() != want {
		t.Errorf("got\n%s\nwant\n%s", got.String(), want)
	}
}

// TestNumber holds that a number shows three digits and what was asked for.
func TestNumber(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		x      float64
		digits int
		want   string
	}{
		{0, 0, "0"},
		{0.123, 0, "0.12"},
		{1.234, 0, "1.23"},
		{12.34, 0, "12.3"},
		{123.4, 0, "123"},
		{12345, 0, "12345"},
		{12.345, 2, "12.35"},
	} {
		if got := number(test.x, test.digits); got != test.want {
			t.Errorf("%v with %d digits: got %q, want %q", test.x, test.digits, got, test.want)
		}
	}
}
