package main

import (
	"cmp"
	"slices"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/gridmux/gridmux/bench/internal/link"
)

// linkReport is what was found out over emulated links.
type linkReport struct {
	longer string // the flag that measures for longer; "": that of links

	// The load.
	Rate       int           `json:"calls_per_second"`
	Size       int           `json:"size"`
	Streams    int           `json:"streams"`
	StreamBits float64       `json:"bits_per_second_per_stream"`
	WarmUp     time.Duration `json:"warm_up_ns"`
	Duration   time.Duration `json:"duration_ns"`
	Seed       uint64        `json:"seed"`
	// Fitted: the load is smaller than usual, for the real path to carry it.
	Fitted bool `json:"fitted_to_path,omitempty"`

	TCPCongestion  string `json:"tcp_congestion_control,omitempty"` // of the kernel
	QUICCongestion string `json:"quic_congestion_control"`

	Transports []string `json:"transports"` // that were to be measured
	Planned    int      `json:"planned_links"`
	// Shaped: the links are the loopback interface, delayed and slowed down by this process.
	Shaped bool `json:"shaped,omitempty"`
	// LeftOut is why there are no emulated links, if so.
	LeftOut string       `json:"left_out,omitempty"`
	Results []linkResult `json:"results"`
}

// linkResult is what was found out over one link.
type linkResult struct {
	Title      string        `json:"title"`
	Conditions string        `json:"conditions"` // as -link reads them
	RTT        time.Duration `json:"rtt_ns"`
	Loss       float64       `json:"loss"` // the share of packets
	Grid       bool          `json:"grid"` // RTT and loss are all that it has
	Lines      []linkLine    `json:"lines"`
}

// linkLine is one transport over it.
type linkLine struct {
	doing string // what failed, if err
	err   error

	Transport string `json:"transport"`
	// NoConnection is why it could not connect, where nothing else was to be expected.
	NoConnection string `json:"no_connection,omitempty"`

	Calls   int64         `json:"calls"` // that were due
	Failed  int64         `json:"failed"`
	Elapsed time.Duration `json:"elapsed_ns"`
	P50     time.Duration `json:"p50_ns"`
	P90     time.Duration `json:"p90_ns"`
	P99     time.Duration `json:"p99_ns"`
	P999    time.Duration `json:"p99_9_ns"`
	Max     time.Duration `json:"max_ns"`
	// PartsP99 is the p99 of equal parts of the run; 0 for one without calls.
	PartsP99 [parts]time.Duration `json:"p99_of_parts_ns"`
	Ratio    float64              `json:"p99_vs_reference,omitempty"` // 0: there is nothing to compare
	Within   interval             `json:"p99_vs_reference_interval"`  // zero: too few parts to tell
	Bits     float64              `json:"streams_bits_per_second"`    // of all streams together

	Latencies *histogram        `json:"latencies,omitempty"`
	Parts     [parts]*histogram `json:"latencies_of_parts"` // null for one without calls
	OverTime  []moment          `json:"over_time,omitempty"`

	// What crossed the link in both directions, warm-up included.
	Packets uint64 `json:"packets"`
	Octets  uint64 `json:"octets"`
	Lost    uint64 `json:"lost_packets"` // on purpose, also where the queue was full
	Overrun uint64 `json:"overrun_packets"`
	Late    uint64 `json:"late_packets"`
}

// quicCongestion is what quic-go has. Its code calls the sender cubic, but makes it
// with the switch for Reno on (in v0.65), and there is no option.
const quicCongestion = "reno"

func newLinkReport(opts linkOptions, of []kind) *linkReport {
	r := &linkReport{
		Rate: opts.rate, Size: opts.size, Streams: opts.streams, StreamBits: opts.bits,
		WarmUp: opts.warmUp, Duration: opts.duration, Seed: opts.seed, Fitted: opts.fitted,
		Shaped: opts.shaped, QUICCongestion: quicCongestion, Planned: len(opts.over), Results: []linkResult{},
	}
	for _, k := range of {
		r.Transports = append(r.Transports, k.name)
	}
	return r
}

