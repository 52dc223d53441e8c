package main

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestParseThreshold expects each form to be read, and each mistake to be answered with what would
// be right.
func TestParseThreshold(t *testing.T) {
	for s, want := range map[string]threshold{
		"p99<5ms":         {figure: "p99", below: true, limit: 5e6},
		"p99.9<1s":        {figure: "p99.9", below: true, limit: 1e9},
		"calls:max<100us": {figure: "max", below: true, limit: 1e5, workload: "calls"},
		"rate>1000":       {figure: "rate", limit: 1000},
		"failed<0.5%":     {figure: "failed", below: true, limit: 0.005},
		"links:failed<1":  {figure: "failed", below: true, limit: 1, workload: "links"},
	} {
		want.text = s
		if got, err := parseThreshold(s); err != nil || got != want {
			t.Errorf("%s: %+v, %v, want %+v", s, got, err, want)
		}
	}
	for _, s := range []string{"", "p99", "p99=5ms", "p99<", "p99<5", "p99>5ms", "p98<5ms", "rate<5", "rate>x", "failed>1%", "p99<-5ms", "p99<0s", "rate>NaN", "x:p99<5ms", "clusters:p99<5ms"} {
		if _, err := parseThreshold(s); err == nil || !strings.Contains(err.Error(), "p99<5ms") {
			t.Errorf("%q: %v, want what would be right", s, err)
		}
	}
}

// TestThresholds expects every line that does not keep to a threshold to be named, those of other
// workloads not to count, and a threshold that nothing was measured for not to be kept.
func TestThresholds(t *testing.T) {
	h := newHistogram()
	for range 100 {
		_ = h.RecordValue(int64(2 * time.Millisecond))
	}
	rep := &report{
		Cells: []cell{
			{table: calls, Title: "1 caller", Transport: "wss", PerSecond: 500, Latencies: &histogram{Histogram: h}},
			{table: streams, Title: "1 stream", Transport: "wss", PerSecond: 50},
		},
		Links: &linkReport{Results: []linkResult{{Title: "wan", Lines: []linkLine{
			{Transport: "quic", Calls: 100, Failed: 2, P99: 200 * time.Millisecond},
			{Transport: "wss", NoConnection: "it does not"},
		}}}},
	}
	for text, want := range map[string][]string{
		"calls:p99<5ms":   nil,
		"p99<300ms":       nil,
		"p99<5ms":         {"p99 is 200ms with quic over wan"},
		"p99<1ms":         {"p99 is 2.01ms with wss, 1 caller", "p99 is 200ms with quic over wan"},
		"rate>10":         nil,
		"rate>100":        {"rate is 50 per s with wss, 1 stream"},
		"failed<1%":       {"failed is 2.00% with quic over wan"},
		"mixed:p50<5ms":   {"nothing was measured that it is about"},
		"calls:failed<1%": {"nothing was measured that it is about"},
	} {
		limit, err := parseThreshold(text)
		if err != nil {
			t.Fatal(err)
		}
		var full []string
		for _, w := range want {
			full = append(full, "threshold "+text+": "+w)
		}
		if got := rep.broken([]threshold{limit}); !slices.Equal(got, full) {
			t.Errorf("%s: %q, want %q", text, got, full)
		}
	}
}

// TestThresholdExitCode expects the exit code to say whether a threshold was kept, and what was
// measured to be printed either way.
func TestThresholdExitCode(t *testing.T) {
	for limit, want := range map[string]int{"calls:p99<10s": exitOK, "p50<1ns": exitFailed} {
		var stdout, stderr bytes.Buffer
		args := []string{"-no-demo", "-workloads", "calls", "-callers", "1", "-sizes", "none", "-duration", "200ms", "-transports", "inmem", "-out=", "-threshold", limit}
		code := program{kinds(), unshaped, &stdout, &stderr}.run(t.Context(), args)
		if code != want || (code == exitFailed) != strings.HasPrefix(stderr.String(), "bench: threshold "+limit+": p50 is ") {
			t.Errorf("%s: exit code %d and %q on stderr", limit, code, &stderr)
		}
		if !strings.Contains(stdout.String(), "1 caller\n") {
			t.Errorf("%s: no table in\n%s", limit, &stdout)
		}
	}
}
