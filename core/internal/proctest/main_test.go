package proctest_test

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"
)

// heavy asks for the long form of tests that have one.
var heavy = flag.Bool("heavy", false, "run the long form of the tests that have one")

// scale returns the size of a test: the whole with -heavy, less under the race
// detector, which makes everything about ten times slower, and on 32 bits, where
// what is different shows at once.
func scale(normal, underRace, withHeavy int) int {
	switch {
	case *heavy:
		return withHeavy
	case raceEnabled || strconv.IntSize == 32:
		return underRace
	default:
		return normal
	}
}

// patience is how long a test waits for an event before it fails.
const patience = 30 * time.Second

// slack is what a loaded machine may add to a time that is promised.
const slack = 2 * time.Second

// runTests returns the exit code of a run, which fails if it leaves goroutines of
// the library behind.
func runTests(m *testing.M) int {
	code := m.Run()
	if code == 0 {
		left, deadline := leftGoroutines(), time.Now().Add(10*time.Second)
		for ; left != "" && time.Now().Before(deadline); left = leftGoroutines() {
			pass(10 * time.Millisecond)
		}
		if left != "" {
			fmt.Fprintf(os.Stderr, "goroutines of the library are left after all tests:\n%s\n", left)
			code = 1
		}
	}
	return code
}

// leftGoroutines returns the stacks of goroutines that run code of the library.
func leftGoroutines() string {
	buf := make([]byte, 4<<20)
	buf = buf[:runtime.Stack(buf, true)]
	var left []string
	for stack := range strings.SplitSeq(string(buf), "\n\n") {
		if strings.Contains(stack, "gridmux/gridmux/") && !strings.Contains(stack, "runTests") {
			left = append(left, stack)
		}
	}
	return strings.Join(left, "\n\n")
}

// wait returns what arrives on ch, and fails the test with the sentence if
// nothing does.
func wait[T any](t testing.TB, ch <-chan T, sentence string) T {
	t.Helper()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case v := <-ch:
		return v
	case <-timer.C:
		t.Fatalf("%s: nothing happened for %v", sentence, patience)
		panic("unreachable")
	}
}

// until waits for what nothing tells of, as the end of a goroutine.
func until(t testing.TB, sentence string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !is(); pass(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not so after %v", sentence, patience)
		}
	}
}

// pass lets time go by, where that is what a test is about.
func pass(d time.Duration) { <-time.After(d) }

// pattern returns size bytes that depend on n.
func pattern(n, size int) []byte {
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(n*131 + i + i>>8 + i>>16)
	}
	return b
}
