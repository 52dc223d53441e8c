package compression_test

import (
	"os"
	"testing"

	"github.com/gridmux/gridmux/core/internal/lab"
)

func TestMain(m *testing.M) { os.Exit(lab.Run(m)) }
