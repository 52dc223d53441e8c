package suite_test

import (
	"fmt"
	"go/ast"
	"go/constant"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/internal/wire"
)

const root = "../../.."

// limited are the packages whose limits docs/limits.md has to know.
var limited = map[string]string{
	"core": root + "/core", "transport": root + "/transport", "wire": root + "/core/internal/wire", "websocket": root + "/transport/websocket",
	"quic": root + "/transport/quic", "backlog": root + "/transport/internal/backlog",
	"payload": root + "/core/payload", "msgpack": root + "/core/internal/msgpack",
}

// noLimit are constants whose names look like those of limits.
var noLimit = []string{
	"core.maxSmall",                 // where messages are cut
	"core.maxChunk", "core.maxHint", // of its own memory
	"core.maxFlat",                                // below which a message is looked at but once
	"websocket.maxDiscard", "websocket.maxVector", // of its own memory
	"transport.MaxCode",        // which codes there are
	"quic.maxBusyPause",        // of its own dials
	"quic.defaultIdleTimeout",  // the core ends a connection before
	"quic.defaultStreamWindow", // that of the connection bounds it
}

// constants evaluates the constants of a package that are numbers.
func constants(t *testing.T, pkg, dir string) map[string]constant.Value {
	t.Helper()
	exprs := map[string]ast.Expr{}
	eachFile(t, dir, func(f *ast.File) {
		for _, decl := range f.Decls {
			gen, ok := decl.(*ast.GenDecl)
			if !ok || gen.Tok != token.CONST {
				continue
			}
			for _, spec := range gen.Specs {
				v := spec.(*ast.ValueSpec)
				for i, name := range v.Names {
					if i < len(v.Values) {
						exprs[name.Name] = v.Values[i]
					}
				}
			}
		}
	})
	values := map[string]constant.Value{}
	for name := range exprs {
		if v := evaluate(exprs, exprs[name]); v.Kind() == constant.Int {
			values[pkg+"."+name] = v
		}
	}
	return values
}

func eachFile(t *testing.T, dir string, f func(f *ast.File)) {
	t.Helper()
	names, err := filepath.Glob(dir + "/*.go")
	if err != nil || len(names) == 0 {
		t.Fatalf("no Go files in %s: %v", dir, err)
	}
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		f(file)
	}
}

var units = map[string]time.Duration{
	"Nanosecond": time.Nanosecond, "Microsecond": time.Microsecond, "Millisecond": time.Millisecond,
	"Second": time.Second, "Minute": time.Minute, "Hour": time.Hour,
}

// evaluate returns what an expression is worth, or an unknown value.
func evaluate(exprs map[string]ast.Expr, e ast.Expr) constant.Value {
	switch e := e.(type) {
	case *ast.BasicLit:
		return constant.MakeFromLiteral(e.Value, e.Kind, 0)
	case *ast.ParenExpr:
		return evaluate(exprs, e.X)
	case *ast.Ident:
		if x, ok := exprs[e.Name]; ok {
			return evaluate(exprs, x)
		}
	case *ast.SelectorExpr:
		if d, ok := units[e.Sel.Name]; ok {
			return constant.MakeInt64(int64(d))
		}
		if pkg, ok := e.X.(*ast.Ident); ok && pkg.Name == "wire" && e.Sel.Name == "DefaultWindow" {
			return constant.MakeInt64(wire.DefaultWindow)
		}
	case *ast.BinaryExpr:
		x, y := evaluate(exprs, e.X), evaluate(exprs, e.Y)
		if x.Kind() != constant.Int || y.Kind() != constant.Int {
			break
		}
		if e.Op == token.SHL || e.Op == token.SHR {
			n, _ := constant.Uint64Val(y)
			return constant.Shift(x, e.Op, uint(n))
		}
		return constant.BinaryOp(x, e.Op, y)
	}
	return constant.MakeUnknown()
}

