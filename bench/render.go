package main

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	pretty "github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
)

const (
	// lineWidth is what a terminal has at least.
	lineWidth = 80
	// noisy is the spread above which the figures say little.
	noisy = 0.15
)

// render prints the tables and what there is to say about them.
func (r *report) render(w io.Writer) {
	if len(r.Cells) > 0 {
		switch {
		case r.Rounds == r.Planned:
		case len(r.Failures) > 0 && !r.Interrupted:
			fmt.Fprintf(w, "\nEverything failed by round %d of %d, this is what was complete.\n", r.Rounds+1, r.Planned)
		default:
			fmt.Fprintf(w, "\nInterrupted after round %d of %d, this is what was complete.\n", r.Rounds, r.Planned)
		}
		for _, t := range r.tables() {
			fmt.Fprintf(w, "\n%s\n\n%s\n", r.table(t), wrap(r.reading(t), lineWidth))
		}
		fmt.Fprintf(w, "\n%s\n", wrap(r.legend(), lineWidth))
		if warning := r.warning(); warning != "" {
			fmt.Fprintf(w, "\n%s\n", wrap(warning, lineWidth))
		}
	}
	if said := r.aboutLeftOut(); said != "" {
		fmt.Fprintf(w, "\n%s\n", wrap(said, lineWidth))
	}
	if r.Paced != nil {
		r.Paced.render(w)
	}
	if r.Clusters != nil {
		r.Clusters.render(w)
	}
	if r.Links != nil {
		r.Links.render(w)
	}
	if r.Compression != nil {
		r.Compression.render(w)
	}
	for _, f := range r.Failures {
		fmt.Fprintf(w, "\nFAILED: %s, %s: %s\n", f.Transport, f.Doing, f.Error)
	}
	switch {
	case len(r.partial()) > 0:
		fmt.Fprintln(w, "The tables have of what failed what was complete before.")
	case len(r.Failures) > 0 && r.measured():
		fmt.Fprintln(w, "The tables leave out what failed.")
	case len(r.Failures) > 0:
		fmt.Fprintln(w, "There is no table, since nothing could be measured.")
	}
	if len(r.Verdict) > 0 {
		fmt.Fprintf(w, "\nVERDICT\n")
		for _, sentence := range r.Verdict {
			fmt.Fprintf(w, "\n%s\n", wrap(sentence, lineWidth))
		}
	}
}

// measured reports whether there are any figures.
func (r *report) measured() bool {
	return len(r.Cells) > 0 ||
		r.Paced.measured() || r.Links.measured() ||
		r.Clusters != nil && len(r.Clusters.Lines) > 0 ||
		r.Compression != nil && len(r.Compression.Results) > 0
}

// legend explains the columns that need it.
func (r *report) legend() string {
	whose := "of both ends together"
	if r.Path != "" {
		whose = "of this end alone"
	}
	s := "Latencies (p50 to p99.9) are as the caller sees them, allocations and processor time " + whose + "."
	if slices.ContainsFunc(r.Cells, func(c cell) bool { return c.P50 > 0 && c.P999 == 0 }) {
		s = fmt.Sprintf("%s is a percentile that no request was above, of less than %d for a p99 or %s for a p99.9. %s",
			none, leastForP99, count(leastForP999), s)
	}
	switch {
	case slices.ContainsFunc(r.Cells, func(c cell) bool { return c.Within.known() }):
		s = "Behind a ratio is where it is with a confidence of 99 %; " + undecided + " stands before one that may as well be 1: " +
			"no difference. " + s
	case r.Rounds > 1:
		s = "± is how far the farthest window was off. " + s
	}
	s += r.longer()
	if r.Announced > r.Planned {
		what := "machine"
		if r.Path != "" {
			what = "path"
		}
		s += fmt.Sprintf(" The "+what+" was slower than expected: there was time for %d windows per line, and not for %d.",
			r.Planned, r.Announced)
	}
	if slices.ContainsFunc(r.Cells, r.short) {
		s = "In brackets is how many windows a line has, and how many it should have: it failed after those. " + s
	}
	return s
}

// longer says how long windows were that had to be longer than announced, if there are any.
func (r *report) longer() string {
	lines, longest := 0, time.Duration(0)
	for i := range r.Cells {
		of := slices.Max(each(r.Cells[i].Windows, func(s *sample) time.Duration { return s.Elapsed }))
		if longest = max(longest, of); of >= windowGrowth*r.Window {
			lines++
		}
	}
	switch {
	case lines == 0:
		return ""
	case len(r.PathFigures) > 0:
		return fmt.Sprintf(" The windows of %d of %s are longer, up to %v, so that what is under way gets through the path.",
			lines, plural(len(r.Cells), "line"), longest.Round(10*time.Millisecond))
	}
	return fmt.Sprintf(" In %d of %s windows of %v were too short for anything to end: they took up to %v.",
		lines, plural(len(r.Cells), "line"), r.Window, longest.Round(10*time.Millisecond))
}

// completed marks a line of a table that has fewer windows than there were rounds.
func completed(windows, rounds int) string {
	if windows >= rounds {
		return ""
	}
	return fmt.Sprintf(" (%d of %d)", windows, rounds)
}

