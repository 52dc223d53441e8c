package main

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/perf/benchfmt"
	"golang.org/x/perf/benchproc"
)

// checkOutput holds that an output directory is whole: a page without scripts that refers to
// nothing outside, results that benchstat can tell the transports apart in, the same JSON as
// that of -json, and pictures that are XML.
func checkOutput(t *testing.T, dir, jsonName string) {
	t.Helper()
	page := read(t, filepath.Join(dir, pageFile))
	for _, bad := range []string{"<script", "src=", "http://localhost", "https://", "url(", "ZgotmplZ", "%!"} {
		if i := strings.Index(page, bad); i >= 0 {
			t.Errorf("the page has %q: %s", bad, page[max(0, i-80):min(len(page), i+80)])
		}
	}
	rep, err := readReport(filepath.Join(dir, jsonFile))
	if err != nil {
		t.Fatal(err)
	}
	if len(rep.Verdict) == 0 || rep.Command == "" || rep.Began.IsZero() {
		t.Errorf("JSON: verdict %q, command %q, begun %v", rep.Verdict, rep.Command, rep.Began)
	}
	for i := range rep.Cells {
		c := &rep.Cells[i]
		if timed := c.P50 > 0; timed != c.Latencies.recorded() {
			t.Errorf("%s over %s: a histogram: %v, want %v", c.Title, c.Transport, c.Latencies.recorded(), timed)
		} else if timed && c.Latencies.Max() < int64(c.P99) {
			t.Errorf("%s over %s: the histogram ends at %d, before the p99 of %v", c.Title, c.Transport, c.Latencies.Max(), c.P99)
		}
	}
	if read(t, filepath.Join(dir, jsonFile)) != read(t, jsonName) {
		t.Error("-json has written something else")
	}
	if len(rep.Charts) < 20 {
		t.Errorf("%d pictures", len(rep.Charts))
	}
	for _, name := range rep.Charts {
		checkXML(t, filepath.Join(dir, chartsDir, name))
	}
	checkGoFormat(t, filepath.Join(dir, goFormatFile), rep)
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func checkXML(t *testing.T, name string) {
	t.Helper()
	dec := xml.NewDecoder(strings.NewReader(read(t, name)))
	for {
		if _, err := dec.Token(); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Errorf("%s: %v", name, err)
			return
		}
	}
}

// checkGoFormat holds that the parts that benchstat consists of read the results as
// benchstat -col /transport does, and that every window is there.
func checkGoFormat(t *testing.T, name string, rep *report) {
	t.Helper()
	var parser benchproc.ProjectionParser
	columns, err := parser.Parse("/transport", nil)
	if err != nil {
		t.Fatal(err)
	}
	r := benchfmt.NewReader(strings.NewReader(read(t, name)), name)
	lines := map[string]int{}
	for r.Scan() {
		switch rec := r.Result().(type) {
		case *benchfmt.SyntaxError:
			t.Error(rec)
		case *benchfmt.Result:
			lines[columns.Project(rec).String()]++
			for _, unit := range []string{"sec/op", "p99-sec"} {
				if v, ok := rec.Value(unit); ok && (v <= 0 || v > 60) {
					t.Errorf("%s: %v %s", rec.Name, v, unit)
				}
			}
			if rec.GetConfig("goos") == "" || rec.GetConfig("cpu") == "" {
				t.Errorf("%s: no goos or cpu", rec.Name)
			}
		}
	}
	if err := r.Err(); err != nil {
		t.Error(err)
	}
	for _, c := range rep.Cells {
		if n := lines["/transport:"+c.Transport]; n < len(c.Windows) {
			t.Errorf("%d lines of %s, want %d at least; there are %v", n, c.Transport, len(c.Windows), lines)
		}
	}
}

