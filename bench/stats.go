package main

import (
	"cmp"
	"math"
	"slices"
)

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
