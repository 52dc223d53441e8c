package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"syscall"
)

// Exit codes.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitInterrupted = 130 // as a shell reports a program that Ctrl-C ended
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// The first interrupt ends the run in order, a second one the process.
	context.AfterFunc(ctx, stop)
	// quic-go prints one where a socket's buffers are small, in the middle of a table.
	_ = os.Setenv("QUIC_GO_DISABLE_RECEIVE_BUFFER_WARNING", "true")
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run is the program: what it prints goes to the two writers and its result is
// the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	return program{known: kinds(), link: openEmulated, stdout: stdout, stderr: stderr}.run(ctx, args)
}

// program is a run of bench with the transports that it knows.
type program struct {
	known          []kind
	link           linkOpener
	stdout, stderr io.Writer
}

func (p program) run(ctx context.Context, args []string) int {
	opts, err := parseFlags(p.known, args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		usage(p.stdout, p.known)
		return exitOK
	case err != nil:
		fmt.Fprintf(p.stderr, "bench: %v\n", err)
		return exitUsage
	}
	var file *outputFile
	if opts.json != "" {
		if file, err = openOutput(opts.json); err != nil {
			fmt.Fprintf(p.stderr, "bench: flag -json: %v: name a file that can be written\n", err)
			return exitUsage
		}
		defer file.abandon()
	}

	rep := report{Schema: schema, Machine: thisMachine()}
	fmt.Fprintf(p.stdout, "gridmux bench on %v\n", rep.Machine)
	running := opts.kinds
	if opts.demo {
		running = p.demonstrate(ctx, running, &rep)
	}
	if ctx.Err() == nil {
		p.measure(ctx, opts, running, &rep)
	}
	if ctx.Err() == nil && len(opts.links.over) > 0 {
		p.measureLinks(ctx, opts.links, chosen(running, opts.links.kinds), &rep)
	}
	rep.render(p.stdout)
	interrupted := ctx.Err() != nil
	if file != nil && (!interrupted || rep.measured()) {
		if err := file.write(&rep); err != nil {
			fmt.Fprintf(p.stderr, "bench: flag -json: %v\n", err)
			return exitFailed
		}
		fmt.Fprintf(p.stdout, "\nAll of this is in %s.\n", opts.json)
	}
	if interrupted {
		fmt.Fprintln(p.stderr, "bench: interrupted")
		return exitInterrupted
	}
	if len(rep.Failures) > 0 {
		return exitFailed
	}
	return exitOK
}

// demonstrate shows a cluster over each transport and returns those that
// worked.
func (p program) demonstrate(ctx context.Context, all []kind, rep *report) (working []kind) {
	fmt.Fprintf(p.stdout, "\n%s\n", wrap(fmt.Sprintf(
		"First a cluster of three nodes, a, b and c, over each transport, with a keep-alive of %v.", demoKeepAlive), lineWidth))
	for _, k := range all {
		err := demonstrate(ctx, k, p.stdout)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			fmt.Fprintf(p.stdout, "FAILED: %v\n", err)
			rep.fail(k.name, "showing a cluster", err)
		default:
			working = append(working, k)
		}
	}
	return working
}

// chosen returns those of some transports that are among others.
func chosen(from, among []kind) (both []kind) {
	for _, k := range from {
		if slices.ContainsFunc(among, func(other kind) bool { return other.name == k.name }) {
			both = append(both, k)
		}
	}
	return both
}

// measure fills in the report's cells.
func (p program) measure(ctx context.Context, opts options, of []kind, rep *report) {
	if len(of) == 0 || len(opts.tables) == 0 {
		return
	}
	m := newMeasurement(opts, of)
	rep.describe(m)
	fmt.Fprintf(p.stdout, "\n%s\n", rep.header())
	m.progress = newProgress(p.stdout, p.stderr, m)
	m.run(ctx, rep)
	m.progress.finish()
}
