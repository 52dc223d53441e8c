package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"

	"github.com/gridmux/gridmux/bench/peers/h"
)

// Modes that are several comparisons in a row.
const (
	readmeMode = "readme"
	agreeMode  = "agree"
)

const (
	// agreement is how far a contender's rate may be off that of the other build's.
	agreement = 0.1
	// busy is the share of the machine used by something else from which on figures say
	// nothing.
	busy = 0.1
)

// shared are the contenders that every build of the yardstick has.
var shared = names{
	"floor-tcp", "ideal-go", "ideal-inline", "grpc-raw", "drpc-pool", "ttrpc", "connect", "netrpc-raw", "yamux", "smux", "quic",
}

// everybody is who is compared in the table of all contenders.
var everybody = names{
	"ours", "ideal-go", "floor-tcp", "ws", "grpc-raw", "connect", "drpc-pool", "ttrpc", "netrpc-raw",
	"yamux", "smux", "nats", "quic", "ours-quic",
}

// step is one comparison of a series.
type step struct {
	title   string
	mode    string
	peers   names
	against names
	conc    int
	rounds  int
	dur     time.Duration
	more    []string
}

// readmeSteps are what the figures in README are of.
func readmeSteps() (all []step) {
	for _, n := range []int{1, 8, 64, 512} {
		all = append(all, step{
			title: fmt.Sprintf("Calls, %d at once", n), mode: "unary", peers: names{"ideal-go", "ours"},
			conc: n, rounds: 5, dur: time.Second,
		})
	}
	for _, n := range []int{1, 64} {
		all = append(all, step{
			title: fmt.Sprintf("Streams, %d at once", n), mode: "stream", peers: names{"floor-tcp-buf", "smux-buf", "ours", "ours-chan"},
			against: names{"floor-tcp-buf", "smux-buf"}, conc: n, rounds: 3, dur: 2 * time.Second, more: []string{"-count=400000"},
		})
	}
	return append(
		all,
		step{
			title: "Small calls beside bulk", mode: "hol-open", peers: names{"ideal-go", "smux", "ours"},
			against: names{"ideal-go", "smux"}, conc: 1, rounds: 5, dur: 3 * time.Second,
		},
		step{title: "All contenders, 64 callers", mode: "unary", peers: everybody, conc: 64, rounds: 3, dur: time.Second},
	)
}

// options are those of a step: what was given holds for all of them.
func (s *step) options(o options) options {
	given := func(name string) bool {
		return slices.ContainsFunc(o.set, func(f string) bool { return strings.HasPrefix(f, "-"+name+"=") })
	}
	step := o
	step.mode, step.peers, step.conc = s.mode, s.peers, s.conc
	if step.against = s.against; step.against == nil {
		step.against = s.peers[:1]
	}
	if o.rounds == 0 {
		step.rounds = s.rounds
	}
	step.set = append([]string{"-mode=" + s.mode, "-conc=" + strconv.Itoa(s.conc)}, s.more...)
	if !given("dur") {
		step.set = append(step.set, "-dur="+s.dur.String())
	}
	for _, f := range o.set {
		if f != "-mode="+o.mode && !strings.HasPrefix(f, "-conc=") {
			step.set = append(step.set, f)
		}
	}
	return step
}

// checkSeries looks at the flags of a series, which says itself what is measured.
func (o *options) checkSeries() error {
	if o.peer != "" || o.mode == readmeMode && len(o.peers) > 0 || len(o.against) > 0 {
		return fmt.Errorf("-mode %s says itself who is compared: leave -peer, -peers and -against out", o.mode)
	}
	if o.mode == agreeMode && o.baseline == "" {
		return errors.New("-mode agree needs -baseline: the other build of the yardstick")
	}
	if o.mode == readmeMode && o.baseline != "" {
		return errors.New("-baseline is for -mode agree")
	}
	for _, name := range o.peers {
		if h.Peers[name] == nil {
			return fmt.Errorf("there is no contender %q; -mode list prints them", name)
		}
	}
	return nil
}

// readme makes the comparisons that README has figures of, each with its tables.
func readme(ctx context.Context, o options, stdout, stderr io.Writer) int {
	code := exitOK
	for i, s := range readmeSteps() {
		if i > 0 {
			fmt.Fprintln(stdout)
		}
		fmt.Fprintf(stdout, "## %s\n\n", s.title)
		if got := compare(ctx, s.options(o), stdout, stderr); got != exitOK {
			code = got
		}
		if ctx.Err() != nil {
			return exitFailed
		}
	}
	return code
}

// agree measures contenders in turn as they are here and as another build has them, and says
// whether they are as fast.
func agree(ctx context.Context, o options, stdout, stderr io.Writer) int {
	self, err := os.Executable()
	if err != nil {
		fmt.Fprintln(stderr, err)
		return exitFailed
	}
	peers := o.peers
	if len(peers) == 0 {
		peers = shared
	}
	t := table.NewWriter()
	t.AppendHeader(table.Row{"contender", "callers", "rate here : there", "CPU here : there", "used by others", "agrees"})
	code := exitOK
	for _, conc := range []int{1, 64} {
		s := step{mode: "unary", peers: peers, conc: conc, rounds: 5, dur: time.Second}
		so := s.options(o)
		for _, peer := range peers {
			found, err := agreementOf(ctx, so, self, peer, stderr)
			if err != nil {
				fmt.Fprintf(stderr, "%s: %v\n", peer, err)
				return exitFailed
			}
			verdict := "yes"
			if math.Abs(median(found.rates)-1) > agreement {
				if verdict, code = "NO", exitFailed; median(found.others) > busy {
					verdict = "machine busy"
				}
			}
			t.AppendRow(table.Row{peer, conc, cell(found.rates, 2), cell(found.cpu, 2), percent(median(found.others)), verdict})
		}
	}
	fmt.Fprintln(stdout, t.RenderMarkdown())
	return code
}

// agreed is what the rounds of a contender found, here in times of the other build.
type agreed struct{ rates, cpu, others []float64 }

// agreementOf measures a contender in both builds.
func agreementOf(ctx context.Context, o options, self, peer string, stderr io.Writer) (found agreed, err error) {
	for round := 1; round <= o.rounds; round++ {
		fmt.Fprintf(stderr, "round %d of %d: %s\n", round, o.rounds, peer)
		var results [2]h.OpenLoopResult
		programs := []int{0, 1}
		if round%2 == 0 {
			slices.Reverse(programs)
		}
		for _, i := range programs {
			program := []string{self, o.baseline}[i]
			results[i], err = child(ctx, program, o, peer, round, stderr, io.Discard)
			if err == nil && results[i].Err != "" {
				err = errors.New(results[i].Err)
			}
			if err != nil {
				return found, fmt.Errorf("%s: %w", program, err)
			}
		}
		here, there := results[0], results[1]
		found.rates = append(found.rates, here.OpsPerS/there.OpsPerS)
		found.cpu = append(found.cpu, here.CPUusOp/there.CPUusOp)
		found.others = append(found.others, max(here.Other, there.Other))
	}
	return found, nil
}
