package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/gridmux/gridmux/bench/internal/link"
)

// verdict says in a few plain sentences which transport to choose, and when compression
// pays, as far as there are figures that say so.
func (r *report) verdict() (sentences []string) {
	if !r.measured() {
		return nil
	}
	for _, s := range slices.Concat(r.localVerdict(), r.pacedVerdict(), r.Links.verdictOfAll(), r.Compression.verdict()) {
		sentences = append(sentences, strings.ToUpper(s[:1])+s[1:]) // none begins with a name
	}
	var failed []string
	for _, f := range r.Failures {
		if what := f.Transport + ", " + f.Doing; !slices.Contains(failed, what) {
			failed = append(failed, what)
		}
	}
	if len(failed) > 0 {
		sentences = append(sentences, "What failed has no part in this: "+strings.Join(failed, "; ")+".")
	}
	if r.Interrupted {
		sentences = append(sentences, "The run was interrupted; this is about what was complete.")
	}
	return sentences
}

// rivals returns the measured transports that leave the process.
func (r *report) rivals() (names []string) { return slices.DeleteFunc(r.transports(), inProcess) }

// inProcess reports whether a transport does not leave the process: nobody chooses between
// memory and a network.
func inProcess(name string) bool {
	return slices.ContainsFunc(kinds(), func(k kind) bool { return k.name == name && k.carrier == overMemory })
}

// standing is how a transport does beside the best, in all blocks of the tables together.
type standing struct {
	name        string
	least, most float64 // of the ratios of its rate to that of the best
	same        int     // blocks in which there is no difference to be seen
	narrow      int     // those of them in which there is no large one either
	unknown     int     // blocks with too few rounds to tell
	blocks      int
}

// beside compares a transport with another one, in the blocks that both have.
func (r *report) beside(name, best string) (s standing) {
	s = standing{name: name, least: 1e300}
	for _, t := range []table{calls, streams} {
		theirs := r.of(t, best)
		for _, mine := range r.of(t, name) {
			i := slices.IndexFunc(theirs, func(c cell) bool { return c.Title == mine.Title })
			if i < 0 {
				continue
			}
			all := ratios(mine.Windows, theirs[i].Windows)
			if len(all) == 0 {
				continue
			}
			ratio := median(all)
			s.least, s.most, s.blocks = min(s.least, ratio), max(s.most, ratio), s.blocks+1
			switch within := ratioInterval(all); {
			case !within.known():
				s.unknown++
			case within.same():
				s.same++
				if within.narrow() {
					s.narrow++
				}
			}
		}
	}
	return s
}

// localVerdict is about what there is without distance.
func (r *report) localVerdict() []string {
	where := "without distance and loss, as on this machine"
	if r.Path != "" {
		where = "over the path to " + r.Path
	}
	names := r.rivals()
	names = slices.DeleteFunc(names, func(n string) bool { return len(r.of(calls, n))+len(r.of(streams, n)) == 0 })
	few := r.fewRounds(names)
	enough := slices.DeleteFunc(slices.Clone(names), func(n string) bool { return slices.Contains(few, n) })
	switch {
	case len(names) == 0:
		return nil
	case len(names) == 1:
		return []string{fmt.Sprintf("%s: only %s was measured, so there is nothing to choose from.", where, names[0])}
	case len(enough) < 2:
		return []string{fmt.Sprintf("%s: too few rounds are complete to compare %s.", where, list(names))}
	}
	sentences := []string{where + ": " + r.localChoice(enough)}
	if len(few) > 0 {
		sentences = append(sentences, fmt.Sprintf("too few rounds are complete to compare %s with them.", list(few)))
	}
	partial := slices.DeleteFunc(r.partial(), func(n string) bool { return !slices.Contains(enough, n) })
	if len(partial) > 0 {
		sentences = append(sentences,
			fmt.Sprintf("before all rounds were complete %s failed, and is compared by those that were.", list(partial)))
	}
	if r.warning() != "" {
		sentences = append(sentences,
			"windows of the same measurement differ much: measure again, for longer, before you build on that.")
	}
	return sentences
}

// fewRounds returns those of some transports that failed too early to tell a difference from chance, where
// there was time for that.
func (r *report) fewRounds(names []string) (few []string) {
	for _, name := range names {
		if r.Rounds >= leastSamples && slices.ContainsFunc(slices.Concat(r.of(calls, name), r.of(streams, name)), func(c cell) bool {
			return len(c.Windows) < leastSamples
		}) {
			few = append(few, name)
		}
	}
	return few
}

