package main

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"runtime"
	"slices"
	"strconv"

	"github.com/jedib0t/go-pretty/v6/table"

	"github.com/gridmux/gridmux/bench/peers/h"
)

// noisy is the spread of a contender from which on a ratio to it does not count.
const noisy = 0.15

// report is what a comparison found.
type report struct {
	options

	rounds map[string]map[int]*h.OpenLoopResult // by contender and round, those that did not fail
	failed []string
}

// newReport takes what collect returns.
func newReport(o options, results []h.OpenLoopResult) *report {
	rep := &report{options: o, rounds: make(map[string]map[int]*h.OpenLoopResult)}
	for _, name := range o.peers {
		rep.rounds[name] = make(map[int]*h.OpenLoopResult)
	}
	rep.options.rounds = 0 // those that there are, when it was interrupted
	for i := range results {
		r := &results[i]
		rep.options.rounds = max(rep.options.rounds, r.Rep)
		if r.Err != "" {
			rep.failed = append(rep.failed, fmt.Sprintf("%s, round %d: %s", r.Peer, r.Rep, r.Err))
			continue
		}
		rep.rounds[r.Peer][r.Rep] = r
	}
	return rep
}

// render prints a table of medians, one of ratios for each contender that was
// asked for, and what failed. It returns the exit code.
func (rep *report) render(w io.Writer) int {
	fmt.Fprintf(w, "%s: median of %d rounds, ± how far the farthest was off; GOMAXPROCS=%d, %s\n\n%s\n",
		rep.mode, rep.options.rounds, runtime.GOMAXPROCS(0), runtime.Version(), rep.medians())
	for _, reference := range rep.against {
		fmt.Fprintf(w, "\nRatio to %s in the same round: median, ± how far the farthest was off\n\n%s\n",
			reference, rep.ratios(reference))
	}
	if len(rep.failed) == 0 {
		return exitOK
	}
	fmt.Fprintln(w)
	for _, f := range rep.failed {
		fmt.Fprintln(w, "FAILED:", f)
	}
	return exitFailed
}

func (rep *report) medians() string {
	t := table.NewWriter()
	t.AppendHeader(header("", rep.peers...))
	for _, f := range modes[rep.mode].figures {
		row := table.Row{f.name}
		for _, name := range rep.peers {
			row = append(row, cell(rep.values(name, f), 0))
		}
		t.AppendRow(row)
	}
	return t.RenderMarkdown()
}

func (rep *report) ratios(reference string) string {
	others := slices.DeleteFunc(slices.Clone(rep.peers), func(name string) bool { return name == reference })
	t := table.NewWriter()
	t.AppendHeader(append(header("", others...), "spread of "+reference))
	for _, f := range modes[rep.mode].figures {
		row := table.Row{f.name}
		for _, name := range others {
			row = append(row, cell(rep.ratiosOf(name, reference, f), 2))
		}
		t.AppendRow(append(row, spreadCell(rep.values(reference, f))))
	}
	return t.RenderMarkdown()
}

func header(first string, names ...string) table.Row {
	row := table.Row{first}
	for _, name := range names {
		row = append(row, name)
	}
	return row
}

// values returns a figure of every round in which the contender did not fail.
func (rep *report) values(name string, f figure) (values []float64) {
	for _, r := range rep.rounds[name] {
		values = append(values, f.value(r))
	}
	return values
}

// ratiosOf returns a figure of a contender divided by that of the reference in
// the same round, for every round that both have and in which there is one.
func (rep *report) ratiosOf(name, reference string, f figure) (ratios []float64) {
	for round, r := range rep.rounds[name] {
		if base := rep.rounds[reference][round]; base != nil && f.value(base) != 0 {
			ratios = append(ratios, ratio(f.value(r), f.value(base)))
		}
	}
	return ratios
}

// cell shows values by their median and spread.
func cell(values []float64, digits int) string {
	if len(values) == 0 {
		return "–"
	}
	s := number(median(values), digits)
	if len(values) > 1 {
		s += " ±" + percent(spread(values))
	}
	return s
}

func spreadCell(values []float64) string {
	switch {
	case len(values) < 2:
		return "–"
	case spread(values) >= noisy:
		return percent(spread(values)) + ", too much"
	default:
		return percent(spread(values))
	}
}

// number shows at least digits after the point, and three of the number.
func number(x float64, digits int) string {
	for limit := 100.0; digits < 2 && math.Abs(x) < limit && x != 0; limit /= 10 {
		digits++
	}
	return strconv.FormatFloat(x, 'f', digits, 64)
}

func percent(x float64) string { return strconv.FormatFloat(100*x, 'f', 0, 64) + " %" }

// ratio is 0 where there is none.
func ratio(x, of float64) float64 {
	if of == 0 {
		return 0
	}
	return x / of
}

// median returns the middle of some values, of which there has to be one.
func median[T cmp.Ordered](values []T) T {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[(len(sorted)-1)/2]
}

// spread returns how far the farthest value is from the median, in parts of it.
func spread(values []float64) float64 {
	mid := median(values)
	far := 0.0
	for _, v := range values {
		far = max(far, math.Abs(v-mid))
	}
	return ratio(far, mid)
}
