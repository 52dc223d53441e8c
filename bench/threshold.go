package main

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// threshold is what a figure has to keep to, so that a script can tell by the exit code.
type threshold struct {
	text     string
	figure   string
	below    bool // the figure has to be below the limit, or above it
	orEqual  bool // it may be the limit, as where nothing may fail
	limit    float64
	workload string // of which the lines count; "": of all that have the figure
}

// What a threshold can be about, other than latencies.
const (
	rateFigure   = "rate"   // per second: requests, rounds or messages
	failedFigure = "failed" // the share of calls at a set rate
)

// latencyFigures are the percentiles that a threshold can be about.
func latencyFigures() []string { return []string{"p50", "p90", "p99", "p99.9", "max"} }

const thresholdForm = "use p99<5ms, with p50, p90, p99, p99.9 or max, or rate>1000, or failed<1%, or failed<=0%, and before it " +
	"one of the workloads if it is only about that, as in calls:p99<5ms"

// hasFigure reports whether the lines of a workload have a figure.
func hasFigure(workload, figure string) bool {
	switch workload {
	case clustersName, compressionName:
		return false
	case pacedName, linksName: // the rate is the one that was asked for
		return figure != rateFigure
	case streams.String():
		return figure == rateFigure
	default:
		return figure != failedFigure
	}
}

// measurable fails if nothing that is going to be measured has the figure of a threshold, which nobody should have
// to wait for.
func (o *options) measurable() error {
	var measured []string
	for _, t := range o.tables {
		measured = append(measured, t.String())
	}
	if o.paced.wanted {
		measured = append(measured, pacedName)
	}
	if len(o.links.over) > 0 {
		measured = append(measured, linksName)
	}
	for _, t := range o.thresholds {
		if !slices.ContainsFunc(measured, func(w string) bool { return (t.workload == "" || t.workload == w) && hasFigure(w, t.figure) }) {
			return fmt.Errorf("flag -threshold %s: nothing that it is about is going to be measured: change it, or -workloads", t.text)
		}
	}
	return nil
}

// parseThreshold reads one like p99<5ms, rate>1000, failed<1% or calls:p99<5ms.
func parseThreshold(s string) (threshold, error) {
	t := threshold{text: s}
	rest := s
	if workload, after, ok := strings.Cut(s, ":"); ok {
		known := slices.Contains(strings.Split(workloadNames(), ","), workload)
		if !known || !hasFigure(workload, rateFigure) && !hasFigure(workload, "p99") {
			return t, fmt.Errorf("%q is no workload that has such figures: %s", workload, thresholdForm)
		}
		t.workload, rest = workload, after
	}
	i := strings.IndexAny(rest, "<>")
	if i < 0 {
		return t, errors.New(thresholdForm)
	}
	t.figure, t.below = rest[:i], rest[i] == '<'
	value, orEqual := strings.CutPrefix(rest[i+1:], "=")
	t.orEqual = orEqual
	var err error
	switch {
	case slices.Contains(latencyFigures(), t.figure) && t.below:
		var d time.Duration
		d, err = time.ParseDuration(value)
		t.limit = float64(d)
	case t.figure == rateFigure && !t.below:
		t.limit, err = strconv.ParseFloat(value, 64)
	case t.figure == failedFigure && t.below:
		number, percent := strings.CutSuffix(value, "%")
		t.limit, err = strconv.ParseFloat(number, 64)
		if percent {
			t.limit /= 100
		}
	default:
		err = errors.New("no such figure")
	}
	if err != nil || !(t.limit > 0 || t.limit == 0 && t.orEqual && t.figure == failedFigure) {
		return t, errors.New(thresholdForm)
	}
	if t.workload != "" && !hasFigure(t.workload, t.figure) {
		return t, fmt.Errorf("%s has no %s: %s", t.workload, t.figure, thresholdForm)
	}
	return t, nil
}

// figureLine is a line of any table with the figures that a threshold can be about.
type figureLine struct {
	workload string
	name     string
	figures  map[string]float64
}

// raise makes percentiles for which there are too few calls those of the slowest one: rounded, their rank may leave
// out one of less than a hundred.
func (l *figureLine) raise(calls int64) {
	if calls < leastForP99 {
		l.figures["p99"] = l.figures["max"]
	}
	if calls < leastForP999 {
		l.figures["p99.9"] = l.figures["max"]
	}
}

// figureLines returns those of a report.
func (r *report) figureLines() (all []figureLine) {
	for i := range r.Cells {
		c := &r.Cells[i]
		l := figureLine{c.table.String(), c.Transport + ", " + c.Title, map[string]float64{rateFigure: c.PerSecond}}
		if c.Latencies.recorded() {
			for name, q := range latencyQuantiles() {
				l.figures[name] = float64(c.Latencies.ValueAtQuantile(q))
			}
			l.raise(c.Latencies.TotalCount())
		}
		all = append(all, l)
	}
	for workload, links := range map[string]*linkReport{pacedName: r.Paced, linksName: r.Links} {
		if links == nil {
			continue
		}
		for i := range links.Results {
			for _, of := range links.Results[i].ranking() {
				l := figureLine{workload, of.Transport + " over " + links.Results[i].Title, map[string]float64{
					"p50": float64(of.P50), "p90": float64(of.P90), "p99": float64(of.P99), "p99.9": float64(of.P999),
					"max": float64(of.Max), failedFigure: float64(of.Failed) / float64(of.Calls),
				}}
				l.raise(of.Calls)
				all = append(all, l)
			}
		}
	}
	slices.SortStableFunc(all, func(a, b figureLine) int { return strings.Compare(a.workload, b.workload) })
	return all
}

func latencyQuantiles() map[string]float64 {
	return map[string]float64{"p50": 50, "p90": 90, "p99": 99, "p99.9": 99.9, "max": 100}
}

// broken returns a line for each figure that does not keep to a threshold, and for each
// threshold that there is no figure for: it was not kept, as far as anybody knows.
func (r *report) broken(all []threshold) (lines []string) {
	figures := r.figureLines()
	for _, t := range all {
		found := false
		for _, l := range figures {
			value, ok := l.figures[t.figure]
			if !ok || t.workload != "" && t.workload != l.workload {
				continue
			}
			found = true
			if !t.keeps(value) {
				lines = append(lines, fmt.Sprintf("threshold %s: %s is %s with %s", t.text, t.figure, t.format(value), l.name))
			}
		}
		if !found {
			lines = append(lines, fmt.Sprintf("threshold %s: nothing was measured that it is about", t.text))
		}
	}
	return lines
}

// keeps reports whether a figure keeps to it.
func (t *threshold) keeps(value float64) bool {
	switch {
	case value == t.limit:
		return t.orEqual
	case t.below:
		return value < t.limit
	default:
		return value > t.limit
	}
}

// format is a figure as the threshold has it.
func (t *threshold) format(value float64) string {
	switch t.figure {
	case rateFigure:
		return count(value) + " per s"
	case failedFigure:
		return digits(100*value) + "%"
	default:
		return round3(time.Duration(value)).String()
	}
}

// judge prints which thresholds were not kept, and reports whether all were.
func (p program) judge(rep *report, all []threshold) bool {
	lines := rep.broken(all)
	for _, line := range lines {
		fmt.Fprintf(p.stderr, "bench: %s\n", line)
	}
	return len(lines) == 0
}
