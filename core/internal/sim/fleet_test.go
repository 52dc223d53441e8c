package sim_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"
)

// report is what a child said of one seed.
type report struct {
	seed       uint64
	over       *carrier
	hash       string
	calls      int
	violations []string
	crash      string // why the child ended before the seed did
	text       []string
}

func (r *report) bad() bool { return len(r.violations) > 0 || r.crash != "" }

// invariant is what kind of failure it was, as far as it can be told.
func (r *report) invariant() string {
	for _, v := range r.violations {
		if f := strings.Fields(v); len(f) > 1 {
			return strings.TrimSuffix(f[1], ":")
		}
	}
	if r.crash != "" {
		return "I14"
	}
	return ""
}

// ask runs one child and passes on its reports in order. The last one may be of
// a seed that the child did not survive.
func ask(ctx context.Context, req childRequest, each func(r *report)) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestSimulation$", "-test.timeout=0", "-child="+req.String())
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1", "GODEBUG=asyncpreemptoff=1", "GOTRACEBACK=all", "GORACE=halt_on_error=1")
	var stderr tail
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	hang := errors.New("the seed hangs")
	watchdog := time.AfterFunc(*patience, func() { cancel(hang) })
	defer watchdog.Stop()
	current, err := readReports(stdout, func(r *report) {
		watchdog.Reset(*patience)
		r.over = req.over
		each(r)
	})
	err = errors.Join(err, cmd.Wait())
	if current != nil {
		current.over = req.over
		current.crash = fmt.Sprintf("the process ended (%v, %v):\n%s", err, context.Cause(ctx), stderr.String())
		each(current)
		return nil
	}
	if err != nil {
		return fmt.Errorf("%w\n%s", err, stderr.String())
	}
	return nil
}

// readReports reads what a child prints. It returns the report of the seed that
// was under way at the end, nil if none was.
func readReports(stdout io.Reader, each func(r *report)) (current *report, err error) {
	in := bufio.NewScanner(stdout)
	in.Buffer(nil, 64<<20)
	var rest []string
	for in.Scan() {
		word, text, _ := strings.Cut(in.Text(), " ")
		switch word {
		case lineBegin:
			current = &report{}
			_, err = fmt.Sscan(text, &current.seed)
		case lineText:
			current.text = append(current.text, text)
		case lineBad:
			_, v, _ := strings.Cut(text, " ")
			current.violations = append(current.violations, v)
		case lineEnd:
			_, err = fmt.Sscan(text, &current.seed, &current.hash, &current.calls)
			each(current)
			current = nil
		default:
			// What a panic inside a test prints goes to standard output too.
			if rest = append(rest, in.Text()); len(rest) > 200 {
				rest = rest[1:]
			}
		}
		if err != nil {
			return current, fmt.Errorf("a child printed %q: %w", in.Text(), err)
		}
	}
	if current != nil {
		current.text = append(current.text, rest...)
	}
	return current, in.Err()
}

// tail keeps the end of what is written to it.
type tail struct{ b []byte }

const maxTail = 64 << 10

func (t *tail) Write(b []byte) (int, error) {
	t.b = append(t.b, b...)
	if over := len(t.b) - maxTail; over > 0 {
		t.b = t.b[over:]
	}
	return len(b), nil
}

func (t *tail) String() string { return string(t.b) }

// fleet runs seeds in as many children as there are processors.
type fleet struct {
	over        *carrier
	workers     uint64
	maxFailures int

	mu      sync.Mutex
	reports map[uint64]*report
	failed  []*report
}

// run runs count seeds from first on, every step-th, and returns when all are
// done or maxFailures have failed.
func (f *fleet) run(t *testing.T, first, step, count uint64) {
	f.reports = map[uint64]*report{}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var wg sync.WaitGroup
	for i := range min(f.workers, count) {
		wg.Go(func() {
			req := childRequest{over: f.over, first: first + i*step, step: step * f.workers, count: (count - i + f.workers - 1) / f.workers}
			for req.count > 0 && ctx.Err() == nil {
				err := ask(ctx, req, func(r *report) {
					req.first = r.seed + req.step
					req.count--
					if f.enter(r) {
						cancel()
					}
				})
				if err != nil && ctx.Err() == nil {
					t.Errorf("a child for the seeds from %d on failed: %v", req.first, err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// enter books a report. It returns true when there are enough failures.
func (f *fleet) enter(r *report) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reports[r.seed] = r
	if r.bad() && len(f.failed) < f.maxFailures {
		f.failed = append(f.failed, r)
	}
	return len(f.failed) >= f.maxFailures
}
