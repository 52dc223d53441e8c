package transporttest

import (
	"runtime"
	"strings"
	"testing"
)

// TestRuntimeGoroutineTakenForLeak expects that the goroutines on which the
// runtime runs finalizers and cleanups are nobody's leak, as those of anybody
// else are.
func TestRuntimeGoroutineTakenForLeak(t *testing.T) {
	running, end := make(chan string), make(chan struct{})
	defer close(end)
	block := func(name string) {
		running <- name
		<-end
	}
	type object struct{ _ [64]*int }
	runtime.AddCleanup(new(object), block, "cleanup")
	runtime.SetFinalizer(new(object), func(*object) { block("finalizer") })
	go block("goroutine")
	runtime.GC()
	for range 3 {
		<-running
	}
	left := 0
	for _, stack := range goroutines() {
		if strings.Contains(stack, ".TestRuntimeGoroutineTakenForLeak.func1(") {
			left++
		}
	}
	if left != 1 {
		t.Errorf("%d goroutines of this test are seen, want the one that it started", left)
	}
}
