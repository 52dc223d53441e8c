package lab

import (
	"math"
	"runtime"
	"sync"
)

// HeapInUse collects and returns the bytes of the heap that are alive.
func HeapInUse() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// LeastAllocations has callers run side by side, do something calls times
// together, and returns how many objects the process allocated for each. A
// collection in between empties pools, so it tries again while that is more than
// most, and the best try counts. do is called once by each caller, with its
// number and how often to do it; what it makes before is counted too.
//
// It counts what testing.AllocsPerRun cannot, which runs on one processor alone,
// where neither callers nor workers meet.
func LeastAllocations(callers, calls int, most float64, do func(caller, times int)) float64 {
	best := math.Inf(1)
	for try := 0; try < 10 && (try < 2 || best > most); try++ {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		var wg sync.WaitGroup
		for n := range callers {
			wg.Go(func() { do(n, calls/callers) })
		}
		wg.Wait()
		runtime.ReadMemStats(&after)
		best = min(best, float64(after.Mallocs-before.Mallocs)/float64(calls))
	}
	return best
}
