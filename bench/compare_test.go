package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// save writes a report as a run does, and returns the name of the file.
func save(t *testing.T, rep *report) string {
	t.Helper()
	rep.begin([]string{"-quick"}, time.Now())
	text, err := rep.marshal()
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), jsonFile)
	if err := os.WriteFile(name, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func compareRuns(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(t.Context(), append([]string{compareCommand}, args...), &out, &errs)
	checkPlain(t, out.String())
	return code, out.String(), errs.String()
}

// TestCompare expects a run compared with itself to have no difference, one where a
// transport has become slower to say so of that one alone, and one on another machine to say
// that too.
func TestCompare(t *testing.T) {
	whole := func() *report { return overGrid(local(t, 0.5, "websocket", "quic"), 3) }
	old := save(t, whole())

	code, out, errs := compareRuns(t, old, save(t, whole()))
	if code != exitOK || errs != "" || !strings.Contains(unwrapped(out), "Reading: no difference in any of ") || strings.Contains(out, "worse") {
		t.Errorf("the same: exit code %d, %q, and\n%s", code, errs, out)
	}

	slower := whole()
	for i := range slower.Cells {
		if c := &slower.Cells[i]; c.Transport == "quic" {
			for j := range c.Windows {
				c.Windows[j].Count /= 2
			}
		}
	}
	code, out, _ = compareRuns(t, old, save(t, slower))
	if code != exitOK || !strings.Contains(unwrapped(out), "Compared with websocket in the same run, quic has changed, in 8 of 8 figures, of which one in a hundred is chance.") {
		t.Errorf("slower: exit code %d and\n%s", code, out)
	}
	for line := range strings.Lines(out) {
		isRate := strings.Contains(line, " per s ")
		if isRate && strings.Contains(line, "quic") != strings.Contains(line, "0.50×") {
			t.Errorf("a change of what has not changed, or none of what has: %s", line)
		}
		if isRate && strings.Contains(line, "quic") && !strings.HasSuffix(line, "worse\n") {
			t.Errorf("half as many are not worse: %s", line)
		}
	}

	moved := whole()
	moved.Machine.Cores = 64
	if _, out, _ = compareRuns(t, old, save(t, moved)); !strings.Contains(unwrapped(out), "(cores: 2, and 64)") {
		t.Errorf("another machine: %s", out)
	}
}

// TestCompareFew expects too few windows to allow no verdict.
func TestCompareFew(t *testing.T) {
	few := func(count int64) *report {
		rep := local(t, 1, "websocket")
		for i := range rep.Cells {
			c := &rep.Cells[i]
			c.Windows = c.Windows[:2]
			for j := range c.Windows {
				c.Windows[j].Count = count
			}
		}
		return rep
	}
	if _, out, _ := compareRuns(t, save(t, few(100)), save(t, few(1000))); strings.Contains(out, "better") || !strings.Contains(unwrapped(out), "too few windows to tell in ") {
		t.Errorf("a verdict of two windows:\n%s", out)
	}
}

// TestCompareSaysWhatDiffers expects runs over different paths to be refused, links that were not the same
// to be left out, and what is known of one machine only, and an interrupt, to be told.
func TestCompareSaysWhatDiffers(t *testing.T) {
	whole := func(change func(*report)) *report {
		rep := overGrid(local(t, 0.5, "websocket", "quic"), 3)
		change(rep)
		return rep
	}
	same := whole(func(*report) {})
	far := save(t, whole(func(rep *report) { rep.Path = "192.0.2.7:7600" }))
	code, out, errs := compareRuns(t, save(t, same), far)
	if code != exitUsage || out != "" || strings.Count(errs, "\n") != 1 || !strings.Contains(errs, "over no path to another host, and "+far+" over 192.0.2.7:7600") {
		t.Errorf("another path: exit code %d, %q, and\n%s", code, errs, out)
	}
	for name, change := range map[string]func(*report){
		"shaped":             func(rep *report) { rep.Links.Shaped = true },
		"congestion control": func(rep *report) { rep.Links.TCPCongestion = "bbr" },
	} {
		if _, out, _ := compareRuns(t, save(t, same), save(t, whole(change))); strings.Contains(out, "over rtt=") {
			t.Errorf("%s: links that are not the same are compared:\n%s", name, out)
		}
	}
	_, out, _ = compareRuns(t, save(t, same), save(t, whole(func(rep *report) {
		rep.Interrupted = true
		rep.Machine.Environment.GODEBUG = "x=1"
	})))
	if !strings.Contains(unwrapped(out), "godebug: not known, and x=1") || !strings.Contains(out, "-quick, interrupted\n") {
		t.Errorf("the new run was interrupted, with GODEBUG:\n%s", out)
	}
}

// TestNothingBesideTheReference expects nothing to be said of a comparison with the reference where there is
// none: without its lines, or with too few rounds.
func TestNothingBesideTheReference(t *testing.T) {
	for name, rep := range map[string]*report{"no reference": local(t, 0.5, "wss", "quic"), "two rounds": local(t, 0.5, "websocket", "quic")} {
		if name == "two rounds" {
			for i := range rep.Cells {
				rep.Cells[i].Windows = rep.Cells[i].Windows[:2]
			}
		}
		if got := newComparison(rep, rep).ratios(); got != "" {
			t.Errorf("%s: %q", name, got)
		}
	}
}

// TestCompareLinks expects the p99 over a link to be that of the report: it was the median of the parts, which is
// far from it where few of them are slow.
func TestCompareLinks(t *testing.T) {
	before, after := overGrid(&report{}, 2), overGrid(&report{}, 4)
	c := newComparison(before, after)
	if len(c.lines) != 2*len(before.Links.Results) {
		t.Fatalf("%d figures of %d links with two transports", len(c.lines), len(before.Links.Results))
	}
	for i := range c.lines {
		l, result := &c.lines[i], i/2
		x, y := before.Links.Results[result].line(l.name), after.Links.Results[result].line(l.name)
		alike := func(a, b float64) bool { return math.Abs(a-b) < 1e-6*b }
		within := interval{l.within.Low * (1 - 1e-6), l.within.High * (1 + 1e-6)} // but for rounding
		if !alike(l.old, x.P99.Seconds()*1e3) || !alike(l.new, y.P99.Seconds()*1e3) || !within.holds(l.change()) {
			t.Errorf("%s %s: %v and %v ms, within %v, want %v and %v", l.block, l.name, l.old, l.new, l.within, x.P99, y.P99)
		}
		want := "no difference"
		if l.name == "quic" && before.Links.Results[result].Loss > 0 {
			want = "better"
		}
		if got := l.verdict(); got != want {
			t.Errorf("%s %s: %s, want %s", l.block, l.name, got, want)
		}
	}
}

// TestCompareRefuses expects files that cannot be compared to be refused with one line that
// names the file, and exit code 2.
func TestCompareRefuses(t *testing.T) {
	good := save(t, local(t, 1, "websocket"))
	file := func(text string) string {
		name := filepath.Join(t.TempDir(), "other.json")
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	other := local(t, 1, "quic")
	for want, args := range map[string][]string{
		"takes two files":                   {good},
		"no such file":                      {good, filepath.Join(t.TempDir(), "none")},
		"is a directory":                    {t.TempDir(), good},
		"is no result of bench":             {file("{}"), good},
		"measure again with this version":   {good, file(`{"schema":"gridmux-bench/2","cells":[]}`)},
		"cannot unmarshal":                  {file(`{"schema":"` + schema + `","cells":3}`), good},
		"a histogram":                       {file(`{"schema":"` + schema + `","cells":[{"latencies":"no"}]}`), good},
		"have measured nothing that is the": {good, save(t, other)},
	} {
		code, out, errs := compareRuns(t, args...)
		if code != exitUsage || out != "" || strings.Count(errs, "\n") != 1 || !strings.HasPrefix(errs, "bench: compare") || !strings.Contains(errs, want) {
			t.Errorf("%v: exit code %d, stdout %q, and %q on stderr, want %q", args, code, out, errs, want)
		}
	}
	if code, out, _ := compareRuns(t, "-h"); code != exitOK || !strings.HasPrefix(out, "Usage: ") {
		t.Errorf("-h: exit code %d, %q", code, out)
	}
}

// TestHistogramInJSON expects a whole histogram to come back as it was.
func TestHistogramInJSON(t *testing.T) {
	h := histogram{Histogram: newLinkHistogram()}
	for i := range int64(10_000) {
		if err := h.RecordValue(1000 * (1 + i*i%70_000)); err != nil {
			t.Fatal(err)
		}
	}
	text, err := json.Marshal(&h)
	if err != nil {
		t.Fatal(err)
	}
	var back histogram
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	if !back.Equals(h.Histogram) {
		t.Error("it is another one")
	}
	if err := json.Unmarshal([]byte(`""`), &back); err != nil {
		t.Errorf("one of nothing: %v", err)
	}
}

// TestHistogramGrows expects calls to be all that were recorded, also when they were asked for before.
func TestHistogramGrows(t *testing.T) {
	h := histogram{Histogram: newLinkHistogram()}
	for n := range 3 {
		if got := h.calls(); len(got) != n {
			t.Errorf("after %d calls there are %v", n, got)
		}
		if err := h.RecordValue(int64(n+1) * int64(time.Second)); err != nil {
			t.Fatal(err)
		}
	}
}

// TestCompareLatencies expects the p99 of two runs to be that of all requests, also of a run that has the median of
// its windows in its place, and to be within its interval, or in none.
func TestCompareLatencies(t *testing.T) {
	before, after := local(t, 0.5, "websocket", "quic"), local(t, 0.5, "websocket", "quic")
	want := before.Cells[0].P99.Seconds() * 1e6
	for i := range before.Cells {
		before.Cells[i].P99 /= 7
		if h := after.Cells[i].Latencies; h.recorded() {
			_ = h.RecordValues(int64(time.Second), h.TotalCount()/50)
		}
	}
	n := 0
	for _, l := range newComparison(before, after).lines {
		if l.what != "p99 µs" {
			continue
		}
		if n++; n == 1 && l.old != want || l.new < 0.99e6 || l.within.known() && !l.within.holds(l.change()) {
			t.Errorf("%s %s: %v and %v, within %v, want %v first", l.block, l.name, l.old, l.new, l.within, want)
		}
	}
	if n == 0 {
		t.Error("no p99 is compared")
	}
}

// TestCompareMissing expects what is in one run only, what was measured in another way and what failed to be named:
// a transport that was gone from the new run was not mentioned.
func TestCompareMissing(t *testing.T) {
	whole := overGrid(local(t, 0.5, "websocket", "quic"), 3)
	less := overGrid(local(t, 0.5, "websocket"), 3)
	less.Links.Results = less.Links.Results[:5]
	less.fail("quic", "connecting two nodes", errors.New("no way"))
	_, out, _ := compareRuns(t, save(t, whole), save(t, less))
	for _, want := range []string{
		"In the old run only: over rtt=20ms,loss=2%; quic.", "FAILED: quic, connecting two nodes: no way",
	} {
		if !strings.Contains(unwrapped(out), want) {
			t.Errorf("%q is not in\n%s", want, out)
		}
	}
	_, out, _ = compareRuns(t, save(t, less), save(t, whole))
	if want := "In the new run only: over rtt=20ms,loss=2%; quic."; !strings.Contains(unwrapped(out), want) || strings.Contains(out, "old run only") {
		t.Errorf("%q is not in\n%s", want, out)
	}
	less.Size *= 2
	less.Links.Rate = 100
	less.Links = nil
	less.Paced = overGrid(local(t, 1, "websocket"), 3).Links
	whole.Paced = overGrid(local(t, 1, "websocket"), 3).Links
	_, out, _ = compareRuns(t, save(t, whole), save(t, less))
	for _, want := range []string{"Not compared: tables, of messages of 512 B, and now of messages of 1 KiB.", "In the old run only: links."} {
		if !strings.Contains(unwrapped(out), want) {
			t.Errorf("%q is not in\n%s", want, out)
		}
	}
	if _, out, _ = compareRuns(t, save(t, whole), save(t, whole)); strings.Contains(out, "only") || strings.Contains(out, "Not compared") {
		t.Errorf("the same: %s", out)
	}
}

// TestCompareVerdict expects what may be a large difference not to be said to be none.
func TestCompareVerdict(t *testing.T) {
	for within, want := range map[interval]string{
		{0.01, 100}: "cannot tell", {0.7, 1.1}: "cannot tell", {0.9, 1.1}: "no difference", {}: "too few windows to tell",
		{1.1, 100}: "better", {0.01, 0.9}: "better",
	} {
		l := compared{old: 1, new: 2, within: within, higher: within.Low > 1}
		if within.below() {
			l.new = 0.5
		}
		if got := l.verdict(); got != want {
			t.Errorf("%v: %s, want %s", within, got, want)
		}
	}
}

// TestCompareUnsound expects what no run measures, as in a file that was edited by hand, to be refused with one line.
func TestCompareUnsound(t *testing.T) {
	good := save(t, local(t, 0.5, "websocket", "quic"))
	for what, edit := range map[string]func(*report){
		"no time":    func(rep *report) { rep.Cells[0].Windows[1].Elapsed = 0 },
		"nothing":    func(rep *report) { rep.Cells[0].Windows[1].Count, rep.Cells[0].Windows[1].Elapsed = 0, 0 },
		"time back":  func(rep *report) { rep.Cells[0].Windows[1].Elapsed *= -1 },
		"no latency": func(rep *report) { overGrid(rep, 3).Links.Results[0].Lines[0].P99 = 0 },
		"compression": func(rep *report) {
			rep.Compression = &compressionReport{Results: []compressionResult{{Lines: []compressionLine{{Codec: off, Windows: make([]sample, 3)}}}}}
		},
	} {
		rep := local(t, 0.5, "websocket", "quic")
		edit(rep)
		code, out, errs := compareRuns(t, good, save(t, rep))
		if code != exitUsage || out != "" || strings.Count(errs, "\n") != 1 || !strings.Contains(errs, "which no run measures: name the file of a run") {
			t.Errorf("%s: exit code %d, %q, and\n%s", what, code, errs, out)
		}
	}
}

// TestCompareOlderSchema expects what was written with the schema before this one to be compared with what has this.
func TestCompareOlderSchema(t *testing.T) {
	rep := local(t, 1, "websocket", "quic")
	now := save(t, rep)
	rep.Schema = olderSchema
	if code, out, errs := compareRuns(t, save(t, rep), now); code != exitOK || !strings.Contains(out, "no difference") && !strings.Contains(out, "too few") {
		t.Errorf("exit code %d, %q and\n%s", code, errs, out)
	}
}
