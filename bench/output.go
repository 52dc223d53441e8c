package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// outputs are where a run writes what it has found out, beside standard output; either may be nil.
type outputs struct {
	dir  *outputDir
	file *outputFile
}

// openOutputs opens what the flags name, the directory first, for the file may be in it. It leaves nothing
// behind if it fails; its error names the flag.
func openOutputs(opts options) (to outputs, err error) {
	if opts.out != "" {
		if to.dir, err = openOutputDir(opts.out); err != nil {
			return outputs{}, fmt.Errorf("flag -out: %w: name a directory that can be written", err)
		}
	}
	if opts.json != "" {
		if to.file, err = openOutput(opts.json, 0o666); err != nil {
			to.abandon()
			return outputs{}, fmt.Errorf("flag -json: %w: name a file that can be written", err)
		}
	}
	return to, nil
}

// none reports whether nothing is written.
func (o outputs) none() bool { return o.dir == nil && o.file == nil }

// instead names, as the end of a sentence, where what was not printed is.
func (o outputs) instead() string {
	switch {
	case o.dir != nil && o.dir.written:
		return ": the report is in " + filepath.Join(o.dir.name, pageFile)
	case o.file != nil && o.file.written:
		return ": the report is in " + o.file.Name()
	default:
		return ""
	}
}

// abandon removes what was made and not written: the file first, or the directory would not be empty.
func (o outputs) abandon() {
	if o.file != nil {
		o.file.abandon()
	}
	if o.dir != nil {
		o.dir.abandon()
	}
}

// outputFile is a file that is written at the end of a run. It is opened at the
// beginning, so that a name that cannot be written is noticed before half a
// minute has passed, and left as it was if the run has no result.
type outputFile struct {
	*os.File

	created bool
	written bool
}

// openOutput opens it. mode is that of a file that is made. A FIFO that nobody reads is refused, for to open it would
// wait for somebody who does.
func openOutput(name string, mode os.FileMode) (*outputFile, error) {
	info, err := os.Stat(name)
	created := errors.Is(err, fs.ErrNotExist)
	flag := os.O_WRONLY | os.O_CREATE
	fifo := err == nil && info.Mode()&fs.ModeNamedPipe != 0
	if fifo {
		flag |= syscall.O_NONBLOCK
	}
	f, err := os.OpenFile(name, flag, mode)
	if fifo && errors.Is(err, syscall.ENXIO) {
		return nil, &fs.PathError{Op: "open", Path: name, Err: errors.New("it is a FIFO that nobody reads")}
	}
	if err != nil {
		return nil, err
	}
	return &outputFile{File: f, created: created}, nil
}

func (f *outputFile) write(content []byte) error {
	// Fails for what is no regular file, which has nothing to be cut off.
	_ = f.Truncate(0)
	if _, err := f.Write(content); err != nil {
		return err
	}
	f.written = true
	return f.Close()
}

func (f *outputFile) writeReport(rep *report) error {
	text, err := rep.marshal()
	if err != nil {
		return err
	}
	return f.write(text)
}

// marshal returns the report as JSON.
func (r *report) marshal() ([]byte, error) {
	text, err := json.MarshalIndent(r, "", "  ")
	return append(text, '\n'), err
}

// abandon closes a file that was not written.
func (f *outputFile) abandon() {
	if f.written {
		return
	}
	f.Close()
	if f.created {
		_ = os.Remove(f.Name())
	}
}
