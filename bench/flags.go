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

	"github.com/gridmux/gridmux/bench/internal/link"
)

const (
	defaultDuration = 30 * time.Second
	quickDuration   = 5 * time.Second
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
	streams  []int // rising
	tables   []table
	size     int
	kinds    []kind
	demo     bool
	json     string
	links    linkOptions
}

// parseFlags reads the command line. Its errors name the flag, the value and
// the remedy; it is flag.ErrHelp if the user asks for the usage.
func parseFlags(known []kind, args []string) (options, error) {
	opts := options{
		duration: defaultDuration,
		callers:  []int{1, 8, 64, 512},
		streams:  []int{1, 64},
		tables:   tables(),
		size:     defaultSize,
		kinds:    known,
	}
	var noDemo, quick bool
	links := newLinkFlags()
	fs := flagSet(known, &opts, links, &noDemo, &quick)
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
	set := map[string]bool{}
	fs.Visit(func(f *flag.Flag) { set[f.Name] = true })
	if quick {
		if set["duration"] {
			return options{}, errors.New("flags -quick and -duration both say how long to measure: leave one out")
		}
		opts.duration = quickDuration
	}
	if set["duration"] && len(opts.tables) == 0 {
		return options{}, errors.New("flag -duration is about what is not over links, which -workloads leaves out: use -link-time")
	}
	opts.demo = !noDemo
	if err := opts.check(); err != nil {
		return options{}, err
	}
	var err error
	if opts.links, err = links.options(&opts, set, quick); err != nil {
		return options{}, err
	}
	return opts, nil
}

// check looks at what the flags say together.
func (o *options) check() error {
	for _, f := range []struct {
		name   string
		of     table
		atOnce []int
	}{{"callers", calls, o.callers}, {"streams", streams, o.streams}} {
		most := slices.Max(f.atOnce)
		if slices.Contains(o.tables, f.of) && int64(o.size)*int64(most) > maxInFlight {
			return fmt.Errorf("flags -size %d and -%s %d: together over %d MiB in progress at once: lower one of them",
				o.size, f.name, most, maxInFlight>>20)
		}
	}
	if least := time.Duration(o.lines()*len(o.kinds)*minRounds) * minWindow; o.duration < least {
		return fmt.Errorf("flag -duration %v: too short for %d measurements over %d transports: use at least %v, or fewer of them",
			o.duration, o.lines(), len(o.kinds), least)
	}
	return nil
}

// lines is how many lines the tables have for each transport.
func (o *options) lines() int { return len(loads(*o, plan{})) }

// flagSet defines the flags.
func flagSet(known []kind, opts *options, links *linkFlags, noDemo, quick *bool) *flag.FlagSet {
	fs := flag.NewFlagSet("bench", flag.ContinueOnError)
	fs.Func("duration", "how long to measure without links, all transports together: `time` such as 30s or 5m (default "+
		defaultDuration.String()+")",
		func(s string) (err error) {
			opts.duration, err = time.ParseDuration(s)
			if err != nil || opts.duration <= 0 || opts.duration > maxDuration {
				return fmt.Errorf("use a time such as 30s or 5m, at most %.0fh", maxDuration.Hours())
			}
			return nil
		})
	fs.Func("callers", "how many callers at once, in a `list` (default 1,8,64,512)",
		func(s string) (err error) {
			opts.callers, err = parseAtOnce(s, "callers")
			return err
		})
	fs.Func("streams", "how many streams at once, in a `list` (default 1,64)",
		func(s string) (err error) {
			opts.streams, err = parseAtOnce(s, "streams")
			return err
		})
	fs.Func("workloads", "what to measure, in a `list` (default "+workloadNames()+")",
		func(s string) (err error) {
			opts.tables, links.wanted, err = parseWorkloads(s)
			return err
		})
	fs.Func("size", "`bytes` of a request and of its answer, or of a message (default "+strconv.Itoa(defaultSize)+")",
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
	fs.BoolVar(quick, "quick", false, "measure for "+quickDuration.String()+" and over one link only: for a look, the figures are rough")
	links.define(fs)
	fs.StringVar(&opts.json, "json", "", "write what was measured to `file` too, as JSON")
	return fs
}

// usage tells what the flags are.
func usage(w io.Writer, known []kind) {
	fmt.Fprint(w, "Usage: go run ./bench [flags]\n\n"+
		"Shows a cluster over each transport, then measures the transports side by side,\n"+
		"on the loopback interface and over emulated links.\n\n")
	var opts options
	var noDemo, quick bool
	fs := flagSet(known, &opts, newLinkFlags(), &noDemo, &quick)
	fs.SetOutput(w)
	fs.PrintDefaults()
	fmt.Fprint(w, "\nThe transports are:\n")
	for _, k := range known {
		fmt.Fprintf(w, "  %-12s %s\n", k.name, k.about)
	}
	fmt.Fprint(w, "\nThe links with a name are:\n")
	for _, p := range link.Presets() {
		fmt.Fprintf(w, "  %-12s %s: %v\n", p.Name, p.Description, p.Conditions)
	}
	fmt.Fprint(w, "\nWhat the columns of the tables mean: go doc ./bench\n")
}

func parseAtOnce(s, of string) ([]int, error) {
	var out []int
	for field := range strings.SplitSeq(s, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(field))
		if err != nil || n < 1 || n > maxCallers {
			return nil, fmt.Errorf("%q is no number of %s: list numbers from 1 to %d, such as 1,8,64", field, of, maxCallers)
		}
		if slices.Contains(out, n) {
			return nil, fmt.Errorf("%d is there twice: list every number once", n)
		}
		out = append(out, n)
	}
	slices.Sort(out)
	return out, nil
}

// linksName is what the flag calls what is measured over links.
const linksName = "links"

// parseWorkloads returns the tables in their order, and whether there are links.
func parseWorkloads(s string) (all []table, links bool, err error) {
	for field := range strings.SplitSeq(s, ",") {
		name := strings.TrimSpace(field)
		i := slices.IndexFunc(tables(), func(t table) bool { return t.String() == name })
		switch {
		case i < 0 && name != linksName:
			return nil, false, fmt.Errorf("there is no workload %q: choose from %s", name, workloadNames())
		case i < 0 && links, i >= 0 && slices.Contains(all, table(i)):
			return nil, false, fmt.Errorf("%q is there twice: list every workload once", name)
		case i < 0:
			links = true
		default:
			all = append(all, table(i))
		}
	}
	slices.Sort(all)
	return all, links, nil
}

func workloadNames() string { return tableNames(tables()) + "," + linksName }

func tableNames(all []table) string {
	names := make([]string, len(all))
	for i, t := range all {
		names[i] = t.String()
	}
	return strings.Join(names, ",")
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
