package main

import (
	"bytes"
	"context"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/transport/inmem"
)

// megabit is that of a path, in bytes a second.
const megabit = 1_000_000 / 8

// overPath returns what flags ask for over a path in virtual time, with the transports that are named.
func overPath(t *testing.T, n paths, args ...string) (program, options, *bytes.Buffer) {
	t.Helper()
	opts, err := parseFlags(kinds(), append([]string{"-connect", "192.0.2.7:7600", "-key", "0123456789abcdef", "-out="}, args...))
	if err != nil {
		t.Fatal(err)
	}
	opts.remote.connect = func(ctx context.Context, k kind, config func(*core.Config)) (*cluster, error) {
		return openCluster(ctx, memory{n[k.name]}, []string{here, there}, config, serveLoads)
	}
	var stdout bytes.Buffer
	return program{kinds(), unshaped, &stdout, io.Discard}, opts, &stdout
}

// paths are what the transports are over, each as if it was alone on the path.
type paths map[string]*inmem.Network

// newPaths makes those that carry so many bytes a second each way; 0: without a limit.
func newPaths(rtt time.Duration, bandwidth int) paths {
	p := paths{}
	for _, k := range reachable() {
		p[k.name] = inmem.NewNetwork()
	}
	p.set(rtt, bandwidth)
	return p
}

func (p paths) set(rtt time.Duration, bandwidth int) {
	for _, n := range p {
		n.SetConditions(inmem.Conditions{Latency: rtt / 2, Bandwidth: bandwidth})
	}
}

// TestSlowPath expects all of a run over a path of a megabit to be measured in about the time that is said to be left
// when it begins, without a failure, no faster than the path, and what takes too long for it to be named.
func TestSlowPath(t *testing.T) {
	const rtt = 40 * time.Millisecond
	synctest.Test(t, func(t *testing.T) {
		p, opts, stdout := overPath(t, newPaths(rtt, megabit), "-transports", "websocket,wss", "-workloads", "calls,streams,mixed")
		rep := &report{Path: opts.remote.String()}
		began := time.Now()
		through := p.lookAtPath(t.Context(), &opts, opts.kinds, rep)
		if took := time.Since(began); len(through) != 2 || took > 12*time.Second {
			t.Fatalf("%d transports, in %v", len(through), took)
		}
		for _, f := range rep.PathFigures {
			if f.RTT < rtt || f.RTT > 2*rtt || f.There < 0.7e6 || f.There > 1.1e6 || f.Back < 0.7e6 || f.Back > 1.1e6 {
				t.Errorf("it looks like %+v", f)
			}
		}
		began = time.Now()
		p.measure(t.Context(), opts, through, rep, 0)
		took := time.Since(began)
		rep.finish(false)
		out := stdout.String()
		_, first, _ := strings.Cut(out, "round 1 of ")
		_, first, _ = strings.Cut(first, ", ")
		first, _, _ = strings.Cut(first, " left")
		said, err := time.ParseDuration(first)
		if err != nil || took > said*5/4 || took < said/2 || said > stretch*defaultDuration {
			t.Errorf("it took %v, and said %q, %v", took, first, err)
		}
		if len(rep.Failures) > 0 || rep.Rounds < minRounds || rep.Rounds != rep.Planned {
			t.Errorf("%d of %d rounds, and failures %v", rep.Rounds, rep.Planned, rep.Failures)
		}
		if want := opts.lines(); len(rep.Cells)/2+len(rep.LeftOut) != want || len(rep.Cells) < 2*want/3 {
			t.Errorf("%d lines and %d left out, of %d", len(rep.Cells)/2, len(rep.LeftOut), want)
		}
		for _, c := range rep.Cells {
			if octets := c.PerSecond * float64(c.Size); octets > 1.1*megabit || c.PerSecond <= 0 || c.table != streams && c.P50 < rtt {
				t.Errorf("%s: %.0f bytes a second, p50 %v", c.Title, octets, c.P50)
			}
		}
		rep.render(stdout)
		checkPlain(t, stdout.String())
		for _, want := range []string{"1 caller, 1 MiB (each window takes ", "64 streams both ways (what is under way takes ", "With -duration ", "The round trip, and what one stream carried at first: websocket 4"} {
			if !strings.Contains(strings.ReplaceAll(stdout.String(), "\n", " "), want) {
				t.Errorf("it lacks %q:\n%s", want, stdout)
			}
		}
	})
}

