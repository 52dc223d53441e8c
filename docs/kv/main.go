// Command kv is a key-value service on three nodes, to copy from. It has typed
// calls and a typed stream, replication to a majority, errors that say whether a
// repeat is safe, and an interceptor that counts by tenant; its tests cut a node
// off, in virtual time, and run over websocket as well.
//
// Beside this file, which runs three nodes in one process, there are: messages.go,
// what travels; methods.go, what can be called and how it fails; node.go, the
// service; replica.go, what a node holds; usage.go, the interceptor.
package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/transport/inmem"
)

func main() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	nodes := []core.Node{
		{Name: "a", Addr: "127.0.0.1:9001"},
		{Name: "b", Addr: "127.0.0.1:9002"},
		{Name: "c", Addr: "127.0.0.1:9003"},
	}
	newTransport := inmem.NewNetwork().Node
	var usage Usage // of all three together

	start := func(local core.Node) *core.Manager {
		m, err := core.NewManager(core.Config{
			Local:         local,
			Peers:         nodes,
			Transport:     newTransport(local.Name),
			Intercept:     []core.Interceptor{usage.Intercept},
			AllowInsecure: true, // nobody else can reach these addresses
		})
		check(err)
		node, err := NewNode(m)
		check(err)
		check(m.Start(ctx))
		go node.Follow(ctx)
		return m
	}
	a, b, c := start(nodes[0]), start(nodes[1]), start(nodes[2])
	defer a.Close()
	defer b.Close()
	defer c.Close()
	for _, m := range []*core.Manager{a, b, c} {
		check(m.WaitConnected(ctx))
	}

	// A client on node a, on behalf of the tenant called shop.
	toB, toC := a.Connection("b"), a.Connection("c")
	ctx = WithTenant(ctx, "shop")
	changes, stop := iter.Pull2(Watch.Call(ctx, toC, &WatchRequest{Prefix: "fruit/"}))
	defer stop()
	for _, value := range []string{"green", "red"} {
		written, err := Put.Call(ctx, toB, &PutRequest{Key: "fruit/apple", Value: []byte(value)})
		check(err)
		fmt.Println("put version", written.Version)
		entry, err, _ := changes()
		check(err)
		fmt.Printf("watched %s: %s\n", entry.Key, entry.Value)
	}

	entry, err := Get.Call(ctx, toC, &GetRequest{Key: "fruit/apple"})
	check(err)
	fmt.Printf("got %s, version %d of %s\n", entry.Value, entry.Version, entry.Writer)
	_, err = Get.Call(ctx, toC, &GetRequest{Key: "fruit/pear"})
	fmt.Println("no pear:", errors.Is(err, ErrNoKey))
	fmt.Println("calls for the shop:", usage.Of("shop"))
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
