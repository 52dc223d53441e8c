package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/gridmux/gridmux/bench/internal/link"
)

// header says what is about to be measured, or was, in so many rounds.
func (r *compressionReport) header(rounds int) string {
	return wrap(fmt.Sprintf("Now compression, over %s: %d to %d callers send messages of each payload and size from a to b, which "+
		"answers with their length: as they are, with s2 and with zstd, each also with a dictionary, where that makes messages "+
		"smaller and they have at most %s. %s of %v per line, the first %v of each not counted.",
		r.Transport, leastCallers, mostCallers, octets(dictionaryUpTo), plural(rounds, "window"), r.WarmUp+r.Window, r.WarmUp), lineWidth)
}

// render prints what every codec makes of the messages, and over which links it pays.
func (r *compressionReport) render(w io.Writer) {
	if len(r.Results) == 0 {
		return
	}
	if r.Rounds < r.Planned {
		fmt.Fprintf(w, "\nInterrupted after round %d of %d, this is what was complete of compression.\n", r.Rounds, r.Planned)
	}
	fmt.Fprintf(w, "\n%s\n\n%s\n", wrap("Compression: what is left of each message, and below which speed of a link, "+
		"in Mbit/s, there are more calls than without", lineWidth), r.table())
	fmt.Fprintf(w, "\nThe fastest over a link of a speed, and how many times as many calls as without\n\n%s\n", r.choices())
	for _, text := range []string{r.reading(), r.legend(), r.warning()} {
		if text != "" {
			fmt.Fprintf(w, "\n%s\n", wrap(text, lineWidth))
		}
	}
	if r.LeftOut != "" {
		fmt.Fprintf(w, "\nLinks of different speed are left out: %s.\n", r.LeftOut)
	}
	if len(r.Links) > 0 {
		first := &r.Links[0]
		fmt.Fprintf(w, "\nMeasured over emulated links, %s of %s\n\n%s\n", octets(first.Size), first.Payload, r.measuredTable())
		if warning := r.lateWarning(); warning != "" {
			fmt.Fprintf(w, "\n%s\n", wrap(warning, lineWidth))
		}
	}
}

// names returns the ways that there are with a codec.
func (r *compressionReport) names() []string {
	return slices.DeleteFunc(wayNames(), func(name string) bool {
		return name == off || !slices.ContainsFunc(r.Results, func(c compressionResult) bool { return c.line(name) != nil })
	})
}

// rows makes a line for each result, below one for its payload.
func (r *compressionReport) rows(values func(c *compressionResult) []string) (rows [][]string) {
	block := ""
	for i := range r.Results {
		c := &r.Results[i]
		if c.Payload != block {
			block = c.Payload
			rows = append(rows, []string{block})
		}
		rows = append(rows, append([]string{"  " + octets(c.Size)}, values(c)...))
	}
	return rows
}

// nothing is where a codec has not been tried.
const nothing = "-"

func (r *compressionReport) table() string { return grid(r.leftRows()) }

func (r *compressionReport) leftRows() (header []string, rows [][]string) {
	header = []string{"", "off\nMiB/s"}
	for _, name := range r.names() {
		header = append(header, name+"\nleft", "\nbelow")
	}
	return header, r.rows(func(c *compressionResult) []string {
		plain := &c.Lines[0]
		row := []string{mebibytes(plain.PerSecond * float64(c.Size))}
		for _, name := range r.names() {
			l := c.line(name)
			if l == nil {
				row = append(row, nothing, nothing)
				continue
			}
			row = append(row, strconv.FormatFloat(l.Octets/plain.Octets, 'f', 2, 64), l.below())
		}
		return row
	})
}

// below says over which links the way wins.
func (l *compressionLine) below() string {
	switch l.Wins {
	case winsBelow:
		return count(l.WinsBelow / 1e6)
	case winsAlways:
		return "any"
	default:
		return "none"
	}
}

// choices is which way to send is the fastest.
func (r *compressionReport) choices() string { return grid(r.choiceRows()) }

func (r *compressionReport) choiceRows() (header []string, rows [][]string) {
	header = []string{""}
	for _, speed := range speeds {
		header = append(header, link.FormatRate(speed))
	}
	return header, r.rows(func(c *compressionResult) (row []string) {
		for _, speed := range speeds {
			row = append(row, c.choice(speed))
		}
		return row
	})
}

// choice is the fastest way over a link of a speed, and what it gains.
func (r *compressionResult) choice(speed float64) string {
	best, gain := r.fastest(speed)
	if best.Codec == off {
		return off
	}
	return best.Codec + " " + times(gain)
}

// measuredTable has the links side by side.
func (r *compressionReport) measuredTable() string { return grid(r.measuredRows()) }

