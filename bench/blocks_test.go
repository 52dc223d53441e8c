package main

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// spells makes up a run of calls, of which now and then some in a row are slow: one in so many begins it,
// so many of them.
func spells(random *rand.Rand, calls, oneIn, inRow int, factor float64) *[parts]*histogram {
	of := new([parts]*histogram)
	slow := 0
	for i := range of {
		h := newLinkHistogram()
		for range calls {
			if random.IntN(oneIn) == 0 {
				slow = inRow
			}
			latency := 20 * (1 + random.Float64()/50)
			if slow > 0 {
				latency += 40 * factor * random.Float64()
				slow--
			}
			_ = h.RecordValue(int64(latency * float64(time.Millisecond)))
		}
		of[i] = &histogram{Histogram: h}
	}
	return of
}

// TestBlocks expects the p99 of parts to be that of a histogram with the same calls.
func TestBlocks(t *testing.T) {
	of := spells(rand.New(rand.NewPCG(1, 1)), 300, 100, 10, 1)
	b := newBlocks(of[:])
	random := rand.New(rand.NewPCG(1, 2))
	for range 100 {
		times := make([]int64, parts)
		all := newLinkHistogram()
		for i := range times {
			times[i] = random.Int64N(3)
			for range times[i] {
				all.Merge(of[i].Histogram)
			}
		}
		if got, want := b.p99(times), all.ValueAtQuantile(99); got != float64(want) {
			t.Errorf("of parts %v: %v, want %d", times, got, want)
		}
	}
}

// TestTailsOfTheSame expects a transport that is compared with itself to differ once in a hundred
// comparisons, also where what is slow is so for most of a part, which happens to one of two by chance.
func TestTailsOfTheSame(t *testing.T) {
	for _, test := range []struct{ oneIn, inRow int }{{100, 10}, {500, 30}, {2000, 100}} {
		random := rand.New(rand.NewPCG(1, uint64(test.inRow)))
		const runs = 60
		paired, apart := 0, 0
		for range runs {
			a, b := spells(random, 166, test.oneIn, test.inRow, 1), spells(random, 166, test.oneIn, test.inRow, 1)
			if _, within := pairedTails(a, b); !within.same() {
				paired++
			}
			if _, within := tailsApart(a, b); !within.same() {
				apart++
			}
		}
		if paired > runs/30 || apart > runs/30 {
			t.Errorf("%d slow calls in a row: of %d comparisons %d differ, and %d of runs apart", test.inRow, runs, paired, apart)
		}
	}
}

// TestTailsDiffer expects a tail that is clearly better to be seen, and the ratio to be in its interval.
func TestTailsDiffer(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 3))
	const runs = 50
	paired, apart := 0, 0
	for range runs {
		better, worse := spells(random, 300, 100, 10, 0.3), spells(random, 300, 100, 10, 1)
		ratio, within := pairedTails(better, worse)
		if within.below() {
			paired++
		}
		if !within.holds(ratio) || ratio > 0.9 {
			t.Errorf("a ratio of %.2f, within %v", ratio, within)
		}
		if ratio, within = tailsApart(better, worse); within.below() {
			apart++
		}
		if !within.holds(ratio) {
			t.Errorf("apart, a ratio of %.2f, within %v", ratio, within)
		}
	}
	if paired < runs*4/5 || apart < runs*4/5 {
		t.Errorf("of %d differences %d are seen, and %d of runs apart", runs, paired, apart)
	}
}

// TestTailsOfOnePart expects a ratio that one part decides not to be taken for a difference, and to be in its
// interval. That of the ratios of the parts was beside it: 0.20, from 0.83 to 0.99.
func TestTailsOfOnePart(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 4))
	a, b := spells(random, 300, 100, 10, 1), spells(random, 300, 100, 10, 1)
	for range 100 {
		_ = a[4].RecordValue(int64(time.Second))
	}
	if ratio, within := pairedTails(a, b); ratio < 10 || !within.holds(ratio) || !within.same() {
		t.Errorf("a ratio of %.2f, within %v", ratio, within)
	}
}

// TestTailsByChance expects slow calls in most parts of one transport, and in none of the other, not to be a
// difference: they are five times heads. A bootstrap, which never sees the other one slow, is sure of it.
func TestTailsByChance(t *testing.T) {
	a, b := new([parts]*histogram), new([parts]*histogram)
	for part := range parts {
		for _, of := range []*[parts]*histogram{a, b} {
			of[part] = &histogram{Histogram: newLinkHistogram()}
			_ = of[part].RecordValues(int64(20*time.Millisecond), 100)
		}
		if part < 5 {
			_ = a[part].RecordValues(int64(time.Second), 30)
		}
	}
	for what, compare := range map[string]func(a, b *[parts]*histogram) (float64, interval){"paired": pairedTails, "apart": tailsApart} {
		if ratio, within := compare(a, b); ratio < 10 || !within.same() || !within.holds(ratio) {
			t.Errorf("%s: a ratio of %.2f, within %v", what, ratio, within)
		}
	}
}

