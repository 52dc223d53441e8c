// Command quickstart is the first program of the README: two nodes in one
// process, each with a handler, and one call from each to the other. Changing
// the transport changes one line of it.
package main

import (
	"context"
	"fmt"
	"log"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/transport/inmem"
)

func main() {
	ctx := context.Background()
	nodes := []core.Node{
		{Name: "a", Addr: "127.0.0.1:9001"},
		{Name: "b", Addr: "127.0.0.1:9002"},
	}
	newTransport := inmem.NewNetwork().Node

	start := func(local core.Node) *core.Manager {
		m, err := core.NewManager(core.Config{
			Local:         local,
			Peers:         nodes,
			Transport:     newTransport(local.Name),
			AllowInsecure: true, // nobody else can reach these addresses
		})
		if err != nil {
			log.Fatal(err)
		}
		err = m.Handle("greet", func(_ context.Context, req []byte) ([]byte, error) {
			return fmt.Appendf(nil, "hello %s, I am %s", req, local.Name), nil
		})
		if err != nil {
			log.Fatal(err)
		}
		if err := m.Start(ctx); err != nil {
			log.Fatal(err)
		}
		return m
	}
	a, b := start(nodes[0]), start(nodes[1])
	defer a.Close()
	defer b.Close()

	if err := a.WaitConnected(ctx); err != nil {
		log.Fatal(err)
	}
	if err := b.WaitConnected(ctx); err != nil {
		log.Fatal(err)
	}
	answer, err := a.Connection("b").Request(ctx, "greet", []byte("b"))
	fmt.Println(string(answer), err)
	answer, err = b.Connection("a").Request(ctx, "greet", []byte("a"))
	fmt.Println(string(answer), err)
}
