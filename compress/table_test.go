package compress_test

import (
	"fmt"
	"math"
	"os"
	"strings"
	"testing"

	"github.com/gridmux/gridmux/compress"
	"github.com/gridmux/gridmux/internal/samples"
)

// TestTable expects the table in the documentation of the package to be what
// the codecs make of the generated payloads, up to what builds for other
// processors differ in.
func TestTable(t *testing.T) {
	t.Parallel()
	source, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	var rows [][]string
	for line := range strings.Lines(string(source)) {
		line, found := strings.CutPrefix(line, "//\t")
		if fields := strings.Fields(line); found && len(fields) == 8 && fields[0] != "payload" {
			rows = append(rows, fields)
		}
	}
	next := 0
	for _, k := range samples.Kinds {
		for _, size := range []string{"200 B", "1 KiB", "16 KiB", "256 KiB"} {
			want := tableRow(t, k, size)
			got := make([]string, 8)
			if next < len(rows) {
				got = rows[next]
			}
			next++
			if !sameRow(got, strings.Fields(want)) {
				t.Errorf("row is\n%q, want\n//\t%s", got, want)
			}
		}
	}
	if next != len(rows) {
		t.Errorf("the table has %d rows, want %d", len(rows), next)
	}
}

func sameRow(got, want []string) bool {
	for i := range want {
		var a, b float64
		if _, err := fmt.Sscan(got[i], &a); err != nil || i < 3 {
			if got[i] != want[i] {
				return false
			}
			continue
		}
		if _, err := fmt.Sscan(want[i], &b); err != nil || math.Abs(a-b) > 0.025 {
			return false
		}
	}
	return true
}

func tableRow(t *testing.T, k samples.Kind, size string) string {
	t.Helper()
	var messages [][]byte
	if size == "200 B" {
		messages = k.Records(2, 100)
	} else {
		var n int
		if _, err := fmt.Sscanf(size, "%d KiB", &n); err != nil {
			t.Fatal(err)
		}
		messages = [][]byte{k.Payload(2, n<<10), k.Payload(3, n<<10)}
	}
	row := fmt.Sprintf("%-8s %7s", k.Name, size)
	var d *compress.Dictionary
	if k.Name != "random" {
		d = trained(t, k.Name, 1)
	}
	ratio := func(c *compress.Codec, id uint64) {
		var before, after int
		for _, m := range messages {
			before += len(m)
			after += len(c.AppendDict(nil, m, id))
		}
		row += fmt.Sprintf(" %10.2f", float64(after)/float64(before))
	}
	plain, with := []*compress.Codec{compress.S2(), compress.Zstd()}, []*compress.Codec{nil, nil}
	if d != nil {
		with = []*compress.Codec{compress.S2(compress.WithDictionary(d)), compress.Zstd(compress.WithDictionary(d))}
	}
	for i := range plain {
		ratio(plain[i], 0)
		if d == nil {
			row += fmt.Sprintf(" %10s", "-")
			continue
		}
		ratio(with[i], d.ID())
	}
	ratio(compress.Zstd(compress.WithLevel(compress.Better)), 0)
	return row
}
