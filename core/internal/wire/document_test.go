package wire

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func protocol(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile(filepath.FromSlash("../../../PROTOCOL.md"))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// rows returns the trimmed cells of the table whose first column has the given
// heading.
func rows(t *testing.T, doc, heading string) (out [][]string) {
	t.Helper()
	found := false
	for line := range strings.Lines(doc) {
		if !strings.HasPrefix(line, "|") {
			found = false
			continue
		}
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		switch {
		case cells[0] == heading:
			found = true
		case found && !strings.HasPrefix(cells[0], "--"):
			out = append(out, cells)
		}
	}
	if len(out) == 0 {
		t.Fatalf("no table with the column %q", heading)
	}
	return out
}

// TestDocumentTypes: W12 W13 W16 the table of types and this package agree.
func TestDocumentTypes(t *testing.T) {
	flags := map[string]Flags{
		"none": 0, "NIL": FlagNil, "METADATA": FlagMetadata, "FRAGMENTED": FlagFragmented, "HIGH": FlagHigh, "LOW": FlagLow, "ACCEPT": FlagAccept,
	}
	doc := protocol(t)
	var seen []Type
	for _, row := range rows(t, doc, "type") {
		n, err := strconv.ParseUint(row[0], 0, 8)
		if err != nil {
			t.Fatal(err)
		}
		ty := Type(n)
		seen = append(seen, ty)
		if row[1] != ty.String() {
			t.Errorf("type %#02x is %s in the document, %v here", n, row[1], ty)
		}
		if ty == TypePadding {
			continue
		}
		var want Flags
		for name := range strings.FieldsSeq(row[2]) {
			f, ok := flags[name]
			if !ok {
				t.Errorf("%v: unknown flag %s", ty, name)
			}
			want |= f
		}
		if got := allowedFlags(ty); got != want {
			t.Errorf("%v allows %s, the document %s", ty, flagNames(got), flagNames(want))
		}
		if got, want := belongsToNoCall(ty), row[4] == "0"; got != want {
			t.Errorf("%v belongs to no call: %v, in the document %v", ty, got, want)
		}
	}
	if !slices.Equal(seen, knownTypes) {
		t.Errorf("types in the document: %v, want %v", seen, knownTypes)
	}
	for name, f := range flags {
		if f != 0 && !strings.Contains(doc, fmt.Sprintf("%s %#02x", name, uint8(f))) {
			t.Errorf("W13 does not say that %s is %#02x", name, uint8(f))
		}
	}
}

// TestDocumentCodes: W30 the table of codes and this package agree.
func TestDocumentCodes(t *testing.T) {
	want := []string{
		fmt.Sprint(CodeNone, " none"), fmt.Sprint(CodePanic, " panic"), fmt.Sprint(CodeCanceled, " canceled"),
		fmt.Sprint(CodeDeadline, " deadline"), fmt.Sprint(CodeResponseTooLarge, " response too large"),
		fmt.Sprint(CodeFlowControl, " flow control"), fmt.Sprint(CodeNilMessage, " nil message"), fmt.Sprint(CodeUnknownHandler, " unknown handler"), fmt.Sprint(CodeOverloaded, " overloaded"),
		fmt.Sprint(CodeDraining, " draining"), fmt.Sprint(CodeMessageTooLarge, " message too large"),
		fmt.Sprint(CodeUnsupported, " unsupported"), fmt.Sprint(CodeMalformed, " malformed"),
		fmt.Sprint(CodePermissionDenied, " permission denied"), fmt.Sprint(CodeRejected, " rejected"),
		fmt.Sprint(CodeVersion, " version"), fmt.Sprint(CodeCluster, " cluster"), fmt.Sprint(CodeName, " name"),
		fmt.Sprint(CodeDuplicate, " duplicate"), fmt.Sprint(CodeShutdown, " shutdown"),
		fmt.Sprint(CodeSuperseded, " superseded"), fmt.Sprint(CodeTimeout, " timeout"),
		fmt.Sprint(CodeProtocol, " protocol"), fmt.Sprint(CodeCorrupt, " corrupt"),
		fmt.Sprint(CodeOverflow, " overflow"), fmt.Sprint(CodeApplication, "… application"),
	}
	var got []string
	for _, row := range rows(t, protocol(t), "code") {
		got = append(got, row[0]+" "+row[1])
	}
	if !slices.Equal(got, want) {
		t.Errorf("codes in the document:\n%q\nwant\n%q", got, want)
	}
	// Every number is the same in the package's own table, by way of the wire.
	for _, row := range rows(t, protocol(t), "code") {
		n, _ := strconv.ParseUint(strings.TrimSuffix(row[0], "…"), 10, 32)
		_, v := one(t, func(dst []byte) []byte { return AppendStatus(dst, TypeError, 2, Status{Code: Code(n)}) })
		if s := v.(Status); uint64(s.Code) != n {
			t.Errorf("code %d became %d", n, s.Code)
		}
	}
}

// TestDocumentHello: W52 the table of fields is what this package writes, and
// its required fields are those that it cannot do without.
func TestDocumentHello(t *testing.T) {
	written := AppendHello(nil, fullHello())
	must := required()
	fields := rows(t, protocol(t), "key")
	for _, row := range fields {
		key := strings.Trim(row[0], "`")
		if !bytes.Contains(written, []byte(key)) {
			t.Errorf("field %q is not written", key)
		}
		if _, ok := must[key]; ok != (row[2] == "yes") {
			t.Errorf("field %q is required: %v, in the document: %s", key, ok, row[2])
		}
	}
	if n := int(written[HeaderSize] & 0x0f); n != len(fields) {
		t.Errorf("%d fields are written, %d are in the document", n, len(fields))
	}
}

// TestDocumentExample: the example is made of the golden vectors of its name.
func TestDocumentExample(t *testing.T) {
	vectors, _ := readGolden(t, "exchange")
	dumps := regexp.MustCompile("(?s)```hex\n(.*?)```").FindAllStringSubmatch(protocol(t), -1)
	if len(dumps) != len(vectors) {
		t.Fatalf("%d dumps, want %d", len(dumps), len(vectors))
	}
	for i, v := range vectors {
		if got := unhex(t, dumps[i][1]); !bytes.Equal(got, v.data) {
			t.Errorf("%s: document has\n% x\nwant\n% x", v.name, got, v.data)
		}
	}
}

// TestDocumentHashes: W25 the hashes in the document, and that of the golden
// vectors.
func TestDocumentHashes(t *testing.T) {
	doc := protocol(t)
	for _, c := range []struct{ id, route, text string }{
		{"storage.stat", "", "id storage.stat, no route: "},
		{"storage.stat", "disk1", "id storage.stat, route disk1: "},
	} {
		sum := sha256.Sum256([]byte(c.id + "\x00" + c.route))
		_, rest, ok := strings.Cut(doc, c.text)
		if !ok || !strings.HasPrefix(strings.TrimLeft(rest, " "), fmt.Sprintf("% x\n", sum[:8])) {
			t.Errorf("W25: document lacks %q % x", c.text, sum[:8])
		}
		if c.route == "" && binary.LittleEndian.Uint64(sum[:]) != goldenHandler {
			t.Errorf("W25: golden vectors use %#x", uint64(goldenHandler))
		}
	}
}

// TestCitedRules: a rule that the code of this package cites is in the document,
// and every rule is there once, in order.
func TestCitedRules(t *testing.T) {
	var rules []string
	last := 0
	for _, m := range regexp.MustCompile(`(?m)^\*\*W(\d+)\.\*\* `).FindAllStringSubmatch(protocol(t), -1) {
		n, _ := strconv.Atoi(m[1])
		if n <= last {
			t.Errorf("W%d follows W%d", n, last)
		}
		last = n
		rules = append(rules, "W"+m[1])
	}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	cited, headings := regexp.MustCompile(`\bW\d+\b`), regexp.MustCompile(`(?m)^## .*$`)
	for _, file := range append(files, "../../../PROTOCOL.md") {
		text, err := os.ReadFile(filepath.FromSlash(file))
		if err != nil {
			t.Fatal(err)
		}
		// The headings of PROTOCOL.md name ranges of ids.
		for _, id := range cited.FindAllString(headings.ReplaceAllString(string(text), ""), -1) {
			if !slices.Contains(rules, id) {
				t.Errorf("%s cites %s, which is not in PROTOCOL.md", file, id)
			}
		}
	}
}
