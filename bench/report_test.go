package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestRender compares what is printed for figures made up with the golden
// files.
func TestRender(t *testing.T) {
	whole := func() *report {
		m := measured(t, []string{"inmem", "websocket"}, []int{1, 64, 512}, tables()...)
		rep := &report{Rounds: 3}
		rep.describe(m)
		rep.fill(m)
		return rep
	}
	for _, test := range []struct {
		name   string
		report func() *report
	}{
		{"whole", whole},
		{"failed-reference", func() *report {
			m := measured(t, []string{"inmem", "websocket", "quic"}, []int{8}, calls)
			for i := range m.pairs[1].cells {
				m.pairs[1].cells[i] = m.pairs[1].cells[i][:1]
			}
			rep := &report{Rounds: 3, Interrupted: true}
			rep.describe(m)
			rep.fail("websocket", "measuring 8 callers, round 2", errors.New("gridmux: bench.echo on b: may have run: not connected"))
			rep.fill(m)
			return rep
		}},
		{"failed-all", func() *report {
			m := measured(t, []string{"inmem"}, []int{1}, calls)
			m.pairs[0].cells = make([][]sample, len(m.loads))
			rep := &report{Rounds: 3}
			rep.describe(m)
			rep.fail("inmem", "connecting two nodes", errors.New("node a: no"))
			rep.fill(m)
			return rep
		}},
		{"interrupted-noisy", func() *report {
			m := measured(t, []string{"inmem", "websocket"}, []int{1}, calls)
			m.pairs[0].cells[0][1].Count /= 2
			rep := &report{Rounds: 2}
			rep.describe(m)
			rep.fill(m)
			return rep
		}},
		{"interrupted-early", func() *report {
			m := measured(t, []string{"inmem", "websocket"}, []int{1}, calls)
			rep := &report{Rounds: 1}
			rep.describe(m)
			rep.fill(m)
			return rep
		}},
		{"one-transport", func() *report {
			m := measured(t, []string{"inmem"}, []int{1}, streams, mixed)
			rep := &report{Rounds: 3}
			rep.describe(m)
			rep.fill(m)
			return rep
		}},
		{"no-processor-time", func() *report {
			rep := whole()
			for i := range rep.Cells {
				rep.Cells[i].CPU = 0
			}
			return rep
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			rep := test.report()
			var out bytes.Buffer
			out.WriteString(rep.header() + "\n")
			rep.render(&out)
			checkPlain(t, out.String())
			golden(t, filepath.Join("testdata", test.name+".golden"), out.Bytes())
		})
	}
}

// measured makes up a measurement: websocket answers some requests, those
// before it in the list more and those behind it fewer.
func measured(t *testing.T, transports []string, callers []int, of ...table) *measurement {
	t.Helper()
	var over []kind
	for _, name := range transports {
		over = append(over, kind{name: name})
	}
	opts := options{callers: callers, streams: []int{1, 64}, fanout: []int{3}, tables: of, size: 512}
	opts.duration = time.Duration(3*opts.lines()*len(over)) * 750 * time.Millisecond
	m := newMeasurement(opts, over)
	for slower, k := range m.kinds {
		p := &pair{kind: k}
		for _, l := range m.loads {
			n := l.atOnce
			var windows []sample
			for round := 1; round <= 3; round++ {
				latency := time.Duration(2500*(1+9*slower)+500*n) * time.Nanosecond
				if l.name == "beside-bulk" {
					latency *= 20
				}
				steps := int64(n) * int64(600*time.Millisecond/latency)
				s := sample{
					Round: round, Count: steps + steps*int64(round)/50, Elapsed: 600 * time.Millisecond,
					P50: latency, P99: 3 * latency, P999: 20 * latency, Max: 100 * latency,
					Allocs: 0.031, CPU: latency / time.Duration(n),
				}
				if l.name == "beside-bulk" {
					s.Beside = int64(400 / (1 + slower))
				}
				windows = append(windows, s)
			}
			all, latency := newHistogram(), int64(windows[0].P50)
			for _, of := range []struct{ latency, calls int64 }{{latency, 9850}, {3 * latency, 130}, {20 * latency, 20}} {
				_ = all.RecordValues(of.latency, of.calls)
			}
			p.cells, p.latency = append(p.cells, windows), append(p.latency, all)
		}
		m.pairs = append(m.pairs, p)
	}
	return m
}

