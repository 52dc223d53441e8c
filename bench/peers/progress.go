package main

import (
	"fmt"
	"io"
	"time"
)

const (
	// starting is about what a process takes before and after what it measures.
	starting = 200 * time.Millisecond
	// opening is about what opening some hundred connections and counting what they cost takes.
	opening = 1500 * time.Millisecond
)

// window is about how long one measurement of a contender takes.
func (o *options) window() time.Duration {
	switch o.mode {
	case modeIdle, modeMesh:
		return starting + opening
	case modeStream:
		return starting + o.dur + o.dur/10 // a tenth of the messages warms it up
	case modeOpen:
		return starting + 3*(o.warm+o.dur)
	default:
		return starting + o.warm + o.dur
	}
}

// all is about how long a comparison takes.
func (o *options) all() time.Duration {
	return time.Duration(o.rounds*len(o.peers)) * o.window()
}

// progress says what is measured and how long the rest will take, going by how long what was
// measured has taken. It prints between windows only, never during one.
type progress struct {
	w             io.Writer
	within        string // which part of a series it is
	planned, done time.Duration
	began         time.Time
}

func newProgress(w io.Writer, planned time.Duration) *progress {
	return &progress{w: w, planned: planned, began: time.Now()}
}

// begin says what is measured now.
func (p *progress) begin(round, rounds int, peer string) {
	fmt.Fprintf(p.w, "%sround %d of %d: %s; %v left\n", p.within, round, rounds, peer, p.left(time.Since(p.began)).Round(time.Second))
}

// left is about how long the rest takes, if what is done took so long.
func (p *progress) left(took time.Duration) time.Duration {
	left := p.planned - p.done
	if p.done > 0 {
		left = time.Duration(float64(left) * took.Seconds() / p.done.Seconds())
	}
	return max(left, 0)
}

// end says that something is measured that was thought to take so long.
func (p *progress) end(d time.Duration) { p.done += d }
