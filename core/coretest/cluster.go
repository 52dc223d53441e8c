package coretest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/transport"
	"github.com/gridmux/gridmux/transport/inmem"
)

// Patience is how long a Cluster waits for its nodes to find each other before
// it fails the test: virtual time in a bubble, else generous for a slow machine.
const Patience = 30 * time.Second

// Cluster is a number of Managers that know each other. Its methods may be
// called concurrently, but only from the goroutines that may fail the test.
type Cluster struct {
	t        testing.TB
	settings settings
	nodes    []core.Node

	mu       sync.Mutex
	managers []*core.Manager // the latest one of each node
	running  []bool
}

type settings struct {
	network   *inmem.Network
	transport func(i int, name string) (transport.Transport, string)
	config    []func(i int, cfg *core.Config)
	handlers  []func(i int, m *core.Manager) error
	unstarted bool
}

// Option changes a [Cluster] as it is made.
type Option func(*settings)

// WithTransport sets the transport of every node and the address that the
// others dial it at, in place of the network in memory. It is called once per
// node, and again when the node is restarted, where the address must be the
// same. It may fail the test.
func WithTransport(f func(i int, name string) (transport.Transport, string)) Option {
	return func(s *settings) { s.transport = f }
}

// WithNetwork sets the network in memory, as one with options of its own.
func WithNetwork(n *inmem.Network) Option {
	return func(s *settings) { s.network = n }
}

// WithConfig adjusts the configuration of every node before its Manager is
// made. Several of these options are applied in order.
func WithConfig(f func(i int, cfg *core.Config)) Option {
	return func(s *settings) { s.config = append(s.config, f) }
}

// WithHandlers registers the handlers of every node before it is started. An
// error fails the test. Several of these options are applied in order.
func WithHandlers(f func(i int, m *core.Manager) error) Option {
	return func(s *settings) { s.handlers = append(s.handlers, f) }
}

// Unstarted leaves all nodes unstarted; [Cluster.Start] starts one.
func Unstarted() Option {
	return func(s *settings) { s.unstarted = true }
}

// NewCluster starts n nodes called node-0, node-1 and so on, waits until every
// one is connected to every other, and closes them when the test ends. They
// allow insecure links, unless [WithConfig] says otherwise. If anything goes
// wrong the test fails at once.
func NewCluster(t testing.TB, n int, opts ...Option) *Cluster {
	t.Helper()
	c := &Cluster{
		t:        t,
		nodes:    make([]core.Node, n),
		managers: make([]*core.Manager, n),
		running:  make([]bool, n),
	}
	for _, o := range opts {
		o(&c.settings)
	}
	if c.settings.transport == nil {
		if c.settings.network == nil {
			c.settings.network = inmem.NewNetwork()
		}
		network := c.settings.network
		c.settings.transport = func(_ int, name string) (transport.Transport, string) { return network.Node(name), name }
	} else {
		c.settings.network = nil
	}
	// The addresses of all must be known before the first Manager is made.
	transports := make([]transport.Transport, n)
	for i := range c.nodes {
		name := fmt.Sprintf("node-%d", i)
		tr, addr := c.settings.transport(i, name)
		transports[i] = tr
		c.nodes[i] = core.Node{Name: name, Addr: addr}
	}
	t.Cleanup(c.closeAll)
	for i, tr := range transports {
		c.managers[i] = c.newManager(i, tr)
	}
	if c.settings.unstarted {
		return c
	}
	for i := range c.nodes {
		c.Start(i)
	}
	c.WaitConnected()
	return c
}

func (c *Cluster) newManager(i int, tr transport.Transport) *core.Manager {
	c.t.Helper()
	cfg := core.Config{
		Cluster:       "coretest",
		Local:         c.nodes[i],
		Peers:         c.nodes,
		Transport:     tr,
		AllowInsecure: true,
	}
	for _, adjust := range c.settings.config {
		adjust(i, &cfg)
	}
	m, err := core.NewManager(cfg)
	if err != nil {
		c.t.Fatalf("coretest: making the Manager of %s failed: %v", c.nodes[i].Name, err)
	}
	for _, register := range c.settings.handlers {
		if err := register(i, m); err != nil {
			c.t.Fatalf("coretest: registering the handlers of %s failed: %v", c.nodes[i].Name, err)
		}
	}
	return m
}

