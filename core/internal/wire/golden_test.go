package wire

import (
	"bytes"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite testdata/*.golden")

// A golden file is a list of vectors, with an empty line after each:
//
//	# name
//	> what a receiver gets out of it
//	bytes, sixteen to a line
func goldenText(t *testing.T, file string, vectors []vector) string {
	var b strings.Builder
	for _, v := range vectors {
		fmt.Fprintf(&b, "# %s\n%s", v.name, describeAll(t, file, v.data))
		for chunk := range bytesChunks(v.data, 16) {
			fmt.Fprintf(&b, "% x\n", chunk)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func bytesChunks(b []byte, n int) func(func([]byte) bool) {
	return func(yield func([]byte) bool) {
		for len(b) > 0 {
			k := min(n, len(b))
			if !yield(b[:k]) {
				return
			}
			b = b[k:]
		}
	}
}

// describeAll returns one line per frame. The vectors of the exchange are
// batches with a checksum, the others single frames.
func describeAll(t *testing.T, file string, data []byte) string {
	t.Helper()
	var b strings.Builder
	if file == "exchange" {
		rest, ok := CheckBatch(data)
		if !ok {
			t.Fatalf("%s: checksum does not match", file)
		}
		fmt.Fprintf(&b, "> checksum=%x\n", data[:ChecksumSize])
		data = rest
	}
	for len(data) > 0 {
		f, rest, err := Next(data)
		if err != nil {
			t.Fatalf("%s: %v in % x", file, err, data)
		}
		line, err := describe(&f)
		if err != nil {
			t.Fatalf("%s: %v in % x", file, err, data)
		}
		fmt.Fprintf(&b, "> %s\n", line)
		data = rest
	}
	return b.String()
}

// readGolden returns the vectors of a file, and the lines that describe each.
func readGolden(t testing.TB, file string) (vectors []vector, lines []string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", file+".golden"))
	if err != nil {
		t.Fatalf("%v: run go test with -update", err)
	}
	for entry := range strings.SplitSeq(strings.TrimSuffix(string(text), "\n\n"), "\n\n") {
		var v vector
		var desc, dump strings.Builder
		for line := range strings.Lines(entry + "\n") {
			switch {
			case strings.HasPrefix(line, "# "):
				v.name = strings.TrimSpace(line[2:])
			case strings.HasPrefix(line, "> "):
				desc.WriteString(line)
			default:
				dump.WriteString(line)
			}
		}
		if v.data, err = hex.DecodeString(strings.Join(strings.Fields(dump.String()), "")); err != nil {
			t.Fatalf("%s: %s: %v", file, v.name, err)
		}
		vectors, lines = append(vectors, v), append(lines, desc.String())
	}
	return vectors, lines
}

// TestGolden pins the bytes of every frame in both directions: what this package
// writes are the bytes of the files, and what it reads from these bytes is what
// the files say. W10 W11 W12 W13 W14 W16 W20 W21 W22 W23 W31 W40 W42 W44 W45 W51
// W52 W80 W81 W82 W83.
func TestGolden(t *testing.T) {
	for file, vectors := range goldenFiles() {
		t.Run(file, func(t *testing.T) {
			path := filepath.Join("testdata", file+".golden")
			if *update {
				if err := os.WriteFile(path, []byte(goldenText(t, file, vectors)), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			stored, lines := readGolden(t, file)
			if len(stored) != len(vectors) {
				t.Fatalf("%d vectors in %s, want %d", len(stored), path, len(vectors))
			}
			for i, want := range vectors {
				if stored[i].name != want.name {
					t.Errorf("vector %d is %q, want %q", i, stored[i].name, want.name)
				}
				if !bytes.Equal(stored[i].data, want.data) {
					t.Errorf("%s: wrote\n% x\nwant\n% x", want.name, want.data, stored[i].data)
				}
				if got := describeAll(t, file, stored[i].data); got != lines[i] {
					t.Errorf("%s: read\n%swant\n%s", want.name, got, lines[i])
				}
			}
		})
	}
}

// TestGoldenFiles holds that no file is left over from vectors that are gone.
func TestGoldenFiles(t *testing.T) {
	files, err := filepath.Glob("testdata/*.golden")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range files {
		if _, ok := goldenFiles()[strings.TrimSuffix(filepath.Base(path), ".golden")]; !ok {
			t.Errorf("%s is not read by any test", path)
		}
	}
}

// TestGoldenReappend writes every canonical vector again with the function that
// a sender uses, from nothing but what was parsed.
func TestGoldenReappend(t *testing.T) {
	canonical := 0
	for file, vectors := range goldenFiles() {
		if file == "exchange" {
			continue
		}
		for _, v := range vectors {
			frames, bodies, err := parseAll(v.data)
			if err != nil {
				t.Fatalf("%s: %v", v.name, err)
			}
			b, ok := reappend(&frames[0], bodies[0])
			if !ok {
				continue
			}
			canonical++
			if !bytes.Equal(b, v.data) {
				t.Errorf("%s: wrote\n% x\nwant\n% x", v.name, b, v.data)
			}
		}
	}
	if canonical < 100 {
		t.Errorf("%d canonical vectors, want at least 100", canonical)
	}
}

// TestGoldenComplete: W13 every type has a vector for every combination of flags
// that it allows.
func TestGoldenComplete(t *testing.T) {
	have := map[string]bool{}
	for file, vectors := range goldenFiles() {
		if file == "exchange" {
			continue
		}
		for _, v := range vectors {
			have[fmt.Sprintf("%v %s", Type(v.data[4]), flagNames(Flags(v.data[5])))] = true
		}
	}
	for _, ty := range knownTypes {
		if ty == TypePadding {
			continue
		}
		for fl := range 256 {
			f := Flags(fl)
			if f&^allowedFlags(ty) != 0 || f&FlagHigh != 0 && f&FlagLow != 0 || f&FlagNil != 0 && f&FlagFragmented != 0 {
				continue
			}
			if name := fmt.Sprintf("%v %s", ty, flagNames(f)); !have[name] {
				t.Errorf("no vector for %s", name)
			}
		}
	}
}

var knownTypes = []Type{
	TypePadding, TypeInit, TypeHello, TypeReject, TypePing, TypePong, TypeGoaway, TypeAck, TypeProof, TypeReady, TypeMark, TypeLanes, TypeCodecs,
	TypeRequest, TypeResponse, TypeError, TypeRefused, TypeFragment, TypeReset, TypeGrant,
	TypeOpen, TypeData, TypeEnd, TypeCredit,
}