// clustered are parts of which the p99 is so many times that of the others, and in few of which nearly all that is
// slow is, as where a burst of loss hits.
func clustered(factor float64) (a, b *[parts]*histogram) {
	a, b = new([parts]*histogram), new([parts]*histogram)
	for part := range parts {
		tail := 30 * time.Millisecond
		if part < 2 {
			tail = time.Second
		}
		a[part], b[part] = &histogram{Histogram: newLinkHistogram()}, &histogram{Histogram: newLinkHistogram()}
		_ = a[part].RecordValues(int64(20*time.Millisecond), 980)
		_ = b[part].RecordValues(int64(20*time.Millisecond), 980)
		_ = a[part].RecordValues(int64(factor*float64(tail)), 20)
		_ = b[part].RecordValues(int64(tail), 20)
	}
	return a, b
}

// TestTailsInFewParts expects what is faster in each of the parts to be a difference, also where nearly all that
// is slow is in two of them, and what is so in all but one not to be.
func TestTailsInFewParts(t *testing.T) {
	for what, compare := range map[string]func(a, b *[parts]*histogram) (float64, interval){"paired": pairedTails, "apart": tailsApart} {
		a, b := clustered(0.7)
		if what == "apart" {
			a, _ = clustered(0.02) // whatever the part is
		}
		if ratio, within := compare(a, b); !within.below() || !within.holds(ratio) {
			t.Errorf("%s: a ratio of %.2f, within %v", what, ratio, within)
		}
		if ratio, within := compare(b, a); !within.above() || !within.holds(ratio) {
			t.Errorf("%s, the other way round: a ratio of %.2f, within %v", what, ratio, within)
		}
		a[8], b[8] = b[8], a[8]
		if ratio, within := compare(a, b); !within.same() || !within.holds(ratio) {
			t.Errorf("%s, one part the other way round: a ratio of %.2f, within %v", what, ratio, within)
		}
	}
}

// TestFalseAlarms expects the tests to find a difference between two that are the same no more often than a
// confidence of 99 % allows, whatever the tail: without one, no bootstrap makes it a difference.
func TestFalseAlarms(t *testing.T) {
	const runs, most = 500, 5 + 7               // three deviations
	for _, shape := range []float64{0.7, 1.5} { // of Pareto: without a mean, and without a variance
		random := rand.New(rand.NewPCG(2, uint64(10*shape)))
		heavy := func() float64 { return math.Pow(1-random.Float64(), -1/shape) }
		paired, apart := 0, 0
		for range runs {
			all := tails{&blocks{upTo: make([][]int64, 2*parts)}, parts, parts}
			var of [2 * parts][]int64
			for part := range of {
				weather := heavy() // what is slow is so for a while
				for range 30 {
					of[part] = append(of[part], int64(1000*min(weather*heavy(), 1e9)))
				}
				slices.Sort(of[part])
				all.latencies = append(all.latencies, of[part]...)
			}
			slices.Sort(all.latencies)
			for part := range of {
				for _, latency := range all.latencies {
					upTo, _ := slices.BinarySearch(of[part], latency+1)
					all.upTo[part] = append(all.upTo[part], int64(upTo))
				}
			}
			if all.pairedDoubt().chance <= 1-confidence {
				paired++
			}
			if all.doubtApart().chance <= 1-confidence {
				apart++
			}
		}
		if paired > most || apart > most || paired == 0 {
			t.Errorf("a tail of %v: of %d comparisons %d differ, and %d of runs apart", shape, runs, paired, apart)
		}
		t.Logf("a tail of %v: of %d comparisons %d differ, and %d of runs apart", shape, runs, paired, apart)
	}
}

// TestAround expects what was measured to be in its interval, whatever a bootstrap draws.
func TestAround(t *testing.T) {
	draws := make([]float64, resamples)
	for _, mid := range []float64{-1, 1} {
		if i := around(draws, mid, parts, doubt{}); !i.holds(math.Exp(mid)) {
			t.Errorf("%.2f is not within %v", math.Exp(mid), i)
		}
	}
}

// TestTailsOfFewParts expects nothing to be said of two parts, and parts without calls not to count.
func TestTailsOfFewParts(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 5))
	a, b := spells(random, 300, 100, 10, 1), spells(random, 300, 100, 10, 10)
	none := new([parts]*histogram)
	if ratio, within := pairedTails(a, none); ratio != 0 || within.known() {
		t.Errorf("%.2f, within %v, beside nothing", ratio, within)
	}
	if ratio, within := tailsApart(none, a); ratio != 0 || within.known() {
		t.Errorf("%.2f, within %v, of nothing", ratio, within)
	}
	for i := range parts - 2 {
		a[i] = &histogram{Histogram: newLinkHistogram()}
	}
	ratio, within := pairedTails(a, b)
	b[0], b[1], b[2] = nil, nil, nil // where a has no calls either
	if again, _ := pairedTails(a, b); ratio <= 0 || again != ratio || within.known() {
		t.Errorf("%.2f and %.2f, within %v, of two parts", ratio, again, within)
	}
}
