package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// likely is how many seeds are tried in a first attempt at a bug of which the list
// has no seeds. Most bugs show within the first fifty.
const likely = 200

// patience is how long a seed may take, which needs a second at most. With some
// bugs all those that fail go round in circles.
const patience = 20 * time.Second

// hunt is the search for one bug.
type hunt struct {
	bug   *mutant
	tools *toolchain
	root  string // of the module
	dir   string // of its own
	found []finding
	moved bool // the seeds in the list do not find it
	took  time.Duration
}

// finding is a seed that fails because of a bug.
type finding struct {
	seed uint64
	by   string // the invariant that did not hold
}

func (f finding) String() string { return fmt.Sprintf("seed %d, %s", f.seed, f.by) }

func (h *hunt) String() string {
	how := "NOT FOUND"
	var all []string
	for _, f := range h.found {
		all = append(all, f.String())
	}
	if len(all) > 0 {
		how = strings.Join(all, "; ")
	}
	s := fmt.Sprintf("%-26s %-30s %6.1f s   %s", h.bug.name, how, h.took.Seconds(), h.bug.why)
	if h.moved {
		s += fmt.Sprintf("\n%-26s not by any of %v any more: bring the list up to date", "", h.bug.seeds)
	}
	return s
}

// quickly looks on one processor where the bug was found before, or else at the
// first seeds there are.
func (h *hunt) quickly(ctx context.Context, seeds uint64) error {
	defer h.count(time.Now())
	if err := h.build(ctx); err != nil {
		return err
	}
	if len(h.bug.seeds) == 0 {
		return h.search(ctx, 1, 1, min(likely, seeds), 1)
	}
	for _, seed := range h.bug.seeds {
		if seed > seeds {
			continue // the bug has to show in fewer
		}
		if err := h.search(ctx, 1, seed, 1, 1); err != nil || len(h.found) > 0 {
			return err
		}
	}
	h.moved = true
	return nil
}

// thoroughly looks at all seeds, on all processors, until so many have failed.
func (h *hunt) thoroughly(ctx context.Context, seeds uint64, failures int) error {
	defer h.count(time.Now())
	if err := h.build(ctx); err != nil {
		return err
	}
	return h.search(ctx, runtime.GOMAXPROCS(0), 1, seeds, failures)
}

func (h *hunt) count(began time.Time) { h.took += time.Since(began) }

// plant writes the altered file and returns its path, and that of the one that it
// stands for.
func (h *hunt) plant() (path, file string, err error) {
	path = filepath.Join(h.root, filepath.FromSlash(h.bug.file))
	text, err := os.ReadFile(path) //nolint:gosec // The paths are those of the list.
	if err != nil {
		return "", "", err
	}
	altered, err := h.bug.apply(string(text))
	if err != nil {
		return "", "", err
	}
	if err := os.MkdirAll(h.dir, 0o700); err != nil {
		return "", "", err
	}
	file = filepath.Join(h.dir, filepath.Base(h.bug.file))
	return path, file, os.WriteFile(file, []byte(altered), 0o600) //nolint:gosec // The same.
}

// overlay tells the go command to take a file in place of another.
func (h *hunt) overlay(path, file string) (string, error) {
	replace, err := json.Marshal(map[string]any{"Replace": map[string]string{path: file}})
	if err != nil {
		return "", err
	}
	name := filepath.Join(h.dir, "overlay.json")
	return name, os.WriteFile(name, replace, 0o600)
}

// nothing holds that the code as it is, compiled in the same way, passes: else every bug
// would be found.
func (h *hunt) nothing(ctx context.Context) error {
	if err := os.MkdirAll(h.dir, 0o700); err != nil {
		return err
	}
	path := filepath.Join(h.root, "core", "session.go")
	if err := h.tools.build(ctx, path, path, h.dir, h.binary()); err != nil {
		return fmt.Errorf("the code as it is does not compile: %w", err)
	}
	if err := h.search(ctx, runtime.GOMAXPROCS(0), 1, 20, 1); err != nil {
		return err
	}
	if len(h.found) > 0 {
		return fmt.Errorf("the simulation fails without a bug: %v", h.found)
	}
	return os.RemoveAll(h.dir)
}

func (h *hunt) binary() string { return filepath.Join(h.dir, "sim.test") }

// build compiles the simulation with the bug in it, unless it has done so.
func (h *hunt) build(ctx context.Context) error {
	if _, err := os.Stat(h.binary()); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	path, file, err := h.plant()
	if err != nil {
		return err
	}
	err = h.tools.build(ctx, path, file, h.dir, h.binary())
	if err == nil {
		return nil
	}
	if !errors.Is(err, errOthers) {
		return fmt.Errorf("%s does not compile: %w", h.bug.name, err)
	}
	overlay, err := h.overlay(path, file)
	if err != nil {
		return err
	}
	//nolint:gosec // It compiles this project's own test.
	build := exec.CommandContext(ctx, "go", "test", "-overlay", overlay, "-vet=off", "-ldflags=-s -w",
		"-c", "-o", h.binary(), "./core/internal/sim")
	build.Dir = h.root
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("%s does not compile: %w\n%s", h.bug.name, err, out)
	}
	return nil
}

// failure is how the simulation reports a seed, with the first thing that it
// found wrong.
var failure = regexp.MustCompile(`seed (\d+) failed:\s+(?:[0-9.]+ (\S+):)?`)

// search runs seeds on the altered code until so many have failed, and enters what
// it has found. What it has built is not needed any more then.
func (h *hunt) search(ctx context.Context, processors int, first, seeds uint64, failures int) error {
	//nolint:gosec // It runs this project's own test.
	test := exec.CommandContext(ctx, h.binary(), "-test.run=^TestSimulation$", "-test.timeout=0",
		fmt.Sprint("-first=", first), fmt.Sprint("-seeds=", seeds), "-replay=0", fmt.Sprint("-failures=", failures), "-minimise=false",
		fmt.Sprint("-patience=", patience), "-transport="+cmp.Or(h.bug.over, "inmem"))
	test.Dir = filepath.Join(h.root, "core", "internal", "sim")
	test.Env = append(os.Environ(), fmt.Sprint("GOMAXPROCS=", processors))
	out, err := test.CombinedOutput()
	if err == nil {
		return nil
	}
	for _, m := range failure.FindAllSubmatch(out, -1) {
		seed, err := strconv.ParseUint(string(m[1]), 10, 64)
		if err != nil {
			return err
		}
		h.found = append(h.found, finding{seed, cmp.Or(string(m[2]), "I14")})
	}
	if len(h.found) == 0 {
		return fmt.Errorf("%s: the simulation failed without a seed: %w\n%s", h.bug.name, err, out)
	}
	return os.RemoveAll(h.dir)
}
