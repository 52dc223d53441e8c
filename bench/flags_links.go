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
)

const (
	defaultLinkTime = 3 * time.Second
	quickLinkTime   = 2 * time.Second
	linkWarmUp      = 500 * time.Millisecond
	defaultLinkRate = 500
	maxLinkRate     = 10_000
	defaultPaced    = 4
	maxPaced        = 1000
	// maxLinkRTT keeps the time-outs of the transports, which are for networks on
	// earth, out of what is measured.
	maxLinkRTT = 500 * time.Millisecond
	// The least that a stream carries is a byte at each interval.
	minStreamBits     = 800
	maxStreamBits     = 1e9
	defaultStreamBits = 1e6
)

// The links of a run that names none.
var (
	defaultRTTs   = []time.Duration{2 * time.Millisecond, 20 * time.Millisecond}
	defaultLosses = []float64{0, 0.005, 0.02}
	quickRTTs     = defaultRTTs[1:]
	quickLosses   = defaultLosses[1:2]
	shapedLosses  = defaultLosses[:1]
)

// linkFlags is what the flags about links say, before it is put together.
type linkFlags struct {
	linkOptions

	wanted bool // by -workloads
	rtts   []time.Duration
	losses []float64
}

// linkFlagNames are the flags that only links need.
func linkFlagNames() []string {
	return []string{"link", "rtt", "loss", "link-time", "link-rate", "link-streams", "stream-rate", "tcp-congestion", "seed", "shaping"}
}

// pacedFlagNames are those of them that say what the load is, which is the same without
// a link.
func pacedFlagNames() []string { return []string{"link-rate", "link-streams", "stream-rate"} }

func newLinkFlags() *linkFlags {
	f := &linkFlags{wanted: true}
	f.rate, f.streams, f.bits = defaultLinkRate, defaultPaced, defaultStreamBits
	f.warmUp, f.duration, f.seed = linkWarmUp, defaultLinkTime, 1
	return f
}

// define defines the flags.
func (f *linkFlags) define(fs *flag.FlagSet) {
	fs.Func("link", "a link to measure, by `name` or settings or both, such as wan,loss=1%; may be repeated",
		func(s string) error {
			c, err := link.Parse(s)
			if err == nil && c.RTT > maxLinkRTT {
				err = fmt.Errorf("rtt is %v: use at most %v", c.RTT, maxLinkRTT)
			}
			if err != nil {
				return trimPackage(err)
			}
			return f.addLink(s, c)
		})
	fs.Func("rtt", "round-trip times of links, in a `list`: each is measured with each -loss (default "+
		joined(defaultRTTs, time.Duration.String)+")",
		func(s string) (err error) {
			f.rtts, err = parseEach(s, "rtt", func(c link.Conditions) time.Duration { return c.RTT })
			if err == nil && slices.Max(f.rtts) > maxLinkRTT {
				err = fmt.Errorf("%v is too long: use at most %v", slices.Max(f.rtts), maxLinkRTT)
			}
			return err
		})
	fs.Func("loss", "shares of packets that links lose, in a `list` (default "+joined(defaultLosses, link.FormatShare)+")",
		func(s string) (err error) {
			f.losses, err = parseEach(s, "loss", func(c link.Conditions) float64 { return c.Loss })
			return err
		})
	fs.Func("link-time", "how long to measure over each link: `time` such as 10s or 1m (default "+defaultLinkTime.String()+")",
		func(s string) (err error) {
			f.duration, err = time.ParseDuration(s)
			if err != nil || f.duration < 100*time.Millisecond || f.duration > maxDuration {
				return fmt.Errorf("use a time such as 10s or 1m, from 100ms to %.0fh", maxDuration.Hours())
			}
			return nil
		})
	fs.Func("link-rate", "how many `calls` per second over a link (default "+strconv.Itoa(defaultLinkRate)+")",
		func(s string) (err error) {
			f.rate, err = parseUpTo(s, 1, maxLinkRate, "calls per second")
			return err
		})
	fs.Func("link-streams", "how many paced `streams` beside the calls over a link (default "+strconv.Itoa(defaultPaced)+")",
		func(s string) (err error) {
			f.streams, err = parseUpTo(s, 0, maxPaced, "streams")
			return err
		})
	fs.Func("stream-rate", "the `rate` of each of those streams (default "+link.FormatRate(defaultStreamBits)+")",
		func(s string) error {
			c, err := link.Parse("rate=" + s)
			if err != nil || strings.Contains(s, ",") || c.Rate < minStreamBits || c.Rate > maxStreamBits {
				return fmt.Errorf("use a rate such as 1mbit, from %s to %s", link.FormatRate(minStreamBits), link.FormatRate(maxStreamBits))
			}
			f.bits = c.Rate
			return nil
		})
	fs.Func("tcp-congestion", "the congestion control of TCP over links, by `name` (default the kernel's)",
		func(s string) error {
			if has := tcpCongestions(); !slices.Contains(has, s) {
				return fmt.Errorf("the kernel does not have it: choose from %q", has)
			}
			f.congestion = s
			return nil
		})
	fs.BoolVar(&f.shaped, "shaping", false, "delay and slow down the loopback interface in this process in place of emulated links, "+
		"which shows no loss: for systems without network namespaces")
	fs.Func("seed", "`number` that decides which packets links lose (default 1)",
		func(s string) (err error) {
			if f.seed, err = strconv.ParseUint(s, 10, 64); err != nil {
				return errors.New("use a whole number from 0 on")
			}
			return nil
		})
}

