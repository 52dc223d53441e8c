package sim_test

import (
	"flag"
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"
)

var (
	seeds    = flag.Uint64("seeds", 0, "how many seeds to run; 0: 200, fewer under the race detector and on 32 bits")
	first    = flag.Uint64("first", 1, "the first of them")
	replay   = flag.Float64("replay", 0.05, "the share of the seeds that are run again, to compare the traces")
	seed     = flag.Uint64("seed", 0, "run this seed alone and print what happens; 0: none")
	over     = flag.String("transport", "inmem", "what the seeds are run over: inmem, websocket, wss, quic, or quic-wss for both")
	onlyOf   = flag.String("only", "", "with -seed: the numbers of the events to keep")
	failures = flag.Int("failures", 3, "after how many seeds that fail to stop")
	shorten  = flag.Bool("minimise", true, "look for a shorter schedule with which a seed fails")
	child    = flag.String("child", "", "what a child process is to do")

	// A seed that hangs waits in a way that stops the clock of the bubble, or does
	// so much at one instant that time does not pass.
	patience = flag.Duration("patience", 3*time.Minute, "how long a seed may take in real time before it counts as one that hangs")
)

// TestSimulation runs seeds and holds that no invariant is violated, and that a
// seed replays.
func TestSimulation(t *testing.T) {
	switch {
	case *child != "":
		serveChild(t, *child)
		return
	case *seed != 0:
		tell(t, *seed)
		return
	}
	on, err := carrierOf(*over)
	if err != nil {
		t.Fatal(err)
	}
	n := *seeds
	switch {
	case n > 0:
	case brief():
		n = 20
	default:
		n = 200
	}
	f := &fleet{over: on, workers: workers(), maxFailures: *failures}
	f.runAll(t, *first, n)
	if !t.Failed() && !raceEnabled && on == overMemory {
		// The race detector makes the scheduler random on purpose.
		compare(t, f, n)
	}
}

// brief reports whether a few seeds do: under the race detector, and on 32 bits,
// where what is different shows in any of them.
func brief() bool { return raceEnabled || strconv.IntSize == 32 || testing.Short() }

// runAll runs n seeds and reports on them.
func (f *fleet) runAll(t *testing.T, first, n uint64) {
	began := time.Now()
	f.run(t, first, 1, n)
	took := time.Since(began)
	calls := 0
	for _, r := range f.reports {
		calls += r.calls
	}
	t.Logf("%d seeds over %s and %d calls in %v, %.1f seeds a second",
		len(f.reports), f.over.name, calls, took.Round(time.Millisecond), float64(len(f.reports))/took.Seconds())
	for _, r := range f.failed {
		explain(t, r)
	}
}

// compare runs a share of the seeds again. Where the trace differs it is run once
// more: a process that the machine does not run for more than 10 ms in the middle
// of a seed is made to take its goroutines in another order.
func compare(t *testing.T, f *fleet, n uint64) {
	count := uint64(float64(n) * *replay)
	if count == 0 {
		return
	}
	again := &fleet{over: f.over, workers: f.workers, maxFailures: *failures}
	again.run(t, *first, n/count, count)
	same, total := 0, 0
	var interrupted, different []uint64
	for s, r := range again.reports {
		if newProfile(s, f.over).loose {
			continue
		}
		total++
		if r.hash == f.reports[s].hash {
			same++
			continue
		}
		third := &fleet{over: f.over, workers: 1, maxFailures: 1}
		third.run(t, s, 1, 1)
		if hash := third.reports[s].hash; hash == r.hash || hash == f.reports[s].hash {
			interrupted = append(interrupted, s)
		} else {
			different = append(different, s)
		}
	}
	t.Logf("%d of %d replays are identical at once; at the second attempt: %v; never: %v", same, total, interrupted, different)
	if budget := max(1, total/1000); len(different) > budget || len(interrupted) > 10*budget {
		t.Errorf("%d of %d replays differ, %d may", len(different), total, budget)
	}
}

// explain reports a seed that failed: what, with which events at least, and how
// to see it again.
func explain(t *testing.T, r *report) {
	var b strings.Builder
	fmt.Fprintf(&b, "seed %d failed:\n", r.seed)
	for _, v := range r.violations {
		fmt.Fprintf(&b, "  %s\n", v)
	}
	if r.crash != "" {
		fmt.Fprintf(&b, "  %s\n", r.crash)
	}
	p := newProfile(r.seed, r.over)
	fmt.Fprintf(&b, "%v", p)
	var kept []int
	if *shorten {
		kept = minimise(t.Context(), r.over, r.seed, r.invariant())
	}
	switch {
	case !*shorten:
	case kept == nil:
		fmt.Fprintf(&b, "it did not fail again alone; see go test ./core/internal/sim -v -run TestSimulation -transport %s -seed %d\n", r.over.name, r.seed)
	default:
		events := newSchedule(p)
		fmt.Fprintf(&b, "it fails with %d of its %d events:\n", len(kept), len(events))
		for _, e := range only(events, kept) {
			fmt.Fprintf(&b, "  %v\n", e)
		}
		list := listOf(kept)
		if list == "" {
			list = "none"
		}
		fmt.Fprintf(&b, "see go test ./core/internal/sim -v -run TestSimulation -transport %s -seed %d -only %s\n", r.over.name, r.seed, list)
	}
	t.Error(b.String())
}

// tell runs one seed and prints what happens.
func tell(t *testing.T, seed uint64) {
	on, err := carrierOf(*over)
	if err != nil {
		t.Fatal(err)
	}
	req := childRequest{over: on, first: seed, step: 1, count: 1, verbose: true}
	if *onlyOf != "" {
		if req.only, err = parseList(*onlyOf); err != nil {
			t.Fatal(err)
		}
	}
	err = ask(t.Context(), req, func(r *report) {
		for _, line := range r.text {
			fmt.Fprintln(t.Output(), line)
		}
		for _, v := range r.violations {
			t.Error(v)
		}
		if r.crash != "" {
			t.Error(r.crash)
		}
		t.Logf("seed %d: %d calls, trace %s", r.seed, r.calls, r.hash)
	})
	if err != nil {
		t.Error(err)
	}
}

// workers is how many children run at a time.
func workers() uint64 { return uint64(runtime.GOMAXPROCS(0)) }
