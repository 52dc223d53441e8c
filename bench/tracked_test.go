package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gridmux/gridmux/bench/internal/link"
)

// trackedDir has the results that README shows, of
//
//	go run ./bench -link-time 45s -compression-time 40s -json docs/bench/results.json
//	go test ./bench -run TestTracked -update
//
// of which the second also makes them say what this version says of what was measured.
const (
	trackedDir = "../docs/bench"
	readme     = "../README.md"
)

// trackedPictures are those that README shows, with words for who does not see them.
var trackedPictures = []struct{ name, alt string }{
	{"calls-8-callers-latency", "Percentile curves of the latency of calls by eight callers, for each transport"},
	{"link-rtt-20ms-loss-0.5-latency", "Percentile curves over an emulated link with a round trip of 20 ms and 0.5 % loss"},
	{"link-map-p99", "Which transport wins at which round-trip time and loss"},
}

// TestTracked expects README's table and pictures to be those of the tracked results, whose
// schema this version reads, so that the next run can be compared with them.
func TestTracked(t *testing.T) {
	rep, err := readReport(filepath.Join(trackedDir, jsonFile))
	if err != nil {
		t.Fatal(err)
	}
	if rep.Interrupted || len(rep.Failures) > 0 {
		t.Errorf("the tracked run was interrupted, or something failed: %v", rep.Failures)
	}
	rep = retold(t, rep)
	_, figures, err := rep.page()
	if err != nil {
		t.Fatal(err)
	}
	for _, picture := range trackedPictures {
		name := picture.name
		i := slices.IndexFunc(figures, func(f figure) bool { return f.name == name })
		if i < 0 {
			t.Fatalf("the tracked results have no picture %s", name)
		}
		golden(t, filepath.Join(trackedDir, name+".svg"), figures[i].svg)
	}

	inReadme(t, "bench: results", markdown(rep))
	inReadme(t, "bench: codecs", codecs(rep.Compression, "json"))
}

// inReadme expects README to have a text between two comments, the first of which has the name.
func inReadme(t *testing.T, name, want string) {
	t.Helper()
	text, err := os.ReadFile(readme)
	if err != nil {
		t.Fatal(err)
	}
	text = bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n"))
	begin, end := "<!-- "+name+" -->\n", "<!-- bench: end -->\n"
	before, rest, ok := strings.Cut(string(text), begin)
	_, after, ended := strings.Cut(rest, end)
	if !ok || !ended {
		t.Fatalf("README has no place for the results, between %q and %q", begin, end)
	}
	golden(t, readme, []byte(before+begin+want+end+after))
}

// codecs is what README says of the messages of one kind.
func codecs(r *compressionReport, payload string) string {
	ways := r.names()
	header := append([]string{"message"}, ways...)
	for _, speed := range speeds {
		header = append(header, "at "+link.FormatRate(speed))
	}
	var b strings.Builder
	row := func(cells []string) { fmt.Fprintf(&b, "| %s |\n", strings.Join(cells, " | ")) }
	row(header)
	fmt.Fprintf(&b, "|%s%s\n", strings.Repeat("--:|", 1+len(ways)), strings.Repeat("---|", len(speeds)))
	for i := range r.Results {
		c := &r.Results[i]
		if c.Payload != payload {
			continue
		}
		cells := []string{octets(c.Size)}
		for _, name := range ways {
			below := nothing
			if l := c.line(name); l != nil {
				below = l.below()
			}
			cells = append(cells, below)
		}
		for _, speed := range speeds {
			cells = append(cells, c.choice(speed))
		}
		row(cells)
	}
	return b.String()
}

// retold is a report with what this version says of what was measured, which has to be what it has.
func retold(t *testing.T, rep *report) *report {
	t.Helper()
	file := filepath.Join(trackedDir, jsonFile)
	now, err := readReport(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, links := range []*linkReport{now.Paced, now.Links} {
		results := links.Results
		links.Results = nil
		for _, result := range results {
			links.add(result)
		}
	}
	for i := range now.Cells {
		now.Cells[i].tell()
	}
	now.Verdict = now.verdict()
	if *update {
		text, err := now.marshal()
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, text, 0o644); err != nil {
			t.Fatal(err)
		}
		return now
	}
	var has, says bytes.Buffer
	rep.render(&has)
	now.render(&says)
	if has.String() != says.String() || !slices.Equal(rep.Verdict, now.Verdict) {
		t.Errorf("this version says of the tracked run\n%s\nand it has\n%s", &says, &has)
	}
	return now
}

// markdown is what README says of a run.
func markdown(rep *report) string {
	var b strings.Builder
	fmt.Fprintf(&b, "On %s, of which the nodes share all, on %s with `%s`, calls and messages a second beside "+
		"those over %s. Behind a ratio is the interval in which it is with a confidence of 99 %%; ≈ is no difference.\n\n",
		rep.Machine.CPU+" with "+plural(rep.Machine.Cores, "core"), rep.Began.Format("2 January 2006"), rep.Command, reference)
	names := slices.DeleteFunc(rep.transports(), func(name string) bool { return name == reference })
	fmt.Fprintf(&b, "| | %s | %s |\n|---|--:|%s\n", reference+", per s", strings.Join(names, " | "), strings.Repeat("--:|", len(names)))
	for _, of := range []table{calls, streams, mixed, fanout} {
		for _, title := range rep.blocks(of) {
			row := []string{titled(of, title), ""}
			for _, c := range rep.block(of, title) {
				if c.Transport == reference {
					row[1] = count(c.PerSecond)
				}
			}
			for _, name := range names {
				for _, c := range rep.block(of, title) {
					if c.Transport == name {
						row = append(row, c.ratio())
					}
				}
			}
			fmt.Fprintf(&b, "| %s |\n", strings.Join(row, " | "))
		}
	}
	b.WriteString("\nThe verdict of that run:\n\n")
	for _, s := range rep.Verdict {
		fmt.Fprintf(&b, "> %s\n>\n", s)
	}
	text := strings.TrimSuffix(b.String(), ">\n")
	for _, picture := range trackedPictures {
		text += fmt.Sprintf("\n<img src=\"docs/bench/%s.svg\" alt=\"%s\">\n", picture.name, picture.alt)
	}
	return text + "\n[All figures](docs/bench/results.json) of it are what a run of yours can be compared with.\n"
}
