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
// prints the medians and the ratios.
func compare(ctx context.Context, o options, stdout, stderr io.Writer) int {
	out := io.Discard
	if o.out != "" {
		file, err := os.OpenFile(o.out, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
		if err != nil {
			fmt.Fprintln(stderr, err)
			return exitUsage
		}
		defer file.Close()
		out = file
	}
	var results []h.OpenLoopResult
	for round := 1; round <= o.rounds; round++ {
		order := slices.Clone(o.peers)
		if round%2 == 0 {
			slices.Reverse(order) // so that none always follows another
		}
		for _, peer := range order {
			fmt.Fprintf(stderr, "round %d of %d: %s\n", round, o.rounds, peer)
			line, err := child(ctx, o, peer, round, stderr)
			if ctx.Err() != nil {
				fmt.Fprintln(stderr, "interrupted")
				return exitFailed
			}
			var r h.OpenLoopResult
			if err == nil {
				err = json.Unmarshal(line, &r) //nolint:musttag // the names are those of the fields
			}
			if err == nil {
				_, err = out.Write(line)
			}
			if err != nil {
				fmt.Fprintf(stderr, "%s: %v\n", peer, err)
				return exitFailed
			}
			results = append(results, r)
		}
	}
	return newReport(o, results).render(stdout)
}

// child runs one window in a process of its own and returns the line it prints.
// A contender that failed or hung has one too.
func child(ctx context.Context, o options, peer string, round int, stderr io.Writer) ([]byte, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, o.limit+killDelay)
	defer cancel()
	cmd := exec.CommandContext(ctx, self, append(slices.Clone(o.set), "-peer="+peer, "-rep="+strconv.Itoa(round))...)
	cmd.Stderr = stderr
	line, err := cmd.Output()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && len(line) > 0 &&
		(exit.ExitCode() == exitFailed || exit.ExitCode() == exitHung) {
		err = nil // the line says what happened
	}
	return line, err
}
