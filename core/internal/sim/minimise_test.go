package sim_test

import (
	"context"
	"slices"
	"time"
)

// minimiseFor bounds the search for a shorter schedule.
const minimiseFor = time.Minute

// minimise returns the indexes of fewer events with which a seed fails in the
// same way, by leaving out ever smaller pieces of the schedule. It returns nil
// if the seed does not fail again.
func minimise(ctx context.Context, over *carrier, seed uint64, invariant string) []int {
	ctx, cancel := context.WithTimeout(ctx, minimiseFor)
	defer cancel()
	fails := func(indexes []int) (failed bool) {
		err := ask(ctx, childRequest{over: over, first: seed, step: 1, count: 1, only: indexes}, func(r *report) {
			failed = r.bad() && r.invariant() == invariant
		})
		return err == nil && failed && ctx.Err() == nil
	}
	var kept []int
	for _, e := range newSchedule(newProfile(seed, over)) {
		kept = append(kept, e.index)
	}
	if !fails(kept) {
		return nil
	}
	for size := (len(kept) + 1) / 2; size > 0; size /= 2 {
		for at := 0; at < len(kept) && ctx.Err() == nil; {
			fewer := slices.Delete(slices.Clone(kept), at, min(at+size, len(kept)))
			if fails(fewer) {
				kept = fewer
			} else {
				at += size
			}
		}
	}
	return kept
}
