package sim_test

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"time"
)

// A child is a process of the test binary that runs seeds one after the other
// and reports on standard output, one line each. That way a panic, a leak or a
// deadlock in one seed is not the end of the test, which then looks for a
// shorter schedule that does the same.
const (
	lineBegin = "sim-begin" // seed
	lineEnd   = "sim-end"   // seed hash calls
	lineBad   = "sim-bad"   // seed text of a violation
	lineText  = "sim-text"  // what -v wants to see
)

// childRequest is what a child is asked for.
type childRequest struct {
	first, step, count uint64
	only               []int // events; nil: all
	verbose            bool
	over               *carrier
}

func (r childRequest) String() string {
	list := "all"
	if r.only != nil {
		if list = listOf(r.only); list == "" {
			list = "none"
		}
	}
	return fmt.Sprintf("%d,%d,%d,%t,%s;%s", r.first, r.step, r.count, r.verbose, r.over.name, list)
}

func parseChildRequest(s string) (r childRequest, err error) {
	head, list, _ := strings.Cut(s, ";")
	var over string
	if _, err := fmt.Sscanf(head, "%d,%d,%d,%t,%s", &r.first, &r.step, &r.count, &r.verbose, &over); err != nil {
		return r, fmt.Errorf("-child=%s: %w", s, err)
	}
	if r.over, err = carrierOf(over); err != nil {
		return r, err
	}
	if list != "all" {
		r.only, err = parseList(list)
	}
	return r, err
}

// serveChild is the life of a child. It ends after the first seed with a
// violation, which may have left something behind.
func serveChild(t *testing.T, request string) {
	req, err := parseChildRequest(request)
	if err != nil {
		t.Fatal(err)
	}
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	// The garbage collector stops goroutines wherever they are, so it runs
	// between seeds only, unless one goes round in circles and would take all the
	// memory of the machine until it is given up.
	debug.SetGCPercent(-1)
	debug.SetMemoryLimit(memoryLimit)
	for i := range req.count {
		seed := req.first + i*req.step
		p := newProfile(seed, req.over)
		events := only(newSchedule(p), req.only)
		fmt.Fprintln(out, lineBegin, seed)
		if req.verbose {
			for line := range strings.Lines(p.String()) {
				fmt.Fprint(out, lineText, " ", line)
			}
			for _, e := range events {
				fmt.Fprintln(out, lineText, e)
			}
		}
		out.Flush()
		inPhase()
		res := runApart(t, p, events, req.verbose, func(v violation) {
			text := strings.ReplaceAll(v.String(), "\n", fmt.Sprintf("\n%s %d   ", lineBad, seed))
			fmt.Fprintln(out, lineBad, seed, text)
			out.Flush()
		})
		if req.verbose {
			fmt.Fprintln(out, lineText, "what happened:")
			res.trace.write(prefixed{out})
		}
		fmt.Fprintln(out, lineEnd, seed, res.hash, res.calls)
		out.Flush()
		if res.violations > 0 {
			return
		}
		collect()
	}
}

// memoryLimit is far beyond what a seed needs.
const memoryLimit = 2 << 30

// collectAt is how many bytes of garbage are worth to be collected.
const collectAt = 256 << 20

// collect collects garbage, if there is much, and gives what the collector does
// in the background time to end.
func collect() {
	var m runtime.MemStats
	if runtime.ReadMemStats(&m); m.HeapAlloc < collectAt {
		return
	}
	runtime.GC()
	time.Sleep(5 * time.Millisecond)
}

// prefixed writes lines as text of a child. It is given whole lines.
type prefixed struct{ w *bufio.Writer }

func (p prefixed) Write(b []byte) (int, error) {
	fmt.Fprint(p.w, lineText, " ")
	return p.w.Write(b)
}

// inPhase returns when the scheduler is where it always is at this point of a
// seed, so that what disturbed it before has no consequences. With one processor all goroutines that can run wait in a queue, but for
// those that yielded, which wait in another one. That one's turn comes when the
// first is empty, and out of turn at every 61st decision, which a goroutine that
// yields can see: it goes on before one that was there before it.
func inPhase() {
	if runtime.GOMAXPROCS(0) > 1 || raceEnabled {
		return // there is no such place
	}
	for range 10_000 {
		ran := false
		go func() { ran = true }()
		if runtime.Gosched(); !ran {
			runtime.Gosched()
			return
		}
	}
}