// configDefaults are the names of the constants that NewManager fills fields of
// the Config with.
func configDefaults(t *testing.T) map[string]string {
	t.Helper()
	defaults := map[string]string{}
	eachFile(t, limited["core"], func(f *ast.File) {
		ast.Inspect(f, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok || len(call.Args) != 4 {
				return true
			}
			if fn, ok := call.Fun.(*ast.Ident); !ok || fn.Name != "limit" {
				return true
			}
			field, err := strconv.Unquote(call.Args[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			def := call.Args[2]
			if atLeast, ok := def.(*ast.CallExpr); ok { // max(default, another field)
				def = atLeast.Args[0]
			}
			defaults["Config."+field] = "core." + def.(*ast.Ident).Name
			return true
		})
	})
	return defaults
}

var figure = regexp.MustCompile(`^(\d+)(?: (KiB|MiB|GiB|ms|s|min))?$`)

// figureOf reads a figure of the table.
func figureOf(s string) (int64, error) {
	m := figure.FindStringSubmatch(s)
	if m == nil {
		return 0, fmt.Errorf("%q is no figure", s)
	}
	n, err := strconv.ParseInt(m[1], 10, 64)
	unit := map[string]int64{
		"": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30,
		"ms": int64(time.Millisecond), "s": int64(time.Second), "min": int64(time.Minute),
	}[m[2]]
	return n * unit, err
}

// tableRows are the cells of the rows of all tables of a document that have so
// many columns, without those that are titles.
func tableRows(t *testing.T, name string, columns int) (rows [][]string) {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.SplitSeq(string(text), "\n") {
		if !strings.HasPrefix(line, "| ") {
			continue
		}
		cells := strings.Split(strings.Trim(line, "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		if len(cells) == columns && !strings.HasPrefix(cells[0], "**") {
			rows = append(rows, cells)
		}
	}
	if len(rows) < 2 {
		t.Fatalf("%s has no table of %d columns", name, columns)
	}
	return rows[1:]
}

// allTests are the names of all tests of the repository.
func allTests(t *testing.T) map[string]bool {
	t.Helper()
	tests, function := map[string]bool{}, regexp.MustCompile(`(?m)^func (Test\w+)\(`)
	err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		for _, m := range function.FindAllStringSubmatch(string(text), -1) {
			tests[m[1]] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return tests
}

// TestLimitsAreDocumented holds docs/limits.md to the code: each limit stands
// there with the figure that is in force, and with tests that there are; every
// field of the Config that is a limit, and every constant that looks like one,
// has a row.
func TestLimitsAreDocumented(t *testing.T) {
	values := map[string]constant.Value{}
	for pkg, dir := range limited {
		maps.Copy(values, constants(t, pkg, dir))
	}
	defaults, tests, known := configDefaults(t), allTests(t), map[string]bool{}
	for _, name := range noLimit {
		known[name] = true
	}
	for _, row := range tableRows(t, root+"/docs/limits.md", 6) {
		what, set := row[0], strings.Trim(row[2], "`")
		if known[set] {
			t.Errorf("%s stands in docs/limits.md twice", set)
		}
		known[set] = true
		name := set
		if strings.HasPrefix(set, "Config.") {
			name = defaults[set]
			known[name] = true
		}
		want, ok := values[name]
		if !ok {
			t.Errorf("%s: there is no %s", what, set)
			continue
		}
		figure, err := figureOf(row[1])
		if err != nil || !constant.Compare(want, token.EQL, constant.MakeInt64(figure)) {
			t.Errorf("%s: docs/limits.md says %s, %s is %s; %v", what, row[1], name, want, err)
		}
		checkTests(t, what, tests, row[5])
		if !regexp.MustCompile(`^T\d+(, T\d+)*$`).MatchString(row[4]) {
			t.Errorf("%s: no threats in %q", what, row[4])
		}
	}
	for field := range reflect.TypeFor[core.Config]().Fields() {
		number := field.Type.Kind() == reflect.Int || field.Type == reflect.TypeFor[time.Duration]()
		if number && !known["Config."+field.Name] {
			t.Errorf("Config.%s has no row in docs/limits.md", field.Name)
		}
	}
	looksLikeOne := regexp.MustCompile(`\.(max|Max|min|Min|limit|default)[A-Z]\w*$`)
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if looksLikeOne.MatchString(name) && !known[name] {
			t.Errorf("%s has no row in docs/limits.md", name)
		}
	}
}

func checkTests(t *testing.T, what string, tests map[string]bool, cell string) {
	t.Helper()
	for name := range strings.SplitSeq(cell, ", ") {
		if !tests[name] {
			t.Errorf("%s: there is no test %q", what, name)
		}
	}
}

// TestThreatsAreDocumented holds the table of threats of docs/limits.md to having
// all of them, and tests for each.
func TestThreatsAreDocumented(t *testing.T) {
	tests, known := allTests(t), map[string]bool{}
	for _, row := range tableRows(t, root+"/docs/limits.md", 5) {
		known[row[0]] = true
		checkTests(t, row[0], tests, row[4])
	}
	for _, span := range [][2]int{{1, 3}, {6, 25}, {28, 29}} {
		for n := span[0]; n <= span[1]; n++ {
			if name := fmt.Sprint("T", n); !known[name] {
				t.Errorf("docs/limits.md does not know threat %s", name)
			}
		}
	}
}
