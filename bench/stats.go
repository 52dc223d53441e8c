package main

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"

	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/gonum/stat/distuv"
)

const (
	// confidence is how often an interval holds what it is about.
	confidence = 0.99
	// resamples is how many samples a bootstrap draws: ten above each end of the interval.
	resamples = 2000
	// bootstrapSeed makes the same samples give the same interval.
	bootstrapSeed = 1
	// leastSamples is how many samples an interval needs. Of fewer nothing is said.
	leastSamples = 3
	// certainSamples are all on one side of the median once in 128 times, whatever they are
	// samples of.
	certainSamples = 8
)

// interval is where a median is with a confidence of 99 %, or where the ratio of two is.
// The zero value says that there are too few samples to tell.
type interval struct {
	Low  float64 `json:"low"`
	High float64 `json:"high"`
}

// known reports whether there is an interval.
func (i interval) known() bool { return i != interval{} }

// holds reports whether the interval is known and has v in it.
func (i interval) holds(v float64) bool { return i.known() && i.Low <= v && v <= i.High }

// with is the interval with a value in it, as far as it is known.
func (i interval) with(v float64) interval {
	if !i.known() {
		return i
	}
	return interval{min(i.Low, v), max(i.High, v)}
}

// same reports of the interval of a ratio that there is no difference to be seen. Where
// too little was measured to see one it does not.
func (i interval) same() bool { return i.holds(1) }

// above reports of the interval of a ratio that it is surely more than 1.
func (i interval) above() bool { return i.known() && i.Low > 1 }

// below reports that it is surely less.
func (i interval) below() bool { return i.known() && i.High < 1 }

// Between these a ratio is no reason to choose one or the other.
const (
	narrowLow  = 0.8
	narrowHigh = 1.25
)

// narrow reports of the interval of a ratio that none far from 1 is in it.
func (i interval) narrow() bool { return i.known() && narrowLow <= i.Low && i.High <= narrowHigh }

// medianInterval returns where the median is of what the values, none of them negative,
// are samples of.
func medianInterval(values []float64) interval {
	if len(values) < leastSamples {
		return interval{}
	}
	sorted := slices.Sorted(slices.Values(values))
	random := bootstrapSource()
	draws := make([]float64, resamples)
	for i := range draws {
		draws[i] = resampledMedian(random, sorted)
	}
	i := percentiles(draws).widened(median(sorted), len(sorted), ends(sorted))
	i.Low = max(i.Low, 0) // which only widening can have made negative
	return i
}

// ratioInterval returns where the median is of ratios, each of two that were measured one
// right after the other, so that what the machine did meanwhile disturbed both. Of
// what is not positive it says nothing.
func ratioInterval(ratios []float64) interval {
	n := len(ratios)
	if n < leastSamples || slices.Min(ratios) <= 0 {
		return interval{}
	}
	logs := make([]float64, n)
	for i, r := range ratios {
		logs[i] = math.Log(r) // of which half as many and twice as many are as far from as many
	}
	slices.Sort(logs)
	random := bootstrapSource()
	draws := make([]float64, resamples)
	for i := range draws {
		draws[i] = resampledMedian(random, logs)
	}
	return percentiles(draws).widened(median(logs), n, ends(logs)).exp()
}

// quotientInterval returns where the ratio of the medians of two is, which were measured
// apart: what the values are samples of, in times of what the others are. Of what is
// not positive it says nothing.
func quotientInterval(values, of []float64) interval {
	n := min(len(values), len(of))
	if n < leastSamples || slices.Min(values) <= 0 || slices.Min(of) <= 0 {
		return interval{}
	}
	a, b := slices.Sorted(slices.Values(values)), slices.Sorted(slices.Values(of))
	random := bootstrapSource()
	draws := make([]float64, resamples)
	for i := range draws {
		draws[i] = math.Log(resampledMedian(random, a) / resampledMedian(random, b))
	}
	all := interval{math.Log(a[0] / b[len(b)-1]), math.Log(a[len(a)-1] / b[0])} // that the ratio can be
	return percentiles(draws).widened(math.Log(median(a)/median(b)), n, all).exp()
}

func bootstrapSource() *rand.Rand { return rand.New(rand.NewPCG(bootstrapSeed, 0)) }

// resampledMedian is the median of as many values drawn from the sorted ones.
func resampledMedian(random *rand.Rand, sorted []float64) float64 {
	// The median is the one with the middle of the drawn ranks, which fit on the stack.
	var few [maxRounds]int
	ranks := few[:0]
	for range sorted {
		ranks = append(ranks, random.IntN(len(sorted)))
	}
	slices.Sort(ranks)
	return sorted[ranks[(len(ranks)-1)/2]]
}

// percentiles is the middle of the draws, which it sorts.
func percentiles(draws []float64) interval {
	slices.Sort(draws)
	tail := (1 - confidence) / 2
	return interval{
		stat.Quantile(tail, stat.Empirical, draws, nil),
		stat.Quantile(1-tail, stat.Empirical, draws, nil),
	}
}

// widened makes up for few samples as the distribution of Student does for the normal one:
// of three windows a bootstrap draws nothing beyond the three, which are all on one side
// of the truth in a quarter of all cases. From certainSamples on the least and the
// largest have the median between them anyway.
func (i interval) widened(mid float64, samples int, within interval) interval {
	upper := 1 - (1-confidence)/2
	factor := distuv.StudentsT{Sigma: 1, Nu: float64(samples - 1)}.Quantile(upper) / distuv.UnitNormal.Quantile(upper)
	wide := interval{mid - factor*(mid-i.Low), mid + factor*(i.High-mid)}
	if samples >= certainSamples {
		wide = interval{max(wide.Low, within.Low), min(wide.High, within.High)}
	}
	return wide
}

func ends(sorted []float64) interval { return interval{sorted[0], sorted[len(sorted)-1]} }

func (i interval) exp() interval { return interval{math.Exp(i.Low), math.Exp(i.High)} }

// median returns the middle of some values, of which there has to be one.
func median[T cmp.Ordered](values []T) T {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[(len(sorted)-1)/2]
}

// spread returns how far the farthest value is from the median, in parts of it.
func spread(values []float64) float64 {
	mid := median(values)
	if mid == 0 {
		return 0
	}
	far := 0.0
	for _, v := range values {
		far = max(far, math.Abs(v-mid))
	}
	return far / mid
}
