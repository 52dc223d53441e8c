package main

import (
	"strings"
	"testing"
	"time"
)

// TestFitPaced expects the load at a set rate to be what a path carries, less of what was not asked for and all of what
// was, or to be left out, and what is left to have as many calls as say something.
func TestFitPaced(t *testing.T) {
	for _, test := range []struct {
		name    string
		mbit    float64
		args    string
		rate    int // 0: it is left out
		streams int
		bits    float64
		fitted  bool
	}{
		{"enough", 100, "", 500, 4, 1e6, false},
		{"scarce", 5, "", 200, 4, 5e5, true},
		{"a bit more", 5.4, "", 200, 4, 5e5, true},
		{"slow", 0.5, "", 10, 3, 2e4, true},
		{"so slow that there are no streams", 0.15, "", 20, 0, 1e6, true},
		{"hopeless", 0.02, "", 0, 0, 0, false},
		{"a rate", 5, "-link-rate 500", 500, 4, 2e5, true},
		{"a rate that is too much", 2, "-link-rate 500", 0, 0, 0, false},
		{"a rate that is little", 1, "-link-rate 50 -link-streams 0", 50, 0, 1e6, false},
		{"no streams", 1, "-link-streams 0", 100, 0, 1e6, true},
		{"streams", 1, "-link-streams 4 -stream-rate 150kbit", 5, 4, 1.5e5, true},
		{"all that the path has", 8, "-link-rate 500 -link-streams 4 -stream-rate 1mbit", 500, 4, 1e6, false},
		{"more than the path has", 6, "-link-rate 500 -link-streams 4 -stream-rate 1mbit", 0, 0, 0, false},
		{"time", 5, "-paced-time 900ms", 200, 4, 5e5, true},
		{"too little time", 0.5, "-paced-time 900ms", 0, 0, 0, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, opts, _ := overPath(t, newPaths(0, 0), strings.Fields(test.args)...)
			opts.remote.speed = pathSpeed{40 * time.Millisecond, test.mbit * megabit, test.mbit * megabit}
			usual := opts.paced.duration
			rep := &report{}
			opts.fitPaced(rep)
			o := &opts.paced
			if o.wanted != (test.rate > 0) || o.wanted == (len(rep.LeftOut) > 0) {
				t.Fatalf("wanted: %v, left out %v", o.wanted, rep.LeftOut)
			}
			if !o.wanted {
				return
			}
			if o.rate != test.rate || o.streams != test.streams || o.bits != test.bits || o.fitted != test.fitted || o.warmUp < 100*time.Millisecond {
				t.Errorf("%d calls a second, %d streams of %.0f bit/s, fitted: %v, warm-up %v", o.rate, o.streams, o.bits, o.fitted, o.warmUp)
			}
			if float64(o.rate)*o.duration.Seconds() < leastPaced || o.share(opts.remote.speed) > 1 || o.duration%(parts*time.Millisecond) != 0 {
				t.Errorf("%d calls a second for %v are %.2f of the path", o.rate, o.duration, o.share(opts.remote.speed))
			}
			if strings.Contains(test.args, "-paced-time") && o.duration != usual {
				t.Errorf("%v, and %v were asked for", o.duration, usual)
			}
		})
	}
}

// TestStepBelow expects the steps by which a load is lowered to end at any bound, and to be the same ones from
// wherever they begin.
func TestStepBelow(t *testing.T) {
	for x, want := range map[float64]float64{1e6: 5e5, 5e5: 2e5, 2e5: 1e5, 499: 200, 501: 500, 1000: 500, 999: 500, 5: 2, 1: 0.5} {
		if got := stepBelow(x); got != want {
			t.Errorf("below %v is %v, want %v", x, got, want)
		}
	}
}
