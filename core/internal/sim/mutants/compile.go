package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"go/version"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// simulation is the import path of the test that runs the seeds, as go list calls the
// program.
const simulation = "github.com/gridmux/gridmux/core/internal/sim.test"

// plain has the compiler put nothing of what a package with bugs does into others, so
// that those need not be compiled again.
var plain = []string{"-gcflags=./core=-l", "-gcflags=./transport/...=-l"}

// toolchain compiles one package with one file altered and links it with all others as
// they are, which takes less than half of what go test -c does: that compiles anew
// whatever imports the package. It may be used concurrently.
type toolchain struct {
	root     string
	packages map[string]*listed // by directory
	archives map[string]string  // by import path
}

// listed is what go list tells of a package.
type listed struct {
	ImportPath, Dir, Export string
	GoFiles, SFiles         []string
	Module                  *struct{ GoVersion string }
}

// newToolchain compiles everything as it is.
func newToolchain(ctx context.Context, root string) (*toolchain, error) {
	args := []string{"list", "-test", "-export", "-deps", "-json=ImportPath,Dir,Export,GoFiles,SFiles,Module"}
	args = append(append(args, plain...), "./core/internal/sim")
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir, cmd.Stderr = root, os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w", err)
	}
	tc := &toolchain{root: root, packages: map[string]*listed{}, archives: map[string]string{}}
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		p := new(listed)
		//nolint:musttag // Its fields have the names that go list gives them.
		if err := dec.Decode(p); errors.Is(err, io.EOF) {
			return tc, nil
		} else if err != nil {
			return nil, fmt.Errorf("go list: %w", err)
		}
		path, _, _ := strings.Cut(p.ImportPath, " ") // behind it is what it is compiled for
		if p.Export != "" {
			tc.archives[path] = p.Export
		}
		if path == p.ImportPath && path != simulation {
			tc.packages[p.Dir] = p
		}
	}
}

// errOthers is that other packages have to be compiled too.
var errOthers = errors.New("the packages that import it see the difference")

// build makes the program with one file altered.
func (tc *toolchain) build(ctx context.Context, path, altered, dir, binary string) error {
	p := tc.packages[filepath.Dir(path)]
	if p == nil || len(p.SFiles) > 0 || p.Module == nil {
		return errOthers
	}
	config := filepath.Join(dir, "importcfg")
	archive := filepath.Join(dir, "package.a")
	if err := tc.writeConfig(config, "", ""); err != nil {
		return err
	}
	args := []string{
		"tool", "compile", "-o", archive, "-p", p.ImportPath, "-lang=" + version.Lang("go"+p.Module.GoVersion), "-complete", "-l",
		"-trimpath", dir + "=>" + p.Dir, "-importcfg", config, "-pack",
	}
	for _, name := range p.GoFiles {
		if file := filepath.Join(p.Dir, name); file == path {
			args = append(args, altered)
		} else {
			args = append(args, file)
		}
	}
	compile := exec.CommandContext(ctx, "go", args...) //nolint:gosec // It compiles this project's own code.
	if out, err := compile.CombinedOutput(); err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	if err := tc.writeConfig(config, p.ImportPath, archive); err != nil {
		return err
	}
	//nolint:gosec // It links this project's own test.
	link := exec.CommandContext(ctx, "go", "tool", "link", "-s", "-w", "-X", "testing.testBinary=1", "-buildmode=exe",
		"-importcfg", config, "-o", binary, tc.archives[simulation])
	out, err := link.CombinedOutput()
	switch {
	case bytes.Contains(out, []byte("fingerprint mismatch")):
		return errOthers
	case err != nil:
		return fmt.Errorf("%w\n%s", err, out)
	}
	return os.Remove(archive)
}

// writeConfig tells compiler and linker where packages are, one of them in its own place.
func (tc *toolchain) writeConfig(file, path, archive string) error {
	var lines []string
	for p, a := range tc.archives {
		if p == path {
			a = archive
		}
		lines = append(lines, fmt.Sprintf("packagefile %s=%s\n", p, a))
	}
	slices.Sort(lines)
	return os.WriteFile(file, []byte(strings.Join(lines, "")), 0o600)
}
