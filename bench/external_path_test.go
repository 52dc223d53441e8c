//go:build external && linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gridmux/gridmux/bench/internal/link"
)

// TestTwoNamespaces measures a path between two network namespaces with addresses of their own, as
// between two hosts: no call is faster than the path, the usual one not much slower, and every
// transport gets through.
func TestTwoNamespaces(t *testing.T) {
	const rtt = 10 * time.Millisecond
	l, err := link.New(1, link.Conditions{RTT: rtt})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s, key := openTestServer(t, l.A())
	args := fmt.Sprintf("-connect %v:%d -key %s -workloads calls,streams,paced -duration 3s -callers 1,8 -streams 1 -sizes none -paced-time 900ms -link-rate 200",
		l.A().Addr(), s.port, key.key)
	opts, err := parseFlags(kinds(), strings.Fields(args))
	if err != nil {
		t.Fatal(err)
	}
	opts.remote.at = l.B()
	var stdout, stderr bytes.Buffer
	p := program{kinds(), openEmulated, &stdout, &stderr}
	var rep report
	p.measure(t.Context(), opts, opts.kinds, &rep, 0)
	p.measurePaced(t.Context(), opts, opts.kinds, &rep, 0)
	if len(rep.Failures) > 0 || len(rep.Cells) != 5*len(reachable()) || rep.Paced == nil || len(rep.Paced.Results) != 1 {
		t.Fatalf("%d lines, calls at a set rate %+v, failures %v", len(rep.Cells), rep.Paced, rep.Failures)
	}
	for _, c := range rep.Cells {
		t.Logf("%s, %s: %.0f per second, p50 %v", c.Transport, c.Title, c.PerSecond, c.P50)
		if c.PerSecond <= 0 || c.table == calls && (c.P50 < rtt*99/100 || c.AtOnce == 1 && c.P50 > 2*rtt) {
			t.Errorf("%s, %s: %.0f per second, p50 %v over a path of %v", c.Transport, c.Title, c.PerSecond, c.P50, rtt)
		}
	}
	lines := rep.Paced.Results[0].Lines
	if len(lines) != len(reachable()) {
		t.Errorf("%d lines of calls at a set rate", len(lines))
	}
	for _, line := range lines {
		// On a busy machine calls wait for a processor too.
		if line.Calls != 180 || line.Failed > 0 || line.P50 < rtt*99/100 || line.P50 > 20*rtt {
			t.Errorf("at a set rate over a path of %v: %+v", rtt, line)
		}
	}
}

