package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/gridmux/gridmux/compress"
	"github.com/gridmux/gridmux/internal/samples"
)

// TestRecordAndTrain expects a run that records to leave samples as they were sent, and one
// that trains to make a dictionary of them that package compress reads and that halves
// other records, and to tell its id and worth.
func TestRecordAndTrain(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "samples")
	var stdout, stderr bytes.Buffer
	if code := run(t.Context(), []string{"-record", dir, "-payloads", "json,random"}, &stdout, &stderr); code != exitOK {
		t.Fatalf("exit code %d\n%s%s", code, &stdout, &stderr)
	}
	if want := filepath.Join(dir, "json") + " has 1000 samples.\n" + filepath.Join(dir, "random") + " has 1000 samples.\n"; stdout.String() != want {
		t.Errorf("printed %q, want %q", &stdout, want)
	}
	first, err := os.ReadFile(filepath.Join(dir, "json", "000001"))
	if want := generated("json").train[0]; err != nil || !bytes.Equal(first, want) {
		t.Errorf("the first sample is %q and %v, want %q", first, err, want)
	}

	file := filepath.Join(t.TempDir(), "json.dict")
	stdout.Reset()
	if code := run(t.Context(), []string{"-train", file, filepath.Join(dir, "json")}, &stdout, &stderr); code != exitOK {
		t.Fatalf("exit code %d\n%s%s", code, &stdout, &stderr)
	}
	checkPlain(t, stdout.String())
	d := readDictionary(t, file)
	for _, want := range []string{"made of 900 samples", "100 other samples", "Its id is " + hexID(d), "compress.ParseDictionary"} {
		if !strings.Contains(stdout.String(), want) {
			t.Errorf("the output lacks %q:\n%s", want, &stdout)
		}
	}
	others := samples.ByName("json").Records(99, 100)
	total := len(bytes.Join(others, nil))
	if packed := packedSize(compress.Zstd(compress.WithDictionary(d)), d.ID(), others); 2*packed > total {
		t.Errorf("the dictionary leaves %d of %d bytes, want half", packed, total)
	}

	stdout.Reset()
	if code := run(t.Context(), []string{"-train", file, filepath.Join(dir, "random")}, &stdout, &stderr); code != exitOK {
		t.Errorf("exit code %d\n%s", code, &stderr)
	}
	if !strings.Contains(stdout.String(), "It is worth nothing") {
		t.Errorf("a dictionary for random bytes is told to be of use:\n%s", &stdout)
	}

	// A second recording does not mix with the first.
	stderr.Reset()
	if code := run(t.Context(), []string{"-record", dir, "-payloads", "json"}, &stdout, &stderr); code != exitUsage ||
		!strings.Contains(stderr.String(), "has files already: name a new directory") {
		t.Errorf("exit code %d, and printed %q", code, &stderr)
	}
}

