package gridmux_test

import (
	"debug/buildinfo"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestConsumer builds programs of users, each a module of its own, and holds
// which modules they get: those that the imported packages need, and none that
// only the benchmarks, the tests or another transport do.
func TestConsumer(t *testing.T) {
	t.Parallel()
	sourceFiles(t) // looking at them makes a cached result stale when one changes
	root, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	ofCore := []string{fwdModule, msgpModule}
	ofWebsocket := append([]string{wsModule, httpheadModule}, ofCore...)
	for _, test := range []struct {
		with    string // besides core
		want    []string
		checked []string // of whose go.mod files go.sum has checksums besides
	}{
		{"transport/inmem", ofCore, nil},
		{"transport/faulty", ofCore, nil},
		{"transport/devtls", ofCore, nil},
		{"compress", append([]string{compressModule}, ofCore...), nil},
		{"transport/websocket", ofWebsocket, nil},
		{
			"transport/quic", append([]string{quicModule, xCryptoModule, xNetModule, xSysModule}, ofCore...),
			[]string{
				"github.com/quic-go/go-ossfuzz-seeds", "github.com/stretchr/testify", "go.uber.org/mock", "go.yaml.in/yaml/v3",
			},
		},
	} {
		t.Run(test.with, func(t *testing.T) {
			t.Parallel()
			slices.Sort(test.want)
			required, summed, linked := consumer(t, root, "core", test.with)
			summed = slices.DeleteFunc(summed, func(m string) bool { return slices.Contains(test.checked, m) })
			for where, got := range map[string][]string{"go.mod": required, "go.sum": summed, "the program": linked} {
				if !slices.Equal(got, test.want) {
					t.Errorf("modules in %s: %q, want %q", where, got, test.want)
				}
			}
		})
	}

	// If the benchmarks had nothing that users must not get, the cases above
	// would show nothing.
	t.Run("bench", func(t *testing.T) {
		t.Parallel()
		program := filepath.Join(t.TempDir(), "bench")
		goCommand(t, ".", nil, "build", "-o", program, "./bench")
		linked := linkedModules(t, program)
		for _, m := range ofWebsocket {
			if !slices.Contains(linked, m) {
				t.Errorf("bench is linked without %s", m)
			}
		}
		if len(linked) <= len(ofWebsocket) {
			t.Errorf("modules in bench: %q, want some that users do not get", linked)
		}
	})
}

// consumer makes a module whose program imports the named packages of this
// one, and returns the modules in its go.mod, in its go.sum and in the linked
// program, sorted and without this module itself.
func consumer(t *testing.T, root string, packages ...string) (required, summed, linked []string) {
	t.Helper()
	dir := t.TempDir()
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	source := "package main\n\nimport (\n"
	for _, p := range packages {
		source += fmt.Sprintf("\t_ %q\n", modulePath+"/"+p)
	}
	write("main.go", source+")\n\nfunc main() {}\n")
	write("go.mod", fmt.Sprintf("module example.com/user\n\ngo 1.26.0\n\nrequire %s v0.0.0\n\nreplace %[1]s => %q\n", modulePath, root))

	// With our checksums to begin with, of which tidy keeps those in use, no
	// checksum has to be fetched.
	sums, err := os.ReadFile("go.sum")
	if err != nil {
		t.Fatal(err)
	}
	write("go.sum", string(sums))
	goCommand(t, dir, nil, "mod", "tidy")

	modules := make(map[string]bool)
	var edit struct{ Require []struct{ Path string } }
	if err := json.Unmarshal([]byte(goCommand(t, dir, nil, "mod", "edit", "-json")), &edit); err != nil {
		t.Fatal(err)
	}
	for _, r := range edit.Require {
		modules[r.Path] = true
	}
	required = sortedOthers(modules)

	clear(modules)
	if sums, err = os.ReadFile(filepath.Join(dir, "go.sum")); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(sums)) {
		path, _, _ := strings.Cut(line, " ")
		modules[path] = true
	}
	summed = sortedOthers(modules)

	program := filepath.Join(dir, "user")
	goCommand(t, dir, nil, "build", "-o", program, ".")
	return required, summed, linkedModules(t, program)
}

// linkedModules returns the modules that a program consists of, sorted and
// without this module itself.
func linkedModules(t *testing.T, program string) []string {
	t.Helper()
	info, err := buildinfo.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	modules := make(map[string]bool)
	for _, dep := range info.Deps {
		modules[dep.Path] = true
	}
	return sortedOthers(modules)
}

func sortedOthers(modules map[string]bool) []string {
	delete(modules, modulePath)
	return slices.Sorted(maps.Keys(modules))
}
