package main

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gridmux/gridmux/bench/peers/h"
)

// asCommand makes the test binary act as the command, which starts itself.
const asCommand = "GRIDMUX_PEERS_AS_COMMAND"

func TestMain(m *testing.M) {
	if os.Getenv(asCommand) != "" {
		main()
	}
	os.Setenv(asCommand, "1")
	os.Exit(m.Run())
}

func init() {
	h.Register(&h.Factory{Name: "test-broken", Open: func(int) (*h.Peer, error) { return nil, errors.New("it does not open") }})
	h.Register(&h.Factory{Name: "test-hung", Open: func(int) (*h.Peer, error) { select {} }})
}

// command runs the command.
func command(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs strings.Builder
	code = run(t.Context(), args, &out, &errs)
	return code, out.String(), errs.String()
}

// TestEveryMode runs every mode for a moment, with those of gridmux, smux and
// ideal-go that have it, and holds that it prints their figures and ratios.
func TestEveryMode(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		mode  string
		peers string
		args  []string
	}{
		{"unary", "ideal-go,smux,ours,ours-inline,ours-inmem", []string{"-conc=4"}},
		{"stream", "ideal-go,smux-buf,ours,ours-up,ours-chan,ours-chan-up,ours-inmem,ours-inmem-up", []string{"-conc=2", "-count=2000"}},
		{"hol", "ideal-go,smux,ours", nil},
		{"hol-open", "ideal-go,smux,ours", nil},
		{"idle", "smux,ours,ours-inmem", []string{"-conc=3"}},
		{"mesh", "ours,ours-inmem", []string{"-conc=3"}},
	} {
		t.Run(test.mode, func(t *testing.T) {
			t.Parallel()
			out := filepath.Join(t.TempDir(), "out.jsonl")
			code, stdout, stderr := command(t, append(test.args, "-mode="+test.mode, "-peers="+test.peers, "-rounds=1",
				"-warm=10ms", "-dur=50ms", "-out="+out)...)
			if code != exitOK {
				t.Fatalf("exit code %d\n%s\n%s", code, stdout, stderr)
			}
			names := strings.Split(test.peers, ",")
			if want := "Ratio to " + names[0]; !strings.Contains(stdout, want) {
				t.Errorf("no %q in\n%s", want, stdout)
			}
			text, err := os.ReadFile(out)
			if err != nil {
				t.Fatal(err)
			}
			var measured []string
			for line := range strings.Lines(string(text)) {
				var r h.OpenLoopResult
				if err := json.Unmarshal([]byte(line), &r); err != nil {
					t.Fatal(err)
				}
				measured = append(measured, r.Peer)
				if r.Mode != test.mode || r.Rep != 1 || r.Err != "" {
					t.Errorf("got %s", line)
				}
				// On a busy machine a window of these may be over before a call is.
				closedLoop := test.mode == "unary" || test.mode == "hol"
				if first := modes[test.mode].figures[0].value(&r); first <= 0 && !closedLoop {
					t.Errorf("%s: its first figure is %v", r.Peer, first)
				}
			}
			if !slices.Equal(measured, names) {
				t.Errorf("measured %v, want %v", measured, names)
			}
		})
	}
}

// TestFailures holds that a contender that fails or hangs is told, that the
// others are measured all the same, and that the exit code says so.
func TestFailures(t *testing.T) {
	t.Parallel()
	code, stdout, stderr := command(t, "-peers=ideal-go,test-broken", "-rounds=2", "-warm=10ms", "-dur=20ms")
	if code != exitFailed {
		t.Errorf("exit code %d\n%s", code, stderr)
	}
	for _, want := range []string{
		"FAILED: test-broken, round 1: it does not open\n",
		"FAILED: test-broken, round 2: it does not open\n",
		"Ratio to ideal-go",
	} {
		if !strings.Contains(stdout, want) {
			t.Errorf("no %q in\n%s", want, stdout)
		}
	}
	if strings.Contains(stdout, "FAILED: ideal-go") {
		t.Errorf("ideal-go failed too:\n%s", stdout)
	}

	code, stdout, stderr = command(t, "-mode=hol-open", "-peers=test-hung", "-rounds=1", "-limit=100ms")
	if want := "FAILED: test-hung, round 1: watchdog: hung\n"; code != exitFailed || !strings.Contains(stdout, want) {
		t.Errorf("exit code %d, no %q in\n%s\n%s", code, want, stdout, stderr)
	}
}

