//go:build unix

package main

import (
	"syscall"
	"time"
)

// processorTime returns what the process has used of the processors, and
// whether the system tells.
func processorTime() (time.Duration, bool) {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0, false
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), true
}
