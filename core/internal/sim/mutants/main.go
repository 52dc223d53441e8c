// Command mutants plants bugs in the code, one at a time, and tells which of
// them the simulation finds. It is how one knows that the simulation is worth
// its time.
//
//	go run ./core/internal/sim/mutants
//
// Nothing in the tree is changed: the compiler is given the altered file in
// place of the real one. It takes some seconds for a bug that is found, and
// minutes for one that is not. A bug of a transport is looked for over that one.
//
// A bug that hides from most seeds has some in the list that found it. They are
// tried first, and all the others after them: an entry in the list saves time and
// proves nothing. The command says so when a change of the code or of the
// simulation has made other seeds find it, and
//
//	go run ./core/internal/sim/mutants -run '^name$' -all 3
//
// tells three of those for the list.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
)

func main() {
	var c command
	flag.Uint64Var(&c.seeds, "seeds", 10_000, "how many seeds a bug has to hide from")
	only := flag.String("run", "", "plant only the bugs whose name matches this regular expression")
	flag.IntVar(&c.missable, "missable", 1, "how many bugs may be missed, for every twelve")
	flag.IntVar(&c.all, "all", 0, "tell so many seeds that find a bug, without a look at the list; 0: the first that does")
	flag.Parse()
	if err := c.run(context.Background(), os.Stdout, *only); err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		os.Exit(1) //nolint:forbidigo // This is main.
	}
}

// command is what is asked for.
type command struct {
	seeds    uint64
	missable int
	all      int
}

func (c *command) run(ctx context.Context, out io.Writer, only string) error {
	filter, err := regexp.Compile(only)
	if err != nil {
		return err
	}
	root, err := moduleRoot(ctx)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "mutants")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	tools, err := newToolchain(ctx, root)
	if err != nil {
		return err
	}
	none := &hunt{bug: &mutant{name: "nothing"}, tools: tools, root: root, dir: filepath.Join(dir, "nothing")}
	if err := none.nothing(ctx); err != nil {
		return err
	}
	var hunts []*hunt
	for i := range mutants {
		if m := &mutants[i]; filter.MatchString(m.name) {
			hunts = append(hunts, &hunt{bug: m, tools: tools, root: root, dir: filepath.Join(dir, m.name)})
		}
	}
	if err := c.hunt(ctx, out, hunts); err != nil {
		return err
	}
	found := 0
	for _, h := range hunts {
		if len(h.found) > 0 {
			found++
		}
	}
	fmt.Fprintf(out, "%d of %d found within %d seeds\n", found, len(hunts), c.seeds)
	if missed := len(hunts) - found; missed*12 > len(hunts)*c.missable {
		return fmt.Errorf("%d of %d planted bugs were not found", missed, len(hunts))
	}
	return nil
}

// hunt looks for every bug where it is likely to be found, for as many at once as
// there are processors; and for those that are left with all seeds, one after the
// other, each with all processors.
func (c *command) hunt(ctx context.Context, out io.Writer, hunts []*hunt) error {
	if c.all == 0 {
		err := sideBySide(ctx, hunts, func(ctx context.Context, h *hunt) error {
			return h.quickly(ctx, c.seeds)
		}, func(h *hunt) {
			if len(h.found) > 0 {
				fmt.Fprintln(out, h)
			}
		})
		if err != nil {
			return err
		}
	}
	for _, h := range hunts {
		if len(h.found) > 0 {
			continue
		}
		if err := h.thoroughly(ctx, c.seeds, max(c.all, 1)); err != nil {
			return err
		}
		fmt.Fprintln(out, h)
	}
	return nil
}

// sideBySide does something for every hunt, and tells when it is done. It returns
// the first error, which ends all the others.
func sideBySide(ctx context.Context, hunts []*hunt, do func(context.Context, *hunt) error, tell func(*hunt)) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	next := make(chan *hunt)
	var telling sync.Mutex
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for h := range next {
				if err := do(ctx, h); err != nil {
					cancel(err)
				}
				telling.Lock()
				tell(h)
				telling.Unlock()
			}
		})
	}
	for _, h := range hunts {
		if ctx.Err() != nil {
			break
		}
		next <- h
	}
	close(next)
	wg.Wait()
	return context.Cause(ctx)
}

func moduleRoot(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return "", fmt.Errorf("go list -m: %w", err)
	}
	return strings.TrimSpace(string(out)), nil
}
