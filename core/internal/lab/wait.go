package lab

import (
	"testing"
	"time"
)

// Patience is how long a test waits for an event before it fails: virtual time
// in a bubble, real time elsewhere.
const Patience = 30 * time.Second

// Wait returns what arrives on ch, and fails the test with the sentence if
// nothing does.
func Wait[T any](t testing.TB, ch <-chan T, sentence string) T {
	t.Helper()
	timer := time.NewTimer(Patience)
	defer timer.Stop()
	select {
	case v := <-ch:
		return v
	case <-timer.C:
		t.Fatalf("%s: nothing happened for %v", sentence, Patience)
		panic("unreachable") //nolint:forbidigo // Fatalf does not return
	}
}

// Until waits for what no channel tells of, and fails the test with the sentence
// if it does not come about. In a bubble synctest.Wait is better, where it is
// enough: Until lets time pass.
func Until(t testing.TB, sentence string, is func() bool) {
	t.Helper()
	began := time.Now()
	for !is() {
		if time.Since(began) > Patience {
			t.Fatalf("%s: not so after %v", sentence, Patience)
		}
		// In a bubble this lets everything else happen first.
		time.Sleep(time.Microsecond) //nolint:forbidigo // there is nothing to wait for
	}
}

// Go runs f on a goroutine of its own and returns a channel for its result.
func Go[T any](f func() T) <-chan T {
	ch := make(chan T, 1)
	go func() { ch <- f() }()
	return ch
}
