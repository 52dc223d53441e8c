package gridmux_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// rowsFile lists what can go wrong, by number, and tests that hold what happens
// then.
const rowsFile = "docs/reliability.md"

// requiredRows are the numbers that must have a test.
var requiredRows = rowRanges("D1-D12 D14-D18 D20-D26 D28-D38 " +
	"F1-F27 F30-F38 " +
	"T1-T3 T5-T26 T28 T29")

var (
	// A test has the numbers of its rows at the end of its comment, among those
	// of rules and invariants.
	rowCitation = regexp.MustCompile(`\(([A-Z]\d+(?:, [A-Z]\d+)*)\)\.$`)
	// A number in parentheses at the end that is not written so.
	rowAttempt = regexp.MustCompile(`\([^()]*\b[DFT]\d+\b[^()]*\)\W*$`)
	rowNumber  = regexp.MustCompile(`\b[DFT]\d+\b`)
	// A row of the list, and the names of tests in its last cell.
	rowLine = regexp.MustCompile(`(?m)^\| *([DFT]\d+) *\|(.*)\|([^|]*)\|$`)
	rowTest = regexp.MustCompile("`([^`]*)`")
)

// TestRows holds the list of what can go wrong to the tests: every row names
// tests that exist and carry its number, every number that a test carries has a
// row, and none of those that are required is missing.
func TestRows(t *testing.T) {
	t.Parallel()
	list, err := os.ReadFile(rowsFile)
	if err != nil {
		t.Fatal(err)
	}
	sources := make(map[string]string)
	for _, name := range sourceFiles(t) {
		if !strings.HasSuffix(name, "_test.go") || name == "rows_test.go" {
			continue
		}
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		sources[name] = string(text)
	}
	for _, problem := range checkRows(string(list), sources, requiredRows) {
		t.Error(problem)
	}
}

func TestRowsBite(t *testing.T) {
	t.Parallel()
	const list = `# Rows

| | what | tests |
|---|---|---|
| D1 | Held. | ` + "`a.TestOne`" + ` |
| D1 | Twice. | ` + "`a.TestOne`" + ` |
| F2 | Its test does not carry it. | ` + "`a.TestOne`, `a.TestTwo`" + ` |
| F3 | Its test is gone. | ` + "`b.TestOne`" + ` |
| T4 | It names no test. |  |
`
	sources := map[string]string{
		"x/a/one_test.go": "package a\n// TestOne does\n// this (D1, W50, I2).\nfunc TestOne(t *testing.T) {}\n" +
			"// TestTwo does that (see F2).\nfunc TestTwo(t *testing.T) {}\n" +
			"// TestThree has a number in the middle (D7) of its text.\nfunc TestThree(t *testing.T) {}\n",
		"b/two_test.go": "package b\n// TestFour holds what is not in the list (D9, T4).\nfunc TestFour(t *testing.T) {}\n",
	}
	got := strings.Join(checkRows(list, sources, []string{"D1", "F2", "T5"}), "\n")
	want := `a.TestTwo: its comment ends with "(see F2).": write the numbers alone, as in (D1, F2).
docs/reliability.md: D1 stands there twice
docs/reliability.md: F2 names a.TestOne, whose comment does not end with that number
docs/reliability.md: F2 names a.TestTwo, whose comment does not end with that number
docs/reliability.md: F3 names b.TestOne, which does not exist
docs/reliability.md: T4 names no test; b.TestFour carries its number
docs/reliability.md: D9 is missing; b.TestFour carries it
docs/reliability.md: T5 is missing; no test carries it`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if problems := checkRows("no row at all", nil, nil); len(problems) != 1 {
		t.Errorf("a list without rows: got %q, want one problem", problems)
	}
	if problems := checkRows(list, map[string]string{"c/x_test.go": "package"}, nil); len(problems) == 0 || !strings.HasPrefix(problems[0], "c/x_test.go") {
		t.Errorf("a file that is no Go: got %q", problems)
	}
}

