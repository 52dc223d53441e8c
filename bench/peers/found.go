package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/klauspost/cpuid/v2"

	"github.com/gridmux/gridmux/bench/internal/kernel"
	"github.com/gridmux/gridmux/bench/peers/h"
)

// schema is the number of what a file with a run looks like. Others are not read.
const schema = 1

// runInfo is what the figures of a run depend on. It is the first line of the file that keeps
// them, and the only one that is not a window.
type runInfo struct {
	Schema  int
	Began   time.Time
	Command string // that makes another one like it
	CPU     string
	Cores   int
	Procs   int // GOMAXPROCS
	Kernel  string
	Go      string

	// Of -rounds and -dur, 0 where each step has had its own.
	Rounds int           `json:",omitempty"`
	Dur    time.Duration `json:",omitempty"`

	Versions map[string]string // of modules
}

func thisRun(o *options, now time.Time) runInfo {
	run := runInfo{
		Schema:   schema,
		Began:    now.Truncate(time.Second),
		Command:  strings.Join(append([]string{"go run ."}, o.args...), " "),
		CPU:      cmp.Or(cpuid.CPU.BrandName, cpuid.CPU.VendorString, "unknown processor"),
		Cores:    runtime.NumCPU(),
		Procs:    runtime.GOMAXPROCS(0),
		Kernel:   kernel.Version(),
		Go:       runtime.Version(),
		Rounds:   o.rounds,
		Versions: map[string]string{},
	}
	if o.given("dur") {
		run.Dur = o.dur
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, dep := range info.Deps {
			if slices.ContainsFunc(modules(), func(m string) bool { return m == dep.Path }) {
				run.Versions[dep.Path] = dep.Version
			}
		}
	}
	return run
}

// runLine is the line of a file that says of which run it is.
type runLine struct{ Run *runInfo }

func (run *runInfo) line() ([]byte, error) {
	line, err := json.Marshal(runLine{run}) //nolint:musttag // the names are those of the fields
	return append(line, '\n'), err
}

// load tells the windows of one step from those of the others.
type load struct {
	mode       string
	size, conc int
}

// load is what the results of a step say that they are of.
func (s *step) load() load {
	switch s.mode {
	case modeIdle, modeMesh:
		return load{mode: s.mode, conc: s.conc}
	case modeOpen:
		return load{s.mode, cmp.Or(s.size, smallSize), smallCallers}
	default:
		return load{s.mode, cmp.Or(s.size, smallSize), s.conc}
	}
}

// found is what a run of the steps has found.
type found struct {
	run     runInfo
	steps   []step
	results map[load][]h.OpenLoopResult
}

func newFound(run runInfo, steps []step) *found {
	return &found{run: run, steps: steps, results: make(map[load][]h.OpenLoopResult)}
}

func (f *found) add(results []h.OpenLoopResult) {
	for i := range results {
		r := &results[i]
		of := load{r.Mode, r.Size, r.Conc}
		f.results[of] = append(f.results[of], *r)
	}
}

// options are those of a step in this run.
func (f *found) options(s *step) options {
	o := options{mode: readmeMode, rounds: f.run.Rounds, dur: f.run.Dur}
	if f.run.Dur != 0 {
		o.set = []string{"-dur=" + f.run.Dur.String()}
	}
	return s.options(o)
}

// of is what there is of a load, which is one of the steps.
func (f *found) of(mode string, size, conc int) *report {
	for i := range f.steps {
		if s := &f.steps[i]; s.load() == (load{mode, size, conc}) {
			return newReport(f.options(s), f.results[s.load()])
		}
	}
	return newReport(options{mode: mode}, nil)
}

// missing is how many windows there should be besides.
func (f *found) missing() (n int) {
	for i := range f.steps {
		o := f.options(&f.steps[i])
		n += o.rounds*len(o.peers) - len(f.results[f.steps[i].load()])
	}
	return n
}

// failed is what contenders that failed said.
func (f *found) failed() (all []string) {
	for i := range f.steps {
		l := f.steps[i].load()
		all = append(all, f.of(l.mode, l.size, l.conc).failed...)
	}
	return all
}

// others are the shares of the machine that something else used, of every window that tells.
func (f *found) others() (shares []float64) {
	for _, results := range f.results {
		for i := range results {
			if r := &results[i]; r.Mode != modeIdle && r.Mode != modeMesh && r.Err == "" {
				shares = append(shares, max(r.Other, 0))
			}
		}
	}
	return shares
}

// loaded is in how many windows something else used so much of the machine that figures say nothing.
func (f *found) loaded() (n int) {
	for _, share := range f.others() {
		if share > busy {
			n++
		}
	}
	return n
}

// readFound reads what a run of -mode readme has kept.
func readFound(file string) (*found, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var f *found
	number := 0
	for line := range bytes.Lines(text) {
		number++
		var l struct {
			runLine
			h.OpenLoopResult
		}
		if err := json.Unmarshal(line, &l); err != nil { //nolint:musttag // the names are those of the fields
			return nil, fmt.Errorf("%s:%d: %w", file, number, err)
		}
		switch {
		case l.Run != nil && f == nil && l.Run.Schema == schema:
			f = newFound(*l.Run, readmeSteps())
		case l.Run != nil && f == nil:
			return nil, fmt.Errorf("%s:%d: its schema is %d, and this version reads %d", file, number, l.Run.Schema, schema)
		case l.Run != nil || f == nil:
			return nil, fmt.Errorf("%s:%d: this is no file that -mode readme -out has written", file, number)
		case !f.has(&l.OpenLoopResult):
			return nil, fmt.Errorf("%s:%d: %s of %s is not what -mode readme measures", file, number, l.Mode, l.Peer)
		default:
			f.add([]h.OpenLoopResult{l.OpenLoopResult})
		}
	}
	if f == nil {
		return nil, fmt.Errorf("%s is empty", file)
	}
	return f, nil
}

// has tells whether a result is one of the steps.
func (f *found) has(r *h.OpenLoopResult) bool {
	return slices.ContainsFunc(f.steps, func(s step) bool {
		return s.load() == load{r.Mode, r.Size, r.Conc} && slices.Contains(s.peers, r.Peer)
	})
}
