package main

import (
	"context"
	"time"
)

// waker lets one goroutine sleep until an instant.
type waker interface {
	// wait returns at the instant, or at once if it is over, or when ctx ends or something
	// failed.
	wait(ctx context.Context, until time.Time, failed <-chan error) error
	close()
}

// timers is the waker of the runtime. Where nothing else goes on its timers may be a
// millisecond late, which would count as latency.
type timers struct{}

func (timers) wait(ctx context.Context, until time.Time, failed <-chan error) error {
	return pause(ctx, time.Until(until), failed)
}

func (timers) close() {}
