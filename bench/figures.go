package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gridmux/gridmux/bench/internal/chart"
	"github.com/gridmux/gridmux/bench/internal/link"
)

// figure is a picture of the report, and the name of its file without the ending.
type figure struct {
	name string
	svg  []byte
}

// colors gives every transport the colour that it has in all pictures of all runs, if it is
// one of those that bench has, and those behind them the colours that are left.
func colors(transports []string) func(string) int {
	var known []string
	for _, k := range kinds() {
		known = append(known, k.name)
	}
	for _, name := range transports {
		if !slices.Contains(known, name) {
			known = append(known, name)
		}
	}
	return func(name string) int { return max(slices.Index(known, name), 0) }
}

// fileName makes a name of what a picture is about.
func fileName(parts ...string) string {
	name := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '.':
			return r
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		default:
			return '-'
		}
	}, strings.Join(parts, "-"))
	words := strings.FieldsFunc(name, func(r rune) bool { return r == '-' })
	return strings.Trim(strings.Join(words, "-"), ".")
}

// blocks returns the titles of the blocks of a table.
func (r *report) blocks(of table) (titles []string) {
	for i := range r.Cells {
		if c := &r.Cells[i]; c.table == of && !slices.Contains(titles, c.Title) {
			titles = append(titles, c.Title)
		}
	}
	return titles
}

// block returns the cells of one, a line for each transport.
func (r *report) block(of table, title string) (cells []*cell) {
	for i := range r.Cells {
		if c := &r.Cells[i]; c.table == of && c.Title == title {
			cells = append(cells, c)
		}
	}
	return cells
}

// rateFigures are the bars of a table.
func (r *report) rateFigures(of table) (all []figure) {
	color := colors(r.Transports)
	for _, title := range r.blocks(of) {
		var bars []chart.Bar
		about := of.unit() + " per second"
		if r.Rounds >= leastSamples {
			about += ", with 99% intervals"
		}
		for _, c := range r.block(of, title) {
			within := medianInterval(each(c.Windows, (*sample).PerSecond))
			bar := chart.Bar{Name: c.Transport, Color: color(c.Transport), Value: c.PerSecond, Low: within.Low, High: within.High}
			if c.Ratio > 0 {
				bar.Note = times(c.Ratio)
			}
			bars = append(bars, bar)
		}
		if slices.ContainsFunc(bars, func(b chart.Bar) bool { return b.Note != "" }) {
			about += "; × is beside " + reference
		}
		all = append(all, figure{fileName(of.String(), title, "rate"), chart.Bars(titled(of, title), about, bars)})
	}
	return all
}

// titled is what a picture of a block is called.
func titled(of table, block string) string {
	switch of {
	case calls:
		return "Calls, " + block
	case mixed:
		return "Small calls " + block
	case fanout:
		return "A call each " + block
	default:
		return strings.ToUpper(block[:1]) + block[1:]
	}
}

// latencyFigures are the percentile curves of a table.
func (r *report) latencyFigures(of table) (all []figure) {
	color := colors(r.Transports)
	for _, title := range r.blocks(of) {
		var series []chart.Series
		for _, c := range r.block(of, title) {
			if c.Latencies.recorded() {
				series = append(series, chart.Series{
					Name: c.Transport, Color: color(c.Transport), Points: percentileCurve(c.Latencies, time.Microsecond),
				})
			}
		}
		if len(series) > 0 {
			all = append(all, figure{
				fileName(of.String(), title, "latency"),
				chart.Percentiles(titled(of, title), "latency, which so many requests were not above", "µs", series),
			})
		}
	}
	return all
}

// percentileCurve returns which share of what is in a histogram was within which latency.
// Points that a picture could not tell apart are left out.
func percentileCurve(h *histogram, unit time.Duration) (points []chart.Point) {
	const apart = 0.004 // of what is above
	total, seen, last := float64(h.TotalCount()), 0.0, 2.0
	for _, bar := range h.calls() {
		seen += float64(bar.Count)
		// Half of the last one is above, or it would have no place on an axis of nines.
		above := 1 - (seen-0.5)/total
		if len(points) > 0 && above > last*(1-apart) {
			continue
		}
		last = above
		points = append(points, chart.Point{X: 1 - above, Y: float64(bar.To) / float64(unit)})
	}
	return points
}

