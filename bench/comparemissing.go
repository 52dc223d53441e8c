package main

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// place is where a figure is: the block of a table, and a line of it.
type place struct{ block, name string }

// measuredPart is a part of a run that can be compared with that of another one, if it was measured in the same way.
type measuredPart struct {
	name   string
	way    string // in which it was measured, other than that there is nothing to compare
	places []place
}

// measuredParts returns those that were measured.
func (r *report) measuredParts() (all []measuredPart) {
	if len(r.Cells) > 0 {
		s := measuredPart{name: "tables", way: "messages of " + octets(r.Size)}
		for i := range r.Cells {
			c := &r.Cells[i]
			s.places = append(s.places, place{titled(c.table, c.Title), c.Transport})
		}
		all = append(all, s)
	}
	for _, links := range []struct {
		name string
		of   *linkReport
	}{{pacedName, r.Paced}, {linksName, r.Links}} {
		if links.of == nil || len(links.of.Results) == 0 {
			continue
		}
		s := measuredPart{name: links.name, way: links.of.way(links.name == linksName)}
		for i := range links.of.Results {
			for j := range links.of.Results[i].Lines {
				if l := &links.of.Results[i].Lines[j]; l.measured() {
					s.places = append(s.places, place{"over " + links.of.Results[i].Title, l.Transport})
				}
			}
		}
		all = append(all, s)
	}
	if r.Clusters != nil && len(r.Clusters.Lines) > 0 {
		s := measuredPart{name: clustersName, way: plural(r.Clusters.Nodes, "node")}
		for i := range r.Clusters.Lines {
			s.places = append(s.places, place{clustersName, r.Clusters.Lines[i].Transport})
		}
		all = append(all, s)
	}
	if r.Compression != nil && len(r.Compression.Results) > 0 {
		s := measuredPart{name: compressionName, way: "over " + r.Compression.Transport}
		for i := range r.Compression.Results {
			result := &r.Compression.Results[i]
			for j := range result.Lines {
				s.places = append(s.places, place{result.Payload + " of " + octets(result.Size), result.Lines[j].Codec})
			}
		}
		all = append(all, s)
	}
	return all
}

// way is the load, and over links of which kind it was.
func (r *linkReport) way(over bool) string {
	s := fmt.Sprintf("%s calls a second of %s beside %s of %s bit/s", count(float64(r.Rate)), octets(r.Size),
		plural(r.Streams, "stream"), count(r.StreamBits))
	if over && r.Shaped {
		s += ", shaped"
	}
	if over && r.TCPCongestion != "" {
		s += ", with " + r.TCPCongestion
	}
	return s
}

// missing says what of two runs is not compared, for it is in one of them only or was measured in another way: a
// transport that is gone is no difference, and nothing that all is well without.
func (c *comparison) missing() (sentences []string) {
	before, after := c.old.measuredParts(), c.new.measuredParts()
	find := func(in []measuredPart, name string) *measuredPart {
		if i := slices.IndexFunc(in, func(s measuredPart) bool { return s.name == name }); i >= 0 {
			return &in[i]
		}
		return nil
	}
	var only [2][]string
	for i := range before {
		a := &before[i]
		switch b := find(after, a.name); {
		case b == nil:
			only[0] = append(only[0], a.name)
		case a.way != b.way:
			sentences = append(sentences, fmt.Sprintf("Not compared: %s, of %s, and now of %s.", a.name, a.way, b.way))
		default:
			only[0] = append(only[0], onlyIn(a.places, b.places)...)
			only[1] = append(only[1], onlyIn(b.places, a.places)...)
		}
	}
	for i := range after {
		if find(before, after[i].name) == nil {
			only[1] = append(only[1], after[i].name)
		}
	}
	for i, run := range []string{"old", "new"} {
		if len(only[i]) > 0 {
			slices.Sort(only[i])
			sentences = append(sentences, fmt.Sprintf("In the %s run only: %s.", run, strings.Join(slices.Compact(only[i]), "; ")))
		}
	}
	return sentences
}

// onlyIn names what is not in another run: names that are in no block of it, whole blocks, and what else there is.
func onlyIn(mine, theirs []place) (all []string) {
	for _, p := range mine {
		is := func(match func(place) bool) bool { return slices.ContainsFunc(theirs, match) }
		switch {
		case is(func(other place) bool { return other == p }):
		case !is(func(other place) bool { return other.name == p.name }):
			all = append(all, p.name)
		case !is(func(other place) bool { return other.block == p.block }):
			all = append(all, p.block)
		default:
			all = append(all, p.name+", "+p.block)
		}
	}
	return all
}

// unsound is the first figure that no run has measured, as of a file that was edited by hand: a rate of a window
// without time would be without end, and so would all that follows from it.
func (r *report) unsound() error {
	check := func(where string, windows []sample) error {
		for i := range windows {
			if rate := windows[i].PerSecond(); !(rate >= 0) || math.IsInf(rate, 0) {
				return fmt.Errorf("%s has a window with %d in %v, which no run measures", where, windows[i].Count, windows[i].Elapsed)
			}
		}
		return nil
	}
	for i := range r.Cells {
		if err := check(r.Cells[i].Title+" over "+r.Cells[i].Transport, r.Cells[i].Windows); err != nil {
			return err
		}
	}
	for _, links := range []*linkReport{r.Paced, r.Links} {
		for i := range links.results() {
			for _, l := range links.Results[i].ranking() {
				for what, d := range map[string]time.Duration{"p50": l.P50, "p99": l.P99} {
					if d <= 0 {
						return fmt.Errorf("%s over %s has a %s of %v, which no run measures", links.Results[i].Title, l.Transport, what, d)
					}
				}
			}
		}
	}
	if r.Compression != nil {
		for i := range r.Compression.Results {
			for j := range r.Compression.Results[i].Lines {
				l := &r.Compression.Results[i].Lines[j]
				if err := check(r.Compression.Results[i].Payload+" with "+l.Codec, l.Windows); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (r *linkReport) results() []linkResult {
	if r == nil {
		return nil
	}
	return r.Results
}
