package main

import (
	"context"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// failsFrom makes a step every millisecond, and fails from a window on; 0: never.
func failsFrom(from int) tasks {
	window := 0
	return tasks{measured: []task{func(context.Context) (step func() error, end func(), err error) {
		if window++; window >= from && from > 0 {
			return nil, nil, errBroken
		}
		return func() error {
			time.Sleep(time.Millisecond)
			return nil
		}, func() {}, nil
	}}}
}

// partly measures three loads over transports that do not exist, each of whose loads fails from a window on.
func partly(ctx context.Context, from map[string][3]int) *report {
	m := &measurement{plan: plan{rounds: 7, window: 100 * time.Millisecond}, options: options{duration: time.Hour}, bench: newBench(1)}
	for _, title := range []string{"1 caller", "8 callers", "64 callers"} {
		m.loads = append(m.loads, load{table: calls, name: "calls", title: title, atOnce: 1, each: 1})
	}
	for _, name := range []string{"websocket", "wss", "quic"} {
		p := &pair{kind: kind{name: name}, cells: make([][]sample, len(m.loads)), failed: make([]bool, len(m.loads))}
		for i := range m.loads {
			p.tasks = append(p.tasks, failsFrom(from[name][i]))
			p.latency, p.latest = append(p.latency, newHistogram()), append(p.latest, newHistogram())
		}
		m.pairs = append(m.pairs, p)
	}
	m.progress = newProgress(io.Discard, io.Discard, m.plan, len(m.loads)*len(m.pairs), 0)
	rep := &report{}
	rep.describe(m)
	m.run(ctx, rep)
	rep.finish(ctx.Err() != nil)
	return rep
}

// windows is how many each line of a transport has, and whether its latencies are those of its windows.
func windows(t *testing.T, rep *report, transport string) (all []int) {
	t.Helper()
	for _, c := range rep.of(calls, transport) {
		all = append(all, len(c.Windows))
		count := int64(0)
		for _, w := range c.Windows {
			count += w.Count
		}
		// The step that is under way when a window ends is measured too.
		if n := c.Latencies.TotalCount(); n < count || n > count+int64(len(c.Windows)) {
			t.Errorf("%s with %s: %d latencies, of %d calls", transport, c.Title, n, count)
		}
	}
	return all
}

// TestFailureKeepsWhatWasMeasured expects a load that fails to lose neither its windows before that nor those
// of the other loads, its line to be marked, and the verdict to say by what a transport is compared.
func TestFailureKeepsWhatWasMeasured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rep := partly(t.Context(), map[string][3]int{"wss": {0, 5, 0}, "quic": {2, 2, 2}})
		for transport, want := range map[string][]int{"websocket": {7, 7, 7}, "wss": {7, 4, 7}, "quic": {1, 1, 1}} {
			if got := windows(t, rep, transport); !slices.Equal(got, want) {
				t.Errorf("%s has %v windows, want %v", transport, got, want)
			}
		}
		if len(rep.Failures) != 3 { // quic is given up after two
			t.Errorf("failures: %v", rep.Failures)
		}
		var out strings.Builder
		rep.render(&out)
		for _, want := range []string{"wss (4 of 7)", "quic (1 of 7)", "The tables have of what failed what was complete before."} {
			if !strings.Contains(out.String(), want) {
				t.Errorf("the output lacks %q:\n%s", want, &out)
			}
		}
		said := strings.Join(rep.Verdict, "\n")
		for _, want := range []string{
			"no difference between",
			"Too few rounds are complete to compare quic with them.",
			"Before all rounds were complete wss failed, and is compared by those that were.",
		} {
			if !strings.Contains(said, want) {
				t.Errorf("the verdict lacks %q:\n%s", want, said)
			}
		}
	})
}

// TestPageSaysWhatWasDone expects the page to tell of the rounds that were complete, and not of those that were
// planned, and of each table what is about that one, though one before it failed.
func TestPageSaysWhatWasDone(t *testing.T) {
	rep := local(t, 0.5, "websocket", "quic")
	rep.Loads = []string{mixed.about(512, bulkSize), streams.about(512, 0), calls.about(512, 0)} // in no order
	rep.Rounds, rep.Planned, rep.Announced, rep.WarmUp, rep.Window = 2, 9, 9, 20*time.Millisecond, 80*time.Millisecond
	rep.Clusters = &clusterReport{Nodes: 3, Planned: 3, Rounds: 1, Lines: []clusterLine{{Transport: "websocket", Windows: make([]clusterRound, 1)}}}
	text, _, err := rep.page()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"2 windows of 100ms per line, the first 20ms of each not counted; 9 were planned.",
		"Now clusters of 3 nodes in this process, 1 round: ",
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	_, section, _ := strings.Cut(string(text), "<h2>Calls</h2>")
	if section, _, _ = strings.Cut(section, "</p>"); !strings.Contains(section, "AppendRequest to a HandleAppend handler") {
		t.Errorf("of calls the page says %q", section)
	}
}

// TestAllFail expects rounds that were complete before everything failed to be shown, and not to be called
// interrupted.
func TestAllFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rep := partly(t.Context(), map[string][3]int{"websocket": {5, 5, 5}, "wss": {5, 5, 5}, "quic": {5, 5, 5}})
		var out strings.Builder
		rep.render(&out)
		if rep.Rounds != 4 || !strings.Contains(out.String(), "Everything failed by round 5 of 7") || len(rep.Cells) != 9 {
			t.Errorf("%d rounds, %d cells:\n%s", rep.Rounds, len(rep.Cells), &out)
		}
		rep = partly(t.Context(), map[string][3]int{"websocket": {0, 1, 0}, "wss": {1, 1, 1}, "quic": {1, 1, 1}})
		rep.render(io.Discard)
		if got := windows(t, rep, "websocket"); !slices.Equal(got, []int{7, 7}) || rep.Rounds != 7 {
			t.Errorf("where a load never works the others have %v windows in %d rounds", got, rep.Rounds)
		}
	})
}

// TestInterruptedRound expects the windows of a round that was not complete to be neither in the lines nor in
// their latencies.
func TestInterruptedRound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 3*9*100*time.Millisecond+450*time.Millisecond)
		defer cancel()
		rep := partly(ctx, nil)
		for _, transport := range rep.transports() {
			if got := windows(t, rep, transport); !slices.Equal(got, []int{3, 3, 3}) {
				t.Errorf("%s has %v windows", transport, got)
			}
		}
	})
}
