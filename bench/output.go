package main

import (
	"encoding/json"
	"os"
)

// outputFile is a file that is written at the end of a run. It is opened at the
// beginning, so that a name that cannot be written is noticed before half a
// minute has passed, and left as it was if the run has no result.
type outputFile struct {
	*os.File

	created bool
	written bool
}

// openOutput opens it. mode is that of a file that is made.
func openOutput(name string, mode os.FileMode) (*outputFile, error) {
	_, err := os.Stat(name)
	created := os.IsNotExist(err)
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE, mode)
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
