package core_test

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"log"
	"slices"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/transport/inmem"
)

// A node from its configuration to its first call. The one at the other end does
// the same, with itself as Local.
func ExampleNewManager() {
	network := inmem.NewNetwork() // between processes the Transport is one of package websocket
	cluster := []core.Node{{Name: "a", Addr: "10.0.0.1:9000"}, {Name: "b", Addr: "10.0.0.2:9000"}}
	node := func(local core.Node) *core.Manager {
		m, err := core.NewManager(core.Config{
			Cluster:   "example",
			Local:     local,
			Peers:     cluster, // the same list for all: the node itself is passed over
			Transport: network.Node(local.Name),
			Auth:      core.SharedKey([]byte("32 random bytes, from a file....")),
		})
		if err != nil {
			log.Fatal(err)
		}
		if err := m.Handle("greet", func(ctx context.Context, req []byte) ([]byte, error) {
			return fmt.Appendf(nil, "%s to you, %s", req, core.PeerFromContext(ctx)), nil
		}); err != nil {
			log.Fatal(err)
		}
		if err := m.Start(context.Background()); err != nil {
			log.Fatal(err)
		}
		return m
	}
	a, b := node(cluster[0]), node(cluster[1])
	defer a.Close()
	defer b.Close()

	answer, err := a.Connection("b").Request(context.Background(), "greet", []byte("hello"),
		core.WaitForConnection(), core.WithTimeout(10*time.Second))
	fmt.Println(string(answer), err)
	// Output: hello to you, a <nil>
}

// Every key belongs to one node, and all nodes agree which. Nobody has to ask
// whether that is itself: calls to the local node are calls like any other.
func ExampleManager_Local() {
	a, stop := fiveNodes(func(m *core.Manager, _ string) error {
		return m.Handle("kv.get", func(_ context.Context, key []byte) ([]byte, error) {
			return fmt.Appendf(nil, "%s is on %s", key, m.Local().Name), nil
		})
	})
	defer stop()

	names := []string{a.Local().Name}
	for c := range a.Connections() {
		names = append(names, c.Peer())
	}
	slices.Sort(names) // the same order on every node
	for _, key := range []string{"colour", "size", "weight"} {
		owner := names[crc32.ChecksumIEEE([]byte(key))%uint32(len(names))]
		answer, err := a.Connection(owner).Request(context.Background(), "kv.get", []byte(key))
		fmt.Println(string(answer), err)
	}
	// Output:
	// colour is on a <nil>
	// size is on b <nil>
	// weight is on c <nil>
}

// Nodes come and go while the others run. A new one is put on the lists of the
// others before it starts.
func ExampleManager_SetPeers() {
	nodes, stop := newNodes([]string{"a", "b", "c"}, func(cfg *core.Config) {
		if cfg.Local.Name != "c" {
			cfg.Peers = members("a", "b") // nobody has heard of c yet
		}
	}, func(m *core.Manager) error {
		return m.Handle("greet", func(context.Context, []byte) ([]byte, error) {
			return []byte("hello from " + m.Local().Name), nil
		})
	})
	defer stop()
	a, b, c := nodes[0], nodes[1], nodes[2]
	start(a, b)
	toC := a.Connection("c") // may be kept, whoever comes and goes
	greet := func() {
		answer, err := toC.Request(context.Background(), "greet", nil, core.WaitForConnection())
		if errors.Is(err, core.ErrUnknownPeer) {
			fmt.Println("c is no peer") // there is nothing to wait for
			return
		}
		fmt.Println(string(answer), err)
	}
	setPeers := func(peers []core.Node) {
		for _, m := range []*core.Manager{a, b} {
			if err := m.SetPeers(peers); err != nil {
				log.Fatal(err)
			}
		}
	}
	greet()
	setPeers(members("a", "b", "c"))
	start(c)
	greet()
	setPeers(members("a", "b")) // calls in progress would finish
	greet()
	// Output:
	// c is no peer
	// hello from c <nil>
	// c is no peer
}

// A node that serves as soon as a majority of the cluster is up, itself included.
func ExampleManager_WaitQuorum() {
	nodes, stop := newNodes([]string{"a", "b", "c", "d", "e"}, nil, nil)
	defer stop()
	start(nodes[0], nodes[1], nodes[2]) // d and e are being repaired

	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	err := nodes[0].WaitQuorum(ctx, len(nodes)/2+1)
	fmt.Println("majority:", err)
	// Output: majority: <nil>
}

