package core_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/gridmux/gridmux/core"
)

// Handlers that only some nodes may call, by who they have proved to be. The same
// option serves for streams, for listeners and with types.
func ExampleWithAuthorization() {
	only := func(names ...string) core.HandlerOption {
		allowed := map[string]bool{}
		for _, name := range names {
			allowed[name] = true
		}
		return core.WithAuthorization(func(caller core.Identity) error {
			if !allowed[caller.Name] {
				return fmt.Errorf("%q is not on the list", caller.Name)
			}
			return nil
		})
	}
	serve := func(context.Context, []byte) ([]byte, error) { return []byte("done"), nil }
	conn, stop := interceptedNodes(nil, func(m *core.Manager) error {
		return errors.Join(
			m.Handle("kv.get", serve, only("a", "b", "console")),
			m.Handle("admin.erase", serve, only("console")),
		)
	})
	defer stop()

	answer, err := conn.Request(context.Background(), "kv.get", nil) // as node a
	fmt.Println(string(answer), err)
	_, err = conn.Request(context.Background(), "admin.erase", nil)
	fmt.Println(err)
	fmt.Println(errors.Is(err, core.ErrPermissionDenied), core.OutcomeOf(err))
	// Output:
	// done <nil>
	// gridmux: admin.erase on b: refused: permission denied: "a" is not on the list
	// true refused
}
