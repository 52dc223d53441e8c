package main

import (
	"math"
	"slices"
	"sort"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// blocks are latencies in parts of one run or several. What makes calls slow, such as a packet
// that is lost, does so to several one after another, so that it is parts that are
// samples, and not calls.
type blocks struct {
	latencies []int64   // rising
	upTo      [][]int64 // how many calls of a part took as long as each of those at most
}

func newBlocks(of []*histogram) *blocks {
	b := &blocks{upTo: make([][]int64, len(of))}
	calls := make([][]hdrhistogram.Bar, len(of))
	for i, h := range of {
		calls[i] = h.calls()
		for _, bar := range calls[i] {
			b.latencies = append(b.latencies, bar.To)
		}
	}
	slices.Sort(b.latencies)
	b.latencies = slices.Compact(b.latencies)
	for i, bars := range calls {
		b.upTo[i] = make([]int64, len(b.latencies))
		total := int64(0)
		for j, latency := range b.latencies {
			if len(bars) > 0 && bars[0].To == latency {
				total += bars[0].Count
				bars = bars[1:]
			}
			b.upTo[i][j] = total
		}
	}
	return b
}

// p99 is that of all calls if each part was there so many times, of which one must be.
func (b *blocks) p99(times []int64) float64 {
	within := func(i int) (calls int64) {
		for part, n := range times {
			if n > 0 {
				calls += n * b.upTo[part][i]
			}
		}
		return calls
	}
	last := len(b.latencies) - 1
	rank := int64(0.99*float64(within(last)) + 0.5) // as a histogram has it
	return float64(b.latencies[sort.Search(last, func(i int) bool { return within(i) >= rank })])
}

// tails compares the p99 of two, each in parts.
type tails struct {
	*blocks // the parts of one, then those of the other

	mine, theirs int // how many those are
}

func newTails(mine, theirs []*histogram) *tails {
	return &tails{newBlocks(slices.Concat(mine, theirs)), len(mine), len(theirs)}
}

// ratio is the logarithm of that of the p99 of two that have each part so many times.
func (t *tails) ratio(mine, theirs []int64) float64 { return math.Log(t.p99(mine) / t.p99(theirs)) }

// split has each part in what it is of.
func (t *tails) split() (mine, theirs []int64) {
	mine, theirs = make([]int64, t.mine+t.theirs), make([]int64, t.mine+t.theirs)
	for i := range mine {
		if i < t.mine {
			mine[i] = 1
		} else {
			theirs[i] = 1
		}
	}
	return mine, theirs
}

// slow is which share of the calls of each part is among the slowest hundredth of all together.
func (t *tails) slow() []float64 {
	all := make([]int64, t.mine+t.theirs)
	for i := range all {
		all[i] = 1
	}
	from, _ := slices.BinarySearch(t.latencies, int64(t.p99(all)))
	shares := make([]float64, len(all))
	for i, upTo := range t.upTo {
		calls, fast := upTo[len(upTo)-1], int64(0)
		if from > 0 {
			fast = upTo[from-1]
		}
		shares[i] = float64(calls-fast) / float64(calls)
	}
	return shares
}

// alone is the logarithm of the p99 of each part.
func (t *tails) alone() []float64 {
	all, one := make([]float64, t.mine+t.theirs), make([]int64, t.mine+t.theirs)
	for part := range all {
		one[part] = 1
		all[part] = math.Log(t.p99(one))
		one[part] = 0
	}
	return all
}

// nearest is the one of some logarithms that is the nearest to 0, or 0 if they are on both sides of it.
func nearest(logs []float64) float64 {
	return max(slices.Min(logs), 0) + min(slices.Max(logs), 0)
}

// pairedTails compares two whose parts were measured at the same time, or one right after the other: how
// many times as long the p99 of one is, and where that is. Parts in which one of them has no call
// do not count; without any, nothing is known. Beyond what a bootstrap says, the interval holds 1
// unless a test says that there is a difference, with the same confidence: of something slow that happened
// to one alone, and may as well happen to the other, a bootstrap knows nothing.
func pairedTails(a, b *[parts]*histogram) (ratio float64, within interval) {
	var mine, theirs []*histogram
	for part := range parts {
		if a[part].recorded() && b[part].recorded() {
			mine, theirs = append(mine, a[part]), append(theirs, b[part])
		}
	}
	n := len(mine)
	if n == 0 {
		return 0, interval{}
	}
	t := newTails(mine, theirs)
	mid := t.ratio(t.split())
	if n < leastSamples {
		return math.Exp(mid), interval{}
	}
	random := bootstrapSource()
	draws := make([]float64, resamples)
	x, y := make([]int64, 2*n), make([]int64, 2*n)
	for i := range draws {
		clear(x)
		clear(y)
		for range n {
			part := random.IntN(n)
			x[part]++
			y[n+part]++
		}
		draws[i] = t.ratio(x, y)
	}
	return math.Exp(mid), around(draws, mid, n, t.pairedDoubt())
}

// doubt is how likely what was measured is where there is no difference, by two tests together: of how many calls
// are slow, which says little where nearly all of them are in few parts; and of whether each part of one
// has the lower p99, by whatever factor.
type doubt struct {
	chance  float64
	nearest float64 // of the logarithms of the ratios of two parts
}

// pairedDoubt is that of parts that were measured in pairs. If there is no difference, what was
// measured in a part may as well have been that of the other: all ways to exchange them are as likely.
// Of the two tests the one counts that finds less chance, and so it does for each way to exchange them.
func (t *tails) pairedDoubt() doubt {
	n := t.mine
	slow, p99 := t.slow(), t.alone()
	more := make([]float64, 1<<n)
	for exchanged := range more {
		sum := 0.0
		for part := range n {
			if exchanged&(1<<part) == 0 {
				sum += slow[part] - slow[n+part]
			} else {
				sum -= slow[part] - slow[n+part]
			}
		}
		more[exchanged] = math.Abs(sum)
	}
	ratios, below, even := make([]float64, n), 0, false
	for part := range ratios {
		ratios[part] = p99[part] - p99[n+part]
		if ratios[part] < 0 {
			below |= 1 << part
		}
		even = even || ratios[part] == 0
	}
	sorted := slices.Sorted(slices.Values(more))
	least := func(exchanged int) int {
		if !even && (exchanged == below || exchanged == len(more)-1-below) {
			return 2 // these two have all parts on one side
		}
		asFar, _ := slices.BinarySearch(sorted, more[exchanged]-rounding)
		return len(more) - asFar
	}
	measured, asFar := least(0), 0
	for exchanged := range more {
		if least(exchanged) <= measured {
			asFar++
		}
	}
	return doubt{float64(asFar) / float64(len(more)), nearest(ratios)}
}

// rounding is less than any share of calls, and more than the sum of some is off.
const rounding = 1e-9

// tailsApart is pairedTails for two that were measured apart.
func tailsApart(a, b *[parts]*histogram) (ratio float64, within interval) {
	recorded := func(of *[parts]*histogram) []*histogram {
		return slices.DeleteFunc(slices.Clone(of[:]), func(h *histogram) bool { return !h.recorded() })
	}
	mine, theirs := recorded(a), recorded(b)
	n, m := len(mine), len(theirs)
	if n == 0 || m == 0 {
		return 0, interval{}
	}
	t := newTails(mine, theirs)
	mid := t.ratio(t.split())
	if min(n, m) < leastSamples {
		return math.Exp(mid), interval{}
	}
	random := bootstrapSource()
	draws := make([]float64, resamples)
	x, y := make([]int64, n+m), make([]int64, n+m)
	for i := range draws {
		clear(x)
		clear(y)
		for range n {
			x[random.IntN(n)]++
		}
		for range m {
			y[n+random.IntN(m)]++
		}
		draws[i] = t.ratio(x, y)
	}
	return math.Exp(mid), around(draws, mid, min(n, m), t.doubtApart())
}

// doubtApart is that of parts that are in no pairs: if there is no difference, each may as well be of the other.
func (t *tails) doubtApart() doubt {
	n, m := t.mine, t.theirs
	slow, p99 := t.slow(), t.alone()
	more := func(order []int) (sum float64) {
		for at, part := range order {
			if at < n {
				sum += slow[part] / float64(n)
			} else {
				sum -= slow[part] / float64(m)
			}
		}
		return math.Abs(sum)
	}
	order := make([]int, n+m)
	for i := range order {
		order[i] = i
	}
	measured, asFar := more(order), 1 // itself
	random := bootstrapSource()
	for range resamples {
		random.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
		if more(order) >= measured-rounding {
			asFar++
		}
	}
	chance := float64(asFar) / (resamples + 1)
	oneSided := 2.0 // of all ways to divide the parts
	for i := range n {
		oneSided *= float64(i+1) / float64(m+i+1)
	}
	near := nearest([]float64{
		slices.Min(p99[:n]) - slices.Max(p99[n:]),
		slices.Max(p99[:n]) - slices.Min(p99[n:]),
	})
	if near != 0 {
		chance = min(chance, oneSided)
	}
	return doubt{chance + min(chance, oneSided), near} // either test may be wrong
}

// around is the interval of logarithms of ratios that a bootstrap drew, around what was measured, and around
// none if that is as likely as chance says. Where all parts are on one side of none, the interval ends at the
// nearest: a bootstrap, which may draw one part again and again, is too wide there.
func around(draws []float64, mid float64, samples int, d doubt) interval {
	i := percentiles(draws).widened(mid, samples, interval{math.Inf(-1), math.Inf(1)})
	switch {
	case d.chance > 1-confidence:
		i.Low, i.High = min(i.Low, 0), max(i.High, 0)
	case d.nearest < 0 && mid < 0:
		i.High = min(i.High, d.nearest)
	case d.nearest > 0 && mid > 0:
		i.Low = max(i.Low, d.nearest)
	}
	i.Low, i.High = min(i.Low, mid), max(i.High, mid)
	return i.exp()
}
