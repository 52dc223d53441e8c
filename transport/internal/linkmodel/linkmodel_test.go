package linkmodel_test

import (
	"testing"
	"time"

	"github.com/gridmux/gridmux/transport/internal/linkmodel"
)

// TestKeysDiffer expects a key of its own for every seed, number and list of
// names, however alike they are.
func TestKeysDiffer(t *testing.T) {
	seen := make(map[uint64]bool)
	for seed := range uint64(20) {
		for number := range uint64(20) {
			for _, names := range [][]string{nil, {""}, {"ab", "c"}, {"a", "bc"}, {"abc"}, {"c", "ab"}} {
				key := linkmodel.NewKey(seed, number, names...)
				if seen[key] {
					t.Errorf("seed %d, number %d and names %q have a key that others have", seed, number, names)
				}
				seen[key] = true
			}
		}
	}
}

// TestDrawsAreCounted expects the fate of a frame to depend on its number, not
// on the conditions that held for those before it.
func TestDrawsAreCounted(t *testing.T) {
	bad := linkmodel.Conditions{Jitter: time.Second, Tail: 0.5, TailLatency: time.Second, Corrupt: 0.5}
	var none linkmodel.Conditions
	now := time.Now()
	steady, changing := linkmodel.NewDirection(7), linkmodel.NewDirection(7)
	for i := range 100 {
		want := steady.Next(&bad, now, 10)
		c := &bad
		if i%3 == 0 {
			c = &none
		}
		if got := changing.Next(c, now, 10); i%3 != 0 && got != want {
			t.Errorf("the fate of frame %d is %v, not %v", i, got, want)
		}
	}
}

// TestEmptyPlan expects a plan with nothing in it, and none at all, to do
// nothing.
func TestEmptyPlan(t *testing.T) {
	nothing := linkmodel.Verdict{Flip: -1}
	for _, p := range []*linkmodel.Plan{nil, new(linkmodel.Plan)} {
		p.Clear()
		if v := p.Frame(10); p.Armed() || v != nothing {
			t.Errorf("an empty plan is armed, or does %v", v)
		}
	}
}
