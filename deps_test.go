package gridmux_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// layer says what may be linked into a package of the module besides the
// standard library, however indirectly. Names that end in /... stand for
// everything below them too; packages of the module are named without the
// module's path.
type layer struct {
	pkg    string
	allow  []string
	refuse []string // must not be imported directly although they are in the standard library
}

// layers is the package graph of DESIGN.md: the core knows no transport, no
// transport knows the core, and neither has a dependency that is not named
// here. The first line that matches a package counts.
var layers = []layer{
	{pkg: "."},
	{pkg: "core/internal/wire", allow: []string{msgpPackage, fwdModule}, refuse: []string{"net/...", "os/...", "syscall", "log/...", "context"}},
	{pkg: "core/internal/lab", allow: []string{
		"core", "core/coretest", "core/internal/...", "internal/memnet", "internal/packetnet",
		"transport", "transport/devtls", "transport/inmem", "transport/quic", "transport/websocket", "transport/internal/...",
		msgpPackage, fwdModule, wsModule + "/...", httpheadModule,
		quicModule + "/...", xCryptoModule + "/...", xNetModule + "/...", xSysModule + "/...",
	}},
	{pkg: "core/internal/...", allow: []string{"core/internal/...", "transport", msgpPackage, fwdModule}},
	{pkg: "core/coretest", allow: []string{"core", "core/internal/...", "transport", "transport/inmem", "transport/internal/...", msgpPackage, fwdModule}},
	{pkg: "core/payload", allow: []string{"core/internal/msgpack", msgpPackage, fwdModule}},
	{pkg: "core", allow: []string{"core/internal/...", "transport", msgpPackage, fwdModule}},
	{pkg: "internal/memnet"},
	{pkg: "internal/packetnet"},
	{pkg: "internal/samples"},
	{pkg: "transport"},
	{pkg: "transport/transporttest", allow: []string{"transport"}},
	{pkg: "transport/devtls", allow: []string{"transport"}},
	{pkg: "transport/internal/...", allow: []string{"transport"}},
	{pkg: "transport/faulty/internal/..."},
	{pkg: "transport/faulty", allow: []string{"transport", "transport/internal/..."}},
	{pkg: "transport/inmem", allow: []string{"transport", "transport/internal/..."}},
	{pkg: "transport/websocket", allow: []string{"transport", "transport/internal/...", wsModule + "/...", httpheadModule}},
	{pkg: "transport/quic/internal/..."},
	{pkg: "transport/quic", allow: []string{"transport", "transport/internal/...", quicModule + "/...", xCryptoModule + "/...", xNetModule + "/...", xSysModule + "/..."}},
	{pkg: "compress/internal/..."},
	{pkg: "compress", allow: []string{"compress/internal/...", compressModule + "/..."}},
	{pkg: "bench/...", allow: []string{"..."}},
	{pkg: "docs/...", allow: []string{"..."}},
}

const (
	modulePath     = "github.com/gridmux/gridmux"
	compressModule = "github.com/klauspost/compress"
	fwdModule      = "github.com/philhofer/fwd"
	msgpModule     = "github.com/tinylib/msgp"
	msgpPackage    = msgpModule + "/msgp"
	wsModule       = "github.com/gobwas/ws"
	httpheadModule = "github.com/gobwas/httphead"
	quicModule     = "github.com/quic-go/quic-go"
	xCryptoModule  = "golang.org/x/crypto"
	xNetModule     = "golang.org/x/net"
	xSysModule     = "golang.org/x/sys"
)

func TestImportDirections(t *testing.T) {
	t.Parallel()
	sourceFiles(t) // looking at them makes a cached result stale when one changes
	for _, build := range [][]string{
		{"GOOS=linux"},
		{"GOOS=windows"},
		{"GOOS=darwin", "-tags=griddebug"},
	} {
		t.Run(strings.Join(build, " "), func(t *testing.T) {
			t.Parallel()
			args := append([]string{"list", "-deps", "-json=ImportPath,Standard,DepOnly,Imports,Deps"}, build[1:]...)
			out := goCommand(t, ".", []string{build[0], "CGO_ENABLED=0"}, append(args, "./...")...)
			for _, problem := range checkLayers(decodePackages(t, out)) {
				t.Error(problem)
			}
		})
	}
}

