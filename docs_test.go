package gridmux_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"unicode"
)

// sourceFiles returns the names of all files of the repository, nested modules
// included, without those in directories that begin with a dot.
func sourceFiles(t *testing.T) (names []string) {
	t.Helper()
	err := fs.WalkDir(os.DirFS("."), ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case !entry.IsDir():
			names = append(names, name)
		case name != "." && strings.HasPrefix(entry.Name(), "."):
			return fs.SkipDir
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// TestPackageDocs holds that every package tells what it is for.
func TestPackageDocs(t *testing.T) {
	t.Parallel()
	sourceFiles(t) // looking at them makes a cached result stale when one changes
	for _, p := range decodePackages(t, goCommand(t, ".", nil, "list", "-json=ImportPath,Dir,GoFiles", "./...")) {
		var doc strings.Builder
		for _, file := range p.GoFiles {
			f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, file), nil, parser.ParseComments|parser.PackageClauseOnly)
			if err != nil {
				t.Fatal(err)
			}
			doc.WriteString(f.Doc.Text())
		}
		if n := sentences(doc.String()); len(p.GoFiles) > 0 && n < 3 {
			t.Errorf("package %s: its doc comment has %d sentences, want a few", nameInModule(p.ImportPath), n)
		}
	}
}

func TestSentences(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int{
		"":                                  0,
		"Package x has e.g.Config v1.2":     0,
		"Package x does y.":                 1,
		"Package x does y.\nIs it so? Yes!": 3,
		"Package x has:\n\n  - one.\n":      2,
	} {
		if got := sentences(text); got != want {
			t.Errorf("%q: %d sentences, want %d", text, got, want)
		}
	}
}

var sentenceEnd = regexp.MustCompile(`[.!?:](\s|$)`)

func sentences(text string) int { return len(sentenceEnd.FindAllString(text, -1)) }

// TestMarkdown holds that links lead somewhere and that what the README shows
// as Go code is code that the tests run.
func TestMarkdown(t *testing.T) {
	t.Parallel()
	for _, name := range sourceFiles(t) {
		if path.Ext(name) != ".md" {
			continue
		}
		for _, problem := range checkMarkdown(os.DirFS("."), name) {
			t.Error(problem)
		}
	}
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(parseMarkdown(string(readme)).fences, func(f fence) bool { return f.file != "" }) {
		t.Error("README.md shows no example")
	}
}

// markdown is what is checked of a text.
type markdown struct {
	links   []link
	anchors []string
	fences  []fence
}

type link struct {
	line   int
	target string
}

// fence is a fenced code block. The comment that may stand before it says
// which source it shows:
//
//	<!-- example: path/to/file_test.go#ExampleName -->
type fence struct {
	line       int
	language   string
	text       string
	file, name string // of the comment; the name may be missing
}

var (
	fenceLine      = regexp.MustCompile("^\\s*(```+|~~~+)\\s*([\\w-]*)")
	exampleComment = regexp.MustCompile(`^\s*<!-- example: ([^\s#]+)(?:#(\w+))? -->\s*$`)
	heading        = regexp.MustCompile(`^#{1,6} +(.*?)[ #]*$`)
	htmlAnchor     = regexp.MustCompile(`\b(?:id|name)="([^"]+)"`)
	codeSpan       = regexp.MustCompile("`[^`]*`")
	linkTargets    = []*regexp.Regexp{
		regexp.MustCompile(`\]\(<?([^)\s>]+)`),
		regexp.MustCompile(`^\s*\[[^\]]+\]:\s*<?([^\s>]+)`),
		regexp.MustCompile(`\b(?:href|src)="([^"]+)"`),
	}
	urlScheme = regexp.MustCompile(`^([a-zA-Z][a-zA-Z0-9+.-]*:|//)`)
)

