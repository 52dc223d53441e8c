package typed_test

import (
	"os"
	"testing"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/coretest"
	"github.com/gridmux/gridmux/core/internal/lab"
)

func TestMain(m *testing.M) { os.Exit(lab.Run(m)) }

// serve registers the handlers of typed methods on all nodes.
func serve(register func(m *core.Manager) error) coretest.Option {
	return coretest.WithHandlers(func(_ int, m *core.Manager) error { return register(m) })
}
