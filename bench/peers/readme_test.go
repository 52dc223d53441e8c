package main

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gridmux/gridmux/bench/peers/h"
)

// TestReadmeSteps holds that the loads of steps differ, that flags which were given hold for
// each step in place of its own, and that all contenders have a name for README.
func TestReadmeSteps(t *testing.T) {
	t.Parallel()
	loads := map[load]string{}
	for _, s := range readmeSteps() {
		if other, ok := loads[s.load()]; ok {
			t.Errorf("%s has the load of %s", s.title, other)
		}
		loads[s.load()] = s.title
		for _, name := range s.against {
			if !slices.Contains(s.peers, name) {
				t.Errorf("%s: %q is compared with and not measured", s.title, name)
			}
		}
		for _, name := range s.peers {
			if labels[name].name == "" {
				t.Errorf("%s: %q has no name for README", s.title, name)
			}
		}
		o := s.options(options{mode: readmeMode, set: []string{"-mode=readme", "-warm=5ms"}})
		if o.rounds != s.rounds || o.dur != s.dur || !slices.Contains(o.set, "-dur="+s.dur.String()) ||
			!slices.Contains(o.set, "-mode="+s.mode) || slices.Contains(o.set, "-mode=readme") || !slices.Contains(o.set, "-warm=5ms") {
			t.Errorf("%s: %d rounds of %v with %q", s.title, o.rounds, o.dur, o.set)
		}
		o = s.options(options{mode: readmeMode, rounds: 1, dur: time.Millisecond, set: []string{"-mode=readme", "-dur=1ms"}})
		if o.rounds != 1 || o.dur != time.Millisecond || !slices.Contains(o.set, "-dur=1ms") || slices.Contains(o.set, "-dur="+s.dur.String()) {
			t.Errorf("%s: %d rounds of %v with %q", s.title, o.rounds, o.dur, o.set)
		}
	}
	for _, name := range shared {
		if h.Peers[name] == nil {
			t.Errorf("there is no contender %q", name)
		}
	}
}

// TestEveryStep holds that every contender of every step can be measured so, for a moment each
// with little of everything else.
func TestEveryStep(t *testing.T) {
	t.Parallel()
	for _, s := range readmeSteps() {
		for _, name := range s.peers {
			t.Run(s.title+"/"+name, func(t *testing.T) {
				t.Parallel()
				f := h.Peers[name]
				if f == nil {
					t.Fatal("there is no such contender")
				}
				o := s.options(options{mode: readmeMode, rounds: 1})
				o.conc = min(o.conc, 8)
				o.count, o.bulk, o.rate, o.callers = 8*20, 64<<10, 1000, 4
				o.warm, o.dur = 10*time.Millisecond, 200*time.Millisecond
				for first := 0.0; first <= 0; o.dur *= 2 { // on a busy machine a window may be over before a call is
					r := modes[o.mode].measure(f, o)
					if r.Err != "" || r.Peer != name || r.Mode != s.mode {
						t.Fatalf("%s of %s: %s", r.Mode, r.Peer, r.Err)
					}
					if first = modes[o.mode].figures[0].value(&r); first <= 0 && o.dur > time.Minute {
						t.Fatalf("its first figure is %v in %v", first, o.dur)
					}
				}
			})
		}
	}
}

