package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// progress shows how far the measurement is: a bar where somebody watches, else
// a line for each round. It prints between windows only, never during one.
type progress struct {
	plain  io.Writer
	bar    *progressbar.ProgressBar // nil: plain
	rounds int
	round  int
	steps  int
	done   int
	each   time.Duration
}

// newProgress shows a bar on stderr if that is a terminal, so that it is not in
// the way of a stdout that goes elsewhere.
func newProgress(stdout, stderr io.Writer, m *measurement) *progress {
	p := &progress{plain: stdout, rounds: m.rounds, each: m.warmUp + m.window}
	p.steps = m.rounds * len(m.loads) * len(m.kinds)
	if f, ok := stderr.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		p.bar = progressbar.NewOptions(p.steps,
			progressbar.OptionSetWriter(stderr),
			progressbar.OptionSetWidth(24),
			progressbar.OptionSetPredictTime(true),
			progressbar.OptionShowDescriptionAtLineEnd(),
			progressbar.OptionClearOnFinish(),
		)
	}
	return p
}

// begin says what is measured now.
func (p *progress) begin(round int, what, transport string) {
	if p.bar != nil {
		p.bar.Describe(fmt.Sprintf("round %d of %d: %s, %s", round, p.rounds, transport, what))
		return
	}
	if round != p.round {
		p.round = round
		left := (time.Duration(p.steps-p.done) * p.each).Round(100 * time.Millisecond)
		fmt.Fprintf(p.plain, "round %d of %d, %v left\n", round, p.rounds, left)
	}
}

// end says that it was measured.
func (p *progress) end() {
	p.done++
	if p.bar != nil {
		_ = p.bar.Add(1)
	}
}

// skip says that something is not going to be measured.
func (p *progress) skip() { p.end() }

// finish takes the bar away.
func (p *progress) finish() {
	if p.bar != nil {
		_ = p.bar.Finish()
	}
}