// TestOutputDirectory expects a run without a result to leave nothing behind, one after
// another to leave no pictures of the one before, and files of the user's to stay.
func TestOutputDirectory(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	dir := filepath.Join(root, "a", "b")

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if code := run(ctx, []string{"-quick", "-no-demo", "-out", dir}, io.Discard, io.Discard); code != exitInterrupted {
		t.Errorf("exit code %d", code)
	}
	if left, err := os.ReadDir(root); err != nil || len(left) > 0 {
		t.Errorf("an interrupted run leaves %v, %v", left, err)
	}

	measure := func(args ...string) {
		t.Helper()
		var stderr bytes.Buffer
		if code := run(t.Context(), append(args, "-no-demo", "-workloads", "calls", "-duration", "200ms", "-transports", "inmem", "-out", dir), io.Discard, &stderr); code != exitOK {
			t.Fatalf("exit code %d, %s", code, &stderr)
		}
	}
	exists := func(name string) bool {
		_, err := os.Stat(filepath.Join(dir, name))
		return !errors.Is(err, fs.ErrNotExist)
	}
	measure("-callers", "1", "-sizes", "none")
	if err := os.WriteFile(filepath.Join(dir, chartsDir, "mine.svg"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	measure("-callers", "2", "-sizes", "none")
	const of = "charts/calls-%-rate.svg"
	if !exists(strings.Replace(of, "%", "2-callers", 1)) || exists(strings.Replace(of, "%", "1-caller", 1)) || !exists("charts/mine.svg") {
		t.Error("want the picture of the second run, the user's, and not that of the first")
	}
	if !strings.Contains(read(t, filepath.Join(dir, pageFile)), "go run ./bench -callers 2") {
		t.Error("the page lacks the command")
	}
}

// TestOutputDirectoryRefused expects one that cannot be to be noticed before anything is
// measured, with one line and exit code 2.
func TestOutputDirectoryRefused(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var stdout, stderr bytes.Buffer
	code := run(t.Context(), []string{"-out", filepath.Join(file, "below")}, &stdout, &stderr)
	if got := stderr.String(); code != exitUsage || stdout.Len() > 0 || strings.Count(got, "\n") != 1 || !strings.HasPrefix(got, "bench: flag -out: ") {
		t.Errorf("exit code %d, %q on stderr and %q on stdout", code, got, &stdout)
	}
}

// TestJSONInOut expects a file that is named to be in the directory that is named too, on the first run, which
// makes it, and neither to be left if nothing was measured.
func TestJSONInOut(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "new", "out")
	file := filepath.Join(dir, "x.json")
	args := []string{"-no-demo", "-duration", "300ms", "-workloads", "calls", "-callers", "1", "-sizes", "none", "-transports", "inmem", "-json", file, "-out", dir}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var stdout, stderr bytes.Buffer
	if code := run(ctx, args, &stdout, &stderr); code != exitInterrupted {
		t.Errorf("interrupted at once: exit code %d and %s", code, &stderr)
	}
	if _, err := os.Stat(filepath.Dir(dir)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("of a run that measured nothing there is something left: %v", err)
	}
	stderr.Reset()
	if code := run(t.Context(), args, &stdout, &stderr); code != exitOK {
		t.Fatalf("exit code %d and %s", code, &stderr)
	}
	if read(t, file) != read(t, filepath.Join(dir, jsonFile)) {
		t.Error("the two files differ")
	}
	stderr.Reset()
	nowhere := filepath.Join(t.TempDir(), "other")
	if code := run(t.Context(), append(args, "-out", nowhere, "-json", filepath.Join(nowhere, "below", "x.json")), &stdout, &stderr); code != exitUsage {
		t.Errorf("a file in no directory: exit code %d and %s", code, &stderr)
	}
	if _, err := os.Stat(nowhere); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what was refused has left its directory: %v", err)
	}
}