// TestReadmeRun holds that a run prints the tables of each step and those of README, keeps what
// it has measured, which makes the same tables again, and takes the place of a run before.
func TestReadmeRun(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "run.jsonl")
	if err := os.WriteFile(file, []byte("a run before"), 0o644); err != nil {
		t.Fatal(err)
	}
	o, err := parseFlags([]string{"-mode=readme", "-rounds=1", "-warm=5ms", "-dur=100ms", "-out", file}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	var stdout, stderr strings.Builder
	if code := readme(t.Context(), o, readmeSteps()[:2], &stdout, &stderr); code != exitOK {
		t.Errorf("exit code %d\n%s", code, &stderr)
	}
	for _, want := range []string{"1 of 2, Calls, 1 at once, round 1 of 1: ideal-go; ", " left\n2 of 2, Calls, 8 at once, round 1 of 1: ours; "} {
		if !strings.Contains(stderr.String(), want) {
			t.Errorf("no %q in\n%s", want, &stderr)
		}
	}
	steps, block, ok := strings.Cut(stdout.String(), "## What README shows\n\n")
	if !ok || !strings.Contains(steps, "## Calls, 8 at once\n\nunary: median of 1 rounds") || !strings.Contains(steps, "Ratio to quic") {
		t.Errorf("got\n%s", &stdout)
	}
	all, err := readFound(file)
	if err != nil {
		t.Fatal(err)
	}
	if all.missing() == 0 {
		t.Error("no step is missing, and there were two")
	}
	all.steps = readmeSteps()[:2]
	if all.missing() != 0 || all.block() != block || all.run.Versions["github.com/quic-go/quic-go"] == "" {
		t.Errorf("%d are missing; what is kept makes\n%s\nwant\n%s", all.missing(), all.block(), block)
	}
	if _, err := os.Stat(file + unfinished); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("beside the file there is another: %v", err)
	}
	if code, again, _ := command(t, "-mode=readme", "-from="+file); code != exitOK || !strings.Contains(again, "The run is not complete") {
		t.Errorf("exit code %d\n%s", code, again)
	}
}

// TestReadmeInterrupt holds that an interrupt ends a run, which shows what it has and keeps it beside the
// file of a run before.
func TestReadmeInterrupt(t *testing.T) {
	t.Parallel()
	const before = "a run before"
	file := filepath.Join(t.TempDir(), "run.jsonl")
	if err := os.WriteFile(file, []byte(before), 0o644); err != nil {
		t.Fatal(err)
	}
	o, err := parseFlags([]string{"-mode=readme", "-rounds=2", "-warm=5ms", "-dur=50ms", "-out", file}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var stdout strings.Builder
	stderr := &trigger{word: ": quic;", f: cancel}
	if code := readme(ctx, o, readmeSteps(), &stdout, stderr); code != exitInterrupted {
		t.Errorf("exit code %d\n%s", code, &stderr.text)
	}
	for _, want := range []string{"## Calls, 1 at once", "Ratio to ideal-go", "## What README shows", "The run is not complete: "} {
		if !strings.Contains(stdout.String(), want) {
			t.Errorf("no %q in\n%s", want, &stdout)
		}
	}
	if strings.Contains(stdout.String(), "## Calls, 8 at once") || !strings.Contains(stderr.text.String(), "interrupted\n") {
		t.Errorf("it went on:\n%s\n%s", &stderr.text, &stdout)
	}
	if got, err := os.ReadFile(file); err != nil || string(got) != before {
		t.Errorf("of the run before there is %q, %v", got, err)
	}
	if all, err := readFound(file + unfinished); err != nil || len(all.results) != 1 || all.missing() == 0 {
		t.Errorf("of the run itself there is %+v, %v", all, err)
	}
}

// TestReadmeInterruptedAtOnce holds that a run which has measured nothing leaves nothing.
func TestReadmeInterruptedAtOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if code := run(ctx, []string{"-mode=readme", "-out", filepath.Join(dir, "run.jsonl")}, io.Discard, io.Discard); code != exitInterrupted {
		t.Errorf("exit code %d", code)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("there are %v, %v", left, err)
	}
}

// trigger is a writer that calls a function when a word was written.
type trigger struct {
	text strings.Builder
	word string
	f    func()
}

func (w *trigger) Write(p []byte) (int, error) {
	w.text.Write(p)
	if strings.Contains(w.text.String(), w.word) {
		w.f()
	}
	return len(p), nil
}

// TestProgress holds that the time left goes by how long things have taken.
func TestProgress(t *testing.T) {
	t.Parallel()
	p := newProgress(io.Discard, 10*time.Second)
	if left := p.left(0); left != 10*time.Second {
		t.Errorf("%v left at the beginning", left)
	}
	p.end(2 * time.Second)
	if left := p.left(3 * time.Second); left != 12*time.Second {
		t.Errorf("%v left when 2 s of 10 have taken 3, want 12", left)
	}
	p.end(9 * time.Second)
	if left := p.left(12 * time.Second); left != 0 {
		t.Errorf("%v left at the end", left)
	}
}