// TestFlags holds that flags that make no sense are refused with a sentence.
func TestFlags(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]string{
		"":                                      "one of -peer and -peers",
		"-peer=ours -peers=smux":                "one of -peer and -peers",
		"-mode=sideways -peer=ours":             `no mode "sideways"`,
		"-peer=nobody":                          `no contender "nobody"`,
		"-peers=ours,nobody":                    `no contender "nobody"`,
		"-peers=ours -against=smux":             "-against smux",
		"-peer=ours -rate=0":                    "must be positive",
		"-peer=ours -dur=-1s":                   "must be positive",
		"-peer=ours more":                       `"more"`,
		"-peers=ours -out=/gone/away":           "/gone/away",
		"-peer=ours -what":                      "-what",
		"-mode=readme -peers=ours":              "leave -peer, -peers and -against out",
		"-mode=agree":                           "-mode agree needs -baseline",
		"-mode=readme -baseline=x":              "-baseline is for -mode agree",
		"-mode=readme -size=512":                "says itself what is measured: leave -size out",
		"-mode=readme -dur=0s":                  "must be positive",
		"-mode=readme -out=/gone/away":          "/gone/away",
		"-mode=readme -out=/dev/null":           "/dev/null is no regular file",
		"-mode=readme -from=/gone/away":         "/gone/away",
		"-mode=readme -from=x -out=y":           "-from is for -mode readme, without -out",
		"-peers=ours -from=x":                   "-from is for -mode readme",
		"-mode=agree -baseline=x -peers=nobody": `no contender "nobody"`,
	} {
		code, stdout, stderr := command(t, strings.Fields(args)...)
		if code != exitUsage || stdout != "" || !strings.Contains(stderr, want) {
			t.Errorf("%q: exit code %d, %q, want %q", args, code, stderr, want)
		}
	}
	if code, stdout, _ := command(t, "-mode=list"); code != exitOK || !strings.Contains(stdout, "\nours gridmux over websocket") {
		t.Errorf("list: exit code %d\n%s", code, stdout)
	}
	if code, _, stderr := command(t, "-help"); code != exitOK || !strings.Contains(stderr, "-against") {
		t.Errorf("help: exit code %d\n%s", code, stderr)
	}
}

// TestInterrupt holds that an interrupt ends a comparison at once, with the exit code of one.
func TestInterrupt(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, args := range []string{"-peers=ours,smux -dur=1m", "-mode=agree -baseline=x -dur=1m"} {
		begun := time.Now()
		var out, errs strings.Builder
		if code := run(ctx, strings.Fields(args), &out, &errs); code != exitInterrupted || out.Len() > 0 {
			t.Errorf("%s: exit code %d\n%s\n%s", args, code, out.String(), errs.String())
		}
		if d := time.Since(begun); d > 30*time.Second {
			t.Errorf("%s: it took %v", args, d)
		}
	}
}

// TestTerminate expects SIGTERM to be an interrupt, as Ctrl-C is.
func TestTerminate(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, "-peers=test-hung", "-limit=20s")
	stderr := &trigger{word: "test-hung; ", f: sync.OnceFunc(func() { _ = cmd.Process.Signal(syscall.SIGTERM) })}
	cmd.Stderr = stderr
	err = cmd.Run()
	if cmd.ProcessState.ExitCode() != exitInterrupted || !strings.HasSuffix(stderr.text.String(), "interrupted\n") {
		t.Errorf("%v, and printed\n%s", err, &stderr.text)
	}
}

// TestInterruptSingle expects an interrupt to end the measurement of a contender, which does not listen to it.
func TestInterruptSingle(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out, errs strings.Builder
	if code := run(ctx, []string{"-peer=test-hung", "-limit=1h"}, &out, &errs); code != exitInterrupted || out.Len() > 0 {
		t.Errorf("exit code %d, want %d, with %q", code, exitInterrupted, out.String())
	}
}