// An alarm for every peer that is lost.
func ExampleConfig_onState() {
	lost := make(chan string, 1)
	nodes, stop := startNodes([]string{"a", "b"}, func(cfg *core.Config) {
		if cfg.Local.Name == "a" {
			cfg.OnState = func(change core.StateChange) {
				if change.From == core.StateConnected && change.To == core.StateConnecting {
					lost <- change.Peer // change.Err says why
				}
			}
		}
	}, nil)
	defer stop()

	_ = nodes[1].Close()
	fmt.Println(<-lost, "is lost")
	// Output: b is lost
}

// Which peers answer, and how fast? This asks their libraries; whether a service is
// well its handlers tell.
func ExampleConnection_Ping() {
	nodes, stop := newNodes([]string{"a", "b", "c", "d"}, nil, nil)
	defer stop()
	start(nodes[:3]...) // but not d
	a := nodes[0]
	if err := a.WaitQuorum(context.Background(), 3); err != nil {
		log.Fatal(err)
	}

	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	alive := map[string]bool{}
	for pong, err := range core.Each(ctx, a.Connections(), func(ctx context.Context, c *core.Connection) (time.Duration, error) {
		return c.Ping(ctx)
	}) {
		alive[pong.From.Peer()] = err == nil // pong.Value is the round trip
	}
	fmt.Println(alive)
	// Output: map[b:true c:true d:false]
}

// What a page for operators shows: whom this node is connected with, why with
// others not, and what is in progress.
func ExampleManager_Stats() {
	nodes, stop := newNodes([]string{"a", "b", "c"}, nil, func(m *core.Manager) error {
		return m.HandleStreamFunc("log.tail", func(ctx context.Context, _ []byte, s *core.RawStream) error {
			<-ctx.Done() // nothing is logged
			return ctx.Err()
		})
	})
	defer stop()
	start(nodes[:2]...) // but not c
	a := nodes[0]
	tail, err := a.Connection("b").OpenStream(context.Background(), "log.tail", nil, core.WaitForConnection())
	if err != nil {
		log.Fatal(err)
	}
	defer tail.Close()

	for _, peer := range a.Stats().Peers {
		fmt.Printf("%s is %v\n", peer.Peer, peer.State)
		if peer.Down != nil { // says since when, why, and how often it was tried
			fmt.Println("  calls fail:", errors.Is(peer.Down, core.ErrDisconnected))
		}
		for _, s := range peer.Streams {
			fmt.Println("  open:", s.Handler)
		}
	}
	// Output:
	// b is connected
	//   open: log.tail
	// c is connecting
	//   calls fail: true
	// a is connected
}

// A node goes away in order: on SIGTERM it calls Shutdown, which waits for what is
// in progress. A handler that would last watches Draining, and says to its callers
// that this was not the end.
func ExampleDraining() {
	errMoving := &core.RemoteError{Code: 1002, Message: "going away, watch another node"}
	nodes, stop := startNodes([]string{"a", "b"}, nil, func(m *core.Manager) error {
		return m.HandleStreamFunc("watch", func(ctx context.Context, _ []byte, s *core.RawStream) error {
			if err := s.Send([]byte("version 7")); err != nil {
				return err
			}
			select {
			case <-core.Draining(ctx):
				return errMoving
			case <-ctx.Done(): // nobody watches any more
				return ctx.Err()
			}
		})
	})
	defer stop()
	a, b := nodes[0], nodes[1]
	watch, err := a.Connection("b").OpenStream(context.Background(), "watch", nil)
	if err != nil {
		log.Fatal(err)
	}
	defer watch.Close()
	version, err := watch.Recv(nil)
	fmt.Println(string(version), err)

	ctx, cancel := context.WithTimeout(context.Background(), 25*time.Second) // less than the supervisor leaves
	defer cancel()
	fmt.Println("shutdown:", b.Shutdown(ctx))
	_, err = watch.Recv(nil)
	fmt.Println("watch again:", errors.Is(err, errMoving))
	// Output:
	// version 7 <nil>
	// shutdown: <nil>
	// watch again: true
}
