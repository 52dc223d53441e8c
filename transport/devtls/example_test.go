package devtls_test

import (
	"context"
	"fmt"
	"log"
	"net"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/transport/devtls"
	"github.com/gridmux/gridmux/transport/websocket"
)

// Two nodes prove to each other who they are by certificates that are made on the
// spot.
func Example() {
	ctx := context.Background()
	var nodes []core.Node
	listeners := map[string]net.Listener{}
	for _, name := range []string{"a", "b"} {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			log.Fatal(err)
		}
		nodes = append(nodes, core.Node{Name: name, Addr: ln.Addr().String()})
		listeners[name] = ln
	}
	var managers []*core.Manager
	for _, local := range nodes {
		m, err := core.NewManager(core.Config{
			Local: local,
			Peers: nodes,
			Transport: websocket.New(websocket.Options{
				TLS:      devtls.Config(local.Name),
				Listener: listeners[local.Name],
			}),
		})
		if err != nil {
			log.Fatal(err)
		}
		defer m.Close()
		err = m.Handle("whoami", func(ctx context.Context, _ []byte) ([]byte, error) {
			caller := core.CallerFromContext(ctx)
			return fmt.Appendf(nil, "%s, by %s", caller.Name, caller.Method), nil
		})
		if err != nil {
			log.Fatal(err)
		}
		if err := m.Start(ctx); err != nil {
			log.Fatal(err)
		}
		managers = append(managers, m)
	}

	answer, err := managers[0].Connection("b").Request(ctx, "whoami", nil, core.WaitForConnection())
	fmt.Println(string(answer), err)
	// Output: a, by mutual TLS <nil>
}
