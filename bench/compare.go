package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"slices"
	"strings"
	"time"
)

// compareCommand is the first argument of a run that compares two others.
const compareCommand = "compare"

// compareFiles prints what has changed between two runs, of which there are the files of
// -json or of an output directory.
func (p program) compareFiles(args []string) int {
	if len(args) == 1 && slices.Contains([]string{"-h", "-help", "--help"}, args[0]) {
		fmt.Fprint(p.stdout, compareUsage)
		return exitOK
	}
	if len(args) != 2 {
		fmt.Fprintf(p.stderr, "bench: compare takes two files, of an old run and a new one, and there are %d\n", len(args))
		return exitUsage
	}
	var runs [2]*report
	for i, name := range args {
		var err error
		if runs[i], err = readReport(name); err != nil {
			fmt.Fprintf(p.stderr, "bench: compare: %v\n", err)
			return exitUsage
		}
	}
	if a, b := runs[0].Path, runs[1].Path; a != b {
		over := func(path string) string { return cmp.Or(path, "no path to another host") }
		fmt.Fprintf(p.stderr, "bench: compare: %s was measured over %s, and %s over %s\n", args[0], over(a), args[1], over(b))
		return exitUsage
	}
	c := newComparison(runs[0], runs[1])
	if len(c.lines) == 0 {
		fmt.Fprintf(p.stderr, "bench: compare: %s and %s have measured nothing that is the same\n", args[0], args[1])
		return exitUsage
	}
	c.render(p.stdout)
	return exitOK
}

const compareUsage = `Usage: go run ./bench compare old.json new.json

Says what has changed from one run to another, each a results.json of an output
directory. Differences that may be chance are not said to be any. The exit
code is 0 whatever has changed, and 2 for files that cannot be compared.
`

// readReport reads what a run has written. Its errors name the file.
func readReport(name string) (*report, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		if inner, ok := errors.AsType[*fs.PathError](err); ok {
			err = inner.Err
		}
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	var head struct {
		Schema string `json:"schema"`
	}
	if err := json.Unmarshal(text, &head); err != nil || !strings.HasPrefix(head.Schema, schemaName) {
		return nil, fmt.Errorf("%s is no result of bench: name a results.json", name)
	}
	if head.Schema != schema && head.Schema != olderSchema {
		return nil, fmt.Errorf("%s has results of %s, and this is %s: measure again with this version", name, head.Schema, schema)
	}
	r := new(report)
	if err := json.Unmarshal(text, r); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	for i := range r.Cells {
		c := &r.Cells[i]
		c.table = table(slices.IndexFunc(tables(), func(t table) bool { return t.String() == c.Table }))
		if c.table < 0 {
			return nil, fmt.Errorf("%s has a table %q, of which this version knows nothing", name, c.Table)
		}
	}
	if err := r.unsound(); err != nil {
		return nil, fmt.Errorf("%s: %w: name the file of a run", name, err)
	}
	return r, nil
}

// compared is one figure of both runs.
type compared struct {
	block, name string
	what        string
	old, new    float64
	within      interval // of new : old
	higher      bool     // is better
}

// change is new : old.
func (c *compared) change() float64 { return c.new / c.old }

// sure reports whether it is a difference, and not chance.
func (c *compared) sure() bool { return c.within.known() && !c.within.same() }

// verdict says what the change is.
func (c *compared) verdict() string {
	switch {
	case !c.within.known():
		return "too few windows to tell"
	case c.within.same() && c.within.narrow():
		return "no difference"
	case c.within.same():
		return cannotTell
	case (c.new > c.old) == c.higher:
		return "better"
	default:
		return "worse"
	}
}

// cannotTell is the verdict where a large difference may be chance, and none as well.
const cannotTell = "cannot tell"

// comparison is two runs side by side.
type comparison struct {
	old, new *report
	lines    []compared
}

func newComparison(before, after *report) *comparison {
	c := &comparison{old: before, new: after}
	for i := range before.Cells {
		a := &before.Cells[i]
		j := slices.IndexFunc(after.Cells, func(b cell) bool {
			return a.Workload == b.Workload && a.Title == b.Title && a.AtOnce == b.AtOnce && a.Transport == b.Transport
		})
		if j < 0 || before.Size != after.Size {
			continue
		}
		c.cells(a, &after.Cells[j])
	}
	if a, b := before.Paced, after.Paced; a != nil && b != nil && sameLoad(a, b) {
		c.links(a, b)
	}
	if a, b := before.Links, after.Links; a != nil && b != nil && sameLoad(a, b) && sameLinks(a, b) {
		c.links(a, b)
	}
	if before.Clusters != nil && after.Clusters != nil && before.Clusters.Nodes == after.Clusters.Nodes {
		c.clusters(before.Clusters, after.Clusters)
	}
	if before.Compression != nil && after.Compression != nil {
		c.compression(before.Compression, after.Compression)
	}
	return c
}

func (c *comparison) cells(a, b *cell) {
	c.add(a.Title, a.Transport, "per s", true, each(a.Windows, (*sample).PerSecond), each(b.Windows, (*sample).PerSecond))
	if before, after := a.p99(), b.p99(); before > 0 && after > 0 {
		p99 := func(s *sample) float64 { return s.P99.Seconds() * 1e6 }
		l := compared{block: a.Title, name: a.Transport, what: "p99 µs", old: before, new: after}
		// How much that of a window varies says how much that of all may, but not around what.
		l.within = quotientInterval(each(b.Windows, p99), each(a.Windows, p99)).with(l.change())
		c.lines = append(c.lines, l)
	}
}

