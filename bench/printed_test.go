package main

import (
	"bytes"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gridmux/gridmux/internal/samples"
)

// closedAfter is a standard output that fails from a text on.
type closedAfter struct {
	bytes.Buffer

	text string
}

func (w *closedAfter) Write(p []byte) (int, error) {
	if strings.Contains(w.String(), w.text) {
		return 0, syscall.EPIPE
	}
	return w.Buffer.Write(p)
}

// TestClosedOutput expects a standard output that fails to cost nothing but what it would have had, to be told with
// exit code 2, and to end a run of which nothing is left to be seen.
func TestClosedOutput(t *testing.T) {
	t.Parallel()
	args := []string{"-no-demo", "-duration", "600ms", "-workloads", "calls", "-callers", "1", "-sizes", "none", "-transports", "inmem"}
	t.Run("written", func(t *testing.T) {
		t.Parallel()
		dir := filepath.Join(t.TempDir(), "out")
		stdout, stderr := &closedAfter{text: "gridmux bench on"}, &bytes.Buffer{}
		code := (program{kinds(), unshaped, stdout, stderr}).run(t.Context(), append(args, "-out", dir))
		want := "bench: standard output: broken pipe: the report is in " + filepath.Join(dir, pageFile) + "\n"
		if code != exitUsage || stderr.String() != want {
			t.Errorf("exit code %d and %q, want %q", code, stderr, want)
		}
		if rep, err := readReport(filepath.Join(dir, jsonFile)); err != nil || rep.Interrupted || rep.Rounds != rep.Planned {
			t.Errorf("the run was not completed: %v", err)
		}
	})
	t.Run("nowhere", func(t *testing.T) {
		t.Parallel()
		stdout, stderr := &closedAfter{text: "round 2 of"}, &bytes.Buffer{}
		began := time.Now()
		code := (program{kinds(), unshaped, stdout, stderr}).run(t.Context(), append(args, "-duration", "9s", "-out="))
		if code != exitUsage || stderr.String() != "bench: standard output: broken pipe\n" {
			t.Errorf("exit code %d and %q", code, stderr)
		}
		if took := time.Since(began); took > 7*time.Second {
			t.Errorf("it went on for %v", took)
		}
	})
}

// TestOthersWithClosedOutput expects those that measure nothing to fail too where nobody reads what they print, and not
// to wait; what they have written stays.
func TestOthersWithClosedOutput(t *testing.T) {
	t.Parallel()
	dictionary, lines := filepath.Join(t.TempDir(), "dict"), filepath.Join(t.TempDir(), "lines")
	if err := os.WriteFile(lines, bytes.Join(samples.ByName("log").Records(1, 20), []byte("\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	tracked := filepath.Join("..", "docs", "bench", "results.json")
	for _, args := range [][]string{
		{compareCommand, tracked, tracked},
		{"-train", dictionary, "-lines", lines},
		{serveName, "-listen", "127.0.0.1:0"},
	} {
		var stderr bytes.Buffer
		code := (program{kinds(), unshaped, &closedAfter{}, &stderr}).run(t.Context(), args)
		if code != exitUsage || !strings.HasSuffix(stderr.String(), ": standard output: broken pipe\n") {
			t.Errorf("%v: exit code %d and %q", args, code, &stderr)
		}
	}
	if text, err := os.ReadFile(dictionary); len(text) == 0 {
		t.Errorf("what was made is gone: %v", err)
	}
}

// TestHangup expects a terminal that is gone to end a run as Ctrl-C does, however often that is told, and files to be
// written though nobody reads the output any more.
func TestHangup(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		return // which has neither
	}
	hearHangups(t)
	file := filepath.Join(t.TempDir(), "bench.json")
	cmd := asProcess(t, "-no-demo", "-duration", "5s", "-workloads", "calls", "-callers", "1", "-sizes", "none", "-transports", "inmem", "-out=", "-json", file)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	readUntil(t, out, "round 2 of")
	out.Close()
	for range 2 {
		if err := cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
	}
	_ = cmd.Wait() // its exit code says it
	if code := cmd.ProcessState.ExitCode(); code != exitInterrupted || stderr.String() != "bench: interrupted\n" {
		t.Errorf("exit code %d and %q", code, &stderr)
	}
	if rep, err := readReport(file); err != nil || !rep.Interrupted || rep.Rounds == 0 {
		t.Errorf("what was complete is not written: %v", err)
	}
}

// hearHangups is for tests that were called with nohup: this process and its children hear of SIGHUP.
func hearHangups(t *testing.T) {
	t.Helper()
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	t.Cleanup(func() { signal.Stop(hangups) })
}

// TestHangupOfWhatWaits expects a process that waits for something else, when the terminal is gone, to end
// nevertheless: nobody is left to end it.
func TestHangupOfWhatWaits(t *testing.T) {
	if runtime.GOOS == "windows" {
		return // which has no such signal
	}
	hearHangups(t)
	exited := make(chan int, 1)
	ctx, release := untilSignal(t.Context(), time.Millisecond, func(code int) { exited <- code })
	defer release()
	self, err := os.FindProcess(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if err := self.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	<-ctx.Done()
	if code := <-exited; code != exitInterrupted {
		t.Errorf("exit code %d", code)
	}
}

// TestPipeThatNobodyReads expects head to keep no run from its end.
func TestPipeThatNobodyReads(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "out")
	cmd := asProcess(t, "-no-demo", "-duration", "300ms", "-workloads", "calls", "-callers", "1", "-sizes", "none", "-transports", "inmem", "-out", dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	readUntil(t, out, "gridmux bench on")
	out.Close()
	_ = cmd.Wait() // its exit code says it
	if code := cmd.ProcessState.ExitCode(); code != exitUsage {
		t.Errorf("exit code %d", code)
	}
	if _, err := os.Stat(filepath.Join(dir, pageFile)); err != nil {
		t.Error(err)
	}
}

// readUntil reads until a text has come.
func readUntil(t *testing.T, from io.Reader, text string) {
	t.Helper()
	var seen []byte
	for buf := make([]byte, 1024); !bytes.Contains(seen, []byte(text)); {
		n, err := from.Read(buf)
		seen = append(seen, buf[:n]...)
		if err != nil {
			t.Fatalf("%v after %s", err, seen)
		}
	}
}
