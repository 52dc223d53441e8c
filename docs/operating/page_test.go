package main

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/gridmux/gridmux/core"
)

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestPageShowsManifest holds that the manifest on the page is the one that is
// checked, indentation included.
func TestPageShowsManifest(t *testing.T) {
	t.Parallel()
	if !strings.Contains(read(t, "../operating.md"), "\n```yaml\n"+read(t, "kv.yaml")+"```\n") {
		t.Error("the page shows another manifest than kv.yaml")
	}
}

// TestPageNamesFigures holds that the page explains the figures that the program
// shows, and no others.
func TestPageNamesFigures(t *testing.T) {
	t.Parallel()
	var shown bytes.Buffer
	writeMetrics(&shown, core.Stats{Peers: []core.PeerStats{{Peer: "kv-1"}}, Compression: []core.CompressionStats{{Handler: "kv.get"}}}, 0, core.StateChange{}.At)
	pattern := regexp.MustCompile(`\bgridmux_\w+`)
	unique := func(text string) []string {
		all := pattern.FindAllString(text, -1)
		slices.Sort(all)
		return slices.Compact(all)
	}
	if got, want := unique(read(t, "../operating.md")), unique(shown.String()); !slices.Equal(got, want) {
		t.Errorf("the page has %v, the program %v", got, want)
	}
}

// texts returns all texts in the code of the library.
func texts(t *testing.T) []string {
	t.Helper()
	var all []string
	for _, root := range []string{"../../core", "../../transport"} {
		err := filepath.WalkDir(root, func(name string, _ fs.DirEntry, err error) error {
			if err != nil || filepath.Ext(name) != ".go" || strings.HasSuffix(name, "_test.go") {
				return err
			}
			file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
			if err != nil {
				return err
			}
			ast.Inspect(file, func(n ast.Node) bool {
				expr, ok := n.(ast.Expr)
				if !ok {
					return true
				}
				text, ok := constant(expr)
				if ok {
					all = append(all, text)
				}
				return !ok
			})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// constant returns the text of a literal, or of several that are added up.
func constant(e ast.Expr) (string, bool) {
	switch e := e.(type) {
	case *ast.BasicLit:
		s, err := strconv.Unquote(e.Value)
		return s, err == nil && e.Kind == token.STRING
	case *ast.BinaryExpr:
		x, ok := constant(e.X)
		y, both := constant(e.Y)
		return x + y, ok && both && e.Op == token.ADD
	}
	return "", false
}

// foreign are errors of Go's libraries.
var foreign = []string{
	"address already in use", "no such host", "listen tcp: lookup", "connection refused", "i/o timeout", "EOF",
	"connection reset by peer", "broken pipe",
	"x509: certificate is valid for …, not …", "x509: certificate signed by unknown authority",
	"certificate has expired or is not yet valid", "tls: certificate required",
	"first record does not look like a TLS handshake", "Client sent an HTTP request to an HTTPS server",
	"404 Not Found", "503 Service Unavailable",
}

// TestPageQuotesErrors holds that every error and every line of the log that the
// page explains is one that the library has.
func TestPageQuotesErrors(t *testing.T) {
	t.Parallel()
	library := texts(t)
	page := read(t, "../operating.md")
	_, trouble, ok := strings.Cut(page, "\n## When something does not work\n")
	_, log, logged := strings.Cut(page, "\n| line | level | do |\n")
	log, _, ended := strings.Cut(log, "\n\n")
	if !ok || !logged || !ended {
		t.Fatal("the page lacks a part")
	}
	quoted := 0
	for _, row := range regexp.MustCompile("(?m)^\\| *(`[^|]*) \\|").FindAllStringSubmatch(log+"\n"+trouble, -1) {
		for _, quote := range regexp.MustCompile("`[^`]*`").FindAllString(row[1], -1) {
			quote = strings.Trim(quote, "`")
			quoted++
			if slices.Contains(foreign, quote) {
				continue
			}
			for part := range strings.SplitSeq(quote, "…") {
				part = strings.TrimSpace(part)
				if part != "" && !slices.ContainsFunc(library, func(s string) bool { return strings.Contains(s, part) }) {
					t.Errorf("the library says nowhere %q", part)
				}
			}
		}
	}
	if quoted < 70 {
		t.Errorf("only %d errors were found on the page", quoted)
	}
}

// TestPageNamesLogLines holds that the page explains all lines that the core logs.
func TestPageNamesLogLines(t *testing.T) {
	t.Parallel()
	page := read(t, "../operating.md")
	lines := 0
	for _, text := range texts(t) {
		// Those of errors go on with a verb, or with a name.
		if line, ok := strings.CutPrefix(text, "gridmux: "); ok && strings.ContainsAny(line, " ") && !strings.ContainsAny(line, "%:\"") {
			lines++
			if !strings.Contains(page, "| `gridmux: "+line+"` |") {
				t.Errorf("the page does not explain the line %q", text)
			}
		}
	}
	if lines < 7 {
		t.Errorf("only %d lines were found in the code", lines)
	}
}

// limits returns the defaults that limits.md states.
func limits(t *testing.T) func(name string) int {
	t.Helper()
	page := read(t, "../limits.md")
	return func(name string) int {
		t.Helper()
		row := regexp.MustCompile(`(?m)^\|[^|]*\| (\d+)( KiB| MiB)? \| [^|]*` + "`" + regexp.QuoteMeta(name) + "`").FindStringSubmatch(page)
		if row == nil {
			t.Fatalf("limits.md does not say %s", name)
		}
		n, err := strconv.Atoi(row[1])
		if err != nil {
			t.Fatal(err)
		}
		return n << map[string]int{" KiB": 10, " MiB": 20}[row[2]]
	}
}

// TestPageSizes works the table of sizes out anew.
func TestPageSizes(t *testing.T) {
	t.Parallel()
	limit := limits(t)
	const idle = 16 << 10 // of one end, as a test of the footprint allows
	page := read(t, "../operating.md")
	for _, nodes := range []int{10, 100, 300, 1000} {
		p := nodes - 1
		most := func(reassembly, windows int) float64 {
			requests := limit("Config.MaxHandlers") * (32<<10 + limit("wire.MaxMetadata"))
			ungranted := 4 * limit("core.maxWaiting") * limit("core.headSize")
			return float64(p) * (float64(requests) + 8*float64(reassembly) + 2*float64(windows) + float64(ungranted)) / (1 << 30)
		}
		row := fmt.Sprintf("| %d | %d | %d | %.1f MiB | %d | %.1f GiB | %.1f GiB |", nodes, p, nodes*p/2,
			float64(p*idle)/(1<<20), p,
			most(limit("Config.MaxReassembly"), limit("Config.MaxStreamBuffers")), most(1<<20, 1<<20))
		if !strings.Contains(page, row+"\n") {
			t.Errorf("the page lacks the row\n%s", row)
		}
	}
}