// p99 is that of all requests, in µs, also of a run of a version that had the median of the windows in its place;
// 0: there is none.
func (c *cell) p99() float64 {
	all := *c
	all.tell()
	return all.P99.Seconds() * 1e6
}

// add adds a figure, of which there are samples.
func (c *comparison) add(block, name, what string, higher bool, before, after []float64) {
	positive := func(values []float64) []float64 {
		return slices.DeleteFunc(slices.Clone(values), func(v float64) bool { return v <= 0 })
	}
	before, after = positive(before), positive(after)
	if len(before) == 0 || len(after) == 0 {
		return
	}
	c.lines = append(c.lines, compared{
		block: block, name: name, what: what, higher: higher,
		old: median(before), new: median(after), within: quotientInterval(after, before),
	})
}

// sameLoad reports whether two runs did the same over their links.
func sameLoad(a, b *linkReport) bool {
	return a.Rate == b.Rate && a.Size == b.Size && a.Streams == b.Streams && a.StreamBits == b.StreamBits
}

// sameLinks reports whether the links of two runs were of the same kind, and had the same
// congestion control.
func sameLinks(a, b *linkReport) bool {
	return a.Shaped == b.Shaped && a.TCPCongestion == b.TCPCongestion
}

func (c *comparison) links(before, after *linkReport) {
	for i := range before.Results {
		a := &before.Results[i]
		j := slices.IndexFunc(after.Results, func(b linkResult) bool { return a.Conditions == b.Conditions })
		if j < 0 {
			continue
		}
		for k := range a.Lines {
			x := &a.Lines[k]
			y := after.Results[j].line(x.Transport)
			if y == nil || !x.measured() {
				continue
			}
			_, within := tailsApart(&y.Parts, &x.Parts)
			c.lines = append(c.lines, compared{
				block: "over " + a.Title, name: x.Transport, what: "p99 ms",
				old: x.P99.Seconds() * 1e3, new: y.P99.Seconds() * 1e3, within: within,
			})
		}
	}
}

func (c *comparison) clusters(before, after *clusterReport) {
	for i := range before.Lines {
		a := &before.Lines[i]
		j := slices.IndexFunc(after.Lines, func(b clusterLine) bool { return a.Transport == b.Transport })
		if j < 0 {
			continue
		}
		for _, of := range []struct {
			what  string
			value func(*clusterRound) time.Duration
		}{
			{"mesh ms", func(r *clusterRound) time.Duration { return r.Mesh }},
			{"bootstrap ms", func(r *clusterRound) time.Duration { return r.Bootstrap }},
			{"restart ms", func(r *clusterRound) time.Duration { return r.Storm }},
		} {
			millis := func(l *clusterLine) (all []float64) {
				for k := range l.Windows {
					all = append(all, of.value(&l.Windows[k]).Seconds()*1e3)
				}
				return all
			}
			c.add(fmt.Sprintf("clusters of %d nodes", before.Nodes), a.Transport, of.what, false, millis(a), millis(&after.Lines[j]))
		}
	}
}

func (c *comparison) compression(before, after *compressionReport) {
	for i := range before.Results {
		a := &before.Results[i]
		j := slices.IndexFunc(after.Results, func(b compressionResult) bool { return a.Payload == b.Payload && a.Size == b.Size })
		if j < 0 || before.Transport != after.Transport {
			continue
		}
		for k := range a.Lines {
			x := &a.Lines[k]
			if y := after.Results[j].line(x.Codec); y != nil {
				c.add(a.Payload+" of "+octets(a.Size), x.Codec, "calls/s", true,
					each(x.Windows, (*sample).PerSecond), each(y.Windows, (*sample).PerSecond))
			}
		}
	}
}

// differences names what of the two machines is not the same.
func (c *comparison) differences() (all []string) {
	before, after := c.old.Machine.facts(), c.new.Machine.facts()
	find := func(in [][2]string, name string) int {
		return slices.IndexFunc(in, func(fact [2]string) bool { return fact[0] == name })
	}
	for _, a := range before {
		i := find(after, a[0])
		switch {
		case a[0] == "load average": // which is never the same
		case i < 0:
			all = append(all, fmt.Sprintf("%s: %s, and not known", a[0], a[1]))
		case after[i][1] != a[1]:
			all = append(all, fmt.Sprintf("%s: %s, and %s", a[0], a[1], after[i][1]))
		}
	}
	for _, b := range after {
		if find(before, b[0]) < 0 && b[0] != "load average" {
			all = append(all, fmt.Sprintf("%s: not known, and %s", b[0], b[1]))
		}
	}
	return all
}

// common is the change of all figures of a kind in the middle, and whether all that changed
// did so in the same direction.
func (c *comparison) common(higher bool) (change float64, oneWay bool) {
	var changes []float64
	up, down := 0, 0
	for i := range c.lines {
		l := &c.lines[i]
		if l.higher != higher {
			continue
		}
		changes = append(changes, l.change())
		if l.sure() && l.new > l.old {
			up++
		} else if l.sure() {
			down++
		}
	}
	if len(changes) < 4 || 3*(up+down) < 2*len(changes) {
		return 0, false
	}
	return median(changes), math.Min(float64(up), float64(down)) == 0
}
