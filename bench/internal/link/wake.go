package link

import "time"

// A wake estimates how long a thread takes to wake up, so that it can begin
// that much earlier. Depending on the machine and on what else runs there, it is
// some ten to some hundred microseconds, which a short link would show.
type wake struct {
	latency time.Duration
}

// maxWake is the longest wake-up that is taken for the usual; a thread that
// found no processor waits for milliseconds.
const maxWake = 200 * time.Microsecond

// observe adds how much too late a thread woke up. The estimate stays near the least:
// to begin too late is what any machine does at times, too early would be wrong.
func (w *wake) observe(late time.Duration) {
	off := min(max(late, 0), maxWake) - w.latency
	if off > 0 {
		off /= 8
	}
	w.latency += off / 4
}
