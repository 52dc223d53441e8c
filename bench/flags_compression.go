package main

import (
	"errors"
	"flag"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gridmux/gridmux/bench/internal/link"
	"github.com/gridmux/gridmux/compress"
)

const (
	defaultCompressionTime = 8 * time.Second
	quickCompressionTime   = 1200 * time.Millisecond
	// The least that a link to send over carries keeps a message from taking seconds.
	leastSpeed = 1e6
)

// What is measured of a run that says nothing of it.
var (
	defaultPayloadSizes = []int{128, 1 << 10, 16 << 10, 128 << 10, 1 << 20}
	defaultSpeeds       = []float64{100e6}
	quickPayloads       = []string{"json", "random"}
	quickPayloadSizes   = []int{1 << 10, 16 << 10}
)

// compressionFlags is what the flags about compression say, before it is put together.
type compressionFlags struct{ compressionOptions }

// compressionFlagNames are the flags that only compression needs.
func compressionFlagNames() []string {
	return []string{"payloads", "payload-sizes", "samples", "speeds", "compression-time"}
}

func newCompressionFlags() *compressionFlags {
	return &compressionFlags{compressionOptions{
		wanted: true, payloads: payloadNames(), sizes: defaultPayloadSizes, speeds: defaultSpeeds, duration: defaultCompressionTime,
	}}
}

// define defines the flags.
func (f *compressionFlags) define(fs *flag.FlagSet, opts *options) {
	fs.Func("payloads", "what messages to compress, in a `list` (default "+strings.Join(payloadNames(), ",")+")",
		func(s string) (err error) {
			f.payloads, err = parsePayloads(s)
			return err
		})
	fs.Func("payload-sizes", "how large those are, in a `list` (default "+joined(defaultPayloadSizes, shortSize)+")",
		func(s string) (err error) {
			f.sizes, err = parseSizes(s)
			return err
		})
	fs.Func("samples", "compress the messages in a `directory` instead, each file one",
		func(s string) error {
			f.samples = s
			return notEmpty(s)
		})
	fs.BoolVar(&f.lines, "lines", false, "each line of the files with samples is one")
	fs.Func("train", "make a dictionary of the samples in the files and directories that are named behind the flags, "+
		"write it to `file`, and measure nothing",
		func(s string) error {
			opts.train.file = s
			return notEmpty(s)
		})
	fs.Func("dictionary-size", "about how many `bytes` that dictionary has (default 8KiB)",
		func(s string) error {
			sizes, err := parseSizes(s)
			if err != nil || len(sizes) > 1 {
				return fmt.Errorf("use a number of bytes up to %d", compress.MaxDictionary)
			}
			opts.train.size = sizes[0]
			return nil
		})
	fs.Func("record", "write samples of generated messages to a new `directory`, to see what -train takes, and measure nothing",
		func(s string) error {
			opts.record = s
			return notEmpty(s)
		})
	fs.Func("speeds", "of links to send compressed messages over, in a `list`, or none (default "+
		joined(defaultSpeeds, link.FormatRate)+")",
		func(s string) (err error) {
			f.speeds, err = parseSpeeds(s)
			return err
		})
	fs.Func("compression-time", "how long to measure compression without links: `time` such as 30s or 5m (default "+
		defaultCompressionTime.String()+")",
		func(s string) (err error) {
			f.duration, err = time.ParseDuration(s)
			if err != nil || f.duration <= 0 || f.duration > maxDuration {
				return fmt.Errorf("use a time such as 30s or 5m, at most %.0fh", maxDuration.Hours())
			}
			return nil
		})
}

func notEmpty(name string) error {
	if name == "" {
		return errors.New("it is empty: give it a name")
	}
	return nil
}

// makesSamples completes the options of a run that measures nothing.
func makesSamples(opts *options, f *compressionFlags, set map[string]bool, args []string) error {
	does, with := "train", []string{"train", "dictionary-size", "lines"}
	if set["record"] {
		does, with = "record", []string{"record", "payloads"}
	}
	for name := range set {
		if !slices.Contains(with, name) {
			return fmt.Errorf("flags -%s and -%s: the first measures nothing, leave one of them out", does, name)
		}
	}
	switch {
	case does == "record" && len(args) > 0:
		return fmt.Errorf("unexpected argument %q: -record takes flags only, -help lists them", args[0])
	case does == "train" && len(args) == 0:
		return errors.New("flag -train: name files or directories with samples behind the flags")
	}
	opts.compression, opts.train.from, opts.train.lines = f.compressionOptions, args, f.lines
	return nil
}

