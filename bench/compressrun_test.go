package main

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestSamplesRefused expects samples that cannot be read, or are too few, to be noticed before
// anything is measured, with one line and exit code 2.
func TestSamplesRefused(t *testing.T) {
	few := t.TempDir()
	if err := os.WriteFile(filepath.Join(few, "one"), []byte("alone"), 0o600); err != nil {
		t.Fatal(err)
	}
	for dir, want := range map[string]string{
		few:                        "bench: flag -samples: " + few + " has 1 message: it takes 4 or more\n",
		filepath.Join(few, "gone"): "bench: flag -samples: ",
	} {
		var stdout, stderr bytes.Buffer
		code := run(t.Context(), []string{"-samples", dir, "-out="}, &stdout, &stderr)
		if got := stderr.String(); code != exitUsage || stdout.Len() > 0 || strings.Count(got, "\n") != 1 || !strings.HasPrefix(got, want) {
			t.Errorf("exit code %d, %q on stderr and %q on stdout, want %q", code, got, &stdout, want)
		}
	}
}

// TestSamplesInterrupted expects an interrupt to end a run that reads samples, of which there may be many.
func TestSamplesInterrupted(t *testing.T) {
	dir := t.TempDir()
	for i := range leastOwn {
		if err := os.WriteFile(filepath.Join(dir, strconv.Itoa(i)), []byte("a message"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var stdout, stderr bytes.Buffer
	code := run(ctx, []string{"-samples", dir, "-out="}, &stdout, &stderr)
	if code != exitInterrupted || stdout.Len() > 0 || stderr.String() != "bench: interrupted\n" {
		t.Errorf("exit code %d, want %d; %q on stderr and %q on stdout", code, exitInterrupted, &stderr, &stdout)
	}
}

// TestCompressionKeepsToItsTime expects compression to stop when its time is over, after the fewest rounds.
func TestCompressionKeepsToItsTime(t *testing.T) {
	all := sendings(&compressionOptions{payloads: []string{"random"}, sizes: []int{1000}})
	r := newCompressionReport(plan{rounds: 9, warmUp: time.Millisecond, window: 5 * time.Millisecond}, "inmem")
	progress := newProgress(io.Discard, io.Discard, r.timing, len(all[0].ways), 0)
	if err := r.measure(t.Context(), kinds()[0], all, time.Millisecond, progress); err != nil {
		t.Fatal(err)
	}
	if r.Rounds != minRounds || r.Planned != minRounds {
		t.Errorf("%d rounds of %d, want %d", r.Rounds, r.Planned, minRounds)
	}
}
