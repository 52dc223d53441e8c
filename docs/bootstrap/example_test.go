package bootstrap_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"sync"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/docs/bootstrap"
	"github.com/gridmux/gridmux/transport/inmem"
)

// Of five nodes, which would each be a process, one has another number of shards.
// It is told so and does not serve; the others do.
func Example_bootstrap() {
	network := inmem.NewNetwork()
	nodes := []core.Node{{Name: "a"}, {Name: "b"}, {Name: "c"}, {Name: "d"}, {Name: "e"}}
	for i := range nodes {
		nodes[i].Addr = nodes[i].Name + ":1"
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()

	var all sync.WaitGroup
	results := make([]error, len(nodes))
	for i, local := range nodes {
		digest := bootstrap.Digest(map[string]string{"format": "v2", "shards": "16"})
		if local.Name == "e" {
			digest = bootstrap.Digest(map[string]string{"format": "v2", "shards": "8"})
		}
		m, err := core.NewManager(core.Config{Local: local, Peers: nodes, Transport: network.Node(local.Name)})
		if err == nil {
			err = bootstrap.Serve(m, digest)
		}
		if err == nil {
			err = m.Start(ctx)
		}
		if err != nil {
			log.Fatal(err)
		}
		defer m.Close()
		all.Go(func() {
			results[i] = bootstrap.Agree(ctx, m, digest, len(nodes)/2+1, slog.New(slog.DiscardHandler))
		})
	}
	all.Wait()

	for i, local := range nodes {
		failure, ok := errors.AsType[*core.QuorumError](results[i])
		if !ok {
			fmt.Println(local.Name, "serves:", results[i])
			continue
		}
		fmt.Println(local.Name, "does not serve:", failure.Err)
		for _, f := range failure.Failed {
			fmt.Println("-", f.Peer+":", f.Err)
		}
	}
	// Output:
	// a serves: <nil>
	// b serves: <nil>
	// c serves: <nil>
	// d serves: <nil>
	// e does not serve: context deadline exceeded
	// - a: its configuration is 8c5c658f, ours is f45e899b
	// - b: its configuration is 8c5c658f, ours is f45e899b
	// - c: its configuration is 8c5c658f, ours is f45e899b
	// - d: its configuration is 8c5c658f, ours is f45e899b
}
