package main

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// schema names the form of the JSON output. It changes when a reader of the old
// one would misread the new.
//
//	4: every line of a table has a window for each of the rounds, all of them equally long.
//	5: a line has fewer windows, each with its round, or is not there, where something failed or
//	   is in left_out; windows of different lines may differ in length, and a percentile that no
//	   call was above is not there.
const (
	schemaName = "gridmux-bench/"
	schema     = schemaName + "5"
	// olderSchema is that of what may be read as if it had the present one.
	olderSchema = schemaName + "4"
)

// report is what a run has found out.
type report struct {
	Schema  string    `json:"schema"`
	Command string    `json:"command"` // that makes another one like it
	Began   time.Time `json:"began"`
	// Interrupted: there is less in it than was asked for.
	Interrupted bool `json:"interrupted,omitempty"`

	Machine machine `json:"machine"`

	Loads      []string      `json:"loads"` // what each table is about
	Size       int           `json:"size"`
	Planned    int           `json:"planned_rounds"`
	Announced  int           `json:"announced_rounds,omitempty"` // before it was seen how long they take
	Rounds     int           `json:"rounds"`                     // that were complete
	WarmUp     time.Duration `json:"warm_up_ns"`
	Window     time.Duration `json:"window_ns"`
	Transports []string      `json:"transports"` // that were to be measured
	// Path is where the other node is, of -connect; "": both nodes are in one process.
	Path string `json:"path,omitempty"`

	// PathFigures are what it was like before anything was measured over it.
	PathFigures []pathFigures `json:"path_figures,omitempty"`
	// LeftOut is what would have taken too long over it.
	LeftOut []leftOut `json:"left_out,omitempty"`
	// Enough is the -duration that has time for what is left out because there was none; 0: nothing is.
	Enough time.Duration `json:"duration_for_all_ns,omitempty"`

	// Cells are in the order of the tables and their blocks. Those of what failed have the
	// windows before that, fewer than there were rounds, or are not there.
	Cells    []cell    `json:"cells"`
	Failures []failure `json:"failures,omitempty"`

	Paced       *linkReport        `json:"paced,omitempty"`
	Clusters    *clusterReport     `json:"clusters,omitempty"`
	Links       *linkReport        `json:"links,omitempty"` // nil: not asked for, or not come to
	Compression *compressionReport `json:"compression,omitempty"`

	Verdict []string `json:"verdict,omitempty"`
	Charts  []string `json:"charts,omitempty"` // files beside this one's, below charts
}

// cell is one line of a table: the medians of its windows, and the latencies of all of them together.
type cell struct {
	table table

	Table     string `json:"table"` // its name, as -workloads has it
	Workload  string `json:"workload"`
	Title     string `json:"title"`
	AtOnce    int    `json:"at_once"`        // callers, or streams
	Size      int    `json:"size,omitempty"` // of a request and of its answer, or of a message
	Transport string `json:"transport"`

	PerSecond float64 `json:"per_second"`             // requests, or messages
	Spread    float64 `json:"spread"`                 // of the rate, in parts of it
	Ratio     float64 `json:"vs_reference,omitempty"` // 0: the reference was not measured
	// Within is where the ratio is; the zero value: there are too few windows to tell.
	Within interval `json:"vs_reference_within,omitzero"`

	Bulk     float64 `json:"bulk_bytes_per_second,omitempty"` // of requests beside those, one way
	BulkSize int     `json:"bulk_size,omitempty"`             // of each of them, if not 1 MiB

	P50    time.Duration `json:"p50_ns,omitempty"`
	P99    time.Duration `json:"p99_ns,omitempty"`   // 0: of too few requests
	P999   time.Duration `json:"p99_9_ns,omitempty"` // as well
	Allocs float64       `json:"allocs_each"`
	CPU    time.Duration `json:"cpu_ns_each"`

	// Latencies are of the requests in all windows together; nil: there are none.
	Latencies *histogram `json:"latencies,omitempty"`
	Windows   []sample   `json:"windows"`
}

// failure is why a transport is not in the table.
type failure struct {
	Transport string `json:"transport"`
	Doing     string `json:"doing"`
	Error     string `json:"error"`
}

func (r *report) fail(transport, doing string, err error) {
	r.Failures = append(r.Failures, failure{transport, doing, brief(err)})
}

// longestError is how much is told of an error: that of a cluster that does not connect has a sentence for
// each of its connections.
const longestError = 500

// brief is an error in one line that is not too long to read.
func brief(err error) string {
	s := strings.ReplaceAll(err.Error(), "\n", "; ")
	if len(s) <= longestError {
		return s
	}
	cut := longestError
	for !utf8.RuneStart(s[cut]) {
		cut--
	}
	return fmt.Sprintf("%s… and %s bytes more", s[:cut], count(float64(len(s)-cut)))
}

