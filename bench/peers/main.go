// Command peers is the yardstick of gridmux: it measures the library beside
// other multiplexers and RPC libraries under the same load, each as one process
// that holds both ends of a loopback connection. One contender prints one line
// of JSON; several are measured in turn, round after round, and compared as
// ratios. README.md beside it says what each mode measures. It runs on Linux.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/pprof"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/gridmux/gridmux/bench/peers/h"
	_ "github.com/gridmux/gridmux/bench/peers/ours"
	_ "github.com/gridmux/gridmux/bench/peers/peers"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)                         // the second one ends the process
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr)) //nolint:forbidigo // main ends the process
}

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1 // a contender failed
	exitUsage  = 2 // flags that make no sense
	exitHung   = 3 // the watchdog ended it

	exitInterrupted = 130 // as a shell reports a program that Ctrl-C ended
)

// options are the flags.
type options struct {
	mode, peer, prof  string
	size, conc, count int
	bulk              int
	rate, callers     int
	warm, dur, limit  time.Duration
	rep               int
	peers, against    names
	rounds            int
	out, from         string
	baseline          string   // another build of the yardstick
	args              []string // of the command
	set               []string // the flags that were given and hold for a single contender too
}

// names is a flag with names between commas.
type names []string

func (n *names) String() string { return strings.Join(*n, ",") }

func (n *names) Set(s string) error {
	*n = strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' })
	return nil
}

// Defaults that README's tables depend on.
const (
	smallSize    = 512
	smallCallers = 64
)

// given tells whether a flag was, of those that hold for a single contender too.
func (o *options) given(name string) bool {
	return slices.ContainsFunc(o.set, func(f string) bool { return strings.HasPrefix(f, "-"+name+"=") })
}

