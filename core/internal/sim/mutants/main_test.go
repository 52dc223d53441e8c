package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// planted are the packages that the list has bugs for, by their directory.
var planted = map[string]string{
	"core":                "github.com/gridmux/gridmux/core",
	"transport/quic":      "github.com/gridmux/gridmux/transport/quic",
	"transport/websocket": "github.com/gridmux/gridmux/transport/websocket",
}

// TestMutantsFit holds that every planted bug still has its place in the code,
// changes it, and compiles.
func TestMutantsFit(t *testing.T) {
	root, err := moduleRoot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	check := newChecker(t, root)
	names := map[string]bool{}
	for i := range mutants {
		m := &mutants[i]
		t.Run(m.name, func(t *testing.T) {
			if m.why == "" || names[m.name] {
				t.Error("a planted bug needs a name of its own and a reason")
			}
			names[m.name] = true
			for _, seed := range m.seeds {
				if seed < 1 || seed > 10_000 {
					t.Errorf("seed %d is not among those that a bug has to show in", seed)
				}
			}
			path := filepath.Join(root, filepath.FromSlash(m.file))
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			altered, err := m.apply(string(text))
			if err != nil {
				t.Fatal(err)
			}
			if altered == string(text) {
				t.Error("it changes nothing")
			}
			if err := check.compile(planted[filepath.ToSlash(filepath.Dir(m.file))], path, altered); err != nil {
				t.Error(err)
			}
		})
	}
}

// checker compiles a package as far as its types, with one file altered.
type checker struct {
	fset    *token.FileSet
	files   map[string]map[string]*ast.File // by package and path
	imports types.Importer
}

func newChecker(t *testing.T, root string) *checker {
	c := &checker{fset: token.NewFileSet(), files: map[string]map[string]*ast.File{}}
	args := []string{"list", "-export", "-deps", "-json=ImportPath,Export,Dir,GoFiles"}
	for _, name := range planted {
		c.files[name] = map[string]*ast.File{}
		args = append(args, name)
	}
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	exports := map[string]string{}
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p struct {
			ImportPath, Export, Dir string
			GoFiles                 []string
		}
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		exports[p.ImportPath] = p.Export
		files := c.files[p.ImportPath]
		if files == nil {
			continue
		}
		for _, name := range p.GoFiles {
			path := filepath.Join(p.Dir, name)
			if files[path], err = parser.ParseFile(c.fset, path, nil, parser.SkipObjectResolution); err != nil {
				t.Fatal(err)
			}
		}
	}
	c.imports = importer.ForCompiler(c.fset, "gc", func(path string) (io.ReadCloser, error) { return os.Open(exports[path]) })
	return c
}

// compile checks a package with the text of one file.
func (c *checker) compile(name, path, text string) error {
	altered, err := parser.ParseFile(c.fset, path, strings.NewReader(text), parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	var files []*ast.File
	for p, f := range c.files[name] {
		if p == path {
			f = altered
		}
		files = append(files, f)
	}
	config := types.Config{Importer: c.imports}
	_, err = config.Check(name, c.fset, files, nil)
	return err
}
