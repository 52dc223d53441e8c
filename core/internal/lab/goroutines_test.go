package lab_test

import (
	"runtime"
	"testing"
	"testing/synctest"

	"github.com/gridmux/gridmux/core/internal/lab"
)

// TestGoroutines holds that goroutines that have ended in a bubble do not count,
// and that those that live do.
func TestGoroutines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		before := lab.Goroutines()
		stay := make(chan struct{})
		const living = 3
		for range living {
			go func() { <-stay }()
		}
		late := 0
		for range 20_000 {
			for range runtime.GOMAXPROCS(0) {
				go func() {}()
			}
			synctest.Wait()
			if runtime.NumGoroutine() > before+living {
				late++
			}
			if n := lab.Goroutines(); n > before+living || n <= living {
				t.Fatalf("there are %d goroutines, want %d", n, before+living)
			}
		}
		close(stay)
		t.Logf("runtime.NumGoroutine was too high %d times", late)
	})
}
