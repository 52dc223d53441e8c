package main

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

const maxFanout = 100

// What is measured of a run that says nothing of it.
var (
	defaultSizes  = []int{16 << 10, 1 << 20}
	defaultFanout = []int{8}
)

// defineWorkloads defines the flags of what is done on the loopback interface and over a
// real path.
func (o *options) defineWorkloads(fs *flag.FlagSet) {
	fs.Func("sizes", "further sizes of requests and answers, in a `list`, or none (default "+joined(defaultSizes, shortSize)+")",
		func(s string) (err error) {
			if o.sizes = nil; s != "none" {
				o.sizes, err = parseSizes(s)
			}
			return err
		})
	fs.Func("payload", "send what is in a `file` instead of random bytes",
		func(s string) (err error) {
			o.payload, err = readPayload(s)
			return err
		})
	fs.Func("connect", "measure the path to bench serve on another host, at `host:port`, in place of this machine",
		func(s string) (err error) {
			o.remote, err = parseRemote(s)
			return err
		})
	fs.StringVar(&o.key, "key", "", "the `secret` that bench serve prints, or @ and a file that has it, with -connect")
	fs.Func("paced-time", "how long to call at a set rate without links, each transport: `time` such as 10s (default "+
		defaultPacedTime.String()+")",
		func(s string) (err error) {
			o.paced.duration, err = time.ParseDuration(s)
			if err != nil || o.paced.duration < 100*time.Millisecond || o.paced.duration > maxDuration {
				return fmt.Errorf("use a time such as 10s or 1m, from 100ms to %.0fh", maxDuration.Hours())
			}
			return nil
		})
	fs.Func("nodes", "how many nodes a cluster has that starts and recovers: `number` (default "+strconv.Itoa(defaultNodes)+")",
		func(s string) (err error) {
			o.clusters.nodes, err = parseUpTo(s, 3, maxNodes, "nodes")
			return err
		})
	fs.Func("threshold", "exit with 1 unless each line keeps to `limit`, such as p99<5ms, rate>1000, failed<1%, failed<=0% or "+
		"calls:p99<5ms; percentiles are of all windows of a line together; may be repeated",
		func(s string) error {
			t, err := parseThreshold(s)
			o.thresholds = append(o.thresholds, t)
			return err
		})
	fs.Func("fanout", "to how many peers at once, in a `list` (default "+joined(defaultFanout, strconv.Itoa)+")",
		func(s string) (err error) {
			o.fanout, err = parseAtOnce(s, maxFanout, "peers")
			return err
		})
}

// workloads completes what the flags say of them. set has those that were given.
func (o *options) workloads(set map[string]bool, quick bool) error {
	if o.payload != nil {
		if set["size"] {
			return errors.New("flags -size and -payload both say how large requests are: leave one out")
		}
		o.size = len(o.payload)
	}
	if !set["sizes"] && (quick || set["size"] || o.payload != nil) {
		o.sizes = nil // who names a size wants that one
	}
	if quick && !set["fanout"] {
		o.fanout = o.fanout[:1]
	}
	if o.clusters.rounds = clusterRounds; quick {
		o.clusters.rounds = 1
	}
	if slices.Contains(o.sizes, o.size) {
		if set["sizes"] {
			return fmt.Errorf("flag -sizes: %d is the size that is measured anyway: leave it out", o.size)
		}
		o.sizes = slices.DeleteFunc(slices.Clone(o.sizes), func(n int) bool { return n == o.size })
	}
	if set["nodes"] && !o.clusters.wanted {
		return fmt.Errorf("flag -nodes is about %s, which -workloads leaves out: add it", clustersName)
	}
	for _, f := range []struct {
		name string
		of   table
	}{{"sizes", calls}, {"callers", calls}, {"streams", streams}, {"fanout", fanout}} {
		if set[f.name] && !slices.Contains(o.tables, f.of) {
			return fmt.Errorf("flag -%s is about %v, which -workloads leaves out: add it", f.name, f.of)
		}
	}
	return o.noneOf(set)
}