// localChoice says which of two transports or more is the fastest, and how the others do
// beside it.
func (r *report) localChoice(names []string) string {
	best := r.fastest(names)
	var same, unclear, others []string
	for _, name := range names {
		if name == best {
			continue
		}
		switch s := r.beside(name, best); {
		case s.blocks == 0:
		case s.unknown > 0:
			return fmt.Sprintf("too few rounds are complete to compare %s.", list(names))
		case s.same == s.blocks && s.narrow == s.blocks:
			same = append(same, name)
		case s.same == s.blocks:
			unclear = append(unclear, name)
		default:
			does := fmt.Sprintf("%s does %s times as much", name, between(s.least, s.most))
			if s.least < 1 && s.most > 1.05 {
				does += ", by the load"
			}
			if s.same > 0 { // of many, one in a hundred differs by chance
				does += fmt.Sprintf(" (a difference in %d of %s)", s.blocks-s.same, plural(s.blocks, "load"))
			}
			others = append(others, does)
		}
	}
	switch {
	case len(others) == 0 && len(unclear) == 0:
		return fmt.Sprintf("no difference between %s, so choose by what else they offer.", list(append([]string{best}, same...)))
	case len(others) == 0:
		return fmt.Sprintf("these windows cannot tell %s apart, which may differ by more than %s: measure for longer.",
			list(slices.Concat([]string{best}, same, unclear)), times(narrowHigh))
	}
	s := best
	if encrypted := r.encrypted(names); len(encrypted) > 0 && !slices.Contains(encrypted, best) {
		// One that is as fast as the best, or may be, is named anyway.
		if fastest := r.fastest(encrypted); !slices.Contains(same, fastest) && !slices.Contains(unclear, fastest) {
			s += ", or of those with TLS " + fastest
		}
	}
	if len(same) > 0 {
		s += " or " + strings.Join(same, " or ") + ", between which there is no difference"
	}
	if len(unclear) > 0 {
		s += ", from which these windows cannot tell " + list(unclear)
	}
	return s + "; " + strings.Join(others, ", ") + "."
}

// encrypted returns those that have TLS.
func (r *report) encrypted(names []string) (with []string) {
	for _, k := range kinds() {
		if k.tls && slices.Contains(names, k.name) {
			with = append(with, k.name)
		}
	}
	return with
}

// pacedVerdict is about latency at a set rate.
func (r *report) pacedVerdict() []string {
	if r.Paced == nil || len(r.Paced.Results) == 0 {
		return nil
	}
	result := r.Paced.Results[0]
	result.Lines = slices.DeleteFunc(slices.Clone(result.Lines), func(l linkLine) bool { return inProcess(l.Transport) })
	if len(result.ranking()) < 2 {
		return nil
	}
	return []string{fmt.Sprintf("at %s calls a second over %s: %s.", count(float64(r.Paced.Rate)), result.Title, result.outcome())}
}

// fastest is the transport with the most calls and messages, by the mean of its ranks.
func (r *report) fastest(names []string) string {
	sum := map[string]int{}
	for _, t := range []table{calls, streams} {
		for _, title := range r.blocks(t) {
			cells := slices.DeleteFunc(r.block(t, title), func(c *cell) bool { return !slices.Contains(names, c.Transport) })
			slices.SortStableFunc(cells, func(a, b *cell) int { return cmp.Compare(b.PerSecond, a.PerSecond) })
			for _, name := range names {
				rank := slices.IndexFunc(cells, func(c *cell) bool { return c.Transport == name })
				if rank < 0 {
					rank = len(names) // what failed is not the fastest
				}
				sum[name] += rank
			}
		}
	}
	return slices.MinFunc(names, func(a, b string) int { return sum[a] - sum[b] })
}

// list joins names with commas and an "and".
func list(names []string) string {
	if len(names) < 2 {
		return strings.Join(names, "")
	}
	return strings.Join(names[:len(names)-1], ", ") + " and " + names[len(names)-1]
}

// verdictOfAll is about links.
func (r *linkReport) verdictOfAll() (sentences []string) {
	switch {
	case r == nil:
		return nil
	case r.LeftOut != "":
		return []string{"emulated links were left out, so nothing is said about distance and loss."}
	case len(r.Results) == 0:
		return nil
	case len(r.Transports) == 1:
		return []string{"over emulated links only " + r.Transports[0] + " was measured, so there is nothing to choose from."}
	}
	sentences = r.gridVerdict()
	for i := range r.Results {
		if result := &r.Results[i]; !result.Grid && len(result.Lines) > 1 {
			sentences = append(sentences, fmt.Sprintf("over %s: %s.", result.Title, result.outcome()))
		}
	}
	if slices.ContainsFunc(r.Results, func(l linkResult) bool { return l.tooShort() }) {
		sentences = append(sentences, fmt.Sprintf(
			"over some of these links %v each was too short to tell whether there is a difference: -link-time measures for longer.",
			r.Duration))
	}
	if r.warning() != "" && len(sentences) > 0 {
		sentences = append(sentences,
			"the links were late, for the machine was busy: measure again before you build on what is said of them.")
	}
	return sentences
}

// tooShort reports whether it cannot be told if the transport with the lowest p99 is faster than another one.
func (r *linkResult) tooShort() bool {
	all := r.ranking()
	return r.winner() == nil && len(all) > 1 && all[0].Failed == 0 && slices.ContainsFunc(all[1:], func(l *linkLine) bool {
		_, within := all[0].beside(l)
		return !within.known() || within.same() && !within.narrow()
	})
}