func TestImportDirectionsBite(t *testing.T) {
	t.Parallel()
	self := func(name string) string { return modulePath + "/" + name }
	packages := []listedPackage{
		{ImportPath: "net", Standard: true, DepOnly: true},
		{ImportPath: "fmt", Standard: true, DepOnly: true},
		{ImportPath: self("core"), Deps: []string{"net", "fmt", msgpPackage, self("transport"), self("transport/inmem")}},
		{ImportPath: self("core/internal/wire"), Imports: []string{"net"}, Deps: []string{"net", msgpPackage}},
		{ImportPath: self("core/internal/gate"), Imports: []string{"net"}, Deps: []string{"net"}},
		{ImportPath: self("transport"), Deps: []string{msgpPackage}},
		{ImportPath: self("transport/carrier-pigeon")},
		{ImportPath: self("transport/websocket"), Deps: []string{wsModule + "/internal/pool", self("core/internal/wire")}},
		{ImportPath: self("bench"), Deps: []string{"net", "example.com/anything"}},
	}
	got := strings.Join(checkLayers(packages), "\n")
	want := `core must not depend on transport/inmem
core/internal/wire must not import net
transport must not depend on github.com/tinylib/msgp/msgp
transport/carrier-pigeon: layers has no line that says what it may depend on
transport/websocket must not depend on core/internal/wire
layers has a line for ., which is no package
layers has a line for core/internal/lab, which is no package
layers has a line for core/coretest, which is no package
layers has a line for core/payload, which is no package
layers has a line for internal/memnet, which is no package
layers has a line for internal/packetnet, which is no package
layers has a line for internal/samples, which is no package
layers has a line for transport/transporttest, which is no package
layers has a line for transport/devtls, which is no package
layers has a line for transport/faulty, which is no package
layers has a line for transport/inmem, which is no package
layers has a line for transport/quic, which is no package
layers has a line for compress, which is no package`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// listedPackage is what go list says of a package.
type listedPackage struct {
	ImportPath string
	Standard   bool
	DepOnly    bool // not of the module, or not asked for
	Dir        string
	GoFiles    []string
	Imports    []string
	Deps       []string
}

func decodePackages(t *testing.T, out string) (packages []listedPackage) {
	t.Helper()
	for dec := json.NewDecoder(strings.NewReader(out)); ; {
		var p listedPackage
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return packages
		} else if err != nil {
			t.Fatal(err)
		}
		packages = append(packages, p)
	}
}

// checkLayers returns in words what contradicts layers.
func checkLayers(packages []listedPackage) (problems []string) {
	problem := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	standard := make(map[string]bool)
	for _, p := range packages {
		standard[p.ImportPath] = p.Standard
	}
	used := make(map[string]bool)
	for _, p := range packages {
		if p.DepOnly {
			continue
		}
		name := nameInModule(p.ImportPath)
		i := slices.IndexFunc(layers, func(l layer) bool { return matchesAny([]string{l.pkg}, name) })
		if i < 0 {
			problem("%s: layers has no line that says what it may depend on", name)
			continue
		}
		used[layers[i].pkg] = true
		for _, dep := range p.Deps {
			if !standard[dep] && !matchesAny(layers[i].allow, nameInModule(dep)) {
				problem("%s must not depend on %s", name, nameInModule(dep))
			}
		}
		for _, imported := range p.Imports {
			if matchesAny(layers[i].refuse, imported) {
				problem("%s must not import %s", name, imported)
			}
		}
	}
	for _, l := range layers {
		if !used[l.pkg] && !strings.HasSuffix(l.pkg, "/...") {
			problem("layers has a line for %s, which is no package", l.pkg)
		}
	}
	return problems
}

func nameInModule(importPath string) string {
	if importPath == modulePath {
		return "."
	}
	return strings.TrimPrefix(importPath, modulePath+"/")
}

func matchesAny(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		if prefix, ok := strings.CutSuffix(pattern, "..."); ok {
			return strings.HasPrefix(name+"/", prefix)
		}
		return name == pattern
	})
}

// goCommand runs the go command and returns what it printed to standard
// output. The environment of whoever runs the tests counts, except where it
// would change what is asked.
func goCommand(t *testing.T, dir string, env []string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=-buildvcs=false")
	cmd.Env = append(cmd.Env, env...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, stderr.String())
	}
	return string(out)
}