func parseMarkdown(text string) (md markdown) {
	var open string // the line of backticks that began the current block
	var example []string
	seen := make(map[string]int)
	number := 0
	for line := range strings.Lines(text) {
		number++
		if open != "" {
			last := &md.fences[len(md.fences)-1]
			if closing := strings.TrimSpace(line); strings.HasPrefix(closing, open) && strings.Trim(closing, open[:1]) == "" {
				open = ""
			} else {
				last.text += line
			}
			continue
		}
		if m := fenceLine.FindStringSubmatch(line); m != nil {
			open = m[1]
			f := fence{line: number, language: m[2]}
			if example != nil {
				f.file, f.name = example[1], example[2]
			}
			md.fences = append(md.fences, f)
			example = nil
			continue
		}
		if strings.TrimSpace(line) != "" {
			example = exampleComment.FindStringSubmatch(line)
		}
		if m := heading.FindStringSubmatch(strings.TrimSpace(line)); m != nil {
			anchor := slug(m[1])
			if n := seen[anchor]; n > 0 {
				md.anchors = append(md.anchors, fmt.Sprintf("%s-%d", anchor, n))
			} else {
				md.anchors = append(md.anchors, anchor)
			}
			seen[anchor]++
		}
		for _, m := range htmlAnchor.FindAllStringSubmatch(line, -1) {
			md.anchors = append(md.anchors, m[1])
		}
		prose := codeSpan.ReplaceAllString(line, "")
		for _, pattern := range linkTargets {
			for _, m := range pattern.FindAllStringSubmatch(prose, -1) {
				md.links = append(md.links, link{number, m[1]})
			}
		}
	}
	return md
}

// slug returns the anchor that a heading gets where Markdown is shown.
func slug(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r):
			return unicode.ToLower(r)
		default:
			return -1
		}
	}, text)
}

// checkMarkdown returns in words what is wrong with the named file.
func checkMarkdown(fsys fs.FS, name string) (problems []string) {
	problem := func(line int, format string, args ...any) {
		problems = append(problems, fmt.Sprintf("%s:%d: ", name, line)+fmt.Sprintf(format, args...))
	}
	text, err := fs.ReadFile(fsys, name)
	if err != nil {
		return []string{err.Error()}
	}
	md := parseMarkdown(string(text))
	for _, l := range md.links {
		if urlScheme.MatchString(l.target) {
			continue
		}
		if err := followLink(fsys, name, l.target); err != nil {
			problem(l.line, "link to %s: %v", l.target, err)
		}
	}
	for _, f := range md.fences {
		switch {
		case f.file != "":
			if err := compareExample(fsys, f); err != nil {
				problem(f.line, "%v", err)
			}
		case f.language == "go" && path.Base(name) == "README.md":
			problem(f.line, "Go code without a comment before it that names the example it shows")
		}
	}
	return problems
}

func followLink(fsys fs.FS, from, target string) error {
	file, anchor, _ := strings.Cut(target, "#")
	to := from
	if file != "" {
		to = path.Join(path.Dir(from), file)
		if rooted, ok := strings.CutPrefix(file, "/"); ok {
			to = path.Clean(rooted)
		}
	}
	if _, err := fs.Stat(fsys, to); err != nil {
		return err
	}
	if anchor == "" || path.Ext(to) != ".md" {
		return nil
	}
	text, err := fs.ReadFile(fsys, to)
	if err != nil {
		return err
	}
	if !slices.Contains(parseMarkdown(string(text)).anchors, anchor) {
		return fmt.Errorf("%s has no heading #%s", to, anchor)
	}
	return nil
}

// compareExample returns nil if the block shows the body of the function that
// its comment names, or the whole file if it names none. Indentation does not
// count, and the comment with the example's output may be left out.
func compareExample(fsys fs.FS, f fence) error {
	source, err := fs.ReadFile(fsys, f.file)
	if err != nil {
		return err
	}
	text := string(source)
	if f.name != "" {
		if text, err = functionBody(text, f); err != nil {
			return err
		}
	}
	shown, want := trimmedLines(f.text), trimmedLines(text)
	for i, line := range want {
		switch {
		case i == len(shown) && startsOutput(want[i:]):
			return nil
		case i >= len(shown):
			return fmt.Errorf("the block ends before %q of %s", line, f.file)
		case shown[i] != line:
			return fmt.Errorf("the block says %q where %s says %q", shown[i], f.file, line)
		}
	}
	if len(shown) > len(want) {
		return fmt.Errorf("the block goes on with %q where %s ends", shown[len(want)], f.file)
	}
	return nil
}

func functionBody(source string, f fence) (string, error) {
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, f.file, source, parser.SkipObjectResolution)
	if err != nil {
		return "", err
	}
	for _, decl := range file.Decls {
		if fn, ok := decl.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == f.name {
			return source[fset.Position(fn.Body.Lbrace).Offset+1 : fset.Position(fn.Body.Rbrace).Offset], nil
		}
	}
	return "", fmt.Errorf("%s has no function %s", f.file, f.name)
}

func trimmedLines(text string) (lines []string) {
	for line := range strings.Lines(strings.TrimSpace(text)) {
		lines = append(lines, strings.TrimSpace(line))
	}
	return lines
}