// outcome is who wins over a link, and by how much.
func (r *linkResult) outcome() string {
	w := r.winner()
	all := r.ranking()
	switch {
	case w == nil:
		return "no clear difference" + failing(r)
	case len(all) < 2:
		return w.Transport + ", the only one that connects"
	}
	return w.Transport + ", " + lead(all[:2])
}

// lead says by how much the first of two is ahead: at p99, which decides, and at p99.9 where there are
// calls enough for it to mean something.
func lead(two []*linkLine) string {
	factor := func(a, b time.Duration) string { return times(float64(b) / float64(max(a, 1))) }
	text := "by " + factor(two[0].P99, two[1].P99) + " at p99"
	if two[0].Calls >= 3000 {
		text += " and " + factor(two[0].P999, two[1].P999) + " at p99.9"
	}
	return text
}

// gridPart is links of the grid that have a loss or a round-trip time in common, or several
// with the same winner.
type gridPart struct {
	labels  []string
	winner  string // "": it depends
	results []*linkResult
}

// gridVerdict says for each loss who wins, or for each round-trip time if that decides.
func (r *linkReport) gridVerdict() []string {
	byLoss, byRTT := map[float64][]*linkResult{}, map[time.Duration][]*linkResult{}
	for i := range r.Results {
		if result := &r.Results[i]; result.Grid && len(result.Lines) > 1 {
			byLoss[result.Loss] = append(byLoss[result.Loss], result)
			byRTT[result.RTT] = append(byRTT[result.RTT], result)
		}
	}
	if len(byLoss) == 0 {
		return nil
	}
	losses, rtts := slices.Sorted(maps.Keys(byLoss)), slices.Sorted(maps.Keys(byRTT))
	var lossParts, rttParts []gridPart
	for _, loss := range losses {
		lossParts = addPart(lossParts, link.FormatShare(loss), byLoss[loss])
	}
	for _, rtt := range rtts {
		rttParts = addPart(rttParts, rtt.String(), byRTT[rtt])
	}
	depends := func(p gridPart) bool { return p.winner == "" }
	if slices.ContainsFunc(lossParts, depends) && !slices.ContainsFunc(rttParts, depends) {
		where := "with a loss of " + link.FormatShare(losses[0])
		if len(losses) > 1 {
			where += " to " + link.FormatShare(losses[len(losses)-1])
		}
		return []string{"over emulated links " + where + ", " + sayParts(rttParts, "over a round trip of ", "", "") + "."}
	}
	where := "over a round trip of " + rtts[0].String()
	if len(rtts) > 1 {
		where = "over round trips of " + rtts[0].String() + " to " + rtts[len(rtts)-1].String()
	}
	return []string{where + ", " + sayParts(lossParts, "with ", " loss", "without loss") + "."}
}

// addPart adds links, to the part before them if the same transport wins.
func addPart(to []gridPart, label string, results []*linkResult) []gridPart {
	winner := winnerOf(results)
	if n := len(to); n > 0 && winner != "" && to[n-1].winner == winner {
		to[n-1].labels = append(to[n-1].labels, label)
		to[n-1].results = append(to[n-1].results, results...)
		return to
	}
	return append(to, gridPart{[]string{label}, winner, results})
}

// sayParts says who wins in each, with words before and after their labels, and others for
// one of nothing.
func sayParts(parts []gridPart, before, after, zero string) string {
	var says []string
	for _, p := range parts {
		of := before + list(p.labels) + after
		switch {
		case zero != "" && len(p.labels) == 1 && p.labels[0] == link.FormatShare(0):
			of = zero
		case len(p.labels) > 1:
			of = "from " + p.labels[0] + " to " + p.labels[len(p.labels)-1] + after
		}
		says = append(says, of+": "+sayOutcome(p.winner, p.results))
	}
	return strings.Join(says, "; ")
}

// undecidedWinner stands for that no transport won.
const undecidedWinner = "nobody"

// winnerOf returns who wins over all of some links, or "" if that is not the same.
func winnerOf(results []*linkResult) string {
	name := ""
	for i, result := range results {
		this := undecidedWinner
		if w := result.winner(); w != nil {
			this = w.Transport
		}
		if i > 0 && this != name {
			return ""
		}
		name = this
	}
	return name
}

func sayOutcome(winner string, results []*linkResult) string {
	switch winner {
	case undecidedWinner:
		return "no clear difference" + failing(results...)
	case "":
		var each []string
		for _, result := range results {
			each = append(each, fmt.Sprintf("at %v %s", result.RTT, result.outcome()))
		}
		return strings.Join(each, ", ")
	}
	least, most := 1e300, 0.0
	for _, result := range results {
		all := result.ranking()
		if len(all) < 2 {
			return winner + ", the only one that connects"
		}
		factor := float64(all[1].P99) / float64(max(all[0].P99, 1))
		least, most = min(least, factor), max(most, factor)
	}
	return fmt.Sprintf("%s, by %s× at p99", winner, between(least, most))
}
