package packetnet

import "time"

// started is in real time.
var started = time.Now()

// CatchUp lets the clock of a bubble, which begins with the year 2000, pass the
// time at which the process was started. quic-go counts time from there and takes
// zero for earlier than everything, so that before it, after a change of path, it
// turns in circles.
func CatchUp() {
	if d := time.Until(started); d > 0 {
		<-time.After(d + time.Hour)
	}
}