var outputComment = regexp.MustCompile(`(?i)^//\s*(unordered )?output:`)

// startsOutput tells whether nothing follows but the comment that go test
// compares with the output, and the blank line before it.
func startsOutput(lines []string) bool {
	if lines[0] == "" {
		lines = lines[1:]
	}
	return outputComment.MatchString(lines[0])
}

func TestMarkdownBites(t *testing.T) {
	t.Parallel()
	const source = `package core_test

func helper() {
	panic("not an example")
}

func ExampleManager() {
	conn := open()
	if conn == nil {
		return
	}
	fmt.Println(conn)

	// Output:
	// connected
}
`
	const body = "conn := open()\nif conn == nil {\n    return\n}\nfmt.Println(conn)\n"
	const comment = "<!-- example: core/example_test.go#ExampleManager -->\n\n"
	block := func(text string) string { return "```go\n" + text + "```\n" }
	for _, test := range []struct {
		name, file, text string
		want             string // part of the only problem; empty: none
	}{
		{"example", "README.md", comment + block(body), ""},
		{"example with its output", "README.md", comment + block(body+"\n// Output:\n// connected\n"), ""},
		{"whole file", "README.md", "<!-- example: core/example_test.go -->\n" + block(source), ""},
		{"other output", "README.md", comment + block(body+"\n// Output:\n// else\n"), `says "// else" where core/example_test.go says "// connected"`},
		{"changed line", "README.md", comment + block(strings.Replace(body, "== nil", "!= nil", 1)), `says "if conn != nil {"`},
		{"short", "README.md", comment + block("conn := open()\n"), `ends before "if conn == nil {"`},
		{"long", "README.md", comment + block(body+"\n// Output:\n// connected\nmore()\n"), `goes on with "more()"`},
		{"empty", "README.md", comment + block(""), `ends before "conn := open()"`},
		{"no such function", "README.md", "<!-- example: core/example_test.go#ExampleOther -->\n" + block(body), "has no function ExampleOther"},
		{"no such file", "README.md", "<!-- example: core/gone_test.go#ExampleManager -->\n" + block(body), "core/gone_test.go"},
		{"no comment", "README.md", block(body), "README.md:1: Go code without a comment"},
		{"comment too far away", "README.md", comment + "Words.\n\n" + block(body), "README.md:5: Go code without a comment"},
		{"comment used up", "README.md", comment + block(body) + block(body), "README.md:10: Go code without a comment"},
		{"no comment elsewhere", "docs/a.md", block(body), ""},
		{"wrong elsewhere", "docs/a.md", comment + block("x()\n"), `says "x()"`},
		{"other languages", "README.md", "```sh\ngo test ./...\n```\n~~~~\n```go\n~~~~\n", ""},

		{"links", "docs/a.md", "[a](../README.md) [b](b.md#two-words) ![c](/docs) [d](https://example.com/gone) [e](#here)\n# `Here`!", ""},
		{"broken link", "docs/a.md", "\n[a](README.md)", "docs/a.md:2: link to README.md"},
		{"link out of the tree", "docs/a.md", "[a](../../README.md)", "link to ../../README.md"},
		{"broken reference", "docs/a.md", "[a]: gone.md", "link to gone.md"},
		{"broken HTML", "docs/a.md", `<img src="gone.svg">`, "link to gone.svg"},
		{"broken anchor", "docs/a.md", "[a](b.md#three-words)", "docs/b.md has no heading #three-words"},
		{"second heading of a name", "docs/a.md", "[a](#x-1)\n# X\n## X\n", ""},
		{"no third heading of a name", "docs/a.md", "[a](#x-2)\n# X\n## X\n", "no heading #x-2"},
		{"HTML anchor", "docs/a.md", "[a](#x) <a id=\"x\"></a>", ""},
		{"code is no link", "docs/a.md", "`[a](gone)`\n```text\n[b](gone)\n# Heading\n```\n", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			fsys := fstest.MapFS{
				"README.md":            {Data: []byte("# Title\n")},
				"docs/b.md":            {Data: []byte("## Two words\n")},
				"core/example_test.go": {Data: []byte(source)},
			}
			fsys[test.file] = &fstest.MapFile{Data: []byte(test.text)}
			problems := checkMarkdown(fsys, test.file)
			switch {
			case test.want == "" && len(problems) > 0:
				t.Errorf("got %q, want no problem", problems)
			case test.want != "" && (len(problems) != 1 || !strings.Contains(problems[0], test.want)):
				t.Errorf("got %q, want one problem with %q", problems, test.want)
			}
		})
	}
}
