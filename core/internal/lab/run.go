package lab

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
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

// The garbage collector as tests have it, in percent of what is alive and in bytes:
// they make much that is soon dead, and with the usual 100 % it takes a quarter of
// their time. The bound is for the few that keep much alive, and lower where memory
// takes several times its size, or there are 32 bits for its addresses.
const (
	gcPercent       = 400
	memoryLimit     = 2 << 30
	lessMemoryLimit = memoryLimit / 4
)

// spareCollector has garbage collected seldom, unless the environment says how.
func spareCollector() {
	if os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	debug.SetGCPercent(gcPercent)
	if RaceEnabled || strconv.IntSize == 32 {
		debug.SetMemoryLimit(lessMemoryLimit)
	} else {
		debug.SetMemoryLimit(memoryLimit)
	}
}

// Run is for TestMain: it runs the tests and returns the code to exit with. It
// fails a run that leaves goroutines of the library behind. Garbage is collected
// less often than it usually is.
func Run(m *testing.M) int {
	spareCollector()
	code := m.Run()
	if code == 0 {
		if left := leftGoroutines(); left != "" {
			fmt.Fprintf(os.Stderr, "goroutines of the library are left after all tests:\n%s\n", left)
			code = 1
		}
	}
	return code
}