// Len returns the number of nodes.
func (c *Cluster) Len() int { return len(c.nodes) }

// Node returns name and address of node i.
func (c *Cluster) Node(i int) core.Node { return c.nodes[i] }

// Network returns the network in memory; nil if the test chose another
// transport.
func (c *Cluster) Network() *inmem.Network { return c.settings.network }

// Manager returns the Manager of node i, after a restart the new one.
func (c *Cluster) Manager(i int) *core.Manager {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.managers[i]
}

// Conn returns the connection of node from to node to, which may be the same.
func (c *Cluster) Conn(from, to int) *core.Connection {
	return c.Manager(from).Connection(c.nodes[to].Name)
}

// Start starts node i of a cluster that was made with [Unstarted].
func (c *Cluster) Start(i int) {
	c.t.Helper()
	if err := c.Manager(i).Start(c.t.Context()); err != nil {
		c.t.Fatalf("coretest: starting %s failed: %v", c.nodes[i].Name, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.running[i] = true
}

// Stop closes node i. Its peers lose their connections to it.
func (c *Cluster) Stop(i int) {
	c.t.Helper()
	c.mu.Lock()
	m := c.managers[i]
	c.running[i] = false
	c.mu.Unlock()
	if err := m.Close(); err != nil {
		c.t.Errorf("coretest: closing %s failed: %v", c.nodes[i].Name, err)
	}
}

// Restart closes node i, if it runs, and starts it again as a new Manager with
// the same configuration and handlers, as a process that is restarted. It does
// not wait for connections, see [Cluster.WaitConnected]. For a restart that loses
// no call, let the Manager that [Cluster.Manager] returns drain by its Shutdown
// first.
func (c *Cluster) Restart(i int) *core.Manager {
	c.t.Helper()
	c.Stop(i)
	tr, addr := c.settings.transport(i, c.nodes[i].Name)
	if addr != c.nodes[i].Addr {
		c.t.Fatalf("coretest: %s was restarted with the address %q: its peers know it by %q", c.nodes[i].Name, addr, c.nodes[i].Addr)
	}
	m := c.newManager(i, tr)
	c.mu.Lock()
	c.managers[i] = m
	c.mu.Unlock()
	c.Start(i)
	return m
}

// WaitConnected waits until every node that runs reaches every other one that
// runs. After [Patience] it fails the test and says who is missing and why.
func (c *Cluster) WaitConnected() {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	for i := range c.nodes {
		for j := range c.nodes {
			if i == j || !c.isRunning(i) || !c.isRunning(j) {
				continue
			}
			if err := reach(ctx, c.Conn(i, j)); err != nil {
				c.t.Fatalf("coretest: %s did not get a connection within %v: %v", c.nodes[i].Name, Patience, err)
			}
		}
	}
}

// nobody is a handler that no node has, of the library so that it is not intercepted.
const nobody core.HandlerID = "gridmux.nobody"

// reach waits until the peer answers. The state of the connection is not
// enough: of a node that was just restarted its peers may not know yet.
func reach(ctx context.Context, conn *core.Connection) error {
	for {
		if err := conn.WaitConnected(ctx); err != nil {
			return err
		}
		_, err := conn.Request(ctx, nobody, nil, core.WaitForConnection())
		switch {
		case core.OutcomeOf(err) == core.OutcomeRefused || errors.Is(err, core.ErrOverloaded):
			return nil
		case !errors.Is(err, core.ErrDisconnected) || ctx.Err() != nil:
			return err
		}
	}
}

func (c *Cluster) isRunning(i int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.running[i]
}

// closeAll closes all Managers side by side.
func (c *Cluster) closeAll() {
	c.mu.Lock()
	managers := slices.Clone(c.managers)
	c.mu.Unlock()
	var wg sync.WaitGroup
	for _, m := range managers {
		wg.Go(func() { _ = m.Close() })
	}
	wg.Wait()
}
