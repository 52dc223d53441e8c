package main

import (
	"fmt"
	"slices"
	"strings"
)

// verdict is about compression: for each payload, of messages that are neither small nor
// large.
func (r *compressionReport) verdict() []string {
	if r == nil || len(r.Results) == 0 {
		return nil
	}
	var pays, never []string
	for _, name := range r.payloads() {
		c := r.typical(name)
		best, always := (*compressionLine)(nil), (*compressionLine)(nil)
		for i := range c.Lines {
			switch l := &c.Lines[i]; {
			case l.Wins == winsAlways && always == nil:
				always = l
			case l.Wins == winsBelow && (best == nil || l.WinsBelow > best.WinsBelow):
				best = l
			}
		}
		what := fmt.Sprintf("%s of %s", name, octets(c.Size))
		switch {
		case always != nil:
			pays = append(pays, fmt.Sprintf("for %s at any speed (%s)", what, always.Codec))
		case best != nil:
			pays = append(pays, fmt.Sprintf("for %s below %s Mbit/s (%s)", what, best.limit(), best.Codec))
		default:
			never = append(never, name)
		}
	}
	if len(pays) == 0 {
		return []string{"compression does not pay: " + list(never) + " get no smaller."}
	}
	s := "compression pays " + strings.Join(pays, ", ")
	if len(never) > 0 {
		s += ", and never for " + list(never)
	}
	return []string{s + "."}
}

// limit is the speed below which it pays, in Mbit/s: where it is, if that is known.
func (l *compressionLine) limit() string {
	low, high := count(l.WinsBelowWithin.Low/1e6), count(l.WinsBelowWithin.High/1e6)
	if !l.WinsBelowWithin.known() || low == high {
		return count(l.WinsBelow / 1e6)
	}
	if l.WinsBelowWithin.Low < leastSpeed { // no link is that slow
		return "a speed that cannot be told, at most " + high
	}
	return low + " to " + high
}

// payloads returns those that were measured.
func (r *compressionReport) payloads() (names []string) {
	for i := range r.Results {
		if name := r.Results[i].Payload; !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// typical returns the result of a payload whose size is nearest to that of what is sent
// over links.
func (r *compressionReport) typical(payload string) *compressionResult {
	var nearest *compressionResult
	for i := range r.Results {
		c := &r.Results[i]
		if c.Payload == payload && (nearest == nil || distance(c.Size) < distance(nearest.Size)) {
			nearest = c
		}
	}
	return nearest
}