// add compares the lines of a result with the reference among them.
func (r *linkReport) add(result linkResult) {
	if ref := result.line(r.reference()); ref != nil {
		for i := range result.Lines {
			if l := &result.Lines[i]; l.measured() {
				l.Ratio, l.Within = l.beside(ref)
			}
		}
	}
	if len(result.Lines) > 0 {
		r.Results = append(r.Results, result)
	}
}

// reference is the transport that the others are compared with: one as secure as
// they are, if there is.
func (r *linkReport) reference() string {
	for _, name := range []string{"wss", reference} {
		if slices.Contains(r.Transports, name) {
			return name
		}
	}
	return r.Transports[0]
}

// line returns the figures of a transport, or nil if there are none.
func (r *linkResult) line(transport string) *linkLine {
	for i := range r.Lines {
		if l := &r.Lines[i]; l.Transport == transport && l.measured() {
			return l
		}
	}
	return nil
}

func (l *linkLine) measured() bool { return l.Calls > 0 }

// measured reports whether there are figures of any line.
func (r *linkReport) measured() bool {
	return r != nil && slices.ContainsFunc(r.Results, func(result linkResult) bool { return len(result.ranking()) > 0 })
}

func (l *linkLine) fill(r pacedResult) {
	total := newLinkHistogram()
	for i, h := range r.latency {
		total.Merge(h)
		if h.TotalCount() > 0 {
			l.PartsP99[i], l.Parts[i] = quantile(h, 99), &histogram{Histogram: h}
		}
	}
	l.Calls, l.Failed, l.Elapsed, l.Bits = total.TotalCount(), r.failed, r.elapsed, r.bits
	if l.Calls > 0 {
		l.P50, l.P90, l.P99 = quantile(total, 50), quantile(total, 90), quantile(total, 99)
		l.P999, l.Max = quantile(total, 99.9), quantile(total, 100)
		l.Latencies = &histogram{Histogram: total}
	}
	if r.when != nil {
		l.OverTime = r.when.moments(l.Elapsed)
	}
}

func quantile(h *hdrhistogram.Histogram, q float64) time.Duration {
	return time.Duration(h.ValueAtQuantile(q))
}

func (l *linkLine) count(before, after link.Stats) {
	l.Packets, l.Octets = after.Sent-before.Sent, after.SentOctets-before.SentOctets
	l.Lost = after.Lost - before.Lost + after.Overflowed - before.Overflowed
	l.Overrun, l.Late = after.Overrun-before.Overrun, after.Late-before.Late
}

// beside returns how many times as long as that of another transport the p99 is, and where that is.
func (l *linkLine) beside(other *linkLine) (ratio float64, within interval) {
	return pairedTails(&l.Parts, &other.Parts)
}

// faster reports whether the p99 of one transport was lower than that of another, with a
// confidence of 99 %, and by a twentieth at least: less nobody should choose a transport for.
func (l *linkLine) faster(than *linkLine) bool {
	ratio, within := l.beside(than)
	return within.below() && ratio <= 0.95
}

// differ reports whether one of two was clearly faster.
func differ(a, b *linkLine) bool { return a.faster(b) || b.faster(a) }

// ranking returns what was measured, by its p99.
func (r *linkResult) ranking() (all []*linkLine) {
	for i := range r.Lines {
		if r.Lines[i].measured() {
			all = append(all, &r.Lines[i])
		}
	}
	slices.SortStableFunc(all, func(a, b *linkLine) int { return cmp.Compare(a.P99, b.P99) })
	return all
}

// failing names the transports over which calls failed, in brackets, or is empty.
func failing(results ...*linkResult) string {
	var names []string
	for _, r := range results {
		for _, l := range r.ranking() {
			if l.Failed > 0 && !slices.Contains(names, l.Transport) {
				names = append(names, l.Transport)
			}
		}
	}
	if len(names) == 0 {
		return ""
	}
	return " (calls failed over " + list(names) + ")"
}

// winner returns the transport that was faster than all others, or nil. One over which
// calls failed is none.
func (r *linkResult) winner() *linkLine {
	all := r.ranking()
	if len(all) == 0 || all[0].Failed > 0 {
		return nil
	}
	if len(all) == 1 && len(r.Lines) == 1 {
		return nil // of a race with nobody
	}
	for _, other := range all[1:] {
		if !all[0].faster(other) {
			return nil
		}
	}
	return all[0]
}