// addLink adds a link that was asked for by name or settings.
func (f *linkFlags) addLink(s string, c link.Conditions) error {
	title := c.String()
	if name, _, _ := strings.Cut(s, ","); !strings.Contains(name, "=") {
		title = strings.TrimSpace(s)
	}
	if slices.ContainsFunc(f.over, func(l linkSpec) bool { return l.conditions == c }) {
		return fmt.Errorf("%v is there twice: name every link once", c)
	}
	f.over = append(f.over, linkSpec{title: title, conditions: c})
	return nil
}

// options puts together what the flags say. set has those that were given.
func (f *linkFlags) options(opts *options, set map[string]bool, quick bool) (linkOptions, error) {
	for _, name := range linkFlagNames() {
		needed := f.wanted || opts.paced.wanted && slices.Contains(pacedFlagNames(), name)
		if set[name] && !needed {
			return linkOptions{}, fmt.Errorf("flag -%s is about links, which -workloads leaves out: add %s to it", name, linksName)
		}
	}
	if !f.wanted {
		return linkOptions{}, nil
	}
	f.size, f.payload = opts.size, opts.content()
	if err := f.tooMuch(opts.sized()); err != nil {
		return linkOptions{}, err
	}
	for _, k := range opts.kinds {
		// Links are a network, where nobody would go without TLS unless he is asked to.
		if k.carrier != overMemory && (k.tls || set["transports"]) {
			f.kinds = append(f.kinds, k)
		}
	}
	if len(f.kinds) == 0 {
		if set["workloads"] || slices.ContainsFunc(linkFlagNames(), func(name string) bool { return set[name] }) {
			return linkOptions{}, fmt.Errorf("flag -transports %s: none of them crosses a link: add one that does", kindNames(opts.kinds))
		}
		return linkOptions{}, nil
	}
	if quick && !set["link-time"] {
		f.duration = quickLinkTime
	}
	if err := f.tooLittle("link-time"); err != nil {
		return linkOptions{}, err
	}
	rtts, losses := defaultRTTs, defaultLosses
	switch {
	case set["link"] && !set["rtt"] && !set["loss"]:
		rtts = nil
	case quick && !set["rtt"] && !set["loss"]:
		rtts, losses = quickRTTs, quickLosses
	}
	if set["rtt"] {
		rtts = f.rtts
	}
	if f.shaped {
		losses = shapedLosses
	}
	if set["loss"] {
		losses = f.losses
	}
	for _, rtt := range rtts {
		for _, loss := range losses {
			c := link.Conditions{RTT: rtt, Loss: loss}
			f.over = slices.DeleteFunc(f.over, func(l linkSpec) bool { return l.conditions == c })
			f.over = append(f.over, linkSpec{title: c.String(), conditions: c, grid: true})
		}
	}
	return f.linkOptions, f.checkShaped()
}

// checkShaped refuses links that shaping cannot show.
func (f *linkFlags) checkShaped() error {
	if !f.shaped {
		return nil
	}
	if f.congestion != "" {
		return errors.New("flags -shaping and -tcp-congestion: below, TCP is on the loopback interface and loses nothing: leave one out")
	}
	for _, l := range f.over {
		if err := honest(l.conditions); err != nil {
			return fmt.Errorf("flag -shaping, for %s: %w", l.title, err)
		}
	}
	return nil
}

// parseEach reads a list of values of one setting of a link.
func parseEach[T comparable](s, setting string, of func(link.Conditions) T) (all []T, err error) {
	for field := range strings.SplitSeq(s, ",") {
		field = strings.TrimSpace(field)
		c, err := link.Parse(setting + "=" + field)
		if err != nil {
			return nil, trimPackage(err)
		}
		if slices.Contains(all, of(c)) {
			return nil, fmt.Errorf("%s is there twice: list every %s once", field, setting)
		}
		all = append(all, of(c))
	}
	return all, nil
}

// trimPackage takes the name of the package off an error, which names the flag.
func trimPackage(err error) error {
	return errors.New(strings.TrimPrefix(err.Error(), "link: "))
}

func parseUpTo(s string, least, most int, of string) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil || n < least || n > most {
		return 0, fmt.Errorf("use a number of %s from %d to %d", of, least, most)
	}
	return n, nil
}

func joined[T any](all []T, format func(T) string) string {
	texts := make([]string, len(all))
	for i, v := range all {
		texts[i] = format(v)
	}
	return strings.Join(texts, ",")
}
