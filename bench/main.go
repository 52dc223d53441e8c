package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/gridmux/gridmux/bench/internal/link"
)

// Exit codes.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitInterrupted = 130 // as a shell reports a program that Ctrl-C ended
)

func main() {
	ctx, _ := untilSignal(context.Background(), hangupPatience, os.Exit)
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
	if len(args) > 0 && args[0] == serveName {
		return p.serve(ctx, args[1:])
	}
	if len(args) > 0 && args[0] == compareCommand {
		return p.printing(func(p program) int { return p.compareFiles(args[1:]) })
	}
	opts, err := parseFlags(p.known, args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		usage(p.stdout, p.known)
		return exitOK
	case err != nil:
		fmt.Fprintf(p.stderr, "bench: %v\n", err)
		return exitUsage
	}
	if opts.train.file != "" || opts.record != "" {
		return p.printing(func(p program) int { return p.makeSamples(ctx, opts) })
	}
	if err := opts.compression.readOwn(ctx); err != nil {
		if ctx.Err() != nil {
			fmt.Fprintln(p.stderr, "bench: interrupted")
			return exitInterrupted
		}
		fmt.Fprintf(p.stderr, "bench: flag -samples: %v\n", err)
		return exitUsage
	}
	if err := p.checkLinks(opts); err != nil {
		fmt.Fprintf(p.stderr, "bench: %v\n", err)
		return exitUsage
	}
	to, err := openOutputs(opts)
	if err != nil {
		fmt.Fprintf(p.stderr, "bench: %v\n", err)
		return exitUsage
	}
	defer to.abandon()
	return p.measureAll(ctx, opts, args, to)
}

// printing runs what is no use to who does not see what it prints, or not all of its use.
func (p program) printing(run func(p program) int) int {
	out := &printed{to: p.stdout}
	code := run(program{p.known, p.link, out, p.stderr})
	if err := out.failed(); err != nil {
		fmt.Fprintf(p.stderr, "bench: standard output: %v\n", err)
		return cmp.Or(code, exitUsage)
	}
	return code
}

// measureAll is a run that measures, after all that the flags ask for was found to be possible.
func (p program) measureAll(ctx context.Context, opts options, args []string, to outputs) int {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	out := &printed{to: p.stdout}
	if to.none() {
		out.failing = cancel // nobody would learn of what is still to come
	}
	return program{p.known, p.link, out, p.stderr}.measureInto(ctx, opts, args, to, out)
}

// measureInto is measureAll with a standard output, which is out, that may fail.
func (p program) measureInto(ctx context.Context, opts options, args []string, to outputs, out *printed) int {
	rep := report{Schema: schema, Machine: thisMachine()}
	rep.begin(args, time.Now())
	if opts.remote != nil {
		rep.Path = opts.remote.String()
	}
	fmt.Fprintf(p.stdout, "gridmux bench on %v\n%s\n", rep.Machine, wrap(rep.Machine.Environment.String(), lineWidth))
	running := opts.kinds
	if opts.demo {
		running = p.demonstrate(ctx, running, &rep)
	}
	if opts.remote != nil {
		running = p.lookAtPath(ctx, &opts, running, &rep)
		opts.fitPaced(&rep)
	}
	left := p.schedule(&opts, running)
	after := left.next()
	if ctx.Err() == nil {
		p.measure(ctx, opts, running, &rep, after)
	}
	if opts.remote != nil {
		// Of a path that something does not get through, every attempt would take long.
		running = unfailed(running, rep.Failures)
	}
	after = left.next()
	if ctx.Err() == nil {
		p.measurePaced(ctx, opts, running, &rep, after)
	}
	after = left.next()
	if ctx.Err() == nil && opts.clusters.wanted {
		p.measureClusters(ctx, opts, running, &rep, after)
	}
	after = left.next()
	if ctx.Err() == nil && len(opts.links.over) > 0 {
		p.measureLinks(ctx, opts.links, chosen(running, opts.links.kinds), &rep, after)
	}
	if ctx.Err() == nil && opts.compression.wanted {
		p.measureCompression(ctx, opts.compression, running, &rep)
	}
	interrupted := ctx.Err() != nil
	rep.finish(interrupted)
	rep.render(p.stdout)
	code := p.write(to, &rep)
	unseen := out.failed()
	switch {
	case interrupted && (unseen == nil || !to.none()):
		fmt.Fprintln(p.stderr, "bench: interrupted")
		return cmp.Or(code, exitInterrupted)
	case unseen != nil:
		fmt.Fprintf(p.stderr, "bench: standard output: %v%s\n", unseen, to.instead())
		code = cmp.Or(code, exitUsage)
	}
	if kept := p.judge(&rep, opts.thresholds); !kept || len(rep.Failures) > 0 || len(rep.LeftOut) > 0 && !rep.measured() {
		return cmp.Or(code, exitFailed)
	}
	return code
}

