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

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
)

const (
	// lineWidth is what a terminal has at least.
	lineWidth = 80
	// noisy is the spread above which the figures say little.
	noisy = 0.15
)

// render prints the table and what there is to say about it.
func (r *report) render(w io.Writer) {
	if len(r.Cells) > 0 {
		if r.Rounds < r.Planned {
			fmt.Fprintf(w, "\nInterrupted after round %d of %d, this is what was complete.\n", r.Rounds, r.Planned)
		}
		fmt.Fprintf(w, "\n%s\n\n%s\n\n%s\n", r.table(), wrap(r.legend(), lineWidth), wrap(r.reading(), lineWidth))
		if warning := r.warning(); warning != "" {
			fmt.Fprintf(w, "\n%s\n", wrap(warning, lineWidth))
		}
	}
	for _, f := range r.Failures {
		fmt.Fprintf(w, "\nFAILED: %s, %s: %s\n", f.Transport, f.Doing, f.Error)
	}
	switch {
	case len(r.Failures) > 0 && len(r.Cells) > 0:
		fmt.Fprintln(w, "The table leaves out what failed.")
	case len(r.Failures) > 0:
		fmt.Fprintln(w, "There is no table, since nothing could be measured.")
	}
}

// legend explains the columns that need it.
func (r *report) legend() string {
	s := "Latencies (p50 to p99.9) are as the caller sees them, allocations and processor time of both ends together."
	if r.Rounds > 1 {
		s = "± is how far the farthest window was off. " + s
	}
	return s
}

// wrap breaks a text into lines.
func wrap(s string, width int) string {
	lines := strings.Split(text.WrapSoft(s, width), "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	return strings.Join(lines, "\n")
}

// column is a column of the table.
type column struct {
	title string
	value func(*cell) string
}

func (r *report) columns() []column {
	cols := []column{
		{"requests\nper s", func(c *cell) string { return count(c.PerSecond) }},
	}
	if r.Rounds > 1 {
		cols = append(cols, column{"±", func(c *cell) string { return percent(c.Spread) }})
	}
	if len(r.transports()) > 1 && r.Cells[0].Ratio > 0 {
		cols = append(cols, column{"vs\n" + reference, func(c *cell) string { return times(c.Ratio) }})
	}
	cols = append(cols,
		column{"p50\nµs", func(c *cell) string { return micros(c.P50) }},
		column{"p99\nµs", func(c *cell) string { return micros(c.P99) }},
		column{"p99.9\nµs", func(c *cell) string { return micros(c.P999) }},
		column{"allocs\n/req", func(c *cell) string { return fmt.Sprintf("%.2f", c.Allocs) }},
	)
	// A system that does not tell its processor time has no column for it.
	if slices.ContainsFunc(r.Cells, func(c cell) bool { return c.CPU > 0 }) {
		cols = append(cols, column{"CPU µs\n/req", func(c *cell) string { return micros(c.CPU) }})
	}
	return cols
}

func (r *report) table() string {
	t := table.NewWriter()
	t.SuppressTrailingSpaces()
	style := table.StyleLight
	style.Options = table.Options{SeparateHeader: true}
	style.Format.Header = text.FormatDefault
	style.Box.PaddingLeft, style.Box.PaddingRight = "", "  "
	t.SetStyle(style)

	cols := r.columns()
	header := table.Row{""}
	var configs []table.ColumnConfig
	for i, col := range cols {
		header = append(header, col.title)
		configs = append(configs, table.ColumnConfig{Number: i + 2, Align: text.AlignRight, AlignHeader: text.AlignRight})
	}
	t.AppendHeader(header)
	t.SetColumnConfigs(configs)
	block := 0 // number of callers of the lines above
	for i := range r.Cells {
		c := &r.Cells[i]
		if c.Callers != block {
			block = c.Callers
			t.AppendRow(table.Row{plural(block, "caller")})
		}
		row := table.Row{"  " + c.Transport}
		for _, col := range cols {
			row = append(row, col.value(c))
		}
		t.AppendRow(row)
	}
	return t.Render()
}

// transports returns those in the table.
func (r *report) transports() (names []string) {
	for _, c := range r.Cells {
		if !slices.Contains(names, c.Transport) {
			names = append(names, c.Transport)
		}
	}
	return names
}

// of returns the cells of a transport.
func (r *report) of(transport string) (cells []cell) {
	for _, c := range r.Cells {
		if c.Transport == transport {
			cells = append(cells, c)
		}
	}
	return cells
}

// reading says the table in a sentence.
func (r *report) reading() string {
	var parts []string
	for _, name := range r.transports() {
		cells := r.of(name)
		if cells[0].Ratio > 0 && name != reference {
			least, most := slices.MinFunc(cells, byRatio).Ratio, slices.MaxFunc(cells, byRatio).Ratio
			parts = append(parts, fmt.Sprintf("%s answers %s times as many requests as %s", name, between(least, most), reference))
		}
	}
	if len(parts) == 0 {
		answers, unit := " answers", " requests per second"
		for _, name := range r.transports() {
			best := slices.MaxFunc(r.of(name), byRate)
			parts = append(parts, fmt.Sprintf("%s%s up to %s%s with %s",
				name, answers, count(best.PerSecond), unit, plural(best.Callers, "caller")))
			answers, unit = "", ""
		}
	}
	fewest := r.Cells[0].Callers
	var waits []string
	for _, name := range r.transports() {
		waits = append(waits, fmt.Sprintf("%s µs over %s", micros(r.of(name)[0].P50), name))
	}
	return fmt.Sprintf("Reading: %s. With %s, half the answers are there within %s.",
		strings.Join(parts, ", "), plural(fewest, "caller"), strings.Join(waits, ", "))
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
