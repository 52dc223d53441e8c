package link

import (
	"slices"
	"time"
)

// A wake estimates how long a thread takes to wake up, so that it can begin
// that much earlier. Depending on the machine and on what else runs there, it is
// some ten to some hundred microseconds, which a short link would show.
type wake struct {
	latency time.Duration

	lately [8]time.Duration // the last ones; 0 until there are as many
	next   int              // the oldest of them
}

// observe adds how much too late a thread woke up. The estimate is the fastest of the last
// few wake-ups, so that one in time ends an estimate that is too high: to begin too late is
// what any machine does at times, too early would be wrong.
func (w *wake) observe(late time.Duration) {
	w.lately[w.next] = max(late, 0)
	w.next = (w.next + 1) % len(w.lately)
	w.latency = slices.Min(w.lately[:])
}
