//go:build linux || darwin

package proctest_test

import (
	"os"
	"testing"
)

// TestMain runs the tests, or the child that this process is.
func TestMain(m *testing.M) {
	if text := os.Getenv(childVariable); text != "" {
		os.Exit(runChild(text))
	}
	os.Exit(runTests(m))
}