// roundFigures show whether the machine was the same all the time: the rates of the
// windows, round by round.
func (r *report) roundFigures(of table) (all []figure) {
	if r.Rounds < 2 {
		return nil
	}
	color := colors(r.Transports)
	for _, title := range r.blocks(of) {
		var series []chart.Series
		for _, c := range r.block(of, title) {
			s := chart.Series{Name: c.Transport, Color: color(c.Transport)}
			for i := range c.Windows {
				w := &c.Windows[i]
				s.Points = append(s.Points, chart.Point{X: float64(w.Round), Y: w.PerSecond() / 1000})
			}
			series = append(series, s)
		}
		all = append(all, figure{
			fileName(of.String(), title, "rounds"),
			chart.Rounds(titled(of, title), "thousands of "+of.unit()+" per second, window by window", "1000/s", series),
		})
	}
	return all
}

// figures are those of one link: percentile curves, and latencies and streams over time.
func (r *linkReport) figures(result *linkResult) (all []figure) {
	color := colors(r.Transports)
	curves, p50, worst, bits := []chart.Series{}, []chart.Series{}, []chart.Series{}, []chart.Series{}
	for i := range result.Lines {
		l := &result.Lines[i]
		if !l.Latencies.recorded() {
			continue
		}
		of := chart.Series{Name: l.Transport, Color: color(l.Transport)}
		add := func(to *[]chart.Series, points []chart.Point) {
			of.Points = points
			*to = append(*to, of)
		}
		over := func(value func(*moment) float64) (points []chart.Point) {
			for j := range l.OverTime {
				m := &l.OverTime[j]
				points = append(points, chart.Point{X: m.Since.Seconds(), Y: value(m)})
			}
			return points
		}
		add(&curves, percentileCurve(l.Latencies, time.Millisecond))
		add(&p50, over(func(m *moment) float64 { return m.P50.Seconds() * 1000 }))
		add(&worst, over(func(m *moment) float64 { return m.Max.Seconds() * 1000 }))
		add(&bits, over(func(m *moment) float64 { return m.Bits / 1e6 }))
	}
	if len(curves) == 0 {
		return nil
	}
	title := "Over " + result.Title
	add := func(kind string, svg []byte) { all = append(all, figure{fileName("link", result.Title, kind), svg}) }
	add("latency", chart.Percentiles(title, "latency, which so many calls were not above", "ms", curves))
	if !slices.ContainsFunc(result.Lines, func(l linkLine) bool { return len(l.OverTime) > 0 }) {
		return all // in turns, and so at no time side by side
	}
	add("median-over-time", chart.Over(title, "median latency of the calls that were due then", "s", "ms", p50))
	add("worst-over-time", chart.Over(title, "longest latency of the calls that were due then", "s", "ms", worst))
	if r.Streams > 0 {
		add("streams-over-time", chart.Over(title, "what the streams sent, all together", "s", "Mbit/s", bits))
	}
	return all
}

// mapFigures are the maps of the grid: who wins at which round-trip time and loss.
func (r *linkReport) mapFigures() (all []figure) {
	var rtts []time.Duration
	var losses []float64
	for i := range r.Results {
		if result := &r.Results[i]; result.Grid {
			rtts, losses = append(rtts, result.RTT), append(losses, result.Loss)
		}
	}
	rtts, losses = slices.Compact(slices.Sorted(slices.Values(rtts))), slices.Compact(slices.Sorted(slices.Values(losses)))
	if len(r.Transports) < 2 || len(rtts)*len(losses) < 2 {
		return nil
	}
	names, shares := make([]string, len(rtts)), make([]string, len(losses))
	for j, loss := range losses {
		shares[j] = link.FormatShare(loss)
	}
	for _, of := range []struct {
		name  string
		least int64 // calls that each line has to have
		value func(*linkLine) time.Duration
	}{
		{"p99", 1, func(l *linkLine) time.Duration { return l.P99 }},
		{"p99.9", enoughForP999, func(l *linkLine) time.Duration { return l.P999 }},
	} {
		if r.fewest() < of.least {
			continue
		}
		tiles := make([][]chart.Tile, len(rtts))
		for i, rtt := range rtts {
			names[i] = rtt.String()
			for _, loss := range losses {
				tiles[i] = append(tiles[i], r.tile(rtt, loss, of.value))
			}
		}
		all = append(all, figure{"link-map-" + of.name, chart.Map("Who wins at "+of.name+", by round-trip time and loss",
			"and how many times the next one's "+of.name+" is as long; ≈ where no winner is clear",
			"round trip", "loss", names, shares, tiles)})
	}
	return all
}

