package suite_test

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

// heavy asks for the long form of tests that have one.
var heavy = flag.Bool("heavy", false, "run the long form of the tests that have one")

// scale returns the number of repetitions of a test: many with -heavy, fewer
// under the race detector, which makes everything about ten times slower.
func scale(normal, underRace, withHeavy int) int {
	switch {
	case *heavy:
		return withHeavy
	case raceEnabled:
		return underRace
	default:
		return normal
	}
}

// TestMain fails a run that leaves goroutines of the library behind.
func TestMain(m *testing.M) {
	code := m.Run()
	if code == 0 {
		if left := leftGoroutines(); left != "" {
			fmt.Fprintf(os.Stderr, "goroutines of the library are left after all tests:\n%s\n", left)
			code = 1
		}
	}
	os.Exit(code)
}

// leftGoroutines returns the stacks of goroutines that run code of the library,
// after giving them time to end.
func leftGoroutines() string {
	deadline := time.Now().Add(10 * time.Second)
	for {
		buf := make([]byte, 4<<20)
		buf = buf[:runtime.Stack(buf, true)]
		var left []string
		for stack := range strings.SplitSeq(string(buf), "\n\n") {
			if strings.Contains(stack, "gridmux/gridmux/") && !strings.Contains(stack, "TestMain") {
				left = append(left, stack)
			}
		}
		if len(left) == 0 || time.Now().After(deadline) {
			return strings.Join(left, "\n\n")
		}
		time.Sleep(10 * time.Millisecond)
	}
}
