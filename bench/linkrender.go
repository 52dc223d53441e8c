package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gridmux/gridmux/bench/internal/link"
)

// header says what is about to be measured, or was, over so many links.
func (r *linkReport) header(links int) string {
	beside := ""
	if r.Streams > 0 {
		beside = fmt.Sprintf(" beside %s paced at %s each, from a to b too", plural(r.Streams, "stream"), link.FormatRate(r.StreamBits))
	}
	return wrap(fmt.Sprintf("Now over emulated links, %d of them, each for %v after a warm-up of %v: "+
		"node a makes %s calls per second of %d B, which b echoes%s. "+
		"A call is due at its time whatever became of those before (an open loop), and its latency counts from then. "+
		"Each transport has a link of its own, all at the same time, with the same conditions and seed (%d).%s",
		links, r.Duration, r.WarmUp, count(float64(r.Rate)), r.Size, beside, r.Seed, r.aboutShaping()), lineWidth)
}

// aboutShaping says what links are that are not emulated.
func (r *linkReport) aboutShaping() string {
	if !r.Shaped {
		return ""
	}
	return " The links are shaped by this process: what it writes to the loopback interface is delayed and slowed down. " +
		"Congestion control sees nothing of that, and packets have no part in it."
}

// render prints a table for each link, and what follows from them.
func (r *linkReport) render(w io.Writer) {
	if r.LeftOut != "" {
		fmt.Fprintf(w, "\nEmulated links are left out: %s. They need Linux, and root or a user who may "+
			"make user namespaces, and who can open /dev/net/tun. With -shaping they are shown without loss.\n", r.LeftOut)
		return
	}
	if len(r.Results) == 0 {
		return
	}
	if n := len(r.Results); n < r.Planned {
		fmt.Fprintf(w, "\nThis is what was measured, over %d of %s.\n", n, plural(r.Planned, "link"))
	}
	for i := range r.Results {
		result := &r.Results[i]
		fmt.Fprintf(w, "\nOver %s\n\n%s\n", result.heading(), r.table(result))
		if verdict := r.verdict(result); verdict != "" {
			fmt.Fprintf(w, "\n%s\n", wrap(verdict, lineWidth))
		}
	}
	for _, name := range r.Transports {
		if m := r.matrix(name); m != "" {
			fmt.Fprintf(w, "\np99 of %s : %s, by round-trip time and loss\n\n%s\n", name, r.reference(), m)
		}
	}
	for _, text := range []string{r.reading(), r.legend(), r.warning()} {
		if text != "" {
			fmt.Fprintf(w, "\n%s\n", wrap(text, lineWidth))
		}
	}
}

func (r *linkResult) heading() string {
	if r.Title == r.Conditions {
		return r.Title
	}
	return r.Title + " (" + r.Conditions + ")"
}

// table is the transports side by side.
func (r *linkReport) table(result *linkResult) string { return grid(r.rows(result)) }

// rows returns its header and its lines.
func (r *linkReport) rows(result *linkResult) (header []string, rows [][]string) {
	measured := func(value func(*linkLine) string) func(*linkLine) string {
		return func(l *linkLine) string {
			if !l.measured() {
				return ""
			}
			return value(l)
		}
	}
	type column struct {
		title string
		value func(*linkLine) string
	}
	cols := []column{
		{"calls", func(l *linkLine) string {
			if !l.measured() {
				return "none"
			}
			return strconv.FormatInt(l.Calls, 10)
		}},
		{"p50\nms", measured(func(l *linkLine) string { return millis(l.P50) })},
		{"p90\nms", measured(func(l *linkLine) string { return millis(l.P90) })},
		{"p99\nms", measured(func(l *linkLine) string { return millis(l.P99) })},
		{"p99.9\nms", measured(func(l *linkLine) string { return millis(l.P999) })},
		{"max\nms", measured(func(l *linkLine) string { return millis(l.Max) })},
	}
	if ref := result.line(r.reference()); ref != nil && len(result.Lines) > 1 {
		cols = append(cols, column{
			"p99 vs " + r.reference() + "\n99% interval", measured(func(l *linkLine) string { return l.ratio(ref) }),
		})
	}
	if r.Streams > 0 {
		cols = append(cols, column{"streams\nMbit/s", measured(func(l *linkLine) string { return digits(l.Bits / 1e6) })})
	}
	if slices.ContainsFunc(result.Lines, func(l linkLine) bool { return l.Failed > 0 }) {
		cols = append(cols, column{"failed", measured(func(l *linkLine) string { return strconv.FormatInt(l.Failed, 10) })})
	}
	header = []string{""}
	for _, c := range cols {
		header = append(header, c.title)
	}
	for i := range result.Lines {
		l := &result.Lines[i]
		row := []string{l.Transport}
		for _, c := range cols {
			row = append(row, c.value(l))
		}
		rows = append(rows, row)
	}
	return header, rows
}

