package gridmux_test

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	// A rule of PROTOCOL.md is a paragraph that begins with its name, as in
	// "**W12.** A frame …".
	ruleDefinition = regexp.MustCompile(`(?m)^\*\*(W\d+)\.\*\*`)
	ruleAttempt    = regexp.MustCompile(`(?m)^[ \t>#*+-]*\*\*W\d+.*$`)
	ruleCitation   = regexp.MustCompile(`\bW\d+\b`)

	// A heading may name the range of numbers that is set aside for its part.
	protocolHeading = regexp.MustCompile(`(?m)^#.*$`)
)

// TestProtocolRules holds that every rule of PROTOCOL.md is named by a test,
// in a comment or in the name of a subtest, and that whoever cites a rule
// cites one that exists.
func TestProtocolRules(t *testing.T) {
	t.Parallel()
	protocol, err := os.ReadFile("PROTOCOL.md")
	if err != nil {
		t.Fatal(err)
	}
	sources := make(map[string]string)
	for _, name := range sourceFiles(t) {
		if !strings.HasSuffix(name, ".go") || name == "protocol_test.go" {
			continue
		}
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		sources[name] = string(text)
	}
	for _, problem := range checkRules(string(protocol), sources) {
		t.Error(problem)
	}
}

func TestProtocolRulesBite(t *testing.T) {
	t.Parallel()
	const protocol = `# Protocol (W1–W99)

**W1.** The first rule, which W7 refines.

**W2.** A rule that only code cites.

**W2.** The same number again.

- **W3.** A rule that is not at the beginning of its line.
**W4** A rule without its full stop.

**W5.** A rule that a name in a longer word cites, as W10 in
W1 does at the beginning of a line.

**W6.** A rule that a subtest names.

**W20.** A rule that nobody cites.
`
	sources := map[string]string{
		"a.go":           "// W2: see also W8.",
		"core/b_test.go": "// W1\nt.Run(\"W6 one\", nil) // not W9, and xW5 and W5x are other words",
	}
	got := strings.Join(checkRules(protocol, sources), "\n")
	want := `PROTOCOL.md: "- **W3.** A rule that is not at the beginning of its line.": begin a line with **W3.** to define a rule
PROTOCOL.md: "**W4** A rule without its full stop.": begin a line with **W4.** to define a rule
PROTOCOL.md: W2 is defined twice
PROTOCOL.md cites W10, which is no rule
PROTOCOL.md cites W3, which is no rule
PROTOCOL.md cites W4, which is no rule
PROTOCOL.md cites W7, which is no rule
a.go cites W8, which is no rule
core/b_test.go cites W9, which is no rule
W2: no test names this rule
W5: no test names this rule
W20: no test names this rule`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if problems := checkRules("no rule at all", nil); len(problems) != 1 {
		t.Errorf("a protocol without rules: got %q, want one problem", problems)
	}
}

// checkRules returns in words what is wrong with the rules of the protocol and
// with their citations in sources, which holds texts by file name.
func checkRules(protocol string, sources map[string]string) (problems []string) {
	problem := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }

	for _, line := range ruleAttempt.FindAllString(protocol, -1) {
		if !ruleDefinition.MatchString(line) {
			problem("PROTOCOL.md: %q: begin a line with **%s.** to define a rule", line, ruleCitation.FindString(line))
		}
	}
	tested := make(map[string]bool) // by rule
	for _, match := range ruleDefinition.FindAllStringSubmatch(protocol, -1) {
		if _, ok := tested[match[1]]; ok {
			problem("PROTOCOL.md: %s is defined twice", match[1])
		}
		tested[match[1]] = false
	}
	if len(tested) == 0 {
		problem("PROTOCOL.md defines no rule")
	}

	cite := func(name, text string) {
		cited := ruleCitation.FindAllString(text, -1)
		slices.Sort(cited)
		for _, rule := range slices.Compact(cited) {
			if _, ok := tested[rule]; !ok {
				problem("%s cites %s, which is no rule", name, rule)
			} else if strings.HasSuffix(name, "_test.go") {
				tested[rule] = true
			}
		}
	}
	cite("PROTOCOL.md", protocolHeading.ReplaceAllString(protocol, ""))
	for _, name := range slices.Sorted(maps.Keys(sources)) {
		cite(name, sources[name])
	}
	byNumber := func(a, b string) int { return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b)) }
	for _, rule := range slices.SortedFunc(maps.Keys(tested), byNumber) {
		if !tested[rule] {
			problem("%s: no test names this rule", rule)
		}
	}
	return problems
}
