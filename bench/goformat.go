package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"golang.org/x/perf/benchfmt"
)

// writeGoFormat writes the results as the testing package prints those of benchmarks, each
// window a line, so that benchstat -col /transport and other tools read them.
func (r *report) writeGoFormat(w io.Writer) error {
	out := goFormat{benchfmt.NewWriter(w), []benchfmt.Config{
		config("goos", r.Machine.OS), config("goarch", r.Machine.Arch),
		config("pkg", "github.com/gridmux/gridmux/bench"), config("cpu", r.Machine.CPU),
	}, r.Machine.GOMAXPROCS}
	for _, unit := range []string{"req/s", "msg/s", "rounds/s", "bit/s"} {
		if err := out.Write(&benchfmt.UnitMetadata{
			UnitMetadataKey: benchfmt.UnitMetadataKey{Unit: unit, Key: "better"}, OrigUnit: unit, Value: "higher",
		}); err != nil {
			return err
		}
	}
	for i := range r.Cells {
		if err := out.cell(&r.Cells[i]); err != nil {
			return err
		}
	}
	if r.Paced != nil {
		for i := range r.Paced.Results {
			if err := out.link(&r.Paced.Results[i]); err != nil {
				return err
			}
		}
	}
	if r.Clusters != nil {
		if err := out.clusters(r.Clusters); err != nil {
			return err
		}
	}
	if r.Links != nil {
		for i := range r.Links.Results {
			if err := out.link(&r.Links.Results[i]); err != nil {
				return err
			}
		}
	}
	if r.Compression != nil {
		for i := range r.Compression.Results {
			if err := out.compression(&r.Compression.Results[i], r.Compression.Transport); err != nil {
				return err
			}
		}
	}
	return nil
}

type goFormat struct {
	*benchfmt.Writer

	config []benchfmt.Config
	procs  int
}

func config(key, value string) benchfmt.Config {
	return benchfmt.Config{Key: key, Value: []byte(strings.TrimSpace(value)), File: true}
}

// line writes one, of a benchmark whose name has the given parts.
func (f *goFormat) line(count int64, values []benchfmt.Value, name string, parts ...string) error {
	for i := 0; i+1 < len(parts); i += 2 {
		name += "/" + parts[i] + "=" + wordOf(parts[i+1])
	}
	if f.procs > 1 {
		name += "-" + strconv.Itoa(f.procs)
	}
	return f.Write(&benchfmt.Result{
		Config: f.config, Name: benchfmt.Name(name), Iters: int(max(count, 1)), Values: values,
	})
}

// wordOf makes a part of a name, in which nothing separates words or parts.
func wordOf(s string) string {
	return strings.Map(func(r rune) rune {
		switch r {
		case ' ', '\t', '/':
			return '_'
		}
		return r
	}, s)
}

func nanos(d time.Duration, unit string) benchfmt.Value {
	return benchfmt.Value{Value: float64(d), Unit: unit}
}

// cell writes the windows of one, and its latencies, which are of all windows together as in the table.
func (f *goFormat) cell(c *cell) error {
	for i := range c.Windows {
		s := &c.Windows[i]
		values := f.rate(s, c.table.goUnit())
		values = append(values, benchfmt.Value{Value: s.Memory, Unit: "B/op"}, benchfmt.Value{Value: s.Allocs, Unit: "allocs/op"})
		if s.Wire > 0 {
			values = append(values, benchfmt.Value{Value: s.Wire, Unit: "frame-B/op"})
		}
		if s.CPU > 0 {
			values = append(values, nanos(s.CPU, "cpu-ns/op"))
		}
		if err := f.lineOf(c, s.Count, values); err != nil {
			return err
		}
	}
	var latencies []benchfmt.Value
	for _, of := range []struct {
		value time.Duration
		unit  string
	}{{c.P50, "p50-ns"}, {c.P99, "p99-ns"}, {c.P999, "p99.9-ns"}} {
		if of.value > 0 {
			latencies = append(latencies, nanos(of.value, of.unit))
		}
	}
	if len(latencies) == 0 {
		return nil
	}
	return f.lineOf(c, c.Latencies.TotalCount(), latencies)
}

func (f *goFormat) lineOf(c *cell, count int64, values []benchfmt.Value) error {
	return f.line(count, values, goName(c.table.String()), "load", strings.ReplaceAll(c.Title, ",", ""),
		"size", strconv.Itoa(c.Size), "transport", c.Transport)
}

func (f *goFormat) rate(s *sample, unit string) []benchfmt.Value {
	return []benchfmt.Value{
		{Value: float64(s.Elapsed) / float64(max(s.Count, 1)), Unit: "ns/op"},
		{Value: s.PerSecond(), Unit: unit},
	}
}

// goName is the name of a benchmark: Calls of calls.
func goName(table string) string { return strings.ToUpper(table[:1]) + table[1:] }

// goUnit is the unit of the rate of its lines.
func (t table) goUnit() string {
	switch t {
	case streams:
		return "msg/s"
	case fanout:
		return "rounds/s"
	default:
		return "req/s"
	}
}

// link writes the transports over one, each part of the run a line, and one of all calls: the p99 of a part is not
// that of the table.
func (f *goFormat) link(result *linkResult) error {
	for i := range result.Lines {
		l := &result.Lines[i]
		for _, p99 := range l.PartsP99 {
			if p99 == 0 {
				continue
			}
			values := []benchfmt.Value{nanos(p99, "part-p99-ns"), {Value: l.Bits, Unit: "bit/s"}}
			if err := f.line(l.Calls/parts, values, "Link", "over", result.Conditions, "transport", l.Transport); err != nil {
				return err
			}
		}
		if !l.measured() {
			continue
		}
		values := []benchfmt.Value{nanos(l.P50, "p50-ns"), nanos(l.P99, "p99-ns"), nanos(l.P999, "p99.9-ns")}
		if err := f.line(l.Calls, values, "Link", "over", result.Conditions, "transport", l.Transport); err != nil {
			return err
		}
	}
	return nil
}

// clusters writes the rounds of all transports.
func (f *goFormat) clusters(r *clusterReport) error {
	for i := range r.Lines {
		l := &r.Lines[i]
		for j := range l.Windows {
			c := &l.Windows[j]
			values := []benchfmt.Value{nanos(c.Mesh, "mesh-ns"), nanos(c.Bootstrap, "bootstrap-ns"), nanos(c.Storm, "restart-ns")}
			if err := f.line(1, values, "Cluster", "nodes", strconv.Itoa(r.Nodes), "transport", l.Transport); err != nil {
				return err
			}
		}
	}
	return nil
}

// compression writes the windows of one payload and size.
func (f *goFormat) compression(c *compressionResult, transport string) error {
	for i := range c.Lines {
		l := &c.Lines[i]
		for j := range l.Windows {
			values := append(f.rate(&l.Windows[j], "req/s"), benchfmt.Value{Value: l.Octets, Unit: "frame-B/op"})
			if err := f.line(l.Windows[j].Count, values, "Compression", "payload", c.Payload,
				"size", strconv.Itoa(c.Size), "codec", l.Codec, "transport", transport); err != nil {
				return err
			}
		}
	}
	return nil
}

// marshalGoFormat returns what writeGoFormat writes.
func (r *report) marshalGoFormat() (string, error) {
	var b strings.Builder
	err := r.writeGoFormat(&b)
	if err != nil {
		err = fmt.Errorf("results in the format of Go benchmarks: %w", err)
	}
	return b.String(), err
}
