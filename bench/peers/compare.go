package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"time"

	"github.com/gridmux/gridmux/bench/peers/h"
)

// killDelay is what a process gets after its own watchdog should have ended it.
const killDelay = 5 * time.Second

// compare measures several contenders in turn, each window in a process of its
// own so that none finds the heap, the goroutines or the caches of another, and
// prints the medians and the ratios, also of what there is when it is interrupted.
func compare(ctx context.Context, o options, stdout, stderr io.Writer) int {
	results, code := collect(ctx, o, newProgress(stderr, o.all()), stderr)
	if len(results) > 0 {
		code = max(code, newReport(o, results).render(stdout))
	}
	return code
}

// collect measures what compare prints. The exit code is not exitOK if it did not come to the
// end; that a contender failed is for the report to say.
func collect(ctx context.Context, o options, bar *progress, stderr io.Writer) (results []h.OpenLoopResult, code int) {
	self, err := os.Executable()
	if err != nil {
		fmt.Fprintln(stderr, err)
		return nil, exitFailed
	}
	out := io.Discard
	if o.out != "" {
		file, err := os.OpenFile(o.out, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
		if err != nil {
			fmt.Fprintln(stderr, err)
			return nil, exitUsage
		}
		defer file.Close()
		out = file
	}
	for round := 1; round <= o.rounds; round++ {
		order := slices.Clone(o.peers)
		if round%2 == 0 {
			slices.Reverse(order) // so that none always follows another
		}
		for _, peer := range order {
			bar.begin(round, o.rounds, peer)
			r, err := child(ctx, self, o, peer, round, stderr, out)
			if ctx.Err() != nil || errors.Is(err, errInterrupted) {
				fmt.Fprintln(stderr, "interrupted")
				return results, exitInterrupted
			}
			if err != nil {
				fmt.Fprintf(stderr, "%s: %v\n", peer, err)
				return results, exitFailed
			}
			bar.end(o.window())
			results = append(results, r)
		}
	}
	return results, exitOK
}

// errInterrupted is what a window ends with that Ctrl-C has reached before this process.
var errInterrupted = errors.New("interrupted")

// child runs one window of a program in a process of its own, copies the line that it
// prints and returns what that says. A contender that failed or hung has one too.
func child(
	ctx context.Context, program string, o options, peer string, round int, stderr, out io.Writer,
) (r h.OpenLoopResult, err error) {
	ctx, cancel := context.WithTimeout(ctx, o.limit+killDelay)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, append(slices.Clone(o.set), "-peer="+peer, "-rep="+strconv.Itoa(round))...)
	cmd.Stderr = stderr
	line, err := cmd.Output()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		switch code := exit.ExitCode(); {
		case code == exitInterrupted:
			err = errInterrupted
		case len(line) > 0 && (code == exitFailed || code == exitHung):
			err = nil // the line says what happened
		}
	}
	if err != nil {
		return r, err
	}
	if err := json.Unmarshal(line, &r); err != nil { //nolint:musttag // the names are those of the fields
		return r, err
	}
	_, err = out.Write(line)
	return r, err
}
