package main

import (
	"math"
	"math/rand/v2"
	"testing"
)

// drawn returns samples of a machine that now and then does something else: a normal
// distribution with a long tail to one side.
func drawn(random *rand.Rand, n int, mean float64) []float64 {
	values := make([]float64, n)
	for i := range values {
		values[i] = mean * (1 + 0.03*random.NormFloat64())
		if random.IntN(10) == 0 {
			values[i] *= 0.8
		}
	}
	return values
}

func divided(a, b []float64) []float64 {
	ratios := make([]float64, len(a))
	for i := range a {
		ratios[i] = a[i] / b[i]
	}
	return ratios
}

// TestSelfComparison expects a contender that is compared with itself to show no difference in
// at least 17 of every 20 comparisons, whatever the number of rounds, be they measured in turn or
// apart.
func TestSelfComparison(t *testing.T) {
	const twenties = 2
	for _, rounds := range []int{minRounds, 5, 7, usualRounds, maxRounds} {
		random := rand.New(rand.NewPCG(1, uint64(rounds)))
		for range twenties {
			same := [2]int{}
			for range 20 {
				a, b := drawn(random, rounds, 1000), drawn(random, rounds, 1000)
				if ratioInterval(divided(a, b)).same() {
					same[0]++
				}
				if quotientInterval(a, b).same() {
					same[1]++
				}
			}
			if same[0] < 17 || same[1] < 17 {
				t.Errorf("%d rounds: no difference in %d of 20 in turn and in %d of 20 apart, want 17", rounds, same[0], same[1])
			}
		}
	}
}

// TestRealDifference expects three tenths more to be told from chance with the rounds of a usual run.
func TestRealDifference(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 1))
	seen, held := 0, 0
	for range 100 {
		a, b := drawn(random, usualRounds, 1300), drawn(random, usualRounds, 1000)
		i := ratioInterval(divided(a, b))
		if !i.same() {
			seen++
		}
		if i.holds(1.3) {
			held++
		}
	}
	if seen < 80 || held < 95 {
		t.Errorf("of 100 intervals %d say that there is a difference, and %d hold it", seen, held)
	}
}

// TestMedianInterval expects the interval to hold the median that was drawn from nearly as often
// as it says, to be the same every time, and to say nothing of two samples, not even that they are alike.
func TestMedianInterval(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{3, 7, 15} {
		held := 0
		for range 100 {
			values := make([]float64, n)
			for i := range values {
				values[i] = 100 * math.Exp(random.NormFloat64()/10)
			}
			i := medianInterval(values)
			if i != medianInterval(values) {
				t.Fatal("the same samples have two intervals")
			}
			if i.Low < 0 || i.Low > i.High {
				t.Fatalf("%+v is no interval", i)
			}
			if i.holds(100) {
				held++
			}
		}
		if held < 95 {
			t.Errorf("%d samples: the median is in %d of 100", n, held)
		}
	}
	if i := quotientInterval([]float64{0, 0, 0}, []float64{0, 0, 0}); i.known() {
		t.Errorf("nothing, in times of nothing, is %+v", i)
	}
	for _, i := range []interval{ratioInterval([]float64{0, 1, 2}), medianInterval([]float64{1, 2}), ratioInterval([]float64{1, 2}), quotientInterval([]float64{1, 2, 3}, []float64{1, 2})} {
		if i.known() || i.same() {
			t.Errorf("two samples have the interval %+v, and are the same: %v", i, i.same())
		}
	}
	if i := medianInterval([]float64{5, 5, 5}); i != (interval{5, 5}) {
		t.Errorf("what does not vary is in %+v", i)
	}
}
