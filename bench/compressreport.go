package main

import (
	"slices"
	"time"
)

// compressionReport is what was found out about compression.
type compressionReport struct {
	timing plan

	Transport string        `json:"transport"`
	Planned   int           `json:"planned_rounds"`
	Rounds    int           `json:"rounds"` // that were complete
	WarmUp    time.Duration `json:"warm_up_ns"`
	Window    time.Duration `json:"window_ns"`

	// Results are in the order of the payloads and their sizes.
	Results []compressionResult `json:"results"`

	// LeftOut is why there are no emulated links, if so.
	LeftOut string        `json:"left_out,omitempty"`
	Links   []speedResult `json:"links,omitempty"`
}

// compressionResult is what was found out for messages of one payload and size.
type compressionResult struct {
	Payload string `json:"payload"`
	Size    int    `json:"size"` // the mean
	Callers int    `json:"callers"`
	// Lines has those without compression first.
	Lines []compressionLine `json:"lines"`
}

// compressionLine is one way to send them.
type compressionLine struct {
	Codec string `json:"codec"` // a codec, with a dictionary or without, or off

	PerSecond float64       `json:"per_second"`      // calls, on this machine
	Spread    float64       `json:"spread"`          // of that, in parts of it
	Within    interval      `json:"vs_off_interval"` // of calls, beside those without compression
	Octets    float64       `json:"bytes_each"`      // of a call, on the link to the handler
	CPU       time.Duration `json:"cpu_ns_each"`

	// Wins says whether there are links over which more calls are possible than without
	// compression, and WinsBelow, in bits per second, up to which speed.
	Wins            wins     `json:"wins"`
	WinsBelow       float64  `json:"wins_below_bits_per_second,omitempty"`
	WinsBelowWithin interval `json:"wins_below_interval"`

	Windows []sample `json:"windows"`
}

// wins says over which links a codec wins.
type wins string

const (
	winsNever  wins = "never"  // messages do not get smaller
	winsBelow  wins = "below"  // a speed
	winsAlways wins = "always" // even on this machine, without a link
)

// speedResult is what was measured over one link.
type speedResult struct {
	Payload string      `json:"payload"`
	Size    int         `json:"size"`
	Callers int         `json:"callers"`
	Bits    float64     `json:"bits_per_second"`
	Lines   []speedLine `json:"lines"`
	// Late is the share of packets that the machine was too busy to deliver in time.
	Late float64 `json:"late_share"`
}

// speedLine is one way to send over it. The gains are in calls per second, beside
// those without compression.
type speedLine struct {
	Codec     string        `json:"codec"`
	PerSecond float64       `json:"per_second"`
	CPU       time.Duration `json:"cpu_ns_each"`
	Gain      float64       `json:"gain"`
	Within    interval      `json:"gain_interval"`
	Computed  float64       `json:"computed_gain"`
	Windows   []sample      `json:"windows"`
}

const (
	// packetShare is how many bytes a full IP packet of TCP has for each that it carries.
	packetShare = 1500. / 1448
	// leastShare is the part of the bytes that a codec has to save to count as one that
	// makes messages smaller.
	leastShare = 0.01
	// leastCounted is how many calls a window has of which a ratio can be told from one that
	// is nearly as large: fewer, as there are over a slow link, are the same again and again.
	leastCounted = 10
	// clearGain is by how much a way has to be ahead of a cheaper one to be chosen.
	clearGain = 1.03
)

// speeds are those for which the report says what is the fastest.
var speeds = []float64{10e9, 1e9, 100e6, 10e6}

func newCompressionReport(p plan, transport string) *compressionReport {
	return &compressionReport{
		timing: p, Transport: transport,
		Planned: p.rounds, WarmUp: p.warmUp, Window: p.window, Results: []compressionResult{},
	}
}

// fill makes the lines, from the rounds that are complete.
func (r *compressionReport) fill(all []*sending) {
	r.Results = nil
	for _, s := range all {
		result := compressionResult{Payload: s.payload, Size: s.size, Callers: s.callers()}
		for _, w := range s.ways {
			rates := each(w.windows, (*sample).PerSecond)
			result.Lines = append(result.Lines, compressionLine{
				Codec: w.name, PerSecond: median(rates), Spread: spread(rates), Octets: median(w.octets),
				CPU: median(each(w.windows, func(s *sample) time.Duration { return s.CPU })), Windows: w.windows,
			})
		}
		result.judge()
		r.Results = append(r.Results, result)
	}
}

