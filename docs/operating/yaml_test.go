package main

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// parseYAML reads the part of YAML that the manifest is written in: documents of
// block mappings and block sequences, with scalars on the line of their key.
// Whatever it takes is YAML and means the same to every parser, so what needs
// more is an error here.
func parseYAML(text string) (docs []any, err error) {
	for doc := range strings.SplitSeq(text, "\n---\n") {
		p := yamlParser{}
		for line := range strings.SplitSeq(doc, "\n") {
			content := strings.TrimLeft(line, " ")
			if content == "" || content[0] == '#' {
				continue
			}
			p.lines = append(p.lines, yamlLine{len(line) - len(content), content})
		}
		v, err := p.block(0)
		if err == nil && len(p.lines) > 0 {
			err = errors.New("is indented otherwise than what it belongs to")
		}
		if err != nil {
			return nil, fmt.Errorf("%q: %w", p.at(), err)
		}
		docs = append(docs, v)
	}
	return docs, nil
}

type yamlLine struct {
	indent  int
	content string
}

type yamlParser struct{ lines []yamlLine }

// at is the line where the parser is.
func (p *yamlParser) at() string {
	if len(p.lines) == 0 {
		return "end"
	}
	return p.lines[0].content
}

func (p *yamlParser) next(indent int) bool { return len(p.lines) > 0 && p.lines[0].indent == indent }

// block reads a mapping or a sequence.
func (p *yamlParser) block(indent int) (any, error) {
	if !p.next(indent) {
		return nil, fmt.Errorf("a block indented by %d is missing before it", indent)
	}
	if strings.HasPrefix(p.at(), "- ") {
		return p.sequence(indent)
	}
	return p.mapping(indent)
}

func (p *yamlParser) sequence(indent int) (any, error) {
	var all []any
	for p.next(indent) && strings.HasPrefix(p.at(), "- ") {
		// The item is a scalar, or a mapping whose first key stands behind the dash.
		p.lines[0] = yamlLine{indent + 2, p.at()[2:]}
		item, err := yamlScalar(p.at())
		if yamlEntry.MatchString(p.at()) {
			item, err = p.mapping(indent + 2)
		} else {
			p.lines = p.lines[1:]
		}
		if err != nil {
			return nil, err
		}
		all = append(all, item)
	}
	return all, nil
}

var (
	yamlEntry = regexp.MustCompile(`^([A-Za-z][A-Za-z-]*):(?: (\S.*))?$`)
	// Without anything that could end a plain scalar, or begin something else.
	yamlPlain = regexp.MustCompile(`^[A-Za-z0-9/]([A-Za-z0-9/._-]|:[A-Za-z0-9])*$`)
	yamlOther = regexp.MustCompile(`(?i)^(null|yes|no|on|off|y|n|0[0-9ox].*|[0-9.]+e.*|[0-9]*\.[0-9]+|\d+(:\d+)+|\d+-\d+-\d+.*)$`)
)

func (p *yamlParser) mapping(indent int) (any, error) {
	all := map[string]any{}
	for p.next(indent) {
		m := yamlEntry.FindStringSubmatch(p.at())
		if m == nil {
			return nil, errors.New("is no entry of a mapping")
		}
		key := m[1]
		if _, twice := all[key]; twice {
			return nil, errors.New("is there twice")
		}
		var err error
		if m[2] != "" {
			all[key], err = yamlScalar(m[2])
		}
		if err != nil {
			return nil, err
		}
		p.lines = p.lines[1:]
		if m[2] == "" {
			if all[key], err = p.block(indent + 2); err != nil {
				return nil, err
			}
		}
	}
	return all, nil
}

func yamlScalar(s string) (any, error) {
	switch {
	case s == "":
		return nil, errors.New("is empty")
	case s[0] == '"':
		return strconv.Unquote(s)
	case !yamlPlain.MatchString(s) || yamlOther.MatchString(s):
		return nil, errors.New("has a value that needs quotes")
	case s == "true" || s == "false":
		return s == "true", nil
	}
	if n, err := strconv.Atoi(s); err == nil {
		return n, nil
	}
	return s, nil
}

// TestParseYAML holds that what is no YAML, or not of the part that is read here,
// is refused.
func TestParseYAML(t *testing.T) {
	t.Parallel()
	docs, err := parseYAML("a:\n  b: 1\n  # c\n  c:\n    - d: \"1\"\n      e: true\n    - d: x/y:2\n    - f\n---\nz: q\n")
	if got := fmt.Sprintf("%#v", docs); err != nil ||
		got != `[]interface {}{map[string]interface {}{"a":map[string]interface {}{"b":1, "c":[]interface {}{`+
			`map[string]interface {}{"d":"1", "e":true}, map[string]interface {}{"d":"x/y:2"}, "f"}}}, map[string]interface {}{"z":"q"}}` {
		t.Errorf("got %s, %v", got, err)
	}
	for _, wrong := range []string{
		"a: 1\na: 2\n", "a:\n b: 1\n", "a:\n", "a: 1\n  b: 2\n", "a: b: c\n", "a: x # c\n", "a: [1]\n", "a:\n\tb: 1\n",
		"a: yes\n", "a: 0x10\n", "a: 1.5\n", "a:b\n", "- a: b: c\n", "- - a\n", "a: &b c\n", "a: \"b\n", "", "a:\n    b: 1\n", "a: 'b'\n", "a:\n- b: 1\n",
	} {
		if docs, err := parseYAML(wrong); err == nil {
			t.Errorf("%q was read as %v", wrong, docs)
		}
	}
}