func readDictionary(t *testing.T, file string) *compress.Dictionary {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	d, err := compress.ParseDictionary(b)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// hexID is the id as it is printed.
func hexID(d *compress.Dictionary) string {
	const digits = "0123456789abcdef"
	var text []byte
	for shift := 60; shift >= 0; shift -= 4 {
		text = append(text, digits[d.ID()>>shift&15])
	}
	return string(text)
}

// TestTrainLines expects a file to be a sample per line if that is asked for, several
// files to be taken together, hidden ones left out, and the size of the dictionary to be the one that was
// asked for.
func TestTrainLines(t *testing.T) {
	dir, in := t.TempDir(), t.TempDir()
	records := samples.ByName("log").Records(1, 300)
	if err := os.WriteFile(filepath.Join(in, ".hidden"), []byte("not a sample"), 0o600); err != nil {
		t.Fatal(err)
	}
	for i, name := range []string{"a", "b"} {
		text := bytes.Join(records[150*i:150*(i+1)], []byte("\n"))
		if err := os.WriteFile(filepath.Join(in, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(dir, "dict")
	var stdout, stderr bytes.Buffer
	args := []string{"-train", file, "-lines", "-dictionary-size", "2KiB", in}
	if code := run(t.Context(), args, &stdout, &stderr); code != exitOK {
		t.Fatalf("exit code %d\n%s", code, &stderr)
	}
	if n := len(readDictionary(t, file).Bytes()); n < 2<<10 || n > 3<<10 {
		t.Errorf("a dictionary of %d bytes, want some 2 KiB", n)
	}
	if !strings.Contains(stdout.String(), "made of 270 samples") {
		t.Errorf("300 lines are not 300 samples:\n%s", &stdout)
	}

	// Too few to judge.
	stdout.Reset()
	few := filepath.Join(dir, "few")
	if err := os.WriteFile(few, bytes.Join(records[:5], []byte("\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	if code := run(t.Context(), []string{"-train", file, "-lines", few}, &stdout, &stderr); code != exitOK || !strings.Contains(stdout.String(), "From 10 samples on") {
		t.Errorf("exit code %d, and printed\n%s%s", code, &stdout, &stderr)
	}
}

// TestDictionaryFile expects only the user to be able to read a dictionary, in which stands what messages
// have in common, and a file that cannot be written to be noticed before samples are read.
func TestDictionaryFile(t *testing.T) {
	dir := t.TempDir()
	from := filepath.Join(dir, "log")
	if err := os.WriteFile(from, bytes.Join(samples.ByName("log").Records(1, 300), []byte("\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	var stdout, stderr bytes.Buffer
	file := filepath.Join(dir, "dict")
	if code := run(t.Context(), []string{"-train", file, "-lines", from}, &stdout, &stderr); code != exitOK {
		t.Fatalf("exit code %d\n%s", code, &stderr)
	}
	if info, err := os.Stat(file); err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v, want a file for the user alone", info, err)
	}
	stdout.Reset()
	code := run(t.Context(), []string{"-train", filepath.Join(file, "below"), filepath.Join(dir, "gone")}, &stdout, &stderr)
	if got := stderr.String(); code != exitUsage || strings.Count(got, "\n") != 1 || !strings.Contains(got, "below") {
		t.Errorf("exit code %d, and printed %q, want a line about the dictionary", code, got)
	}
}

// TestTrainFails expects a line that says what is wrong, exit code 2, and no dictionary.
func TestTrainFails(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"one": "a single sample", "large": strings.Repeat("x", maxSize+1)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(dir, "dict")
	for want, args := range map[string][]string{
		"two samples or more":                   {"-train", file, filepath.Join(dir, "one")},
		"no such file":                          {"-train", file, filepath.Join(dir, "gone")},
		"a message of more than 16777216 bytes": {"-train", file, filepath.Join(dir, "large")},
		"dictionary of 100 bytes":               {"-train", file, "-dictionary-size", "100", filepath.Join(dir, "one")},
	} {
		var stdout, stderr bytes.Buffer
		if code := run(t.Context(), args, &stdout, &stderr); code != exitUsage ||
			!strings.HasPrefix(stderr.String(), "bench: flag -train: ") || !strings.Contains(stderr.String(), want) {
			t.Errorf("%q: exit code %d, and printed %q, want %q", args, code, &stderr, want)
		}
		if _, err := os.Stat(file); err == nil {
			t.Errorf("%q left a file", args)
		}
	}
}

// TestTrainInterrupted expects an interrupt while a dictionary is made to end the run, and to leave no file.
func TestTrainInterrupted(t *testing.T) {
	dir := t.TempDir()
	from := filepath.Join(dir, "samples")
	if err := os.WriteFile(from, bytes.Join(samples.ByName("log").Records(1, 20_000), []byte("\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var stdout, stderr bytes.Buffer
	if code := run(ctx, []string{"-train", filepath.Join(dir, "dict"), "-lines", from}, &stdout, &stderr); code != exitInterrupted {
		t.Errorf("exit code %d, want %d\n%s%s", code, exitInterrupted, &stdout, &stderr)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 1 {
		t.Errorf("%v is left, and %v", left, err)
	}
}

// TestTrainInterruptedTooLate expects an interrupt after a dictionary was written to change nothing: it is whole, and
// told to be.
func TestTrainInterruptedTooLate(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	from, file := filepath.Join(dir, "log"), filepath.Join(dir, "dict")
	if err := os.WriteFile(from, bytes.Join(samples.ByName("log").Records(1, 300), []byte("\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stdout, stderr := &trigger{at: "has a dictionary of", do: cancel}, &bytes.Buffer{}
	if code := run(ctx, []string{"-train", file, "-lines", from}, stdout, stderr); code != exitOK || stderr.Len() > 0 {
		t.Errorf("exit code %d, want %d, and %s", code, exitOK, stderr)
	}
	readDictionary(t, file)
}

// TestRecordInterrupted expects an interrupt while samples are kept to leave none of them, of no payload, and no
// directory that was made for them, but one that was there before.
func TestRecordInterrupted(t *testing.T) {
	t.Parallel()
	for _, there := range []bool{false, true} {
		root := t.TempDir()
		dir := filepath.Join(root, "new", "samples")
		if there {
			if err := os.MkdirAll(dir, 0o700); err != nil {
				t.Fatal(err)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		stdout, stderr := &trigger{at: "has 1000 samples", do: cancel}, &bytes.Buffer{} // of the first payload
		if code := run(ctx, []string{"-record", dir, "-payloads", "json,random"}, stdout, stderr); code != exitInterrupted {
			t.Errorf("exit code %d and %s", code, stderr)
		}
		left, err := os.ReadDir(dir)
		if there && (err != nil || len(left) > 0) {
			t.Errorf("in a directory of the user's there are %v, %v", left, err)
		}
		if left, err := os.ReadDir(root); !there && (err != nil || len(left) > 0) {
			t.Errorf("%v is left, and %v", left, err)
		}
		cancel()
	}
}
