package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// What is in an output directory.
const (
	pageFile     = "report.html"
	jsonFile     = "results.json"
	goFormatFile = "results.txt"
	chartsDir    = "charts"
)

// outputDir is the directory for what a run has found out. It is made at the beginning, so
// that one that cannot be written is noticed before the time has passed, and is as it
// was if the run has no result.
type outputDir struct {
	name string
	made string // the topmost directory that was made; "": none
}

func openOutputDir(name string) (*outputDir, error) {
	d := &outputDir{name: name}
	for dir := filepath.Clean(name); ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
			break
		}
		d.made = dir
	}
	if err := os.MkdirAll(name, 0o777); err != nil {
		d.abandon()
		return nil, err
	}
	probe, err := os.CreateTemp(name, ".writable-*")
	if err != nil {
		d.abandon()
		return nil, err
	}
	probe.Close()
	return d, os.Remove(probe.Name())
}

// abandon removes what was made, as far as it is empty.
func (d *outputDir) abandon() {
	if d.made == "" {
		return
	}
	for dir := filepath.Clean(d.name); ; dir = filepath.Dir(dir) {
		if os.Remove(dir) != nil || dir == d.made {
			return
		}
	}
}

// write writes all files. Those that a run before has left are replaced or removed.
func (d *outputDir) write(rep *report) error {
	d.removeCharts()
	page, figures, err := rep.page()
	if err != nil {
		return err
	}
	rep.Charts = nil
	if err := os.MkdirAll(filepath.Join(d.name, chartsDir), 0o777); err != nil {
		return err
	}
	for _, f := range figures {
		name := f.name + ".svg"
		rep.Charts = append(rep.Charts, name)
		if err := os.WriteFile(filepath.Join(d.name, chartsDir, name), f.svg, 0o666); err != nil {
			return err
		}
	}
	text, err := rep.marshalGoFormat()
	if err != nil {
		return err
	}
	result, err := rep.marshal()
	if err != nil {
		return err
	}
	for name, content := range map[string][]byte{pageFile: page, goFormatFile: []byte(text), jsonFile: result} {
		if err := os.WriteFile(filepath.Join(d.name, name), content, 0o666); err != nil {
			return err
		}
	}
	return nil
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