// write writes what a run has found out to where that was asked for, and returns the exit code. What cannot be
// written does not keep the other from it.
func (p program) write(to outputs, rep *report) (code int) {
	if to.dir != nil && rep.measured() {
		if err := to.dir.write(rep); err != nil {
			fmt.Fprintf(p.stderr, "bench: flag -out: %v\n", err)
			code = exitUsage
		} else {
			fmt.Fprintf(p.stdout, "\n%s\n", wrap(to.dir.said(), lineWidth))
		}
	}
	if to.file != nil && (!rep.Interrupted || rep.measured()) {
		if err := to.file.writeReport(rep); err != nil {
			fmt.Fprintf(p.stderr, "bench: flag -json: %v\n", err)
			return exitUsage
		}
		fmt.Fprintf(p.stdout, "\nAll of this is in %s.\n", to.file.Name())
	}
	return code
}

// checkLinks fails if the flags ask for emulated links and there are none. Who does not ask
// for them gets what else there is, and a line that says what was left out.
func (p program) checkLinks(opts options) error {
	if !opts.linksAsked || opts.links.shaped {
		return nil
	}
	l, err := p.link(opts.links.seed, opts.links.over[0].conditions)
	switch {
	case err == nil:
		l.close()
	case errors.Is(err, link.ErrUnavailable):
		return fmt.Errorf("%w: they need Linux, and root or a user who may make user namespaces, and who can open /dev/net/tun; "+
			"-shaping does without, and without loss",
			trimPackage(err))
	}
	return nil // what else is wrong is told where the link is measured
}

// makeSamples makes samples for a dictionary, or one from them, and measures nothing.
func (p program) makeSamples(ctx context.Context, opts options) int {
	var name string
	var err error
	if opts.train.file != "" {
		name, err = "train", p.train(ctx, opts.train)
	} else {
		name, err = "record", p.record(ctx, opts.record, opts.compression.payloads)
	}
	switch {
	case err == nil:
		return exitOK // also of an interrupt that came after all was written
	case ctx.Err() != nil:
		fmt.Fprintln(p.stderr, "bench: interrupted")
		return exitInterrupted
	case errors.Is(err, errNotRecorded):
		fmt.Fprintf(p.stderr, "bench: flag -%s: %v\n", name, err)
		return exitFailed
	default:
		fmt.Fprintf(p.stderr, "bench: flag -%s: %v\n", name, err)
		return exitUsage
	}
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

// unfailed returns those of some transports of which nothing failed.
func unfailed(of []kind, failures []failure) []kind {
	return slices.DeleteFunc(slices.Clone(of), func(k kind) bool {
		return slices.ContainsFunc(failures, func(f failure) bool { return f.Transport == k.name })
	})
}

// measure fills in the report's cells.
func (p program) measure(ctx context.Context, opts options, of []kind, rep *report, after time.Duration) {
	if len(of) == 0 || len(opts.tables) == 0 {
		return
	}
	m := newMeasurement(opts, of)
	rep.describe(m)
	fmt.Fprintf(p.stdout, "\n%s\n", rep.header())
	if len(m.loads) == 0 {
		return
	}
	m.progress = newProgress(p.stdout, p.stderr, m.plan, len(m.loads)*len(m.kinds), after)
	if m.remote != nil && m.remote.speed.known() {
		m.progress.slotted(time.Duration(len(m.kinds)) * m.slots())
	}
	m.run(ctx, rep)
	m.progress.finish()
}
