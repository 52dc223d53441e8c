package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gridmux/gridmux/bench/peers/h"
)

var update = flag.Bool("update", false, "write golden files, and README's tables, instead of comparing with them")

func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("got\n%s\nwant, as %s has it,\n%s", got, file, want)
	}
}

// made is a run with results that are made up, two rounds of each step.
func made() *found {
	all := newFound(runInfo{
		Schema: schema, Began: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Command: "go run . -mode readme -rounds 2",
		CPU: "A processor", Cores: 2, Procs: 2, Kernel: "6.1", Go: "go1.26", Rounds: 2,
		Versions: map[string]string{"google.golang.org/grpc": "v1.2.3", "github.com/quic-go/quic-go": "v0.1.0"},
	}, readmeSteps())
	for i, s := range all.steps {
		for j, peer := range s.peers {
			for round := 1; round <= 2; round++ {
				// Steps, contenders and rounds differ, and everything is a sum of
				// small numbers, which no processor rounds in another way.
				x := float64(1000*(i+1) + 100*j + 10*round)
				l := s.load()
				all.add([]h.OpenLoopResult{{
					Result: h.Result{
						Mode: l.mode, Peer: peer, Size: l.size, Conc: l.conc, Rep: round, Ops: 1, OpsPerS: 64 * x,
						P50: x / 64, P99: x / 16, AllocsOp: float64(j), CPUusOp: x / 512, BulkMBs: x / 8,
						HeapB: 2 * x, StackB: 4 * x, RSSB: 8 * x, Gor: float64(2 + j), Other: 1.0 / 64,
					},
					IdleP99: x / 32, BulkAloneMBs: x / 4,
				}})
			}
		}
	}
	return all
}

// TestBlock holds what README shows of a run.
func TestBlock(t *testing.T) {
	t.Parallel()
	golden(t, filepath.Join("testdata", "block.golden"), made().block())
}

// TestBlockHonest holds that what makes a run one not to quote is said: contenders whose rounds
// differ, a machine that had other things to do, what failed, and what is missing.
func TestBlockHonest(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change func(all *found)
		want   string
	}{
		"nothing": {func(*found) {}, ""},
		"spread": {func(all *found) {
			for l, results := range all.results {
				for i := range results {
					if r := &all.results[l][i]; r.Peer == "ideal-go" && r.Mode == modeUnary && r.Conc == 8 && r.Rep == 2 {
						r.OpsPerS *= 2
					}
				}
			}
		}, ", *too much* |"},
		"busy": {func(all *found) {
			for l := range all.results {
				all.results[l][0].Other, all.results[l][1].Other = 0.5, 0.25
			}
		}, " and 50 % in the worst. **In 16 of 86 it used more than 10 %: the machine was busy, measure again.**"},
		"failure": {func(all *found) {
			l := all.steps[0].load()
			all.results[l][2].Err = "it broke"
		}, "**FAILED: ours, round 1: it broke**"},
		"missing": {func(all *found) {
			l := all.steps[0].load()
			all.results[l] = all.results[l][:3]
		}, " **The run is not complete: 5 windows are missing.**"},
	} {
		all := made()
		test.change(all)
		got := all.block()
		if test.want != "" && !strings.Contains(got, test.want) {
			t.Errorf("%s: no %q in\n%s", name, test.want, got)
		}
		for _, never := range []string{", *too much* |", "measure again", "FAILED", "not complete"} {
			if strings.Contains(got, never) && !strings.Contains(test.want, never) {
				t.Errorf("%s: %q in\n%s", name, never, got)
			}
		}
	}
	if got := newFound(runInfo{}, readmeSteps()).block(); !strings.Contains(got, "| 512 | – | – | – | – | – | – |") {
		t.Errorf("of nothing at all:\n%s", got)
	}
}

// TestCaptions holds that a table of several steps says of each how it was measured, where that differs.
func TestCaptions(t *testing.T) {
	t.Parallel()
	all := made()
	for l := range all.results {
		switch l {
		case load{modeUnary, smallSize, 8}, load{modeIdle, 0, pairs}:
			all.results[l] = slices.DeleteFunc(all.results[l], func(r h.OpenLoopResult) bool { return r.Rep > 1 })
		case load{modeUnary, smallSize, 512}, load{modeStream, smallSize, 64}:
			delete(all.results, l)
		}
	}
	got := all.block()
	for _, want := range []string{
		"(2 rounds of 1s for 1 caller, 64 callers; 1 round of 1s for 8 callers; not measured for 512 callers).",
		"(2 rounds of 2s for 1 stream; not measured for 64 streams).",
		"(2 rounds for the mesh; 1 round for the others).",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
}

// TestReadFound holds that a file which is no run of this version is refused with a sentence.
func TestReadFound(t *testing.T) {
	t.Parallel()
	all := made()
	run, err := all.run.line()
	if err != nil {
		t.Fatal(err)
	}
	result, err := json.Marshal(all.results[all.steps[0].load()][0])
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"":                        "is empty",
		"gibberish":               ":1: invalid character",
		string(result):            ":1: this is no file that -mode readme -out has written",
		string(run) + string(run): ":2: this is no file that -mode readme -out has written",
		`{"Run":{"Schema":77}}`:   ":1: its schema is 77, and this version reads 1",
		string(run) + `{"Mode":"unary","Peer":"ours","Size":512,"Conc":3}`: ":2: unary of ours is not what -mode readme measures",
		string(run) + string(result):                                       "",
	} {
		file := filepath.Join(t.TempDir(), "run.jsonl")
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		_, err := readFound(file)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

// The run whose tables README shows, of
//
//	go run . -mode readme -out ../../docs/bench/peers.jsonl
//	go test . -run TestTracked -update
//
// of which the second puts them into README.
const (
	trackedRun = "../../docs/bench/peers.jsonl"
	readmeFile = "../../README.md"
)

// TestTracked expects README's tables to be those of the tracked run, which has all steps as
// they are now.
func TestTracked(t *testing.T) {
	all, err := readFound(trackedRun)
	if err != nil {
		t.Fatal(err)
	}
	if n, failed := all.missing(), all.failed(); n != 0 || len(failed) > 0 || all.run.Rounds != 0 || all.run.Dur != 0 {
		t.Errorf("of the tracked run %d windows are missing, %q failed, and it had %d rounds of %v, want those of the steps",
			n, failed, all.run.Rounds, all.run.Dur)
	}
	if n, of := all.loaded(), len(all.others()); n*10 > of {
		t.Errorf("in %d of the %d windows of the tracked run the machine was busy: measure again", n, of)
	}
	text, err := os.ReadFile(readmeFile)
	if err != nil {
		t.Fatal(err)
	}
	const begin, end = "<!-- peers: results -->\n", "<!-- peers: end -->\n"
	before, rest, ok := bytes.Cut(text, []byte(begin))
	_, after, ended := bytes.Cut(rest, []byte(end))
	if !ok || !ended {
		t.Fatalf("README has no place for the results, between %q and %q", begin, end)
	}
	golden(t, readmeFile, string(before)+begin+all.block()+end+string(after))
}
