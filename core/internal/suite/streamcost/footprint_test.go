//go:build !race

package streamcost_test

import (
	"runtime"
	"time"

	"github.com/gridmux/gridmux/core/internal/lab"
)

// footprint is what a process holds.
type footprint struct{ bytes, goroutines int }

func (f footprint) less(g footprint) footprint {
	return footprint{f.bytes - g.bytes, f.goroutines - g.goroutines}
}

// rest counts what is alive, without stacks: a second collection empties what the
// first has left in pools.
func rest() footprint {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return footprint{int(m.HeapAlloc), lab.Goroutines()}
}

// comingToRest is how long a node has to let go of what it does not need:
// workers take up to two rounds of five seconds.
const comingToRest = 20 * time.Second
