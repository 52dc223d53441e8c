package cost_test

import (
	"os"
	"testing"

	"github.com/gridmux/gridmux/core/internal/lab"
)

func TestMain(m *testing.M) {
	// What a node costs is measured with the collector that users have, which shrinks
	// stacks as often as theirs does.
	if os.Getenv("GOGC") == "" {
		os.Setenv("GOGC", "100")
	}
	os.Exit(lab.Run(m))
}
