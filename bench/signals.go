package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// hangupPatience is how long what was measured may take to be written after a terminal is gone: nobody is left to
// end a process that waits for something else.
const hangupPatience = 15 * time.Second

// untilSignal returns a context that ends at the first signal to end, after which the second Ctrl-C or
// SIGTERM ends the process; after SIGHUP exit is called when patience is over. release gives all signals back to the
// system.
func untilSignal(ctx context.Context, patience time.Duration, exit func(code int)) (_ context.Context, release func()) {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	ctx, cancel := context.WithCancel(ctx)
	// A terminal that is closed may send it more than once, from its shell and from the kernel: none of them is
	// to end the process before its files are written. Who called it with nohup does not want it to be seen.
	hangups := make(chan os.Signal, 1)
	if !signal.Ignored(syscall.SIGHUP) {
		signal.Notify(hangups, syscall.SIGHUP)
	}
	released := make(chan struct{})
	go func() {
		select {
		case <-hangups:
			cancel()
		case <-released:
			return
		}
		late := time.NewTimer(patience)
		defer late.Stop()
		select {
		case <-late.C:
			exit(exitInterrupted)
		case <-released:
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
		close(released)
	}
}