// enoughForP999 is how many calls it takes for ten of them to be above the p99.9.
const enoughForP999 = 10_000

// tile is the place of a link on a map of a value. Who wins is the transport with the lowest
// of it if that is the one that is clearly faster.
func (r *linkReport) tile(rtt time.Duration, loss float64, value func(*linkLine) time.Duration) chart.Tile {
	i := slices.IndexFunc(r.Results, func(l linkResult) bool { return l.Grid && l.RTT == rtt && l.Loss == loss })
	if i < 0 {
		return chart.Tile{Color: -1}
	}
	all := r.Results[i].ranking()
	switch {
	case len(all) == 0:
		return chart.Tile{Color: -1}
	case len(all) == 1:
		return chart.Tile{Color: -1, Text: []string{all[0].Transport, "alone"}}
	}
	slices.SortStableFunc(all, func(a, b *linkLine) int { return cmp.Compare(value(a), value(b)) })
	factor := float64(value(all[1])) / float64(max(value(all[0]), 1))
	w := r.Results[i].winner()
	if w == nil || w != all[0] {
		return chart.Tile{Color: -1, Text: []string{undecided, times(factor)}}
	}
	strength := 1
	for _, limit := range []float64{1.25, 2} {
		if factor >= limit {
			strength++
		}
	}
	return chart.Tile{Color: colors(r.Transports)(w.Transport), Strength: strength, Text: []string{w.Transport, times(factor)}}
}

// figures are bars of what takes how long.
func (r *clusterReport) figures() (all []figure) {
	var names []string
	for _, l := range r.Lines {
		names = append(names, l.Transport)
	}
	color := colors(names)
	for _, of := range []struct {
		name, title, of string
		value           func(*clusterRound) time.Duration
	}{
		{"mesh", "Until all are connected to all", "first node", func(c *clusterRound) time.Duration { return c.Mesh }},
		{"bootstrap", "Until all have verified all", "first node", func(c *clusterRound) time.Duration { return c.Bootstrap }},
		{"restart", "Until all have an answer of a restarted node", "node", func(c *clusterRound) time.Duration { return c.Storm }},
	} {
		var bars []chart.Bar
		for i := range r.Lines {
			l := &r.Lines[i]
			var values []float64
			for j := range l.Windows {
				values = append(values, of.value(&l.Windows[j]).Seconds()*1000)
			}
			within := medianInterval(values)
			bars = append(bars, chart.Bar{
				Name: l.Transport, Color: color(l.Transport), Value: median(values), Low: within.Low, High: within.High,
			})
		}
		about := "milliseconds from the start of the " + of.of + ", less is better"
		all = append(all, figure{fileName("cluster", of.name), chart.Bars(of.title, about, bars)})
	}
	return all
}

// figures are the gains of codecs, for each payload and size over the speed of a link.
func (r *compressionReport) figures() (all []figure) {
	names := wayNames()
	for i := range r.Results {
		c := &r.Results[i]
		var bars []chart.Bar
		for _, l := range c.Lines {
			bars = append(bars, chart.Bar{
				Name: l.Codec, Color: slices.Index(names, l.Codec), Value: l.Octets, Low: l.Octets, High: l.Octets,
				Note: l.pays(),
			})
		}
		all = append(all, figure{
			fileName("compression", c.Payload, octets(c.Size)),
			chart.Bars(fmt.Sprintf("%s of %s", c.Payload, octets(c.Size)), "bytes of a call on the link, less is better", bars),
		})
	}
	return all
}

// roundedBits is a speed in whole Mbit/s with two digits that count.
func roundedBits(bits float64) float64 {
	mega := max(bits/1e6, 1)
	unit := 1.0
	for mega/unit >= 100 {
		unit *= 10
	}
	return float64(int(mega/unit+0.5)) * unit * 1e6
}

// pays says below which speed of a link it does.
func (l *compressionLine) pays() string {
	switch l.Wins {
	case winsBelow:
		return "pays below " + link.FormatRate(roundedBits(l.WinsBelow))
	case winsAlways:
		return "pays at any speed"
	default:
		return ""
	}
}