// partial returns the transports that failed before all rounds were complete, of which the tables have
// what was complete.
func (r *report) partial() (names []string) {
	for _, name := range r.transports() {
		for _, t := range r.tables() {
			if cells := r.of(t, name); len(cells) < len(r.blocks(t)) || slices.ContainsFunc(cells, r.short) {
				names = append(names, name)
				break
			}
		}
	}
	return names
}

// short reports whether a line has fewer windows than there were rounds.
func (r *report) short(c cell) bool { return len(c.Windows) < r.Rounds }

// wrap breaks a text into lines.
func wrap(s string, width int) string {
	lines := strings.Split(text.WrapSoft(s, width), "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	return strings.Join(lines, "\n")
}

// table prints one of them.
func (r *report) table(of table) string { return grid(r.rows(of)) }

// rows returns its header and its lines; one of a block has nothing but the name of that.
func (r *report) rows(of table) (header []string, rows [][]string) {
	cols := r.columns(of)
	header = []string{""}
	for _, col := range cols {
		header = append(header, col.title)
	}
	block := "" // of the lines above
	for i := range r.Cells {
		c := &r.Cells[i]
		if c.table != of {
			continue
		}
		if c.Title != block {
			block = c.Title
			rows = append(rows, []string{block})
		}
		row := []string{"  " + c.Transport + completed(len(c.Windows), r.Rounds)}
		for _, col := range cols {
			row = append(row, col.value(c))
		}
		rows = append(rows, row)
	}
	return header, rows
}

// grid lays out a table whose first column is of names and the others of numbers.
func grid(header []string, rows [][]string) string {
	t := pretty.NewWriter()
	t.SuppressTrailingSpaces()
	style := pretty.StyleLight
	style.Options = pretty.Options{SeparateHeader: true}
	style.Format.Header = text.FormatDefault
	style.Box.PaddingLeft, style.Box.PaddingRight = "", "  "
	t.SetStyle(style)
	var configs []pretty.ColumnConfig
	for i := range header[1:] {
		configs = append(configs, pretty.ColumnConfig{Number: i + 2, Align: text.AlignRight, AlignHeader: text.AlignRight})
	}
	t.SetColumnConfigs(configs)
	t.AppendHeader(tableRow(header))
	for _, row := range rows {
		t.AppendRow(tableRow(row))
	}
	return t.Render()
}

func tableRow(values []string) (row pretty.Row) {
	for _, v := range values {
		row = append(row, v)
	}
	return row
}

// tables returns those that have lines.
func (r *report) tables() (all []table) {
	for _, c := range r.Cells {
		if !slices.Contains(all, c.table) {
			all = append(all, c.table)
		}
	}
	return all
}

// transports returns those in the tables.
func (r *report) transports() (names []string) {
	for _, c := range r.Cells {
		if !slices.Contains(names, c.Transport) {
			names = append(names, c.Transport)
		}
	}
	return names
}

// of returns the cells of a transport in a table.
func (r *report) of(t table, transport string) (cells []cell) {
	for _, c := range r.Cells {
		if c.table == t && c.Transport == transport {
			cells = append(cells, c)
		}
	}
	return cells
}

// warning says that the figures are not to be trusted, if so.
func (r *report) warning() string {
	worst := slices.MaxFunc(r.Cells, func(a, b cell) int { return cmp.Compare(a.Spread, b.Spread) })
	if worst.Spread <= noisy {
		return ""
	}
	return fmt.Sprintf("Warning: windows of the same measurement differ by up to %s. Something else is using "+
		"this machine, or the windows are short: run it for longer, when the machine is quiet.", percent(worst.Spread))
}

func byRatio(a, b cell) int { return cmp.Compare(a.Ratio, b.Ratio) }
func byRate(a, b cell) int  { return cmp.Compare(a.PerSecond, b.PerSecond) }

func between(least, most float64) string {
	a, b := digits(least), digits(most)
	if a == b {
		return a
	}
	return a + " to " + b
}

func percent(spread float64) string { return fmt.Sprintf("±%.0f%%", 100*spread) }

func times(ratio float64) string { return digits(ratio) + "×" }

// micros is a time in microseconds, which the column says.
func micros(d time.Duration) string { return digits(float64(d) / float64(time.Microsecond)) }

// digits is a number with three digits, more than which no measurement has.
func digits(v float64) string {
	switch {
	case v < 9.995:
		return strconv.FormatFloat(v, 'f', 2, 64)
	case v < 99.95:
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	return count(v)
}

// count is a whole number with three digits that count and a comma between
// thousands.
func count(v float64) string {
	if v >= 1000 {
		unit := math.Pow(10, math.Floor(math.Log10(v))-2)
		v = math.Round(v/unit) * unit
	}
	s := strconv.FormatFloat(v, 'f', 0, 64)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// round3 rounds a time to three digits.
func round3(d time.Duration) time.Duration {
	unit := time.Duration(1)
	for d/unit >= 1000 {
		unit *= 10
	}
	return d.Round(unit)
}

func plural(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return strconv.Itoa(n) + " " + thing + "s"
}
