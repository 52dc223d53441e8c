//go:build unix

package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestNoRegularFile expects messages and samples that are no regular files to be refused at once in one line, where
// reading them would take for ever, and large files before they are read.
func TestNoRegularFile(t *testing.T) {
	dir := t.TempDir()
	fifo, large := filepath.Join(dir, "fifo", "pipe"), filepath.Join(dir, "large", "file")
	for _, name := range []string{fifo, large} {
		if err := os.Mkdir(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	// It has no blocks, and more bytes than there is memory for.
	if err := os.WriteFile(large, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(large, 1<<42); err != nil {
		t.Fatal(err)
	}
	train := []string{"-train", filepath.Join(dir, "dict")}
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"-payload", fifo}, "it is a FIFO"},
		{[]string{"-payload", os.DevNull}, "it is a device"},
		{[]string{"-payload", dir}, "it is a directory"},
		{[]string{"-payload", large}, "the file has more than 16777216 bytes"},
		{[]string{"-workloads", "compression", "-samples", filepath.Dir(fifo)}, "it is a FIFO"},
		{[]string{"-workloads", "compression", "-samples", os.DevNull}, "it is a device"},
		{[]string{"-workloads", "compression", "-samples", filepath.Dir(large)}, "a message of more than 16777216 bytes"},
		{[]string{"-workloads", "compression", "-lines", "-samples", filepath.Dir(large)}, "or 256 MiB: use fewer"},
		{append(train, fifo), "it is a FIFO"},
		{append(train, large), "a message of more than 16777216 bytes"},
		{append(train, "-lines", large), "or 256 MiB: use fewer"},
	} {
		var stdout, stderr bytes.Buffer
		code := run(t.Context(), test.args, &stdout, &stderr)
		if got := stderr.String(); code != exitUsage || !strings.Contains(got, test.want) || strings.Count(got, "\n") != 1 {
			t.Errorf("%q: exit code %d and %q, want %q", test.args, code, got, test.want)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "dict")); err == nil {
		t.Error("what was refused left a file")
	}
}

// TestOutputFIFO expects a FIFO that nobody reads to be refused at once where a file is to be written, and one that
// somebody reads to be written.
func TestOutputFIFO(t *testing.T) {
	dir := t.TempDir()
	fifo := filepath.Join(dir, pageFile)
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for flag, name := range map[string]string{"-out": dir, "-json": fifo, "-train": fifo} {
		var stdout, stderr bytes.Buffer
		args := []string{"-no-demo", "-workloads", "calls", flag, name}
		if flag == "-train" {
			args = []string{flag, name, dir}
		}
		code := run(t.Context(), args, &stdout, &stderr)
		got := stderr.String()
		if code != exitUsage || stdout.Len() > 0 || strings.Count(got, "\n") != 1 || !strings.Contains(got, fifo+": it is a FIFO") {
			t.Errorf("%s: exit code %d, %q on stderr and %q on stdout", flag, code, got, &stdout)
		}
	}

	reader, err := os.OpenFile(fifo, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	f, err := openOutput(fifo, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	const text = "for the reader"
	if err := f.write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(reader); err != nil || string(got) != text {
		t.Errorf("%q, %v, want %q", got, err, text)
	}
}
