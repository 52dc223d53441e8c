package main

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"path/filepath"
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
			m.pairs[1].failed = true
			rep := &report{Rounds: 3}
			rep.describe(m)
			rep.fail("websocket", "measuring 8 callers, round 2", errors.New("gridmux: bench.echo on b: may have run: not connected"))
			rep.fill(m)
			return rep
		}},
		{"failed-all", func() *report {
			m := measured(t, []string{"inmem"}, []int{1}, calls)
			m.pairs[0].failed = true
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
			p.cells, p.latency = append(p.cells, windows), append(p.latency, newHistogram())
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