// noneOf fails if a flag says how to do what is not going to be done.
func (o *options) noneOf(set map[string]bool) error {
	for _, size := range o.sizes {
		if least := slices.Min(o.callers); set["sizes"] && least > 1 && size*least > sizesUnderWay {
			return fmt.Errorf("flags -callers %s and -sizes %s: of requests that large no more than %d KiB are under way: "+
				"add 1 to -callers", joined(o.callers, strconv.Itoa), shortSize(size), sizesUnderWay>>10)
		}
	}
	for _, name := range []string{"size", "payload"} {
		if set[name] && !o.sends {
			return fmt.Errorf("flag -%s is about %s,%s,%s, which -workloads leaves out: add one",
				name, tableNames(tables()), pacedName, linksName)
		}
	}
	return nil
}

// connect completes what the flags say of a run over a real path, where only what has two
// ends can be measured. set has the flags that were given.
func (o *options) connect(links *linkFlags, compression *compressionFlags, set map[string]bool) error {
	switch {
	case !set["connect"] && set["key"]:
		return errors.New("flag -key is for a path to another host: add -connect")
	case !set["connect"]:
		return nil
	case !set["key"]:
		return errors.New("flag -connect: the other end has to be sure who calls: add -key with what bench serve prints")
	}
	var err error
	if o.remote.secret, err = parseSecret(o.key); err != nil {
		return err
	}
	o.demo = false
	var reachable []kind
	for _, k := range o.kinds {
		if k.carrier != overMemory {
			reachable = append(reachable, k)
		} else if set["transports"] {
			return fmt.Errorf("flag -transports: %s does not leave this process: leave it out with -connect", k.name)
		}
	}
	o.kinds = reachable
	if set["workloads"] && (links.wanted || compression.wanted || o.clusters.wanted || slices.Contains(o.tables, fanout)) {
		return fmt.Errorf("flag -workloads: over a path to another host there are %v,%v,%v,%s: leave out the others",
			calls, streams, mixed, pacedName)
	}
	for _, name := range slices.Concat(linkFlagNames(), compressionFlagNames(), []string{"fanout", "nodes"}) {
		if set[name] && !slices.Contains(pacedFlagNames(), name) {
			return fmt.Errorf("flags -connect and -%s: the path is what it is, and there is one peer: leave one out", name)
		}
	}
	links.wanted, compression.wanted, o.clusters.wanted = false, false, false
	o.tables = slices.DeleteFunc(slices.Clone(o.tables), func(t table) bool { return t == fanout })
	return nil
}

// completePaced completes the load at a set rate, which is that of the links.
func (o *options) completePaced(links *linkFlags, set map[string]bool, quick bool) error {
	if !o.paced.wanted {
		if set["paced-time"] {
			return fmt.Errorf("flag -paced-time is about %s, which -workloads leaves out: add it", pacedName)
		}
		return nil
	}
	duration := o.paced.duration
	switch {
	case duration > 0:
	case quick:
		duration = quickPacedTime
	default:
		duration = defaultPacedTime
	}
	o.paced.paced = links.paced
	o.paced.asked = askedFor{rate: set["link-rate"], streams: set["link-streams"], bits: set["stream-rate"], time: set["paced-time"]}
	o.paced.size, o.paced.payload, o.paced.duration, o.paced.warmUp = o.size, o.content(), duration, turnWarmUp
	if err := cmp.Or(o.paced.tooMuch(o.sized()), o.paced.tooLittle("paced-time")); err != nil {
		return err
	}
	// Each part is a turn of whole milliseconds; never less than what was asked for, which is enough.
	const turns = parts * time.Millisecond
	o.paced.duration = (duration + turns - 1).Truncate(turns)
	return nil
}

// readPayload returns what is in a file, as a message.
func readPayload(name string) ([]byte, error) {
	payload, err := readFile(name, maxSize)
	switch {
	case errors.Is(err, errTooLarge):
		return nil, fmt.Errorf("the file has more than %d bytes, which no message may have", maxSize)
	case err != nil:
		return nil, trimOpen(err)
	case len(payload) == 0:
		return nil, errors.New("the file is empty: name one with a message in it")
	default:
		return payload, nil
	}
}

// trimOpen leaves out the name of a file, which the error names already.
func trimOpen(err error) error {
	if failure, ok := errors.AsType[*os.PathError](err); ok {
		return fmt.Errorf("%s: name a file that can be read", strings.TrimSpace(failure.Err.Error()))
	}
	return err
}