// parseFlags returns flag.ErrHelp after it printed the help that was asked for.
func parseFlags(args []string, stderr io.Writer) (o options, err error) {
	fs := flag.NewFlagSet("peers", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.StringVar(&o.mode, "mode", modeUnary, "unary, stream, hol, hol-open, idle, mesh; "+
		"list for the contenders, readme for what the project's README says, or agree")
	fs.StringVar(&o.peer, "peer", "", "the contender to measure, in this process")
	fs.Var(&o.peers, "peers", "contenders to compare, each in processes of its own, with commas between them")
	fs.IntVar(&o.rounds, "rounds", 0, "with -peers: how often each is measured, in turn (default 3; in a series what each step needs)")
	fs.Var(&o.against, "against", "with -peers: contenders to print ratios to (default the first of -peers)")
	fs.StringVar(&o.out, "out", "", "with -peers: file to append the JSON lines of all windows to; "+
		"with -mode readme it is written anew, when all is measured")
	fs.StringVar(&o.from, "from", "", "with -mode readme: file of such a run, of which to print what README shows, without measuring")
	fs.StringVar(&o.baseline, "baseline", "", "with -mode agree: another build of the yardstick, which is to have the same figures")
	fs.IntVar(&o.size, "size", smallSize, "bytes of a message, of a small call in hol and hol-open")
	fs.IntVar(&o.conc, "conc", 1, "workers (unary), streams (stream), connections (idle), nodes (mesh)")
	fs.IntVar(&o.count, "count", 100000, "messages in all (stream)")
	fs.IntVar(&o.bulk, "bulk", 4<<20, "bytes of a bulk call (hol, hol-open); for ttrpc, which carries less, 4128768")
	fs.IntVar(&o.rate, "rate", 1000, "small calls per second (hol-open)")
	fs.IntVar(&o.callers, "callers", smallCallers, "how many small calls can be in progress at once (hol-open)")
	fs.DurationVar(&o.warm, "warm", 300*time.Millisecond, "time that is not counted at the beginning of a window")
	fs.DurationVar(&o.dur, "dur", 1500*time.Millisecond, "length of a window; hol-open has three")
	fs.IntVar(&o.rep, "rep", 0, "number that the result carries")
	fs.StringVar(&o.prof, "prof", "", "with -peer: path prefix of profiles (unary)")
	fs.DurationVar(&o.limit, "limit", time.Minute, "time after which a contender that hangs is given up")
	if err := fs.Parse(args); err != nil {
		return o, err
	}
	o.args = args
	fs.Visit(func(f *flag.Flag) {
		switch f.Name {
		case "peer", "peers", "rounds", "against", "out", "from", "rep", "prof", "baseline":
		default:
			o.set = append(o.set, "-"+f.Name+"="+f.Value.String())
		}
	})
	if err := o.check(fs.Args()); err != nil {
		fmt.Fprintln(stderr, err)
		return o, err
	}
	return o, nil
}

func (o *options) check(rest []string) error {
	if len(rest) > 0 {
		return fmt.Errorf("%q: there are flags only", rest[0])
	}
	if o.from != "" && (o.mode != readmeMode || o.out != "") {
		return errors.New("-from is for -mode readme, without -out")
	}
	switch o.mode {
	case "list":
		return nil
	case readmeMode, agreeMode:
		return o.checkSeries()
	}
	if o.rounds == 0 {
		o.rounds = 3
	}
	if _, ok := modes[o.mode]; !ok {
		return fmt.Errorf("there is no mode %q", o.mode)
	}
	if (o.peer == "") == (len(o.peers) == 0) {
		return errors.New("one of -peer and -peers is needed; -mode list prints the contenders")
	}
	if len(o.against) == 0 && len(o.peers) > 0 {
		o.against = o.peers[:1]
	}
	for _, name := range append(o.peers, o.peer) {
		if name != "" && h.Peers[name] == nil {
			return fmt.Errorf("there is no contender %q; -mode list prints them", name)
		}
	}
	for _, name := range o.against {
		if !slices.Contains(o.peers, name) {
			return fmt.Errorf("-against %s: it is not among -peers", name)
		}
	}
	if min(o.size, o.conc, o.count, o.bulk, o.rate, o.callers, o.rounds) < 1 || min(o.warm, o.dur, o.limit) <= 0 {
		return errors.New("sizes, numbers and times must be positive")
	}
	return nil
}

// run is the command. It returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	o, err := parseFlags(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return exitOK
	case err != nil:
		return exitUsage
	case o.mode == "list":
		for _, name := range h.Names() {
			fmt.Fprintln(stdout, name, h.Peers[name].Note)
		}
		return exitOK
	case o.from != "":
		return redraw(o.from, stdout, stderr)
	case o.mode == readmeMode:
		return readme(ctx, o, readmeSteps(), stdout, stderr)
	case o.mode == agreeMode:
		return agree(ctx, o, stdout, stderr)
	case o.peer != "":
		return single(ctx, o, stdout, stderr)
	default:
		return compare(ctx, o, stdout, stderr)
	}
}

// single measures one contender and prints one line of JSON. A contender that
// hangs, or is interrupted, cannot be stopped, so the process is to end afterwards.
func single(ctx context.Context, o options, stdout, stderr io.Writer) int {
	done := make(chan h.OpenLoopResult, 1)
	go func() { done <- modes[o.mode].measure(h.Peers[o.peer], o) }()
	watchdog := time.NewTimer(o.limit)
	defer watchdog.Stop()
	var r h.OpenLoopResult
	code := exitOK
	select {
	case r = <-done:
		if r.Err != "" {
			code = exitFailed
		}
	case <-ctx.Done():
		fmt.Fprintln(stderr, "interrupted")
		return exitInterrupted
	case <-watchdog.C:
		r.Result = h.Result{Mode: o.mode, Peer: o.peer, Size: o.size, Conc: o.conc, Err: "watchdog: hung"}
		code = exitHung
		if os.Getenv("STACKS") != "" {
			_ = pprof.Lookup("goroutine").WriteTo(stderr, 1)
		}
	}
	r.Rep = o.rep
	var line any = r
	if o.mode != modeOpen {
		line = r.Result
	}
	if err := json.NewEncoder(stdout).Encode(line); err != nil {
		fmt.Fprintln(stderr, err)
		return exitFailed
	}
	return code
}
