package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// clusterReport is what was found out of clusters.
type clusterReport struct {
	Nodes   int           `json:"nodes"`
	Planned int           `json:"planned_rounds"`
	Rounds  int           `json:"rounds"`
	Slow    bool          `json:"slow"`                       // so that not all rounds were begun
	Calls   int           `json:"burst_calls_per_connection"` // both ways together
	Settle  time.Duration `json:"settle_ns"`
	Lines   []clusterLine `json:"lines"`
}

// clusterLine is one transport.
type clusterLine struct {
	Transport string `json:"transport"`
	// The medians of the rounds.
	Mesh      time.Duration `json:"mesh_ns"`
	Bootstrap time.Duration `json:"bootstrap_ns"`
	Storm     time.Duration `json:"storm_ns"`
	StormCPU  time.Duration `json:"storm_cpu_ns"`
	// Of the first round.
	Fresh *idleCost `json:"fresh,omitempty"`
	Used  *idleCost `json:"after_a_burst,omitempty"`

	Windows []clusterRound `json:"rounds"`
}

func newClusterReport(o clusterOptions) *clusterReport {
	return &clusterReport{
		Nodes: o.nodes, Planned: o.rounds, Calls: 2 * burstCallers * burstCalls, Settle: settleTime, Lines: []clusterLine{},
	}
}

// add adds a round of a transport.
func (r *clusterReport) add(transport string, found clusterRound) {
	i := slices.IndexFunc(r.Lines, func(l clusterLine) bool { return l.Transport == transport })
	if i < 0 {
		i = len(r.Lines)
		r.Lines = append(r.Lines, clusterLine{Transport: transport})
	}
	l := &r.Lines[i]
	l.Windows = append(l.Windows, found)
	of := func(value func(*clusterRound) time.Duration) time.Duration {
		var all []time.Duration
		for i := range l.Windows {
			all = append(all, value(&l.Windows[i]))
		}
		return median(all)
	}
	l.Mesh = of(func(r *clusterRound) time.Duration { return r.Mesh })
	l.Bootstrap = of(func(r *clusterRound) time.Duration { return r.Bootstrap })
	l.Storm = of(func(r *clusterRound) time.Duration { return r.Storm })
	l.StormCPU = of(func(r *clusterRound) time.Duration { return r.StormCPU })
	if found.Used != nil {
		l.Fresh, l.Used = found.Fresh, found.Used
	}
}

// header says what is about to be measured, or was, in so many rounds.
func (r *clusterReport) header(rounds int) string {
	return wrap(fmt.Sprintf("Now clusters of %d nodes in this process, %s: from the start to where each is connected to all others, "+
		"and to where each has been told by all others that they have the same configuration; from the start of a node that was killed "+
		"to where all others have an answer from it; and what a connection takes when nothing is done, fresh and %v after a burst "+
		"of %s calls over it.",
		r.Nodes, plural(rounds, "round"), r.Settle, count(float64(r.Calls))), lineWidth)
}

// render prints the table.
func (r *clusterReport) render(w io.Writer) {
	if len(r.Lines) == 0 {
		return
	}
	if r.Rounds < r.Planned {
		why := "were complete"
		if r.Slow {
			why = "were begun, for they took several times as long as usual"
		}
		fmt.Fprintf(w, "\nOf clusters, %d of %s %s.\n", r.Rounds, plural(r.Planned, "round"), why)
	}
	fmt.Fprintf(w, "\nClusters of %d nodes\n\n%s\n\n%s\n", r.Nodes, grid(r.rows()), wrap(r.reading(), lineWidth))
}

// rows returns the header of the table and its lines.
func (r *clusterReport) rows() (header []string, rows [][]string) {
	header = []string{"", "mesh\nms", "bootstrap\nms", "restart\nms", "CPU ms"}
	idle := slices.ContainsFunc(r.Lines, func(l clusterLine) bool { return l.Used != nil })
	if idle {
		header = append(header, "idle\nKiB", "after\ncalls", "gorou-\ntines", "after\ncalls")
	}
	for i := range r.Lines {
		l := &r.Lines[i]
		name := l.Transport + completed(len(l.Windows), r.Rounds)
		row := []string{name, millis(l.Mesh), millis(l.Bootstrap), millis(l.Storm), millis(l.StormCPU)}
		switch {
		case l.Used != nil:
			row = append(row, kibibytes(l.Fresh.Memory), kibibytes(l.Used.Memory), digits(l.Fresh.Goroutines), digits(l.Used.Goroutines))
		case idle:
			row = append(row, "", "", "", "")
		}
		rows = append(rows, row)
	}
	return header, rows
}

// reading says the table in a sentence.
func (r *clusterReport) reading() string {
	parts := make([]string, len(r.Lines))
	for i, l := range r.Lines {
		parts[i] = fmt.Sprintf("%s ms over %s", millis(l.Storm), l.Transport)
	}
	failed := ""
	if slices.ContainsFunc(r.Lines, func(l clusterLine) bool { return len(l.Windows) < r.Rounds }) {
		failed = " In brackets is how many rounds a line has, and how many it should have: it failed after those."
	}
	return fmt.Sprintf("Reading: when a node of %d has been killed and starts again, all others have an answer from it within %s. "+
		"Memory and goroutines are of a connection, both ends and their share of the nodes included.",
		r.Nodes, strings.Join(parts, ", ")) + failed
}

func kibibytes(n float64) string { return digits(n / (1 << 10)) }
