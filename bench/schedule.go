package main

import (
	"errors"
	"time"

	"github.com/gridmux/gridmux/bench/internal/link"
)

// schedule is how long the parts of a run take that are still to come, about: what connects and
// closes nodes comes on top.
type schedule []time.Duration

// schedule is that of a run over some transports.
func (p program) schedule(opts *options, of []kind) (s schedule) {
	add := func(wanted bool, takes time.Duration) {
		if !wanted || len(of) == 0 {
			takes = 0
		}
		s = append(s, takes)
	}
	add(len(opts.tables) > 0, opts.duration)
	add(opts.paced.wanted, opts.paced.takes(len(of)))
	add(opts.clusters.wanted, opts.clusters.takes(len(of)))
	over := &opts.links
	overLinks := len(over.over) > 0 && len(chosen(of, over.kinds)) > 0 && available(over.opener(p), over.seed, over.over[0].conditions)
	add(overLinks, time.Duration(len(over.over))*(over.warmUp+over.duration))
	add(opts.compression.wanted, opts.compression.duration+p.speedTime(&opts.compression, of))
	return s
}

// available reports whether there are links.
func available(open linkOpener, seed uint64, c link.Conditions) bool {
	l, err := open(seed, c)
	if err == nil {
		l.close()
	}
	return !errors.Is(err, link.ErrUnavailable)
}

// next begins a part, and returns how long those after it take.
func (s *schedule) next() (after time.Duration) {
	*s = (*s)[1:]
	for _, takes := range *s {
		after += takes
	}
	return after
}
