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
	quickDuration   = 4 * time.Second
	maxDuration     = 24 * time.Hour
	maxCallers      = 10_000
	// maxStreams keeps the windows of all streams, which have to be empty before the next window begins, within
	// what takes a second.
	maxStreams  = 1000
	defaultSize = 512
	defaultOut  = "bench-out"
	maxSize     = 16 << 20 // the core's default limit on messages
	// maxInFlight bounds what all callers together have in progress, since
	// every one of them keeps a few copies of its request in memory.
	maxInFlight = 256 << 20
)

// options is what the flags say.
type options struct {
	duration time.Duration
	exactly  bool  // it is what the flags say, and not what is usual
	callers  []int // rising
	streams  []int // rising
	tables   []table
	size     int
	sizes    []int  // further ones of requests, rising
	payload  []byte // of the user's, of size bytes; nil: random bytes
	fanout   []int  // how many peers at once, rising
	sends    bool   // requests or messages of size bytes
	kinds    []kind
	demo     bool
	json     string
	out      string // a directory; "": nothing is to be written
	// linksAsked: the flags ask for emulated links, so that a run without is of no use.
	linksAsked bool
	links      linkOptions
	paced      pacedOptions
	clusters   clusterOptions

	compression compressionOptions
	train       trainOptions
	thresholds  []threshold
	key         string  // to the secret of remote, as -key has it
	remote      *remote // nil: everything is on this machine
	record      string  // a directory for samples; "": none are to be made
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
		sizes:    defaultSizes,
		fanout:   defaultFanout,
		paced:    pacedOptions{wanted: true},
		clusters: clusterOptions{wanted: true, nodes: defaultNodes},
		kinds:    known,
	}
	var noDemo, quick bool
	links, compression := newLinkFlags(), newCompressionFlags()
	fs := flagSet(known, &opts, links, compression, &noDemo, &quick)
	fs.SetOutput(io.Discard) // the caller prints the error
	fs.Usage = func() {}
	if err := fs.Parse(args); err != nil {
		if name, ok := strings.CutPrefix(err.Error(), "flag provided but not defined: "); ok {
			err = fmt.Errorf("there is no flag %s: -help lists those there are", name)
		}
		return options{}, err
	}
	set := map[string]bool{}
	fs.Visit(func(f *flag.Flag) { set[f.Name] = true })
	if set["train"] || set["record"] {
		err := makesSamples(&opts, compression, set, fs.Args())
		return opts, err
	}
	if fs.NArg() > 0 {
		return options{}, fmt.Errorf("unexpected argument %q: bench takes flags only, -help lists them", fs.Arg(0))
	}
	if set["dictionary-size"] {
		return options{}, errors.New("flag -dictionary-size is about a dictionary that is made: add -train")
	}
	if quick {
		if set["duration"] {
			return options{}, errors.New("flags -quick and -duration both say how long to measure: leave one out")
		}
		opts.duration = quickDuration
	}
	if set["duration"] && len(opts.tables) == 0 {
		return options{}, fmt.Errorf("flag -duration is about %s, which -workloads leaves out: use -link-time or -compression-time",
			tableNames(tables()))
	}
	opts.exactly = quick || set["duration"]
	opts.demo = !noDemo
	opts.sends = len(opts.tables) > 0 || opts.paced.wanted || links.wanted
	if err := opts.workloads(set, quick); err != nil {
		return options{}, err
	}
	if err := opts.connect(links, compression, set); err != nil {
		return options{}, err
	}
	if err := opts.check(); err != nil {
		return options{}, err
	}
	var err error
	if opts.links, err = links.options(&opts, set, quick); err != nil {
		return options{}, err
	}
	opts.linksAsked = len(opts.links.over) > 0 && (set["workloads"] || set["link"] || set["rtt"] || set["loss"])
	if opts.compression, err = compression.options(set, quick); err != nil {
		return options{}, err
	}
	crosses := func(k kind) bool { return k.carrier != overMemory }
	if set["speeds"] && len(opts.compression.speeds) > 0 && !slices.ContainsFunc(opts.kinds, crosses) {
		return options{}, fmt.Errorf("flags -speeds and -transports %s: none of them crosses a link: add one that does",
			kindNames(opts.kinds))
	}
	if err = opts.completePaced(links, set, quick); err == nil {
		err = opts.measurable()
	}
	return opts, err
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
			return fmt.Errorf("flags %s and -%s %d: together over %d MiB in progress at once: lower one of them",
				o.sized(), f.name, most, maxInFlight>>20)
		}
	}
	if least := time.Duration(o.lines()*len(o.kinds)*minRounds) * minWindow; o.duration < least {
		return fmt.Errorf("flag -duration %v: too short for %d measurements over %d transports: use at least %v, or fewer of them",
			o.duration, o.lines(), len(o.kinds), least)
	}
	return nil
}

