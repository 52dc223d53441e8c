package main

import (
	"cmp"
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

// step is one comparison of a series.
type step struct {
	title      string
	mode       string
	peers      names
	against    names // the first of peers if it is nil
	size, conc int   // of messages, callers, streams, connections or nodes; size is 512 if it is 0
	rounds     int
	dur        time.Duration
	more       []string
}

// options are those of a step: what was given holds for all of them.
func (s *step) options(o options) options {
	step := o
	step.mode, step.peers, step.conc, step.size = s.mode, s.peers, s.conc, cmp.Or(s.size, smallSize)
	if step.against = s.against; step.against == nil {
		step.against = s.peers[:1]
	}
	if o.rounds == 0 {
		step.rounds = s.rounds
	}
	step.set = append([]string{"-mode=" + s.mode, "-conc=" + strconv.Itoa(s.conc)}, s.more...)
	if s.size != 0 {
		step.set = append(step.set, "-size="+strconv.Itoa(s.size))
	}
	if !o.given("dur") {
		step.dur = s.dur
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
	for _, name := range []string{"size", "conc", "count", "bulk", "rate", "callers"} {
		if o.mode == readmeMode && o.given(name) {
			return fmt.Errorf("-mode %s says itself what is measured: leave -%s out", o.mode, name)
		}
	}
	if o.rounds < 0 || min(o.warm, o.dur, o.limit) <= 0 {
		return errors.New("sizes, numbers and times must be positive")
	}
	for _, name := range o.peers {
		if h.Peers[name] == nil {
			return fmt.Errorf("there is no contender %q; -mode list prints them", name)
		}
	}
	return nil
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
		s := step{mode: modeUnary, peers: peers, conc: conc, rounds: 5, dur: time.Second}
		so := s.options(o)
		for _, peer := range peers {
			found, err := agreementOf(ctx, so, self, peer, stderr)
			if ctx.Err() != nil || errors.Is(err, errInterrupted) {
				fmt.Fprintln(stderr, "interrupted")
				return exitInterrupted
			}
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