func (r *compressionReport) measuredRows() (header []string, rows [][]string) {
	for _, l := range r.Links {
		rows = append(rows, []string{link.FormatRate(l.Bits)})
		for _, way := range l.Lines {
			rows = append(rows, []string{"  " + way.Codec, count(way.PerSecond), way.gain(), times(way.Computed)})
		}
	}
	return []string{"", "requests\nper s", "vs off\n99% interval", "as\ncomputed"}, rows
}

// gain says how many times as much as without compression, and where that is.
func (l *speedLine) gain() string {
	switch {
	case l.Codec == off || !l.Within.known():
		return times(l.Gain)
	case l.Within.same():
		return undecided + " " + times(l.Gain) + " " + l.Within.String()
	}
	return times(l.Gain) + " " + l.Within.String()
}

// reading says the tables in a sentence, or two.
func (r *compressionReport) reading() string {
	var parts, texts []string
	for _, name := range r.names() {
		var limits []float64
		always := false
		for i := range r.Results {
			l := r.Results[i].line(name)
			if l != nil && l.Wins == winsBelow {
				limits = append(limits, l.WinsBelow/1e6)
			}
			always = always || l != nil && l.Wins == winsAlways
		}
		if text := belowSpeeds(limits, always); text != "" {
			parts = append(parts, "with "+name+" "+text)
		}
	}
	if len(parts) > 0 {
		texts = append(texts, "where messages get smaller it pays to send them "+strings.Join(parts, ", ")+".")
	}
	if names := r.incompressible(); len(names) > 0 {
		texts = append(texts, "nothing makes "+strings.Join(names, " or ")+" smaller, and core hardly tries.")
	}
	return "Reading: " + strings.Join(texts, " And ")
}

// belowSpeeds says over which links a codec pays. always: over any link for some messages.
func belowSpeeds(limits []float64, always bool) string {
	switch {
	case len(limits) > 0 && always:
		return "below " + count(slices.Min(limits)) + " Mbit/s to any speed"
	case len(limits) > 0:
		least, most := count(slices.Min(limits)), count(slices.Max(limits))
		if least == most {
			return "below " + least + " Mbit/s"
		}
		return "below " + least + " to " + most + " Mbit/s"
	case always:
		return "at any speed"
	default:
		return ""
	}
}

// incompressible returns the payloads of which nothing makes messages of any size smaller.
func (r *compressionReport) incompressible() (names []string) {
	for i := range r.Results {
		if name := r.Results[i].Payload; !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return slices.DeleteFunc(names, func(name string) bool {
		return slices.ContainsFunc(r.Results, func(c compressionResult) bool {
			return c.Payload == name && slices.ContainsFunc(c.Lines, func(l compressionLine) bool { return l.Wins != winsNever })
		})
	})
}

func (r *compressionReport) legend() string {
	return fmt.Sprintf("Computed from calls and bytes here: over a slower link there are as many calls as fit through it, up to as many "+
		"as the processors can do. Here these do the work of both nodes, and nothing else: two machines of this sort that are "+
		"idle otherwise would have up to twice the speeds, busy ones have less. Messages below %s, or with a dictionary "+
		"below %s, are sent as they are.", octets(512), octets(64))
}

// warning says that the figures are not to be trusted, if so.
func (r *compressionReport) warning() string {
	worst := 0.0
	for i := range r.Results {
		for _, l := range r.Results[i].Lines {
			worst = max(worst, l.Spread)
		}
	}
	if worst <= compressionNoisy {
		return ""
	}
	return fmt.Sprintf("Warning: windows of the same messages differ by up to %s, and the speeds are as rough. "+
		"Measure for longer, with -compression-time.", percent(worst))
}

// lateWarning says that a link was not what it should be, if so.
func (r *compressionReport) lateWarning() string {
	worst := slices.MaxFunc(r.Links, func(a, b speedResult) int { return cmp.Compare(a.Late, b.Late) })
	if worst.Late <= 0.01 {
		return ""
	}
	return fmt.Sprintf("Warning: the machine was too busy to emulate a link of %s in time, for %.0f%% of the packets. "+
		"There the processors were slower than the link.", link.FormatRate(worst.Bits), 100*worst.Late)
}

// compressionNoisy is the spread from which on there is a warning. A speed from which
// on something pays need not be more precise, and windows are short.
const compressionNoisy = 0.5

// octets is a size for a table.
func octets(n int) string {
	switch {
	case n >= 1<<20 && n%(1<<20) == 0:
		return strconv.Itoa(n>>20) + " MiB"
	case n >= 1<<10 && n%(1<<10) == 0:
		return strconv.Itoa(n>>10) + " KiB"
	default:
		return count(float64(n)) + " B"
	}
}
