package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// render prints what has changed.
func (c *comparison) render(w io.Writer) {
	for _, run := range []struct {
		name string
		rep  *report
	}{{"old", c.old}, {"new", c.new}} {
		interrupted := ""
		if run.rep.Interrupted {
			interrupted = ", interrupted"
		}
		fmt.Fprintf(w, "%s: %s, %s%s\n", run.name, run.rep.Began.Format("2006-01-02 15:04"), run.rep.Command, interrupted)
		for _, f := range run.rep.Failures {
			fmt.Fprintf(w, "%s\n", wrap(fmt.Sprintf("     FAILED: %s, %s: %s", f.Transport, f.Doing, f.Error), lineWidth))
		}
	}
	if different := c.differences(); len(different) > 0 {
		fmt.Fprintf(w, "\n%s\n", wrap("The two were not measured in the same environment ("+strings.Join(different, "; ")+
			"), so what differs need not be the code.", lineWidth))
	}
	for _, sentence := range c.missing() {
		fmt.Fprintf(w, "\n%s\n", wrap(sentence, lineWidth))
	}
	fmt.Fprintf(w, "\n%s\n\n%s\n", grid(c.rows()), wrap(c.reading(), lineWidth))
}

func (c *comparison) rows() (header []string, rows [][]string) {
	block := ""
	for i := range c.lines {
		l := &c.lines[i]
		if l.block != block {
			block = l.block
			rows = append(rows, []string{block})
		}
		between := "-"
		if l.within.known() {
			between = bounded(l.within.Low) + " to " + bounded(l.within.High)
		}
		rows = append(rows, []string{"  " + l.name + " " + l.what, digits(l.old), digits(l.new), times(l.change()), between, l.verdict()})
	}
	return []string{"", "old", "new", "new\n: old", "with 99%\nconfidence", ""}, rows
}

// bounded is an end of an interval. What is far off is only known to be.
func bounded(ratio float64) string {
	switch {
	case ratio < 0.01:
		return "below 0.01"
	case ratio > 100:
		return "above 100"
	}
	return digits(ratio)
}

// reading says the table in a few sentences.
func (c *comparison) reading() string {
	count := map[string]int{}
	for i := range c.lines {
		count[c.lines[i].verdict()]++
	}
	all := len(c.lines)
	if count["no difference"] == all {
		return fmt.Sprintf("Reading: no difference in any of %s.", plural(all, "figure"))
	}
	var parts []string
	for _, verdict := range []string{"better", "worse", "no difference", cannotTell, "too few windows to tell"} {
		if n := count[verdict]; n > 0 {
			parts = append(parts, fmt.Sprintf("%s in %d", verdict, n))
		}
	}
	var s strings.Builder
	fmt.Fprintf(&s, "Reading: of %s, %s.", plural(all, "figure"), strings.Join(parts, ", "))
	if count[cannotTell] > 0 {
		fmt.Fprintf(&s, " What cannot be told may have changed by more than %s, either way or not at all: measure both for longer.",
			times(narrowHigh))
	}
	if sure := count["better"] + count["worse"]; sure > 0 && all >= 20 {
		s.WriteString(" At this confidence about one of a hundred differs by chance.")
	}
	for _, higher := range []bool{true, false} {
		if change, oneWay := c.common(higher); oneWay {
			what := map[bool]string{true: "rates", false: "latencies"}[higher]
			fmt.Fprintf(&s, " All %s that differ do so in the same direction, %s in the middle: that may be the machine, "+
				"which ratios between transports are free of.", what, times(change))
		}
	}
	return s.String() + c.ratios()
}

// ratios says which transports have changed beside the reference, within each run: what the
// machine does besides has no part in that. It is empty where none can be compared so.
func (c *comparison) ratios() string {
	var names []string
	changed, unclear, all := 0, 0, 0
	for i := range c.old.Cells {
		a := &c.old.Cells[i]
		j := slices.IndexFunc(c.new.Cells, func(b cell) bool {
			return a.Workload == b.Workload && a.Title == b.Title && a.AtOnce == b.AtOnce && a.Transport == b.Transport
		})
		if j < 0 || a.Ratio <= 0 || c.new.Cells[j].Ratio <= 0 || a.Transport == reference || c.old.Size != c.new.Size {
			continue
		}
		before, after := ratiosOf(c.old, a), ratiosOf(c.new, &c.new.Cells[j])
		if len(before) == 0 || len(after) == 0 {
			continue
		}
		within := quotientInterval(after, before)
		if !within.known() {
			continue
		}
		all++
		if within.same() && !within.narrow() {
			unclear++
		}
		if !within.same() {
			changed++
			if !slices.Contains(names, a.Transport) {
				names = append(names, a.Transport)
			}
		}
	}
	switch {
	case all == 0:
		return ""
	case changed == 0 && unclear > 0:
		return fmt.Sprintf(" Compared with %s in the same run, no transport has surely changed; in %d of %s that cannot be told.",
			reference, unclear, plural(all, "figure"))
	case changed == 0:
		return fmt.Sprintf(" Compared with %s in the same run, no transport has changed in any of %s.", reference, plural(all, "figure"))
	}
	return fmt.Sprintf(" Compared with %s in the same run, %s changed, in %d of %s, of which one in a hundred is chance.", reference,
		list(names)+map[bool]string{true: " has", false: " have"}[len(names) == 1], changed, plural(all, "figure"))
}

// ratiosOf returns the ratios of a cell's windows to those of the reference.
func ratiosOf(r *report, c *cell) []float64 {
	i := slices.IndexFunc(r.Cells, func(ref cell) bool {
		return ref.Transport == reference && ref.Title == c.Title && ref.Workload == c.Workload
	})
	if i < 0 {
		return nil
	}
	return ratios(c.Windows, r.Cells[i].Windows)
}
