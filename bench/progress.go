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

	slots *slotProgress // nil: all steps take as long
}

// slotProgress is how far the steps are where they take differently long, as over a path.
type slotProgress struct {
	all     time.Duration // of the steps of a round
	began   time.Time     // the first of them
	passed  time.Duration // of those that were done, in all rounds
	round   int           // which the following are of: it may begin with something skipped
	inRound time.Duration // of this one, done and skipped
	// Of this round, and the most of one, which are skipped in the next ones too.
	skippedNow, skipped time.Duration
}

// slotted is for steps that take so long together in each round.
func (p *progress) slotted(all time.Duration) { p.slots = &slotProgress{all: all, began: time.Now()} }

// enter tells which round it is.
func (s *slotProgress) enter(round int) {
	if round != s.round {
		s.round, s.inRound, s.skippedNow = round, 0, 0
	}
}

// left is how long the steps take that are still to be done. Over a path it is as those took that are.
func (p *progress) left() time.Duration {
	s := p.slots
	if s == nil {
		return time.Duration(p.steps-p.done) * p.each
	}
	left := max(s.all-s.inRound, 0) + time.Duration(p.rounds-p.round)*max(s.all-s.skipped, 0)
	if s.passed > 0 {
		left = time.Duration(float64(left) * float64(time.Since(s.began)) / float64(s.passed))
	}
	return left
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
	first := round != p.round
	p.round = round
	if p.slots != nil {
		p.slots.enter(round)
	}
	left := p.left()
	if p.bar != nil {
		p.bar.Describe(fmt.Sprintf("round %d of %d: %s, %s%s", round, p.rounds, how, what, inAll(left, p.after)))
		return
	}
	if first {
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

// end says that it was measured. slot is the time that it had, where steps differ in that.
func (p *progress) end(slot time.Duration) {
	p.step()
	if p.slots != nil {
		p.slots.passed += slot
		p.slots.inRound += slot
	}
}

// step moves the bar.
func (p *progress) step() {
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

// skip says that something is not going to be measured in a round.
func (p *progress) skip(round int, slot time.Duration) {
	p.step()
	if s := p.slots; s != nil {
		s.enter(round)
		s.inRound += slot
		s.skippedNow += slot
		s.skipped = max(s.skipped, s.skippedNow)
	}
}

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
