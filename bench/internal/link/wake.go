package link

import "time"

// A wake estimates how long a thread takes to wake up, so that it can begin
// that much earlier. Depending on the machine and on what else runs there, it is
// some ten to some hundred microseconds, which a short link would show.
type wake struct {
	latency time.Duration
}

// observe adds how much too late a thread woke up. Small steps, and larger ones down
// than up, keep the estimate where one wake-up in ten is faster: to begin too late
// is what any machine does at times, too early would be wrong.
func (w *wake) observe(late time.Duration) {
	const up, down = 500 * time.Nanosecond, 5 * time.Microsecond
	w.latency += min(max(max(late, 0)-w.latency, -down), up)
}
