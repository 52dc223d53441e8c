package lab

import "runtime"

// Goroutines returns how many goroutines there are, and after synctest.Wait none
// of those that have ended.
//
// runtime.NumGoroutine counts them a moment longer: what lets Wait return is their
// end, and another processor may have yet to put them away. With the world stopped
// there are no such, but there those of the runtime itself count while they run a
// finalizer or a cleanup, which NumGoroutine leaves out. So the lower of the two
// is right, unless both happen in one instant: therefore the lowest of several.
func Goroutines() int {
	least := runtime.NumGoroutine()
	for range 4 {
		var tooFew [1]runtime.StackRecord // with none at all the world is not stopped
		n, _ := runtime.GoroutineProfile(tooFew[:])
		least = min(least, n, runtime.NumGoroutine())
		runtime.Gosched()
	}
	return least
}