// judge computes over which links the codecs win. Over a link of a speed there are as
// many calls without compression as fit through it, and with it as many at most as the
// processors can do. So what is gained ends where they are the same. Where it cannot be told
// whether more calls are possible even without a link, it ends somewhere near to what this
// machine does.
func (r *compressionResult) judge() {
	plain := &r.Lines[0]
	for i := range r.Lines[1:] {
		l := &r.Lines[1+i]
		l.Within = ratioInterval(ratios(l.Windows, plain.Windows))
		switch {
		case l.Octets > (1-leastShare)*plain.Octets:
			l.Wins = winsNever
		case l.Within.above():
			l.Wins = winsAlways
		default:
			within := medianInterval(each(l.Windows, (*sample).PerSecond))
			l.Wins, l.WinsBelow = winsBelow, l.PerSecond*plain.bits()
			l.WinsBelowWithin = interval{within.Low * plain.bits(), within.High * plain.bits()}
		}
	}
	plain.Wins = winsNever // over itself
}

// bits is how many of a link a call takes, with the headers of packets.
func (l *compressionLine) bits() float64 { return 8 * packetShare * l.Octets }

// over is how many calls a second are possible over a link.
func (l *compressionLine) over(speed float64) float64 {
	return min(l.PerSecond, speed/l.bits())
}

// ahead reports whether a way carries more calls over a link than another one, so many that it
// is neither chance nor hardly any.
func (l *compressionLine) ahead(of *compressionLine, speed float64) bool {
	if l.over(speed) <= clearGain*of.over(speed) {
		return false
	}
	var ratios []float64
	for i := range min(len(l.Windows), len(of.Windows)) {
		mine, theirs := l.Windows[i].PerSecond(), of.Windows[i].PerSecond()
		ratios = append(ratios, min(mine, speed/l.bits())/min(theirs, speed/of.bits()))
	}
	return ratioInterval(ratios).above()
}

// fastest returns the way that carries the most calls over a link, the cheapest of
// those of which it cannot be told, and how many times as many as without compression.
func (r *compressionResult) fastest(speed float64) (best *compressionLine, gain float64) {
	best = &r.Lines[0]
	for i := range r.Lines[1:] {
		if l := &r.Lines[1+i]; l.Wins != winsNever && l.ahead(best, speed) {
			best = l
		}
	}
	return best, best.over(speed) / r.Lines[0].over(speed)
}

// line returns that of a codec, nil if there is none.
func (r *compressionResult) line(codec string) *compressionLine {
	i := slices.IndexFunc(r.Lines, func(l compressionLine) bool { return l.Codec == codec })
	if i < 0 {
		return nil
	}
	return &r.Lines[i]
}

// addSpeed adds what was measured over a link.
func (r *compressionReport) addSpeed(of *sending, speed float64, callers int, windows [][]sample, late float64) {
	i := slices.IndexFunc(r.Results, func(c compressionResult) bool { return c.Payload == of.payload && c.Size == of.size })
	computed := &r.Results[i]
	plain := computed.Lines[0].over(speed)
	result := speedResult{Payload: of.payload, Size: of.size, Callers: callers, Bits: speed, Late: late}
	for i, all := range windows {
		gains := ratios(all, windows[0])
		within := ratioInterval(gains)
		counted := func(s *sample) int64 { return s.Count }
		if slices.Min(each(all, counted)) < leastCounted || slices.Min(each(windows[0], counted)) < leastCounted {
			within = interval{}
		}
		result.Lines = append(result.Lines, speedLine{
			Codec: of.ways[i].name, PerSecond: median(each(all, (*sample).PerSecond)),
			CPU:  median(each(all, func(s *sample) time.Duration { return s.CPU })),
			Gain: median(gains), Within: within,
			Computed: computed.Lines[i].over(speed) / plain, Windows: all,
		})
	}
	r.Links = append(r.Links, result)
}