// TestSlowPathOfTheKernel runs as a user would over a path between two network namespaces that carries little: all of it
// ends in about the time that it says first, the path looks like what it is, no line is faster than that, nothing
// fails, and what takes too long is named.
func TestSlowPathOfTheKernel(t *testing.T) {
	const rate, rtt = 4e6, 40 * time.Millisecond
	l, err := link.New(1, link.Conditions{RTT: rtt, Rate: rate})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s, key := openTestServer(t, l.A())
	args := strings.Fields(fmt.Sprintf("-connect %v:%d -key %s -duration 20s -callers 1,8,512 -sizes 16KiB,1MiB -streams 1,64", l.A().Addr(), s.port, key.key))
	opts, err := parseFlags(kinds(), args)
	if err != nil {
		t.Fatal(err)
	}
	opts.remote.at = l.B()
	dir, err := openOutputDir(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	var first time.Time
	stdout := &trigger{at: "round 1 of ", do: func() {
		if first.IsZero() {
			first = time.Now()
		}
	}}
	var stderr bytes.Buffer
	code := (program{kinds(), openEmulated, stdout, &stderr}).measureAll(t.Context(), opts, args, outputs{dir: dir})
	took := time.Since(first)
	rep, err := readReport(filepath.Join(dir.name, jsonFile))
	if code != exitOK || err != nil || len(rep.Failures) > 0 {
		t.Fatalf("exit code %d, %v\n%s%s", code, err, stdout, &stderr)
	}
	_, said, _ := strings.Cut(stdout.String(), " left, ")
	said, _, _ = strings.Cut(said, " in all")
	if d, err := time.ParseDuration(said); err != nil || took > d*5/4 || took < d/2 {
		t.Errorf("it took %v, and said %s, %v", took, said, err)
	}
	for _, f := range rep.PathFigures {
		if f.RTT < rtt || f.RTT > 2*rtt || f.There > 1.3*rate || f.There < rate/4 || f.Back > 1.3*rate || f.Back < rate/4 {
			t.Errorf("the path looks like %+v", f)
		}
	}
	if len(rep.PathFigures) != 3 || len(rep.LeftOut) == 0 || len(rep.Cells)/3+len(rep.LeftOut) != opts.lines() || rep.Paced == nil {
		t.Errorf("%+v, %d lines, left out %+v", rep.PathFigures, len(rep.Cells), rep.LeftOut)
	}
	for _, c := range rep.Cells {
		if bits := 8 * c.PerSecond * float64(c.Size); c.PerSecond <= 0 || bits > 1.2*rate {
			t.Errorf("%s over %s: %.0f bit/s", c.Title, c.Transport, bits)
		}
	}
}

// TestAgainstItself expects a transport that is measured beside itself, twenty times, to show no
// difference in at least 17 of them.
func TestAgainstItself(t *testing.T) {
	opts, err := parseFlags(kinds(), strings.Fields("-no-demo -workloads calls -callers 1 -sizes none -duration 900ms -transports websocket"))
	if err != nil {
		t.Fatal(err)
	}
	again := opts.kinds[0]
	again.name = "again"
	of := append(opts.kinds, again)
	same := 0
	for range 20 {
		m := newMeasurement(opts, of)
		var stdout bytes.Buffer
		m.progress = newProgress(&stdout, &stdout, m.plan, 2, 0)
		var rep report
		m.run(t.Context(), &rep)
		if len(rep.Failures) > 0 || len(rep.Cells) != 2 || rep.Rounds < usualRounds {
			t.Fatalf("%d lines of %d rounds, and %v", len(rep.Cells), rep.Rounds, rep.Failures)
		}
		i := ratioInterval(ratios(rep.Cells[1].Windows, rep.Cells[0].Windows))
		t.Logf("%.3f in [%.3f, %.3f]", rep.Cells[1].Ratio, i.Low, i.High)
		if i.same() {
			same++
		}
	}
	if same < 17 {
		t.Errorf("a transport differs from itself in %d of 20", 20-same)
	}
}

// TestInterruptLeavesNothing sends the interrupt of a terminal to the program in each of its parts:
// it ends soon, says so, and leaves no process behind, and with those no namespace, device or socket.
//
//nolint:tparallel // beside other tests of figures those would not be their own
func TestInterruptLeavesNothing(t *testing.T) {
	for _, at := range []string{"all three are up", "round 1 of", "Now at a set rate", "Now clusters", "link 1 of", "over a link of"} {
		t.Run(at, func(t *testing.T) {
			t.Parallel()
			args := []string{"-quick", "-out", t.TempDir()}
			for text, workload := range map[string]string{
				"Now at a set rate": pacedName, "Now clusters": clustersName, "link 1 of": linksName, "over a link of": compressionName,
			} {
				if text == at {
					args = append(args, "-no-demo", "-workloads", workload)
				}
			}
			cmd := asProcess(t, args...)
			mark := "GRIDMUX_BENCH_TEST=" + t.TempDir() // which processes that it starts inherit
			cmd.Env = append(cmd.Env, mark)
			cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
			said := newOutput(at)
			cmd.Stdout, cmd.Stderr = said, said
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			select {
			case <-said.seen:
			case <-time.After(time.Minute):
				t.Errorf("it does not get there:\n%s", said)
			}
			began := time.Now()
			if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGINT); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait() // its exit code says it
			if code := cmd.ProcessState.ExitCode(); code != exitInterrupted {
				t.Errorf("exit code %d, want %d\n%s", code, exitInterrupted, said)
			}
			if took := time.Since(began); took > 10*time.Second {
				t.Errorf("it took %v to end", took)
			}
			if left := processesWith(t, mark); len(left) > 0 {
				t.Errorf("it left %q", left)
			}
		})
	}
}

// processesWith returns the command lines of the processes that have something in their environment.
func processesWith(t *testing.T, mark string) (lines []string) {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range all {
		text, err := os.ReadFile(file)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.ESRCH) || err == nil && !bytes.Contains(text, []byte(mark)) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		line, _ := os.ReadFile(filepath.Join(filepath.Dir(file), "cmdline"))
		lines = append(lines, string(bytes.ReplaceAll(line, []byte{0}, []byte(" "))))
	}
	return lines
}
