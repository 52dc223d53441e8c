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
		"failed<=0%":      {figure: "failed", below: true, orEqual: true},
		"rate>=1000":      {figure: "rate", orEqual: true, limit: 1000},
		"failed<0.5%":     {figure: "failed", below: true, limit: 0.005},
		"links:failed<1":  {figure: "failed", below: true, limit: 1, workload: "links"},
	} {
		want.text = s
		if got, err := parseThreshold(s); err != nil || got != want {
			t.Errorf("%s: %+v, %v, want %+v", s, got, err, want)
		}
	}
	for _, s := range []string{"", "p99", "p99=5ms", "p99<", "p99<5", "p99>5ms", "p98<5ms", "rate<5", "rate>x", "failed>1%", "p99<-5ms", "p99<0s", "rate>NaN", "x:p99<5ms", "clusters:p99<5ms", "failed<0%", "failed<=-1%", "p99<=0s", "links:rate>1", "streams:p99<1s", "paced:rate>1", "calls:failed<1%", "compression:rate>1"} {
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
		"calls:p99<5ms": nil,
		"p99<300ms":     nil,
		"p99<5ms":       {"p99 is 200ms with quic over wan"},
		"p99<1ms":       {"p99 is 2.01ms with wss, 1 caller", "p99 is 200ms with quic over wan"},
		"rate>10":       nil,
		"rate>100":      {"rate is 50 per s with wss, 1 stream"},
		"failed<=2%":    nil,
		"failed<=0%":    {"failed is 2.00% with quic over wan"},
		"rate>=50":      nil,
		"failed<1%":     {"failed is 2.00% with quic over wan"},
		"mixed:p50<5ms": {"nothing was measured that it is about"},
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

// TestThresholdOfFewCalls expects the slowest call to keep to a percentile for which there are too few calls, of a line
// of any table.
func TestThresholdOfFewCalls(t *testing.T) {
	h := newHistogram()
	for i := range 90 {
		took := int64(time.Millisecond)
		if i == 0 {
			took = int64(time.Second)
		}
		_ = h.RecordValue(took)
	}
	line := linkLine{Transport: "quic", Calls: 90, P99: time.Millisecond, P999: time.Millisecond, Max: time.Second}
	rep := &report{
		Cells: []cell{{table: calls, Title: "1 caller", Transport: "wss", PerSecond: 500, Latencies: &histogram{Histogram: h}}},
		Paced: &linkReport{Results: []linkResult{{Title: "wan", Lines: []linkLine{line}}}},
	}
	for _, text := range []string{"p99<5ms", "p99.9<5ms"} {
		limit, err := parseThreshold(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := rep.broken([]threshold{limit}); len(got) != 2 {
			t.Errorf("%s: %q", text, got)
		}
	}
}

// TestThresholdExitCode expects the exit code to say whether a threshold was kept, and what was
// measured to be printed either way.
func TestThresholdExitCode(t *testing.T) {
	t.Parallel()
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

// TestThresholdOfNothing expects a threshold for which there will be no figure to be refused before anything is
// measured, and one for which there will be to be taken.
func TestThresholdOfNothing(t *testing.T) {
	for args, taken := range map[string]bool{
		"-workloads calls -threshold failed<1%":                          false,
		"-workloads calls -threshold links:p99<1s":                       false,
		"-workloads streams -threshold p99<1s":                           false,
		"-workloads links,paced -threshold rate>1":                       false,
		"-workloads clusters -threshold p99<1s":                          false,
		"-transports inmem -threshold links:failed<=0%":                  false,
		"-workloads streams,links -threshold p99<1s":                     true,
		"-workloads links -threshold failed<=0%":                         true,
		"-workloads paced -threshold p99<5ms":                            true,
		"-threshold rate>1 -threshold calls:p99<5ms":                     true,
		"-connect h:7600 -key 0123456789abcdef -threshold fanout:rate>1": false,
	} {
		_, err := parseFlags(kinds(), strings.Fields(args))
		if taken != (err == nil) || err != nil && !strings.Contains(err.Error(), ": nothing that it is about is going to be measured: ") {
			t.Errorf("%s: %v", args, err)
		}
	}
}
