package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"
)

// everybody is who is compared in the table of all contenders. Those that are looked at as a
// pair stand beside one another, so that little time passes between them.
var everybody = names{
	"ideal-go", "ours", "ours-request", "floor-tcp", "ws", "grpc-raw", "connect", "drpc-pool", "ttrpc", "netrpc-raw",
	"yamux", "smux", "nats", "quic", "ours-quic",
}

const (
	// crowd is how many callers the table of all contenders is of.
	crowd = 64
	// largeMessage is the size of those that a stream over QUIC is compared with a bare one by.
	largeMessage = 64 << 10
	// meshNodes are so many that each of the pairs hardly has a share of what the nodes cost.
	meshNodes = 32
	pairs     = meshNodes * (meshNodes - 1) / 2
)

// readmeCallers and readmeStreams are how many calls and streams at once README has figures of.
func readmeCallers() []int { return []int{1, 8, crowd, 512} }
func readmeStreams() []int { return []int{1, 64} }

// readmeSteps are what the figures in README are of. No two of them have the same load, so that
// a result tells which one it is of.
func readmeSteps() (all []step) {
	for _, n := range readmeCallers() {
		s := step{
			title: fmt.Sprintf("Calls, %d at once", n), mode: modeUnary, peers: names{"ideal-go", "ours", "quic", "ours-quic"},
			against: names{"ideal-go", "quic"}, conc: n, rounds: 5, dur: time.Second,
		}
		if n == crowd {
			s.title, s.peers, s.against = s.title+", all contenders", everybody, names{"ideal-go", "ours", "quic"}
		}
		all = append(all, s)
	}
	for _, n := range readmeStreams() {
		all = append(all, step{
			title: fmt.Sprintf("Streams, %d at once", n), mode: modeStream,
			peers:   names{"floor-tcp-buf", "smux-buf", "ours", "ours-chan", "grpc-raw"},
			against: names{"floor-tcp-buf", "smux-buf"}, conc: n, rounds: 5, dur: 2 * time.Second,
			more: []string{"-count=" + strconv.Itoa(400_000)},
		})
	}
	return append(
		all,
		step{
			title: "A stream of large messages over QUIC", mode: modeStream, peers: names{"quic", "ours-quic"},
			size: largeMessage, conc: 1, rounds: 5, dur: 2 * time.Second,
			more: []string{"-count=" + strconv.Itoa(4_000)},
		},
		step{
			title: "Small calls beside bulk", mode: modeOpen, peers: names{"ideal-go", "smux", "ours", "grpc-raw"},
			against: names{"ideal-go", "smux", "grpc-raw"}, conc: 1, rounds: 5, dur: 3 * time.Second,
		},
		step{
			title: "Idle connections", mode: modeIdle, peers: names{"floor-tcp", "yamux", "smux", "grpc-raw", "quic", "ours"},
			conc: pairs, rounds: 3, dur: time.Second,
		},
		step{
			title: "Idle connections of a full mesh", mode: modeMesh, peers: names{"ours", "ours-inmem", "ours-wss", "ours-quic"},
			conc: meshNodes, rounds: 3, dur: time.Second,
		},
	)
}

// readme makes the comparisons of some steps, which are readmeSteps, each with all its tables, and then
// prints what README shows of them. When it is interrupted that is what there is, and the file of a run
// before stays as it was.
func readme(ctx context.Context, o options, steps []step, stdout, stderr io.Writer) int {
	all := newFound(thisRun(&o, time.Now()), steps)
	if o.out == "" {
		return measureSteps(ctx, o, all, stdout, stderr)
	}
	file := o.out
	o.out = file + unfinished
	if err := all.run.begin(file, o.out); err != nil {
		fmt.Fprintln(stderr, err)
		return exitUsage
	}
	code := measureSteps(ctx, o, all, stdout, stderr)
	var err error
	switch {
	case all.missing() == 0:
		err = os.Rename(o.out, file)
	case len(all.results) == 0:
		err = os.Remove(o.out)
	default:
		fmt.Fprintf(stderr, "the run is not complete: what there is of it is in %s\n", o.out)
	}
	if err != nil {
		fmt.Fprintln(stderr, err)
		return max(code, exitFailed)
	}
	return code
}

// unfinished is behind the name of a file until its run is complete.
const unfinished = ".unfinished"

// begin writes the first line of a file that is going to take the place of another.
func (run *runInfo) begin(file, name string) error {
	if info, err := os.Stat(file); err == nil && !info.Mode().IsRegular() {
		return fmt.Errorf("%s is no regular file", file)
	}
	line, err := run.line()
	if err != nil {
		return err
	}
	return os.WriteFile(name, line, 0o644)
}

// measureSteps adds what it measures to what was found.
func measureSteps(ctx context.Context, o options, all *found, stdout, stderr io.Writer) int {
	planned := time.Duration(0)
	for _, s := range all.steps {
		so := s.options(o)
		planned += so.all()
	}
	bar := newProgress(stderr, planned)
	code := exitOK
	for i, s := range all.steps {
		so := s.options(o)
		bar.within = fmt.Sprintf("%d of %d, %s, ", i+1, len(all.steps), s.title)
		results, failed := collect(ctx, so, bar, stderr)
		if len(results) > 0 {
			fmt.Fprintf(stdout, "## %s\n\n", s.title)
			code = max(code, newReport(so, results).render(stdout))
			fmt.Fprintln(stdout)
			all.add(results)
		}
		if failed != exitOK {
			code = failed
			break // it was interrupted, or no other window would be any better
		}
	}
	if len(all.results) > 0 {
		fmt.Fprintf(stdout, "## What README shows\n\n%s", all.block())
	}
	return code
}

// redraw prints what README shows of a run that was kept.
func redraw(file string, stdout, stderr io.Writer) int {
	all, err := readFound(file)
	if err != nil {
		fmt.Fprintln(stderr, err)
		return exitUsage
	}
	fmt.Fprint(stdout, all.block())
	return exitOK
}
