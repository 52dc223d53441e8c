package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// What is in an output directory.
const (
	pageFile     = "report.html"
	jsonFile     = "results.json"
	goFormatFile = "results.txt"
	chartsDir    = "charts"
)

// newDir is a directory that may have been made for what is to be written, with those above it.
type newDir struct {
	name string
	made string // the topmost directory that was made; "": none
}

// makeDir makes a directory where there is none. If it fails nothing is left.
func makeDir(name string) (newDir, error) {
	d := newDir{name: name}
	for dir := filepath.Clean(name); ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
			break
		}
		d.made = dir
	}
	err := os.MkdirAll(name, 0o777)
	if err != nil {
		d.abandon()
	}
	return d, err
}

// abandon removes what was made, as far as it is empty.
func (d *newDir) abandon() {
	if d.made == "" {
		return
	}
	for dir := filepath.Clean(d.name); ; dir = filepath.Dir(dir) {
		if os.Remove(dir) != nil || dir == d.made {
			return
		}
	}
}

// outputDir is the directory for what a run has found out. It is made at the beginning, so
// that one that cannot be written is noticed before the time has passed, and is as it
// was if the run has no result.
type outputDir struct {
	newDir

	written bool // its page at least
}

func openOutputDir(name string) (*outputDir, error) {
	made, err := makeDir(name)
	if err != nil {
		return nil, err
	}
	d := &outputDir{newDir: made}
	if err := d.writable(); err != nil {
		d.abandon()
		return nil, err
	}
	return d, nil
}

// writable fails if something that is to be written cannot be, as where it is a directory, a FIFO or of another user.
func (d *outputDir) writable() error {
	dirs := []string{d.name}
	charts := filepath.Join(d.name, chartsDir)
	switch info, err := os.Stat(charts); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err
	case !info.IsDir():
		return fmt.Errorf("%s is a file, where the pictures are to be", charts)
	default:
		dirs = append(dirs, charts)
	}
	for _, dir := range dirs {
		probe, err := os.CreateTemp(dir, ".writable-*")
		if err != nil {
			return err
		}
		probe.Close()
		if err := os.Remove(probe.Name()); err != nil {
			return err
		}
	}
	for _, name := range []string{pageFile, jsonFile, goFormatFile} {
		file := filepath.Join(d.name, name)
		if info, err := os.Stat(file); err == nil && !info.Mode().IsRegular() {
			return irregular("write", file, info.Mode())
		}
		f, err := os.OpenFile(file, os.O_WRONLY, 0)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return err
		default:
			f.Close()
		}
	}
	return nil
}

// write writes all files. Those that a run before has left are replaced or removed. One that cannot be written
// keeps no other from it: what was measured is there only once.
func (d *outputDir) write(rep *report) error {
	d.removeCharts()
	var failed []error
	page, figures, err := rep.page()
	failed = append(failed, err)
	rep.Charts = nil
	if err := os.MkdirAll(filepath.Join(d.name, chartsDir), 0o777); err != nil {
		failed, figures = append(failed, err), nil
	}
	for _, f := range figures {
		name := f.name + ".svg"
		if err := os.WriteFile(filepath.Join(d.name, chartsDir, name), f.svg, 0o666); err != nil {
			failed = append(failed, err)
			continue
		}
		rep.Charts = append(rep.Charts, name)
	}
	text, err := rep.marshalGoFormat()
	failed = append(failed, err)
	result, err := rep.marshal()
	if err != nil {
		failed, result = append(failed, err), nil
	}
	for _, f := range []struct {
		name    string
		content []byte
	}{{jsonFile, result}, {goFormatFile, []byte(text)}, {pageFile, page}} {
		if len(f.content) > 0 {
			err := os.WriteFile(filepath.Join(d.name, f.name), f.content, 0o666)
			d.written = d.written || err == nil && f.name == pageFile
			failed = append(failed, err)
		}
	}
	return inOneLine(failed)
}

// inOneLine joins the errors among some.
func inOneLine(all []error) error {
	var texts []string
	for _, err := range all {
		if err != nil {
			texts = append(texts, err.Error())
		}
	}
	if texts == nil {
		return nil
	}
	return errors.New(strings.Join(texts, "; "))
}

// removeCharts removes the pictures of the run before, which may have had others.
func (d *outputDir) removeCharts() {
	text, err := os.ReadFile(filepath.Join(d.name, jsonFile))
	var old struct {
		Charts []string `json:"charts"`
	}
	if err != nil || json.Unmarshal(text, &old) != nil {
		return
	}
	for _, name := range old.Charts {
		_ = os.Remove(filepath.Join(d.name, chartsDir, filepath.Base(name))) // or it is overwritten, or left
	}
}

// said is what a run says of its files.
func (d *outputDir) said() string {
	in := func(name string) string { return filepath.Join(d.name, name) }
	return fmt.Sprintf("%s has all of this with pictures, %s what \"benchstat -col /transport\" reads, "+
		"%s what \"bench compare\" reads, and %s each picture as SVG.", in(pageFile), in(goFormatFile), in(jsonFile), in(chartsDir))
}