// sized is the flag that says how large requests are.
func (o *options) sized() string {
	if o.payload != nil {
		return fmt.Sprintf("-payload with its %d bytes", o.size)
	}
	return fmt.Sprintf("-size %d", o.size)
}

// lines is how many lines the tables have for each transport.
func (o *options) lines() int { return len(loads(*o, plan{})) }

// flagSet defines the flags.
func flagSet(known []kind, opts *options, links *linkFlags, compression *compressionFlags, noDemo, quick *bool) *flag.FlagSet {
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
			opts.callers, err = parseAtOnce(s, maxCallers, "callers")
			return err
		})
	fs.Func("streams", "how many streams at once, in a `list` (default 1,64)",
		func(s string) (err error) {
			opts.streams, err = parseAtOnce(s, maxStreams, "streams")
			return err
		})
	fs.Func("workloads", "what to measure, in a `list` (default "+workloadNames()+")",
		func(s string) (err error) {
			var w workloads
			w, err = parseWorkloads(s)
			opts.tables, links.wanted, compression.wanted = w.tables, w.links, w.compression
			opts.paced.wanted, opts.clusters.wanted = w.paced, w.clusters
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
	fs.BoolVar(quick, "quick", false, "measure for "+quickDuration.String()+
		", over one link and few messages compressed: for a look, the figures are rough")
	opts.defineWorkloads(fs)
	links.define(fs)
	compression.define(fs, opts)
	fs.StringVar(&opts.out, "out", defaultOut,
		"write the report with its pictures, and results for other programs, into `directory`; empty: do not")
	fs.StringVar(&opts.json, "json", "", "write what was measured to `file` too, as JSON")
	return fs
}

// usage tells what the flags are.
func usage(w io.Writer, known []kind) {
	fmt.Fprint(w, "Usage: go run ./bench [flags]\n\n"+
		"Shows a cluster over each transport, then measures the transports side by side:\n"+
		"calls, streams, small calls beside bulk and fan-out on the loopback interface,\n"+
		"calls there at a set rate (paced), how clusters start and recover, calls over\n"+
		"emulated links, and what compression is worth.\n\n"+
		"       go run ./bench serve [flags]\n\n"+
		"Answers a run with -connect on another host. serve -help lists its flags.\n\n"+
		"       go run ./bench compare old.json new.json\n\n"+
		"Says what has changed from one run to another.\n\n"+
		"       go run ./bench -train file [flags] samples...\n\n"+
		"Makes a dictionary for compression.\n\n")
	var opts options
	var noDemo, quick bool
	fs := flagSet(known, &opts, newLinkFlags(), newCompressionFlags(), &noDemo, &quick)
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

func parseAtOnce(s string, most int, of string) ([]int, error) {
	var out []int
	for field := range strings.SplitSeq(s, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(field))
		if err != nil || n < 1 || n > most {
			return nil, fmt.Errorf("%q is no number of %s: list numbers from 1 to %d, such as 1,8,64", field, of, most)
		}
		if slices.Contains(out, n) {
			return nil, fmt.Errorf("%d is there twice: list every number once", n)
		}
		out = append(out, n)
	}
	slices.Sort(out)
	return out, nil
}

// What the flag calls the workloads that have tables of their own.
const (
	pacedName       = "paced"
	clustersName    = "clusters"
	linksName       = "links"
	compressionName = "compression"
)

// workloads is what is to be measured: the tables in their order, and which of the others.
type workloads struct {
	tables                              []table
	paced, clusters, links, compression bool
}

func parseWorkloads(s string) (w workloads, err error) {
	var seen []string
	for field := range strings.SplitSeq(s, ",") {
		name := strings.TrimSpace(field)
		i := slices.IndexFunc(tables(), func(t table) bool { return t.String() == name })
		switch {
		case slices.Contains(seen, name):
			return w, fmt.Errorf("%q is there twice: list every workload once", name)
		case name == pacedName:
			w.paced = true
		case name == clustersName:
			w.clusters = true
		case name == linksName:
			w.links = true
		case name == compressionName:
			w.compression = true
		case i < 0:
			return w, fmt.Errorf("there is no workload %q: choose from %s", name, workloadNames())
		default:
			w.tables = append(w.tables, table(i))
		}
		seen = append(seen, name)
	}
	slices.Sort(w.tables)
	return w, nil
}

func workloadNames() string {
	return strings.Join([]string{tableNames(tables()), pacedName, clustersName, linksName, compressionName}, ",")
}

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