func golden(t *testing.T, file string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	want = bytes.ReplaceAll(want, []byte("\r\n"), []byte("\n"))
	if !bytes.Equal(got, want) {
		t.Errorf("printed:\n%s\nwant, as %s has it:\n%s", got, file, want)
	}
}

func TestNumbers(t *testing.T) {
	for v, want := range map[float64]string{
		0: "0.00", 0.126: "0.13", 9.994: "9.99", 9.996: "10.0", 99.94: "99.9", 99.96: "100", 999.4: "999",
		1000: "1,000", 1234: "1,230", 12345: "12,300", 999_900: "1,000,000", 1_234_567: "1,230,000",
	} {
		if got := digits(v); got != want {
			t.Errorf("%v is printed as %s, want %s", v, got, want)
		}
	}
	for values, want := range map[[3]float64][2]float64{
		{1, 2, 3}:      {2, 0.5},
		{30, 10, 20}:   {20, 0.5},
		{100, 90, 101}: {100, 0.1},
		{0, 0, 0}:      {0, 0},
	} {
		if got := [2]float64{median(values[:]), spread(values[:])}; got != want {
			t.Errorf("%v: median and spread %v, want %v", values, got, want)
		}
	}
	if got := median([]float64{4, 1, 3, 2}); got != 2 {
		t.Errorf("the median of an even number of values is %v, want the lower of the two in the middle", got)
	}
}

// TestLatenciesOfAllWindows expects the percentiles of a line to be those of all its requests, in the table, in what
// benchstat reads and for a threshold, and none of so few that it would be the slowest: the median of the windows
// left out a window in which all were slow.
func TestLatenciesOfAllWindows(t *testing.T) {
	m := measured(t, []string{"websocket"}, []int{1}, calls)
	all := newHistogram()
	_ = all.RecordValues(int64(10*time.Microsecond), 940)
	_ = all.RecordValues(int64(time.Millisecond), 50)
	_ = all.RecordValues(int64(time.Second), 10)
	m.pairs[0].latency[0] = all
	rep := &report{Rounds: 3}
	rep.describe(m)
	rep.fill(m)
	c := &rep.Cells[0]
	if c.P50 != quantile(all, 50) || c.P99 != quantile(all, 99) || c.P999 != quantile(all, 99.9) || c.P99 > 2*time.Millisecond {
		t.Errorf("p50 %v, p99 %v, p99.9 %v", c.P50, c.P99, c.P999)
	}
	text, err := rep.marshalGoFormat()
	if want := fmt.Sprintf(" %v p50-ns %v p99-ns %v p99.9-ns\n", float64(c.P50), float64(c.P99), float64(c.P999)); err != nil || strings.Count(text, "p99.9-ns") != 1 || !strings.Contains(text, want) {
		t.Errorf("%v, and %s lacks %s", err, text, want)
	}
	for _, l := range rep.figureLines() {
		if l.figures["p99"] != float64(c.P99) || l.figures["p99.9"] != float64(c.P999) {
			t.Errorf("a threshold is about %v", l.figures)
		}
	}
	for calls, has := range map[int64][2]bool{99: {}, 100: {true, false}, 999: {true, false}, 1000: {true, true}} {
		all.Reset()
		_ = all.RecordValues(int64(time.Millisecond), calls)
		c.tell()
		row := rep.table(c.table)
		if (c.P99 > 0) != has[0] || (c.P999 > 0) != has[1] || strings.Contains(row, " 0.00 ") {
			t.Errorf("of %d calls: p99 %v, p99.9 %v, and\n%s", calls, c.P99, c.P999, row)
		}
	}
}

// TestLinksInGoFormat expects what benchstat reads as the p99 over a link to be that of the table.
func TestLinksInGoFormat(t *testing.T) {
	rep := overGrid(&report{}, 3)
	text, err := rep.marshalGoFormat()
	if err != nil {
		t.Fatal(err)
	}
	l := rep.Links.Results[0].line("quic")
	want := fmt.Sprintf(" %d %v p50-ns %v p99-ns %v p99.9-ns\n", l.Calls, float64(l.P50), float64(l.P99), float64(l.P999))
	lines := 0
	for _, result := range rep.Links.Results {
		lines += len(result.Lines)
	}
	if !strings.Contains(text, want) || strings.Count(text, " p99-ns") != lines || strings.Count(text, " part-p99-ns") != parts*lines {
		t.Errorf("%s lacks %s", text, want)
	}
}
