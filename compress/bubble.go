package compress

import "time"

// inBubble reports whether the goroutine runs in a bubble of testing/synctest.
// A channel made there may be used nowhere else, the runtime ends the process
// otherwise; and the coders of zstd have channels. There the clock is a virtual
// one, without a monotonic reading.
func inBubble() bool {
	now := time.Now()
	return now == now.Round(0) //nolint:revive,staticcheck // asks for the reading, which Equal ignores
}
