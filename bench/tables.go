package main

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// table is one of the tables that are printed, each of loads of one sort.
type table int

const (
	calls table = iota
	streams
	mixed
	fanout
)

// tables returns all of them in the order in which they are printed.
func tables() []table { return []table{calls, streams, mixed, fanout} }

// String is what the flag calls it.
func (t table) String() string { return [...]string{"calls", "streams", "mixed", "fanout"}[t] }

// heading is what begins a text about it.
func (t table) heading() string {
	return [...]string{"Calls: ", "Streams: ", "Mixed: ", "Fan-out: "}[t]
}

// unit is what its lines count.
func (t table) unit() string {
	switch t {
	case streams:
		return "messages"
	case fanout:
		return "rounds"
	default:
		return "requests"
	}
}

// about describes its loads in sentences; bulk is the size of large requests beside small ones, 0 if there are none.
func (t table) about(size, bulk int) string {
	switch t {
	case calls:
		return t.heading() + aboutCalls(size) + "."
	case streams:
		return t.heading() + aboutStreams(size) + "."
	case fanout:
		return t.heading() + aboutFanout(size) + "."
	default:
		text := t.heading() + fmt.Sprintf("one caller whose requests and answers have %d B, alone", size)
		if bulk > 0 {
			text += fmt.Sprintf(", then beside %d others where they have %s", bulkCallers, octets(bulk))
		}
		return text + "."
	}
}

// column is a column of a table.
type column struct {
	title string
	value func(*cell) string
}

// columns returns those of a table.
func (r *report) columns(t table) []column {
	cols := []column{{t.unit() + "\nper s", func(c *cell) string { return count(c.PerSecond) }}}
	compared := len(r.transports()) > 1 && slices.ContainsFunc(r.Cells, hasRatio)
	sure := compared && slices.ContainsFunc(r.Cells, func(c cell) bool { return c.Within.known() })
	if r.Rounds > 1 && !sure {
		cols = append(cols, column{"±", func(c *cell) string { return percent(c.Spread) }})
	}
	switch {
	case sure:
		cols = append(cols, column{"vs " + reference + "\n99% interval", func(c *cell) string { return c.ratio() }})
	case compared:
		cols = append(cols, column{"vs\n" + reference, func(c *cell) string { return c.ratio() }})
	}
	if t == streams {
		cols = append(cols, column{"MiB\nper s", func(c *cell) string { return mebibytes(c.PerSecond * float64(r.Size)) }})
	} else {
		cols = append(cols,
			column{"p50\nµs", func(c *cell) string { return microsOrNone(c.P50) }},
			column{"p99\nµs", func(c *cell) string { return microsOrNone(c.P99) }},
			column{"p99.9\nµs", func(c *cell) string { return microsOrNone(c.P999) }},
		)
	}
	if t == mixed {
		return append(cols, column{"bulk MiB\nper s", func(c *cell) string {
			if c.Workload == "alone" {
				return "none"
			}
			return mebibytes(c.Bulk)
		}})
	}
	per := map[table]string{calls: "/req", streams: "/msg", fanout: "/round"}[t]
	cols = append(cols, column{"allocs\n" + per, func(c *cell) string { return fmt.Sprintf("%.2f", c.Allocs) }})
	// A system that does not tell its processor time has no column for it.
	if slices.ContainsFunc(r.Cells, func(c cell) bool { return c.CPU > 0 }) {
		cols = append(cols, column{"CPU µs\n" + per, func(c *cell) string { return micros(c.CPU) }})
	}
	return cols
}

// ratio says how many times as much as the reference, and where that is with a confidence of
// 99 %, or that there is no difference to be seen.
func (c *cell) ratio() string {
	switch {
	case c.Transport == reference:
		return times(1)
	case !hasRatio(*c):
		return ""
	case !c.Within.known():
		return times(c.Ratio)
	case c.Within.same():
		return undecided + " " + times(c.Ratio) + " " + c.Within.String()
	}
	return times(c.Ratio) + " " + c.Within.String()
}

// hasRatio reports whether there are rounds in which the reference was measured too.
func hasRatio(c cell) bool { return c.Ratio > 0 }

// String is a range of ratios.
func (i interval) String() string { return digits(i.Low) + "–" + short(i.High) }

// short is the upper end of an interval, which has no bound if there were few windows.
func short(v float64) string {
	if v > 99 {
		return ">99"
	}
	return digits(v)
}

// reading says a table in a sentence.
func (r *report) reading(t table) string {
	switch t {
	case calls:
		return "Reading: " + r.compare(t, "answers", "requests") + " " + r.halfOfTheAnswers()
	case streams:
		return "Reading: " + r.compare(t, "moves", "messages")
	case fanout:
		return "Reading: " + r.compare(t, "completes", "rounds")
	default:
		return "Reading: " + r.besideBulk()
	}
}

// compare says how many times as much each transport does as the reference, or
// what the best line of each is.
func (r *report) compare(t table, does, units string) string {
	var parts []string
	for _, name := range r.transports() {
		cells := slices.DeleteFunc(r.of(t, name), func(c cell) bool { return !hasRatio(c) })
		if len(cells) > 0 && name != reference {
			least, most := slices.MinFunc(cells, byRatio).Ratio, slices.MaxFunc(cells, byRatio).Ratio
			parts = append(parts, fmt.Sprintf("%s %s %s times as many %s as %s", name, does, between(least, most), units, reference))
		}
	}
	if len(parts) == 0 {
		verb, unit := " "+does, " "+units+" per second"
		for _, name := range r.transports() {
			cells := r.of(t, name)
			if len(cells) == 0 {
				continue
			}
			best := slices.MaxFunc(cells, byRate)
			parts = append(parts, fmt.Sprintf("%s%s up to %s%s with %s", name, verb, count(best.PerSecond), unit, best.Title))
			verb, unit = "", ""
		}
	}
	return strings.Join(parts, ", ") + "."
}

// halfOfTheAnswers says what a call takes.
func (r *report) halfOfTheAnswers() string {
	var waits []string
	title := r.blocks(calls)[0]
	for _, c := range r.block(calls, title) {
		waits = append(waits, fmt.Sprintf("%s µs over %s", micros(c.P50), c.Transport))
	}
	return fmt.Sprintf("With %s, half the answers are there within %s.", title, strings.Join(waits, ", "))
}

// besideBulk says what bulk does to a small call.
func (r *report) besideBulk() string {
	var waits []string
	for _, name := range r.transports() {
		cells := r.of(mixed, name)
		if len(cells) < 2 || cells[0].P99 == 0 || cells[1].P99 == 0 {
			continue // one of the two failed, or has too few requests
		}
		waits = append(waits, fmt.Sprintf("%s instead of %s µs over %s", micros(cells[1].P99), micros(cells[0].P99), name))
	}
	if len(waits) == 0 {
		return "too few requests to say what 99 of 100 wait for beside bulk."
	}
	return fmt.Sprintf("beside bulk, 99 of 100 small requests are answered within %s.", strings.Join(waits, ", "))
}

// none stands for a percentile of which too few requests say nothing.
const none = "-"

func microsOrNone(d time.Duration) string {
	if d == 0 {
		return none
	}
	return micros(d)
}

func mebibytes(perSecond float64) string { return digits(perSecond / (1 << 20)) }
