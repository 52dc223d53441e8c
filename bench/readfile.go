package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// errTooLarge is what readFile fails with for a file that has more than it may.
var errTooLarge = errors.New("the file is too large")

// readFile returns what is in a regular file of no more than so many bytes, of which one that has more is not
// read. What is no regular file is refused: a FIFO may have nobody who writes to it, and a device no end.
func readFile(name string, most int) ([]byte, error) {
	info, err := os.Stat(name)
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, irregular("read", name, info.Mode())
	case info.Size() > int64(most):
		return nil, errTooLarge
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, int64(most)+1)) // it may have grown
	if err == nil && len(text) > most {
		return nil, errTooLarge
	}
	return text, err
}

// irregular is why something is not done with what is no regular file.
func irregular(op, name string, m fs.FileMode) error {
	return &fs.PathError{Op: op, Path: name, Err: fmt.Errorf("it is %s", sortOf(m))}
}

// sortOf says what something in a file system is, other than a regular file.
func sortOf(m fs.FileMode) string {
	switch {
	case m.IsDir():
		return "a directory"
	case m&fs.ModeNamedPipe != 0:
		return "a FIFO"
	case m&fs.ModeSocket != 0:
		return "a socket"
	case m&fs.ModeDevice != 0:
		return "a device"
	default:
		return "no regular file"
	}
}
