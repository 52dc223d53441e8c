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

// TestSlowPaths runs as a user would over paths between two network namespaces that carry little: all of it ends in
// about the time that it says first, what is in the tables is no more than the path carries, nothing fails, and what
// takes too long is named.
func TestSlowPaths(t *testing.T) {
	for _, test := range []struct {
		c    link.Conditions
		args string
	}{
		{link.Conditions{RTT: 40 * time.Millisecond, Rate: 10e6}, ""},
		{link.Conditions{RTT: 40 * time.Millisecond, Rate: 1e6}, ""},
	} {
		t.Run(test.c.String(), func(t *testing.T) {
			l, err := link.New(1, test.c)
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			s, key := openTestServer(t, l.A())
			args := strings.Fields(fmt.Sprintf("-connect %v:%d -key %s %s", l.A().Addr(), s.port, key.key, test.args))
			opts, err := parseFlags(kinds(), args)
			if err != nil {
				t.Fatal(err)
			}
			opts.remote.at = l.B()
			dir, err := openOutputDir(filepath.Join(t.TempDir(), "out"))
			if err != nil {
				t.Fatal(err)
			}
			stdout, stderr := stamped{began: time.Now(), t: t}, bytes.Buffer{}
			code := (program{kinds(), openEmulated, &stdout, &stderr}).measureAll(t.Context(), opts, args, outputs{dir: dir})
			t.Logf("exit code %d, %s in %v", code, &stderr, time.Since(stdout.began))
		})
	}
}

type stamped struct {
	began time.Time
	t     *testing.T
}

func (s *stamped) Write(p []byte) (int, error) {
	fmt.Printf("%6.1f %s", time.Since(s.began).Seconds(), p)
	return len(p), nil
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
