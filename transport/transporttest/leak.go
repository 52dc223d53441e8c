package transporttest

import (
	"runtime"
	"strings"
	"testing"
	"time"
)

// leakPatience is how long goroutines may take at least to end after the last
// close.
const leakPatience = 4 * time.Second

// checkLeaks fails the test if goroutines that do not exist yet live on after
// it.
func checkLeaks(t *testing.T) {
	before := goroutines()
	t.Cleanup(func() {
		// There is nothing to wait for but the goroutines themselves: a
		// transport may let them end shortly after its calls return. So this is
		// the one place that looks again and again, ever more rarely.
		for pause := time.Millisecond; ; pause *= 2 {
			left := goroutines()
			for id := range before {
				delete(left, id)
			}
			if len(left) == 0 {
				return
			}
			if pause > leakPatience {
				for _, stack := range left {
					t.Errorf("closing the connections and the listener frees all resources: a goroutine is left:\n%s", stack)
				}
				return
			}
			<-time.After(pause)
		}
	})
}

// goroutines returns the stacks of all goroutines by id, without those of the
// runtime. Its workers for finalizers and cleanups show up only while they run
// one, whoever it belongs to.
func goroutines() map[string]string {
	buf := make([]byte, 64<<10)
	for {
		n := runtime.Stack(buf, true)
		if n < len(buf) {
			buf = buf[:n]
			break
		}
		buf = make([]byte, 2*len(buf))
	}
	stacks := make(map[string]string)
	for stack := range strings.SplitSeq(string(buf), "\n\n") {
		if strings.Contains(stack, "\nruntime.runCleanups(") || strings.Contains(stack, "\nruntime.runFinalizers(") {
			continue
		}
		// goroutine 12 [running]:
		id, _, _ := strings.Cut(strings.TrimPrefix(stack, "goroutine "), " ")
		stacks[id] = stack
	}
	return stacks
}
