//go:build !linux && !darwin

package proctest_test

import (
	"os"
	"testing"
)

// TestMain runs the tests. Those with children need signals, and are not here.
func TestMain(m *testing.M) { os.Exit(runTests(m)) }
