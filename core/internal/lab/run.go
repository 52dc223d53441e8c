package lab

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

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
		time.Sleep(10 * time.Millisecond) //nolint:forbidigo // nothing tells of the end of a goroutine
	}
}

// Run is for TestMain: it runs the tests and returns the code to exit with. It
// fails a run that leaves goroutines of the library behind.
func Run(m *testing.M) int {
	code := m.Run()
	if code == 0 {
		if left := leftGoroutines(); left != "" {
			fmt.Fprintf(os.Stderr, "goroutines of the library are left after all tests:\n%s\n", left)
			code = 1
		}
	}
	return code
}