// TestUnwritableAtTheEnd expects files that can no longer be written at the end of a run to be told with
// exit code 2, and one of them not to keep the other from being written.
func TestUnwritableAtTheEnd(t *testing.T) {
	for _, broken := range []string{"out", "json"} {
		t.Run(broken, func(t *testing.T) {
			root := t.TempDir()
			dir, err := openOutputDir(filepath.Join(root, "out"))
			if err != nil {
				t.Fatal(err)
			}
			file, err := openOutput(filepath.Join(root, "results.json"), 0o600)
			if err != nil {
				t.Fatal(err)
			}
			defer file.abandon()
			written := filepath.Join(dir.name, pageFile)
			if broken == "json" {
				file.Close()
			} else {
				written = file.Name()
				if err := os.WriteFile(filepath.Join(dir.name, chartsDir), nil, 0o600); err != nil {
					t.Fatal(err) // where a directory is to be
				}
			}
			rep := local(t, 0.5, "websocket", "quic")
			var stdout, stderr bytes.Buffer
			code := (program{stdout: &stdout, stderr: &stderr}).write(outputs{dir, file}, rep)
			if got := stderr.String(); code != exitUsage || strings.Count(got, "\n") != 1 || !strings.HasPrefix(got, "bench: flag -"+broken) {
				t.Errorf("exit code %d, and printed %q", code, got)
			}
			if info, err := os.Stat(written); err != nil || info.Size() == 0 {
				t.Errorf("%s was not written: %v", written, err)
			}
		})
	}
}

// TestOutputFilesRefused expects a file of an output directory that cannot be written to be noticed before
// anything is measured, and one at the end of a run to keep none of the others from being written.
func TestOutputFilesRefused(t *testing.T) {
	for _, broken := range []string{pageFile, jsonFile, goFormatFile, chartsDir} {
		t.Run(broken, func(t *testing.T) {
			dir := &outputDir{newDir: newDir{name: t.TempDir()}}
			file := filepath.Join(dir.name, broken)
			if broken == chartsDir {
				if err := os.WriteFile(file, nil, 0o600); err != nil {
					t.Fatal(err)
				}
			} else if err := os.Mkdir(file, 0o700); err != nil {
				t.Fatal(err)
			}
			var stdout, stderr bytes.Buffer
			code := run(t.Context(), []string{"-no-demo", "-workloads", "calls", "-out", dir.name}, &stdout, &stderr)
			if got := stderr.String(); code != exitUsage || stdout.Len() > 0 || strings.Count(got, "\n") != 1 || !strings.HasPrefix(got, "bench: flag -out: ") || !strings.Contains(got, broken) {
				t.Errorf("exit code %d, %q on stderr and %q on stdout", code, got, &stdout)
			}
			if left, err := os.ReadDir(dir.name); err != nil || len(left) != 1 {
				t.Errorf("there are %v, %v", left, err)
			}

			if err := dir.write(local(t, 0.5, "websocket", "quic")); err == nil || strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), broken) {
				t.Errorf("written: %v", err)
			}
			for _, name := range []string{pageFile, jsonFile, goFormatFile, chartsDir} {
				if info, err := os.Stat(filepath.Join(dir.name, name)); name != broken && (err != nil || info.Size() == 0) {
					t.Errorf("%s was not written: %v", name, err)
				}
			}
		})
	}
}

func TestCommandLine(t *testing.T) {
	if got, want := commandLine([]string{"-rtt", "20ms", "-out", "", "-payload", "it's $HOME"}), `go run ./bench -rtt 20ms -out '' -payload 'it'\''s $HOME'`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// TestCommandLineHasNoSecret expects that of -key not to be in what a report says of its run.
func TestCommandLineHasNoSecret(t *testing.T) {
	for _, args := range []string{"-key hunter2 -quick", "-quick --key hunter2", "-key=hunter2", "--key=hunter2"} {
		var rep report
		rep.begin(strings.Fields(args), time.Now())
		if strings.Contains(rep.Command, "hunter2") || !strings.Contains(rep.Command, "SECRET") {
			t.Errorf("%s: %s", args, rep.Command)
		}
	}
}
