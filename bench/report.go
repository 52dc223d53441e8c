package main

import (
	"fmt"
	"time"
)

// schema names the form of the JSON output. It changes when a reader of the old
// one would misread the new.
const schema = "gridmux-bench/1"

// report is what a run has found out.
type report struct {
	Schema  string  `json:"schema"`
	Machine machine `json:"machine"`

	Load       string        `json:"load"`
	Size       int           `json:"size"`
	Planned    int           `json:"planned_rounds"`
	Rounds     int           `json:"rounds"` // that were complete
	WarmUp     time.Duration `json:"warm_up_ns"`
	Window     time.Duration `json:"window_ns"`
	Transports []string      `json:"transports"` // that were to be measured

	// Cells are ordered by the number of callers. Each transport has one for
	// each number, or none at all.
	Cells    []cell    `json:"cells"`
	Failures []failure `json:"failures,omitempty"`
}

// cell is one line of the table: the medians of its windows.
type cell struct {
	Callers   int    `json:"callers"`
	Transport string `json:"transport"`

	PerSecond float64 `json:"requests_per_second"`
	Spread    float64 `json:"spread"`                 // of the rate, in parts of it
	Ratio     float64 `json:"vs_reference,omitempty"` // 0: the reference was not measured

	P50    time.Duration `json:"p50_ns"`
	P99    time.Duration `json:"p99_ns"`
	P999   time.Duration `json:"p99_9_ns"`
	Allocs float64       `json:"allocs_per_request"`
	CPU    time.Duration `json:"cpu_ns_per_request"`

	Windows []sample `json:"windows"`
}

// failure is why a transport is not in the table.
type failure struct {
	Transport string `json:"transport"`
	Doing     string `json:"doing"`
	Error     string `json:"error"`
}

func (r *report) fail(transport, doing string, err error) {
	r.Failures = append(r.Failures, failure{transport, doing, err.Error()})
}

// describe notes what is going to be measured.
func (r *report) describe(m *measurement) {
	r.Load, r.Size = m.load.about(), len(m.load.payload)
	r.Planned, r.WarmUp, r.Window = m.rounds, m.warmUp, m.window
	for _, k := range m.kinds {
		r.Transports = append(r.Transports, k.name)
	}
}

// fill makes the cells of the transports that did not fail, from the rounds
// that are complete.
func (r *report) fill(m *measurement) {
	if r.Rounds == 0 {
		return
	}
	var ref *pair
	for _, p := range m.pairs {
		if p.name == reference && !p.failed {
			ref = p
		}
	}
	for i, callers := range m.callers {
		for _, p := range m.pairs {
			if p.failed {
				continue
			}
			c := newCell(callers, p.name, p.cells[i][:r.Rounds])
			if ref != nil {
				c.Ratio = median(ratios(c.Windows, ref.cells[i]))
			}
			r.Cells = append(r.Cells, c)
		}
	}
}

func newCell(callers int, transport string, windows []sample) cell {
	rates := each(windows, (*sample).PerSecond)
	return cell{
		Callers:   callers,
		Transport: transport,
		PerSecond: median(rates),
		Spread:    spread(rates),
		P50:       median(each(windows, func(s *sample) time.Duration { return s.P50 })),
		P99:       median(each(windows, func(s *sample) time.Duration { return s.P99 })),
		P999:      median(each(windows, func(s *sample) time.Duration { return s.P999 })),
		Allocs:    median(each(windows, func(s *sample) float64 { return s.Allocs })),
		CPU:       median(each(windows, func(s *sample) time.Duration { return s.CPU })),
		Windows:   windows,
	}
}

func each[T any](windows []sample, f func(*sample) T) []T {
	out := make([]T, len(windows))
	for i := range windows {
		out[i] = f(&windows[i])
	}
	return out
}

// ratios compares the windows of the same rounds.
func ratios(of, to []sample) []float64 {
	out := make([]float64, len(of))
	for i := range of {
		out[i] = of[i].PerSecond() / to[i].PerSecond()
	}
	return out
}

// header says what the table is about to show.
func (r *report) header() string {
	return wrap(fmt.Sprintf("Now requests from node a to node b, both in this process, over one connection per transport: %s. "+
		"%d windows of %v per line, the first %v of each not counted.",
		r.Load, r.Planned, r.WarmUp+r.Window, r.WarmUp), lineWidth) + "\n"
}
