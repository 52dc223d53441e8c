package main

import (
	"context"
	"runtime"
	"testing"
	"testing/synctest"
	"time"
)

// sleeper is a task whose steps take a while.
func sleeper(d time.Duration) task {
	return func(context.Context) (step func() error, end func(), err error) {
		return func() error {
			time.Sleep(d)
			return nil
		}, func() {}, nil
	}
}

// TestDrainIsNoPartOfTheRate expects a window to count what ends while it lasts, over exactly that
// time, however long the last step, measured or beside, takes after that, and to measure
// the latency of the steps that are under way at its end.
func TestDrainIsNoPartOfTheRate(t *testing.T) {
	const handler = 10 * time.Millisecond
	for _, test := range []struct {
		name           string
		beside         time.Duration // of each step; 0: there are none
		window         time.Duration
		count, besides int64
	}{
		{"alone", 0, 45 * time.Millisecond, 4, 0},
		{"longer", 0, 455 * time.Millisecond, 45, 0},
		{"beside slow ones", 300 * time.Millisecond, 455 * time.Millisecond, 45, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(2)
				of := tasks{measured: []task{sleeper(handler)}}
				if test.beside > 0 {
					of.beside = []task{sleeper(test.beside)}
				}
				s, err := b.window(t.Context(), &load{table: mixed, each: 1}, of, 3*time.Millisecond, test.window)
				if err != nil {
					t.Fatal(err)
				}
				if s.Elapsed != test.window || s.Count != test.count || s.Beside != test.besides {
					t.Errorf("%d measured and %d beside in %v, want %d and %d in %v", s.Count, s.Beside, s.Elapsed, test.count, test.besides, test.window)
				}
				if n := b.total.TotalCount(); n != test.count {
					t.Errorf("%d latencies, want those of the %d steps that began in the window", n, test.count)
				}
			})
		})
	}
}

// TestNothingEnded expects a window in which no step ended to be tried again, longer.
func TestNothingEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(1)
		s, err := b.window(t.Context(), &load{table: calls, each: 1}, tasks{measured: []task{sleeper(100 * time.Millisecond)}}, time.Millisecond, 50*time.Millisecond)
		if err != nil || s.Elapsed != 200*time.Millisecond || s.Count != 2 {
			t.Errorf("%d in %v, %v, want 2 in the window that is four times as long", s.Count, s.Elapsed, err)
		}
	})
}

// TestBytesAreReadWithTheClock expects no reading of memory, for which everything stands still, between that of
// bytes and that of the clock.
func TestBytesAreReadWithTheClock(t *testing.T) {
	b := newBench(1)
	read := false
	wire := func() int64 {
		read = b.mem.Mallocs > 0
		return 0
	}
	if b.before(wire); !read {
		t.Error("memory is read after the bytes, before the clock")
	}
	b.mem = runtime.MemStats{}
	if b.after(wire); read {
		t.Error("memory is read after the clock, before the bytes")
	}
}
