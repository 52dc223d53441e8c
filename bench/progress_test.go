package main

import (
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestSkippedAtTheBeginningOfARound expects what a round begins with, and which is not measured any more, not to count
// among what is left, of that round and of those to come.
func TestSkippedAtTheBeginningOfARound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var said strings.Builder
		p := newProgress(&said, io.Discard, plan{rounds: 3}, 2, 0)
		p.slotted(100 * time.Second)
		measure := func(round int, slot time.Duration) {
			p.begin(round, "calls", "inmem")
			time.Sleep(slot)
			p.end(slot)
		}
		measure(1, 60*time.Second) // after which it failed
		measure(1, 40*time.Second)
		for round := 2; round <= 3; round++ {
			p.skip(round, 60*time.Second)
			measure(round, 40*time.Second)
		}
		const want = "round 1 of 3, 5m0s left\nround 2 of 3, 1m20s left\nround 3 of 3, 40s left\n"
		if said.String() != want {
			t.Errorf("%s\nwant\n%s", &said, want)
		}
	})
}
