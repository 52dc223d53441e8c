//go:build !unix && !windows

package main

import "time"

// processorTime says that the system does not tell.
func processorTime() (time.Duration, bool) { return 0, false }