// options puts together what the flags say. set has those that were given.
func (f *compressionFlags) options(set map[string]bool, quick bool) (compressionOptions, error) {
	if !f.wanted {
		for _, name := range compressionFlagNames() {
			if set[name] {
				return compressionOptions{}, fmt.Errorf("flag -%s is about compression, which -workloads leaves out: add %s to it",
					name, compressionName)
			}
		}
		return compressionOptions{}, nil
	}
	if set["lines"] && f.samples == "" {
		return compressionOptions{}, errors.New("flag -lines is about files with samples: add -samples, or -train")
	}
	if f.samples != "" && (set["payloads"] || set["payload-sizes"]) {
		return compressionOptions{}, errors.New("flags -samples and -payloads or -payload-sizes: " +
			"samples are what they are, leave the others out")
	}
	if quick {
		f.hurry(set)
	}
	measurements := len(wayNames())
	if f.samples == "" {
		measurements *= len(f.payloads) * len(f.sizes)
	}
	if least := time.Duration(measurements*minRounds) * minCompressionWindow; f.duration < least {
		return compressionOptions{}, fmt.Errorf("flag -compression-time %v: too short for up to %d measurements: "+
			"use at least %v, or fewer of them", f.duration, measurements, least)
	}
	return f.compressionOptions, nil
}

// minCompressionWindow is the shortest window. It need not be long, for a speed of a
// link is rough anyway.
const minCompressionWindow = 20 * time.Millisecond

// hurry takes away what was not asked for.
func (f *compressionFlags) hurry(set map[string]bool) {
	if !set["payloads"] {
		f.payloads = quickPayloads
	}
	if !set["payload-sizes"] {
		f.sizes = quickPayloadSizes
	}
	if !set["compression-time"] {
		f.duration = max(quickCompressionTime, time.Duration(len(wayNames())*len(f.payloads)*len(f.sizes)*minRounds)*minCompressionWindow)
	}
}

func parsePayloads(s string) (all []string, err error) {
	for field := range strings.SplitSeq(s, ",") {
		name := strings.TrimSpace(field)
		switch {
		case !slices.Contains(payloadNames(), name):
			return nil, fmt.Errorf("there is no payload %q: choose from %s", name, strings.Join(payloadNames(), ","))
		case slices.Contains(all, name):
			return nil, fmt.Errorf("%q is there twice: list every payload once", name)
		}
		all = append(all, name)
	}
	return all, nil
}

// parseSizes reads sizes of messages, rising.
func parseSizes(s string) (all []int, err error) {
	for field := range strings.SplitSeq(s, ",") {
		number, unit := strings.TrimSpace(field), 1
		for suffix, of := range map[string]int{"KiB": 1 << 10, "MiB": 1 << 20} {
			if n, ok := strings.CutSuffix(number, suffix); ok {
				number, unit = n, of
			}
		}
		n, err := strconv.Atoi(number)
		if err != nil || n < 1 || n > maxSize/unit {
			return nil, fmt.Errorf("%q is no size: list numbers of bytes from 1 to %d, such as 200,16KiB", field, maxSize)
		}
		if slices.Contains(all, n*unit) {
			return nil, fmt.Errorf("%s is there twice: list every size once", field)
		}
		all = append(all, n*unit)
	}
	slices.Sort(all)
	return all, nil
}

// shortSize is a size as parseSizes reads it.
func shortSize(n int) string {
	if n%(1<<10) != 0 {
		return strconv.Itoa(n)
	}
	return strings.ReplaceAll(octets(n), " ", "")
}

// parseSpeeds reads speeds of links.
func parseSpeeds(s string) ([]float64, error) {
	if s == "none" {
		return nil, nil
	}
	all, err := parseEach(s, "rate", func(c link.Conditions) float64 { return c.Rate })
	if err != nil {
		return nil, err
	}
	if least := slices.Min(all); least < leastSpeed {
		return nil, fmt.Errorf("%s is too slow: use at least %s", link.FormatRate(least), link.FormatRate(leastSpeed))
	}
	return all, nil
}