// rowRanges returns numbers that are written as in "D1 D3-D5".
func rowRanges(text string) (rows []string) {
	for word := range strings.FieldsSeq(text) {
		first, last, isRange := strings.Cut(word, "-")
		if !isRange {
			last = first
		}
		from, errFrom := strconv.Atoi(first[1:])
		to, errTo := strconv.Atoi(last[1:])
		if errFrom != nil || errTo != nil || first[0] != last[0] {
			panic("not a range of rows: " + word)
		}
		for ; from <= to; from++ {
			rows = append(rows, fmt.Sprintf("%c%d", first[0], from))
		}
	}
	return rows
}

// rowTests are the tests of the repository.
type rowTests struct {
	all map[string][]string // the numbers that each carries, by its name with that of its directory
	by  map[string][]string // names by number, sorted
}

// checkRows returns in words what is wrong with the list, and with the numbers
// that tests in sources carry, which holds texts by file name.
func checkRows(list string, sources map[string]string, required []string) (problems []string) {
	problem := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	tests := findRowTests(sources, problem)

	listed := make(map[string]bool)
	for _, match := range rowLine.FindAllStringSubmatch(list, -1) {
		row, named := match[1], rowTest.FindAllStringSubmatch(match[3], -1)
		if listed[row] {
			problem("%s: %s stands there twice", rowsFile, row)
			continue
		}
		listed[row] = true
		if len(named) == 0 {
			problem("%s: %s names no test; %s", rowsFile, row, carriers(tests.by[row], "its number"))
		}
		for _, name := range named {
			switch carried, exists := tests.all[name[1]]; {
			case !exists:
				problem("%s: %s names %s, which does not exist", rowsFile, row, name[1])
			case !slices.Contains(carried, row):
				problem("%s: %s names %s, whose comment does not end with that number", rowsFile, row, name[1])
			}
		}
	}
	if len(listed) == 0 {
		problem("%s has no row", rowsFile)
	}
	missing := slices.Concat(slices.Collect(maps.Keys(tests.by)), required)
	slices.Sort(missing)
	for _, row := range slices.Compact(missing) {
		if !listed[row] {
			problem("%s: %s is missing; %s", rowsFile, row, carriers(tests.by[row], "it"))
		}
	}
	return problems
}

func carriers(names []string, what string) string {
	switch len(names) {
	case 0:
		return "no test carries " + what
	case 1:
		return names[0] + " carries " + what
	default:
		return strings.Join(names, ", ") + " carry " + what
	}
}

// findRowTests reads the comments of all tests.
func findRowTests(sources map[string]string, problem func(format string, args ...any)) rowTests {
	tests := rowTests{map[string][]string{}, map[string][]string{}}
	for _, file := range slices.Sorted(maps.Keys(sources)) {
		parsed, err := parser.ParseFile(token.NewFileSet(), file, sources[file], parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			problem("%s: %v", file, err)
			continue
		}
		for _, decl := range parsed.Decls {
			f, ok := decl.(*ast.FuncDecl)
			if !ok || f.Recv != nil || !strings.HasPrefix(f.Name.Name, "Test") {
				continue
			}
			name := path.Base(path.Dir(file)) + "." + f.Name.Name
			doc := strings.Join(strings.Fields(f.Doc.Text()), " ")
			match := rowCitation.FindStringSubmatch(doc)
			if match == nil {
				tests.all[name] = append(tests.all[name], "")
				if attempt := rowAttempt.FindString(doc); attempt != "" {
					problem("%s: its comment ends with %q: write the numbers alone, as in (D1, F2).", name, attempt)
				}
				continue
			}
			rows := rowNumber.FindAllString(match[1], -1)
			tests.all[name] = append(tests.all[name], rows...)
			for _, row := range rows {
				tests.by[row] = append(tests.by[row], name)
			}
		}
	}
	return tests
}