// verdict says who wins and by how much.
func (r *linkReport) verdict(result *linkResult) string {
	var parts []string
	all := result.ranking()
	switch best := result.winner(); {
	case best == nil && len(all) > 0 && all[0].Failed > 0:
		parts = append(parts, fmt.Sprintf("No transport wins: %s has the lowest p99, and %s of its calls failed.",
			all[0].Transport, count(float64(all[0].Failed))))
	case best == nil && len(all) > 1:
		parts = append(parts, fmt.Sprintf(
			"No transport has a p99 that is surely lower than that of all others, and by 5 %%: no clear winner between %s.", names(all)))
	case best == nil:
	case len(all) == 1:
		parts = append(parts, best.Transport+" wins, as the only one that connects.")
	default:
		var by []string
		for _, other := range all[1:] {
			by = append(by, fmt.Sprintf("its p99 is %s of that of %s, its p99.9 %s",
				digits(float64(best.P99)/float64(other.P99)), other.Transport, digits(float64(best.P999)/float64(other.P999))))
		}
		parts = append(parts, best.Transport+" wins: "+strings.Join(by, "; ")+".")
	}
	for i := range result.Lines {
		if l := &result.Lines[i]; l.NoConnection != "" {
			parts = append(parts, fmt.Sprintf("%s does not connect: %s.", l.Transport, l.NoConnection))
		}
	}
	if cut := slices.ContainsFunc(all, func(l *linkLine) bool { return l.Elapsed < r.Duration }); cut {
		parts = append(parts, fmt.Sprintf("It was interrupted after %v of %v.", round3(all[0].Elapsed), r.Duration))
	}
	return strings.Join(parts, " ")
}

// names lists two transports or more.
func names(lines []*linkLine) string {
	last := len(lines) - 1
	all := make([]string, last)
	for i, l := range lines[:last] {
		all[i] = l.Transport
	}
	return strings.Join(all, ", ") + " and " + lines[last].Transport
}

// ratio says what part of the p99 of the reference it has, and where that is.
func (l *linkLine) ratio(ref *linkLine) string {
	if l == ref || !l.Within.known() {
		return times(l.Ratio)
	}
	text := times(l.Ratio) + " " + l.Within.String()
	if !differ(l, ref) {
		text = undecided + " " + text
	}
	return text
}

// undecided marks a ratio of two of which none was clearly the faster.
const undecided = "≈"

