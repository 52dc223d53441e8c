// Command mutants plants bugs in the code, one at a time, and tells which of
// them the simulation finds. It is how one knows that the simulation is worth
// its time.
//
//	go run ./core/internal/sim/mutants
//
// Nothing in the tree is changed: the compiler is given the altered file in
// place of the real one. It takes some seconds for a bug that is found, and
// minutes for one that is not.
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

func main() {
	seeds := flag.Int("seeds", 10_000, "how many seeds a bug has to hide from")
	only := flag.String("run", "", "plant only the bugs whose name matches this regular expression")
	missable := flag.Int("missable", 1, "how many bugs may be missed, for every twelve")
	flag.Parse()
	if err := run(context.Background(), os.Stdout, *only, *seeds, *missable); err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		os.Exit(1) //nolint:forbidigo // This is main.
	}
}

func run(ctx context.Context, out io.Writer, only string, seeds, missable int) error {
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
	planted, found := 0, 0
	for i := range mutants {
		m := &mutants[i]
		if !filter.MatchString(m.name) {
			continue
		}
		planted++
		began := time.Now()
		how, err := m.hunt(ctx, root, dir, seeds)
		if err != nil {
			return err
		}
		if how != "" {
			found++
		}
		fmt.Fprintf(out, "%-26s %-30s %6.1f s   %s\n", m.name, cmp.Or(how, "NOT FOUND"), time.Since(began).Seconds(), m.why)
	}
	fmt.Fprintf(out, "%d of %d found within %d seeds\n", found, planted, seeds)
	if missed := planted - found; missed*12 > planted*missable {
		return fmt.Errorf("%d of %d planted bugs were not found", missed, planted)
	}
	return nil
}

func moduleRoot(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return "", fmt.Errorf("go list -m: %w", err)
	}
	return strings.TrimSpace(string(out)), nil
}

// plant writes the altered file and tells the go command to take it.
func (m *mutant) plant(root, dir string) (overlay string, err error) {
	path := filepath.Join(root, filepath.FromSlash(m.file))
	text, err := os.ReadFile(path) //nolint:gosec // The paths are those of the list.
	if err != nil {
		return "", err
	}
	altered, err := m.apply(string(text))
	if err != nil {
		return "", err
	}
	file := filepath.Join(dir, filepath.Base(m.file))
	if err := os.WriteFile(file, []byte(altered), 0o600); err != nil { //nolint:gosec // The same.
		return "", err
	}
	replace, err := json.Marshal(map[string]any{"Replace": map[string]string{path: file}})
	if err != nil {
		return "", err
	}
	overlay = filepath.Join(dir, "overlay.json")
	return overlay, os.WriteFile(overlay, replace, 0o600)
}

// failure is how the simulation reports a seed, with the first thing that it
// found wrong.
var failure = regexp.MustCompile(`seed (\d+) failed:\s+(?:[0-9.]+ (\S+):)?`)

// hunt runs the simulation on the altered code. It returns how the bug was
// found, "" if it was not.
func (m *mutant) hunt(ctx context.Context, root, dir string, seeds int) (how string, err error) {
	overlay, err := m.plant(root, dir)
	if err != nil {
		return "", err
	}
	binary := filepath.Join(dir, "sim.test")
	//nolint:gosec // It compiles and runs this project's own test.
	build := exec.CommandContext(ctx, "go", "test", "-overlay", overlay, "-c", "-o", binary, "./core/internal/sim")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%s does not compile: %w\n%s", m.name, err, out)
	}
	//nolint:gosec // The same.
	test := exec.CommandContext(ctx, binary, "-test.run=^TestSimulation$", "-test.timeout=0",
		fmt.Sprint("-seeds=", seeds), "-replay=0", "-failures=1", "-minimise=false")
	test.Dir = filepath.Join(root, "core", "internal", "sim")
	out, err := test.CombinedOutput()
	if err == nil {
		return "", nil
	}
	found := failure.FindSubmatch(out)
	if found == nil {
		return "", fmt.Errorf("%s: the simulation failed without a seed: %w\n%s", m.name, err, out)
	}
	return fmt.Sprintf("seed %s, %s", found[1], cmp.Or(string(found[2]), "I14")), nil
}