// TestStallInTheLook expects a moment in which nothing comes through a fast path not to make it a slow one.
func TestStallInTheLook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newPaths(time.Millisecond, 100*megabit)
		p, opts, _ := overPath(t, n, "-transports", "websocket")
		rep := &report{}
		go func() {
			time.Sleep(lookTime / 3)
			n.set(time.Millisecond, 5*megabit)
			time.Sleep(lookTime / 2)
			n.set(time.Millisecond, 100*megabit)
		}()
		p.lookAtPath(t.Context(), &opts, opts.kinds, rep)
		if f := rep.PathFigures[0]; f.Back < 70e6 || f.There < 70e6 || f.Back > 110e6 || f.There > 110e6 {
			t.Errorf("it looks like %+v", f)
		}
	})
}

// TestFastPath expects a path that carries whatever is asked for to be measured as two nodes of one process are.
func TestFastPath(t *testing.T) {
	_, opts, _ := overPath(t, newPaths(0, 0))
	near := newMeasurement(opts, opts.kinds)
	opts.remote.speed = pathSpeed{100 * time.Microsecond, 1e10, 1e10}
	far := newMeasurement(opts, opts.kinds)
	if far.plan.rounds != near.plan.rounds || len(far.leftOut) > 0 || len(far.loads) != len(near.loads) {
		t.Errorf("%+v with %d loads and %v, want %+v with %d", far.plan, len(far.loads), far.leftOut, near.plan, len(near.loads))
	}
	for i := range far.loads {
		s, want := far.loads[i].slot, near.warmUp+near.window
		if s.takes() < want-time.Millisecond || s.takes() > want+2*time.Millisecond || far.loads[i].title != near.loads[i].title {
			t.Errorf("%s: %+v, want %v in all", far.loads[i].title, s, want)
		}
	}
}

// TestPathBecomesSlow expects a path that has become much slower than it was at first to cost no more than the time
// that was said, about, and the loads that there is none left for to be named.
func TestPathBecomesSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newPaths(40*time.Millisecond, 10*megabit)
		p, opts, stdout := overPath(t, n, "-transports", "websocket,wss", "-workloads", "calls", "-duration", "20s")
		rep := &report{Path: opts.remote.String()}
		through := p.lookAtPath(t.Context(), &opts, opts.kinds, rep)
		n.set(time.Second, megabit)
		began := time.Now()
		p.measure(t.Context(), opts, through, rep, 0)
		if took := time.Since(began); took > 45*time.Second {
			t.Errorf("20s became %v", took)
		}
		rep.finish(false)
		rep.render(stdout)
		late := slices.ContainsFunc(rep.LeftOut, func(l leftOut) bool { return strings.Contains(l.Why, "slower than at first") })
		if len(rep.Failures) > 0 || rep.Rounds != 1 || rep.Planned != 1 || len(rep.Cells) == 0 || !late || strings.Contains(stdout.String(), "Interrupted") {
			t.Errorf("%d of %d rounds, %d lines, left out %v, failures %v", rep.Rounds, rep.Planned, len(rep.Cells), rep.LeftOut, rep.Failures)
		}
	})
}

// TestAllIsTooLarge expects a run of which the path carries nothing in the time that there is to say so at once, with
// what would do, and exit code 1.
func TestAllIsTooLarge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, opts, stdout := overPath(t, newPaths(40*time.Millisecond, 10*megabit),
			"-transports", "websocket", "-workloads", "calls", "-callers", "1", "-size", "8388608")
		began := time.Now()
		code := p.measureAll(t.Context(), opts, nil, outputs{})
		said := strings.ReplaceAll(stdout.String(), "\n", " ")
		_, enough, _ := strings.Cut(said, " With -duration ")
		enough, _, _ = strings.Cut(enough, " ")
		d, err := time.ParseDuration(enough)
		if code != exitFailed || err != nil || d < 3*time.Minute || d > 6*time.Minute || time.Since(began) > 10*time.Second || !strings.Contains(said, "Left out over this path: 1 caller (each window takes ") {
			t.Errorf("exit code %d after %v:\n%s", code, time.Since(began), stdout)
		}
	})
}

// TestLargeMessagesInTheirTime expects messages for which a path takes longer than calls usually may to be measured
// by who has the time.
func TestLargeMessagesInTheirTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, opts, _ := overPath(t, newPaths(40*time.Millisecond, 2*megabit),
			"-transports", "websocket", "-workloads", "calls", "-callers", "1", "-size", "2097152", "-duration", "8m")
		rep := &report{}
		p.measure(t.Context(), opts, p.lookAtPath(t.Context(), &opts, opts.kinds, rep), rep, 0)
		if len(rep.Failures) > 0 || len(rep.Cells) != 1 || rep.Rounds < minRounds || rep.Cells[0].P50 < 2*callTimeout/3 {
			t.Errorf("%d rounds, %+v, failures %v", rep.Rounds, rep.Cells, rep.Failures)
		}
	})
}
