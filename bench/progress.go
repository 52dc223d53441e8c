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
	after  time.Duration // what the run takes after this
}

// newProgress shows a bar on stderr if that is a terminal, so that it is not in
// the way of a stdout that goes elsewhere.
func newProgress(stdout, stderr io.Writer, of plan, cells int, after time.Duration) *progress {
	p := &progress{plain: stdout, rounds: of.rounds, each: of.warmUp + of.window, after: after}
	p.steps = of.rounds * cells
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

// begin says what is measured now, and how.
func (p *progress) begin(round int, what, how string) {
	left := time.Duration(p.steps-p.done) * p.each
	if p.bar != nil {
		p.bar.Describe(fmt.Sprintf("round %d of %d: %s, %s%s", round, p.rounds, how, what, inAll(left, p.after)))
		return
	}
	if round != p.round {
		p.round = round
		fmt.Fprintf(p.plain, "round %d of %d, %v left%s\n", round, p.rounds, left.Round(100*time.Millisecond), inAll(left, p.after))
	}
}

// inAll says how long the whole run takes from now on, if more comes after what is under way.
func inAll(left, after time.Duration) string {
	if after == 0 {
		return ""
	}
	return fmt.Sprintf(", %v in all", (left + after).Round(time.Second))
}

// end says that it was measured.
func (p *progress) end() {
	p.done++
	if p.bar != nil {
		_ = p.bar.Add(1)
	}
}

// shorten says that there are fewer rounds than was thought.
func (p *progress) shorten(rounds, cells int) {
	p.rounds, p.steps = rounds, rounds*cells
	if p.bar != nil {
		p.bar.ChangeMax(p.steps)
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
	done  int           // links
	after time.Duration // what the run takes after the last

	stop    chan struct{} // of what moves the bar
	stopped sync.WaitGroup
}

// barStep is how often the bar of the links moves.
const barStep = 250 * time.Millisecond

func newLinkProgress(stdout, stderr io.Writer, opts linkOptions, after time.Duration) *linkProgress {
	p := &linkProgress{plain: stdout, links: len(opts.over), each: opts.warmUp + opts.duration, after: after}
	p.bar = newBar(stderr, p.links*p.steps())
	return p
}

// steps is how many steps of the bar a link has.
func (p *linkProgress) steps() int { return max(1, int(p.each/barStep)) }

// begin says which link is measured now.
func (p *linkProgress) begin(spec linkSpec) {
	left := time.Duration(p.links-p.done) * p.each
	if p.bar == nil {
		fmt.Fprintf(p.plain, "link %d of %d, %v left%s: %s\n",
			p.done+1, p.links, left.Round(100*time.Millisecond), inAll(left, p.after), spec.title)
		return
	}
	p.bar.Describe(fmt.Sprintf("link %d of %d: %s%s", p.done+1, p.links, spec.title, inAll(left, p.after)))
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