// describe notes what is going to be measured.
func (r *report) describe(m *measurement) {
	for _, t := range m.tables {
		bulk := 0
		of := slices.DeleteFunc(slices.Clone(m.loads), func(l load) bool { return l.table != t })
		for i := range of {
			bulk = max(bulk, of[i].bulk)
		}
		if len(of) > 0 {
			r.Loads = append(r.Loads, t.about(m.size, bulk))
		}
	}
	r.LeftOut, r.Enough = append(r.LeftOut, m.leftOut...), m.enough
	r.Size = m.size
	r.Planned, r.Announced, r.WarmUp, r.Window = m.rounds, m.rounds, m.warmUp, m.window
	for _, k := range m.kinds {
		r.Transports = append(r.Transports, k.name)
	}
}

// fill makes the cells of all transports, from the rounds that are complete.
func (r *report) fill(m *measurement) {
	if r.Rounds == 0 {
		return
	}
	var ref *pair
	for _, p := range m.pairs {
		if p.name == reference {
			ref = p
		}
	}
	for i := range m.loads {
		for _, p := range m.pairs {
			windows := upTo(r.Rounds, p.cells[i])
			if len(windows) == 0 {
				continue
			}
			c := newCell(&m.loads[i], p.name, windows)
			if c.table != streams && i < len(p.latency) {
				c.Latencies = &histogram{Histogram: p.latency[i]}
				c.tell()
			}
			if ref != nil {
				if all := ratios(c.Windows, ref.cells[i]); len(all) > 0 {
					c.Ratio, c.Within = median(all), ratioInterval(all)
				}
			}
			r.Cells = append(r.Cells, c)
		}
	}
}

// upTo returns the windows of so many rounds.
func upTo(rounds int, windows []sample) []sample {
	n := slices.IndexFunc(windows, func(s sample) bool { return s.Round > rounds })
	if n < 0 {
		n = len(windows)
	}
	return windows[:n]
}

func newCell(l *load, transport string, windows []sample) cell {
	rates := each(windows, (*sample).PerSecond)
	c := cell{
		table:     l.table,
		Table:     l.table.String(),
		Workload:  l.name,
		Title:     l.title,
		AtOnce:    l.atOnce,
		Size:      l.size,
		Transport: transport,
		PerSecond: median(rates),
		Spread:    spread(rates),
		Bulk:      float64(l.bulk) * median(each(windows, (*sample).BesidePerSecond)),
		Allocs:    median(each(windows, func(s *sample) float64 { return s.Allocs })),
		CPU:       median(each(windows, func(s *sample) time.Duration { return s.CPU })),
		Windows:   windows,
	}
	if l.bulk != bulkSize {
		c.BulkSize = l.bulk
	}
	return c
}

// How many requests it takes for one of them to be above a percentile.
const (
	leastForP99  = 100
	leastForP999 = 1000
)

// tell fills in the percentiles. They are those of all requests: a window has so few that its own say nothing of
// what is rare, and the median of them leaves out a slow second.
func (c *cell) tell() {
	c.P50, c.P99, c.P999 = 0, 0, 0
	if !c.Latencies.recorded() {
		return
	}
	of := c.Latencies.Histogram
	c.P50 = quantile(of, 50)
	if of.TotalCount() >= leastForP99 {
		c.P99 = quantile(of, 99)
	}
	if of.TotalCount() >= leastForP999 {
		c.P999 = quantile(of, 99.9)
	}
}

func each[T any](windows []sample, f func(*sample) T) []T {
	out := make([]T, len(windows))
	for i := range windows {
		out[i] = f(&windows[i])
	}
	return out
}

// ratios compares the windows of the rounds that both have.
func ratios(of, to []sample) []float64 {
	// What failed once is not measured again, so those are the first.
	out := make([]float64, min(len(of), len(to)))
	for i := range out {
		out[i] = of[i].PerSecond() / to[i].PerSecond()
	}
	return out
}

// header says what the tables are about to show.
func (r *report) header() string {
	who := "node a calls node b, both in this process"
	if r.Path != "" {
		who = "this node calls the one at " + r.Path
	}
	parts := []string{wrap(fmt.Sprintf("Now %s, over one connection per transport. %s.", who, r.windows(r.Planned)), lineWidth)}
	if said := r.aboutLeftOut(); said != "" {
		parts = append(parts, wrap(said, lineWidth))
	}
	for _, about := range r.Loads {
		parts = append(parts, wrap(about, lineWidth))
	}
	return strings.Join(parts, "\n\n") + "\n"
}

// windows says how a line of the tables was measured, or is going to be, in so many rounds.
func (r *report) windows(rounds int) string {
	s := fmt.Sprintf("%s of %v per line, the first %v of each not counted", plural(rounds, "window"), r.WarmUp+r.Window, r.WarmUp)
	if len(r.PathFigures) > 0 {
		s += ", or longer where what is under way takes longer to get through"
	}
	return s
}

// done says how the lines of the tables were measured, when they have been.
func (r *report) done() string {
	s := r.windows(r.Rounds)
	if planned := max(r.Announced, r.Planned); r.Rounds < planned {
		s += fmt.Sprintf("; %d were planned", planned)
	}
	return s + "."
}