// matrix compares a transport with the reference over the links of the grid. It is
// empty if there is nothing to compare.
func (r *linkReport) matrix(name string) string {
	ref := r.reference()
	if name == ref {
		return ""
	}
	var rtts []time.Duration
	var losses []float64
	ratios := map[time.Duration]map[float64]string{}
	found := 0
	for i := range r.Results {
		result := &r.Results[i]
		a, b := result.line(name), result.line(ref)
		if !result.Grid || a == nil || b == nil {
			continue
		}
		found++
		if ratios[result.RTT] == nil {
			rtts, ratios[result.RTT] = append(rtts, result.RTT), map[float64]string{}
		}
		if !slices.Contains(losses, result.Loss) {
			losses = append(losses, result.Loss)
		}
		ratio := digits(a.Ratio)
		if !differ(a, b) {
			ratio = undecided + " " + ratio
		}
		ratios[result.RTT][result.Loss] = ratio
	}
	if found < 2 {
		return ""
	}
	slices.Sort(rtts)
	slices.Sort(losses)
	header := []string{""}
	for _, loss := range losses {
		header = append(header, "loss\n"+link.FormatShare(loss))
	}
	var rows [][]string
	for _, rtt := range rtts {
		row := []string{"rtt " + rtt.String()}
		for _, loss := range losses {
			row = append(row, cmp.Or(ratios[rtt][loss], "none"))
		}
		rows = append(rows, row)
	}
	return grid(header, rows)
}

// reading says all tables in a sentence, or is empty if nothing was compared.
func (r *linkReport) reading() string {
	won := map[string]int{}
	unclear := 0
	for i := range r.Results {
		result := &r.Results[i]
		switch w := result.winner(); {
		case len(result.Lines) < 2:
		case w != nil:
			won[w.Transport]++
		default:
			unclear++
		}
	}
	var parts []string
	for _, name := range r.Transports {
		if n := won[name]; n > 0 {
			parts = append(parts, fmt.Sprintf("%s wins over %s", name, plural(n, "link")))
		}
	}
	if unclear > 0 {
		parts = append(parts, "no transport wins over "+plural(unclear, "link"))
	}
	if len(parts) == 0 {
		return ""
	}
	return "Reading: at p99 " + strings.Join(parts, ", ") + "."
}

// legend explains the columns, and says what the transports do about lost packets.
func (r *linkReport) legend() string {
	texts := []string{"Latencies count from when a call was due."}
	if slices.ContainsFunc(r.Results, func(result linkResult) bool { return failing(&result) != "" }) {
		texts[0] += fmt.Sprintf(" Calls that failed count as if they had taken %v.", callTimeout)
	}
	if len(r.Transports) > 1 {
		texts = append(texts, fmt.Sprintf(
			"Intervals have a confidence of 99 %%, by %d parts of the time. A transport wins if its p99 is lower than all others by 5 %%, "+
				"and surely lower; %s is a ratio where neither does.", parts, undecided))
	}
	texts = append(texts, fmt.Sprintf("Congestion control: %s (TCP, the kernel's), %s (QUIC, quic-go's).",
		cmp.Or(r.TCPCongestion, "unknown"), r.QUICCongestion))
	if n := r.fewest(); n > 0 && n < enoughForP999 {
		texts = append(texts, fmt.Sprintf("Of a line with %d calls, %s above its p99.9: %s measures longer.",
			n, areIs(n/1000), cmp.Or(r.longer, "-link-time")))
	}
	return strings.Join(texts, " ")
}

func areIs(n int64) string {
	if n == 1 {
		return "1 is"
	}
	return strconv.FormatInt(n, 10) + " are"
}

// fewest is how many calls the shortest line has, or -1 if nothing was measured.
func (r *linkReport) fewest() int64 {
	n := int64(-1)
	for i := range r.Results {
		for _, l := range r.Results[i].ranking() {
			if n < 0 || l.Calls < n {
				n = l.Calls
			}
		}
	}
	return n
}

// warning says that the figures are not to be trusted, if so.
func (r *linkReport) warning() string {
	worst := 0.0
	for i := range r.Results {
		for _, l := range r.Results[i].ranking() {
			if l.Packets > 0 {
				worst = max(worst, float64(l.Overrun+l.Late)/float64(l.Packets))
			}
		}
	}
	if worst <= 0.01 {
		return ""
	}
	return fmt.Sprintf("Warning: the machine was too busy to emulate a link in time, for up to %.0f%% of the packets of a line. "+
		"Run it when the machine is quiet, or with a lower -link-rate.", 100*worst)
}

// millis is a time in milliseconds, which the column says.
func millis(d time.Duration) string { return digits(float64(d) / float64(time.Millisecond)) }
