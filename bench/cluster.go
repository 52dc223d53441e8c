package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/gridmux/gridmux/core"
)

// clusterName keeps other nodes than those of bench away.
const clusterName = "bench"

// cluster is some nodes over one transport, each connected to all others.
type cluster struct {
	config   func(*core.Config)
	handlers func(*core.Manager) error

	members []core.Node
	sites   map[string]site
	nodes   map[string]*core.Manager // those that run
}

// openCluster starts the named nodes on a network and waits until they are connected. config
// may change the configuration of each and handlers registers what it serves;
// nil leaves either as it is.
func openCluster(
	ctx context.Context, n network, names []string, config func(*core.Config), handlers func(*core.Manager) error,
) (*cluster, error) {
	c := newCluster(config, handlers)
	if err := c.open(ctx, n, names); err != nil {
		c.end(ctx)
		return nil, err
	}
	return c, nil
}

func newCluster(config func(*core.Config), handlers func(*core.Manager) error) *cluster {
	return &cluster{config: config, handlers: handlers, sites: map[string]site{}, nodes: map[string]*core.Manager{}}
}

func (c *cluster) open(ctx context.Context, n network, names []string) error {
	if err := c.place(n, names); err != nil {
		return err
	}
	if err := c.startAll(ctx); err != nil {
		return err
	}
	return c.waitConnected(ctx)
}

// place makes room for nodes that are not started yet.
func (c *cluster) place(n network, names []string) error {
	for _, name := range names {
		s, err := n.site(name)
		if err != nil {
			return err
		}
		c.sites[name] = s
		c.members = append(c.members, core.Node{Name: name, Addr: s.addr()})
	}
	return nil
}

// startAll starts the nodes of all places.
func (c *cluster) startAll(ctx context.Context) error {
	for _, n := range c.members {
		if err := c.start(ctx, n.Name); err != nil {
			return err
		}
	}
	return nil
}

// start starts a node, for the first time or again.
func (c *cluster) start(ctx context.Context, name string) error {
	t, err := c.sites[name].boot()
	if err != nil {
		return err
	}
	cfg := core.Config{
		Cluster:       clusterName,
		Peers:         c.members,
		Transport:     t,
		AllowInsecure: true, // it never leaves this machine
		// Nodes are killed on purpose, and would say so between the lines of the report.
		Logger: slog.New(slog.DiscardHandler),
	}
	for _, n := range c.members {
		if n.Name == name {
			cfg.Local = n
		}
	}
	if c.config != nil {
		c.config(&cfg)
	}
	m, err := core.NewManager(cfg)
	if err != nil {
		return err
	}
	if c.handlers != nil {
		if err := c.handlers(m); err != nil {
			return err
		}
	}
	if err := m.Start(ctx); err != nil {
		return err
	}
	c.nodes[name] = m
	return nil
}

// kill ends a node without a word to the others.
func (c *cluster) kill(name string) {
	c.sites[name].kill()
	_ = c.nodes[name].Close() // frees what a process that dies would take with it
	delete(c.nodes, name)
}

// waitConnected waits until every node that runs is connected to all others.
func (c *cluster) waitConnected(ctx context.Context) error {
	for _, n := range c.members {
		if m := c.nodes[n.Name]; m != nil {
			if err := m.WaitConnected(ctx); err != nil {
				return fmt.Errorf("node %s: %w", n.Name, err)
			}
		}
	}
	return nil
}

// closing begins to close all nodes at the same time: of one after another, those that are left would go on trying to
// connect to those that are not.
func (c *cluster) closing() *sync.WaitGroup {
	var wg sync.WaitGroup
	for _, m := range c.nodes {
		wg.Go(func() { _ = m.Close() })
	}
	return &wg
}

// endTimeout is how long an interrupt waits for nodes to be closed. The process ends after it anyway.
const endTimeout = time.Second

// end ends all nodes. After an interrupt it cuts the sockets at the same time, so that no node waits for what is being made
// over them: the handshakes of many nodes with TLS take long. A time-out is none: the run goes on, and must find
// nothing left of it.
func (c *cluster) end(ctx context.Context) {
	if !errors.Is(ctx.Err(), context.Canceled) {
		c.closing().Wait()
		for _, s := range c.sites {
			s.kill()
		}
		return
	}
	nodes := c.closing()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		var wg sync.WaitGroup
		for _, s := range c.sites {
			wg.Go(s.kill)
		}
		wg.Wait()
		nodes.Wait()
	}()
	late := time.NewTimer(endTimeout)
	defer late.Stop()
	select {
	case <-ended:
	case <-late.C:
	}
}

// endAll ends some things at the same time, each of which has nodes.
func endAll[T interface{ end(ctx context.Context) }](ctx context.Context, all []T) {
	var wg sync.WaitGroup
	for _, each := range all {
		wg.Go(func() { each.end(ctx) })
	}
	wg.Wait()
}

// connection returns the connection of the first node, which is the one that
// calls, to another.
func (c *cluster) connection(to string) *core.Connection {
	return c.nodes[c.members[0].Name].Connection(to)
}

// peers returns the connections of the first node to all others.
func (c *cluster) peers() (all []*core.Connection) {
	for _, n := range c.members[1:] {
		all = append(all, c.connection(n.Name))
	}
	return all
}

// wire is how many bytes the first node has given to its links and taken from them, without
// what the transport adds to its frames.
func (c *cluster) wire() (octets int64) {
	for _, p := range c.nodes[c.members[0].Name].Stats().Peers {
		octets += p.Sent + p.Received
	}
	return octets
}

// settle waits until all that the first node and the others have sent each other has arrived, as
// far as it may be seen from here: a call is behind all of that, and its answer too.
func (c *cluster) settle(ctx context.Context) {
	for _, to := range c.peers() {
		// Whether the connection works is for the next window to find out.
		_, _ = to.Request(ctx, echoID, nil, core.WithTimeout(settleTimeout))
	}
}

// settleTimeout is enough for a few MiB in the buffers of a path of one Mbit/s, and more than longestTrip.
const settleTimeout = longestTrip + 20*time.Second

// errWrongAnswer is what a call fails with whose answer is not its request.
var errWrongAnswer = errors.New("the answer is not the request that was sent")

// serveEcho registers the handler that answers with what it gets.
func serveEcho(m *core.Manager) error {
	return m.HandleAppend(echoID, func(_ context.Context, req, dst []byte) ([]byte, error) {
		return append(dst, req...), nil
	})
}

const echoID = core.HandlerID("bench.echo")
