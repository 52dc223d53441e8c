package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// untilSignal returns a context that ends at the first signal to end, after which the second Ctrl-C or
// SIGTERM ends the process. release gives all signals back to the system.
func untilSignal(ctx context.Context) (_ context.Context, release func()) {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	ctx, cancel := context.WithCancel(ctx)
	// A terminal that is closed may send it more than once, from its shell and from the kernel: none of them is
	// to end the process before its files are written. Who called it with nohup does not want it to be seen.
	hangups := make(chan os.Signal, 1)
	if !signal.Ignored(syscall.SIGHUP) {
		signal.Notify(hangups, syscall.SIGHUP)
	}
	go func() {
		select {
		case <-hangups:
			cancel()
		case <-ctx.Done():
		}
	}()
	// Nobody reads it: as long as it is asked for, a write to a pipe that nobody reads fails, and does not end
	// the process.
	pipes := make(chan os.Signal, 1)
	signal.Notify(pipes, syscall.SIGPIPE)
	return ctx, func() {
		signal.Stop(hangups)
		signal.Stop(pipes)
		cancel()
		stop()
	}
}
