// Package linkmodel decides what a bad link does to each frame that it carries:
// how long the frame travels and whether it is damaged. It moves no frames
// itself; the transports that simulate a network ask it.
//
// Everything random comes from counters: what happens to frame n of one
// direction of one connection depends on the seed, on which direction it is,
// and on n, never on what other connections do or did. A simulation that runs
// twice under one seed therefore sees the same link twice, even if the order of
// events on other links differs.
package linkmodel

import "time"

// MaxTime bounds every duration that is configured or drawn, so that sums of a
// few of them, and instants that far away, do not overflow: 18 years.
const MaxTime = time.Duration(1) << 59

// Conditions is the state of one direction of a link. The transports document
// the fields where they export them. It is to be used as Sane returns it.
type Conditions struct {
	Latency     time.Duration
	Jitter      time.Duration
	Tail        float64
	TailLatency time.Duration
	Bandwidth   int
	Corrupt     float64
	Split       bool
	Merge       time.Duration
}

// Sane returns c with every field in its range: what is negative, or no number,
// counts as 0.
func (c Conditions) Sane() Conditions {
	c.Latency = saneTime(c.Latency)
	c.Jitter = saneTime(c.Jitter)
	c.TailLatency = saneTime(c.TailLatency)
	c.Merge = saneTime(c.Merge)
	c.Tail = saneShare(c.Tail)
	c.Corrupt = saneShare(c.Corrupt)
	c.Bandwidth = max(c.Bandwidth, 0)
	if c.TailLatency == 0 {
		c.Tail = 0
	}
	return c
}

func saneTime(d time.Duration) time.Duration { return min(max(d, 0), MaxTime) }

func saneShare(p float64) float64 {
	if p > 0 { // false for what is no number
		return min(p, 1)
	}
	return 0
}

// Perfect reports whether c disturbs nothing. Split alone does not: what arrives
// at once arrives in pieces at the same instant.
func (c Conditions) Perfect() bool {
	return c.Latency == 0 && c.Jitter == 0 && c.Tail == 0 && c.Bandwidth == 0 && c.Corrupt == 0 && c.Merge == 0
}
