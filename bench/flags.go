package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	defaultDuration = 30 * time.Second
	quickDuration   = 3 * time.Second
	maxDuration     = 24 * time.Hour
	maxCallers      = 10_000
	defaultSize     = 512
	maxSize         = 16 << 20 // the core's default limit on messages
	// maxInFlight bounds what all callers together have in progress, since
	// every one of them keeps a few copies of its request in memory.
	maxInFlight = 256 << 20
)

// options is what the flags say.
type options struct {
	duration time.Duration
	callers  []int // rising
	size     int
	kinds    []kind
	demo     bool
	json     string
}

// parseFlags reads the command line. Its errors name the flag, the value and
// the remedy; it is flag.ErrHelp if the user asks for the usage.
func parseFlags(known []kind, args []string) (options, error) {
	opts := options{
		duration: defaultDuration,
		callers:  []int{1, 8, 64, 512},
		size:     defaultSize,
		kinds:    known,
	}
	var noDemo, quick bool
	fs := flagSet(known, &opts, &noDemo, &quick)
	fs.SetOutput(io.Discard) // the caller prints the error
	fs.Usage = func() {}
	if err := fs.Parse(args); err != nil {
		if name, ok := strings.CutPrefix(err.Error(), "flag provided but not defined: "); ok {
			err = fmt.Errorf("there is no flag %s: -help lists those there are", name)
		}
		return options{}, err
	}
	if fs.NArg() > 0 {
		return options{}, fmt.Errorf("unexpected argument %q: bench takes flags only, -help lists them", fs.Arg(0))
	}
	durationSet := false
	fs.Visit(func(f *flag.Flag) { durationSet = durationSet || f.Name == "duration" })
	if quick {
		if durationSet {
			return options{}, errors.New("flags -quick and -duration both say how long to measure: leave one out")
		}
		opts.duration = quickDuration
	}
	opts.demo = !noDemo
	if err := opts.check(); err != nil {
		return options{}, err
	}
	return opts, nil
}

// check looks at what the flags say together.
func (o *options) check() error {
	most := slices.Max(o.callers)
	if int64(o.size)*int64(most) > maxInFlight {
		return fmt.Errorf("flags -size %d and -callers %d: together over %d MiB in progress at once: lower one of them",
			o.size, most, maxInFlight>>20)
	}
	cells := len(o.callers) * len(o.kinds)
	if least := time.Duration(cells*minRounds) * minWindow; o.duration < least {
		return fmt.Errorf("flag -duration %v: too short for %d numbers of callers over %d transports: use at least %v, or fewer of them",
			o.duration, len(o.callers), len(o.kinds), least)
	}
	return nil
}

// flagSet defines the flags.
func flagSet(known []kind, opts *options, noDemo, quick *bool) *flag.FlagSet {
	fs := flag.NewFlagSet("bench", flag.ContinueOnError)
	fs.Func("duration", "how long to measure, all transports together: `time` such as 30s or 5m (default "+defaultDuration.String()+")",
		func(s string) (err error) {
			opts.duration, err = time.ParseDuration(s)
			if err != nil || opts.duration <= 0 || opts.duration > maxDuration {
				return fmt.Errorf("use a time such as 30s or 5m, at most %.0fh", maxDuration.Hours())
			}
			return nil
		})
	fs.Func("callers", "how many callers at once, in a `list` (default 1,8,64,512)",
		func(s string) (err error) {
			opts.callers, err = parseCallers(s)
			return err
		})
	fs.Func("size", "`bytes` of a request and of its answer (default "+strconv.Itoa(defaultSize)+")",
		func(s string) (err error) {
			opts.size, err = strconv.Atoi(s)
			if err != nil || opts.size < 0 || opts.size > maxSize {
				return fmt.Errorf("use a number of bytes from 0 to %d", maxSize)
			}
			return nil
		})
	fs.Func("transports", "which transports, in a `list` (default "+kindNames(known)+")",
		func(s string) (err error) {
			opts.kinds, err = parseKinds(known, s)
			return err
		})
	fs.BoolVar(noDemo, "no-demo", false, "measure at once, without showing a cluster first")
	fs.BoolVar(quick, "quick", false, "measure for "+quickDuration.String()+" only: for a look, the figures are rough")
	fs.StringVar(&opts.json, "json", "", "write every window to `file` too, as JSON")
	return fs
}

// usage tells what the flags are.
func usage(w io.Writer, known []kind) {
	fmt.Fprint(w, "Usage: go run ./bench [flags]\n\n"+
		"Shows a cluster over each transport, then measures the transports side by side.\n\n")
	var opts options
	var noDemo, quick bool
	fs := flagSet(known, &opts, &noDemo, &quick)
	fs.SetOutput(w)
	fs.PrintDefaults()
	fmt.Fprint(w, "\nThe transports are:\n")
	for _, k := range known {
		fmt.Fprintf(w, "  %-10s %s\n", k.name, k.about)
	}
	fmt.Fprint(w, "\nWhat the columns of the table mean: go doc ./bench\n")
}

func parseCallers(s string) ([]int, error) {
	var out []int
	for field := range strings.SplitSeq(s, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(field))
		if err != nil || n < 1 || n > maxCallers {
			return nil, fmt.Errorf("%q is no number of callers: list numbers from 1 to %d, such as 1,8,64", field, maxCallers)
		}
		if slices.Contains(out, n) {
			return nil, fmt.Errorf("%d is there twice: list every number once", n)
		}
		out = append(out, n)
	}
	slices.Sort(out)
	return out, nil
}

func parseKinds(known []kind, s string) ([]kind, error) {
	var out []kind
	for field := range strings.SplitSeq(s, ",") {
		name := strings.TrimSpace(field)
		is := func(k kind) bool { return k.name == name }
		i := slices.IndexFunc(known, is)
		if i < 0 {
			return nil, fmt.Errorf("there is no transport %q: choose from %s", name, kindNames(known))
		}
		if slices.ContainsFunc(out, is) {
			return nil, fmt.Errorf("%q is there twice: list every transport once", name)
		}
		out = append(out, known[i])
	}
	return out, nil
}

func kindNames(kinds []kind) string {
	names := make([]string, len(kinds))
	for i, k := range kinds {
		names[i] = k.name
	}
	return strings.Join(names, ",")
}
