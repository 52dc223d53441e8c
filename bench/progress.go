package main

import (
	"fmt"
	"io"
	"os"
	"sync"
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
	p.bar = newBar(stderr, p.steps)
	return p
}

// newBar returns a bar on a terminal, or nil for what is none.
func newBar(stderr io.Writer, steps int) *progressbar.ProgressBar {
	f, ok := stderr.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return nil
	}
	return progressbar.NewOptions(steps,
		progressbar.OptionSetWriter(stderr),
		progressbar.OptionSetWidth(24),
		progressbar.OptionSetPredictTime(true),
		progressbar.OptionShowDescriptionAtLineEnd(),
		progressbar.OptionClearOnFinish(),
	)
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

// linkProgress shows how far the links are: a bar that moves while one is measured,
// since that may take minutes, or a line for each.
type linkProgress struct {
	plain io.Writer
	bar   *progressbar.ProgressBar // nil: plain
	links int
	each  time.Duration
	done  int // links

	stop    chan struct{} // of what moves the bar
	stopped sync.WaitGroup
}

// barStep is how often the bar of the links moves.
const barStep = 250 * time.Millisecond

func newLinkProgress(stdout, stderr io.Writer, opts linkOptions) *linkProgress {
	p := &linkProgress{plain: stdout, links: len(opts.over), each: opts.warmUp + opts.duration}
	p.bar = newBar(stderr, p.links*p.steps())
	return p
}

// steps is how many steps of the bar a link has.
func (p *linkProgress) steps() int { return max(1, int(p.each/barStep)) }

// begin says which link is measured now.
func (p *linkProgress) begin(spec linkSpec) {
	if p.bar == nil {
		left := (time.Duration(p.links-p.done) * p.each).Round(100 * time.Millisecond)
		fmt.Fprintf(p.plain, "link %d of %d, %v left: %s\n", p.done+1, p.links, left, spec.title)
		return
	}
	p.bar.Describe(fmt.Sprintf("link %d of %d: %s", p.done+1, p.links, spec.title))
	p.stop = make(chan struct{})
	p.stopped.Go(func() {
		tick := time.NewTicker(barStep)
		defer tick.Stop()
		for range p.steps() - 1 {
			select {
			case <-tick.C:
				_ = p.bar.Add(1)
			case <-p.stop:
				return
			}
		}
	})
}

// end says that it was measured.
func (p *linkProgress) end() {
	p.done++
	if p.bar == nil {
		return
	}
	close(p.stop)
	p.stopped.Wait()
	_ = p.bar.Set(p.done * p.steps())
}

// finish takes the bar away.
func (p *linkProgress) finish() {
	if p.bar != nil {
		_ = p.bar.Finish()
	}
}
