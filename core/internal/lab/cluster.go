package lab

import (
	"context"
	"log/slog"
	"testing"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/coretest"
	"github.com/gridmux/gridmux/transport"
	"github.com/gridmux/gridmux/transport/inmem"
)

// Cluster is a coretest.Cluster over a link, with a ledger whose handlers, and
// a few echoes, all nodes have.
type Cluster struct {
	*coretest.Cluster

	Ledger *coretest.Ledger
	T      testing.TB // the test that the cluster belongs to

	net network
}

// Cluster starts n nodes, all of which know each other, and waits until they are
// connected, unless the options say otherwise. The end of the test closes them. They log
// nothing: what the tests provoke would hide what is wrong.
func (l *Link) Cluster(t testing.TB, n int, opts ...coretest.Option) *Cluster {
	t.Helper()
	c := &Cluster{T: t, net: l.make(t), Ledger: coretest.NewLedger()}
	opts = append([]coretest.Option{
		coretest.WithTransport(c.net.node),
		coretest.WithConfig(func(_ int, cfg *core.Config) {
			cfg.AllowInsecure, cfg.Logger = !l.Secure, slog.New(slog.DiscardHandler)
		}),
		coretest.WithHandlers(func(_ int, m *core.Manager) error { return RegisterEchoes(m) }),
		coretest.WithHandlers(func(_ int, m *core.Manager) error { return c.Ledger.Register(m) }),
	}, opts...)
	c.Cluster = coretest.NewCluster(t, n, opts...)
	return c
}

// Cut ends the present connections between two nodes abruptly.
func (c *Cluster) Cut(a, b int) { c.net.cut(c.Node(a).Name, c.Node(b).Name) }

// Stall holds what the present connections carry from one node to another, as a
// peer does that has stopped reading. Only links of bubbles can.
func (c *Cluster) Stall(from, to int) { c.net.stall(c.Node(from).Name, c.Node(to).Name) }

// Silence makes the present connections between two nodes dead in both
// directions, without either noticing. Only links of bubbles can.
func (c *Cluster) Silence(a, b int) {
	c.Stall(a, b)
	c.Stall(b, a)
}

// CheckLedger closes all nodes, waits for the handlers of the ledger, and fails
// the test if anybody was lied to: it is the last thing a test of calls by the
// ledger does.
func (c *Cluster) CheckLedger() {
	c.T.Helper()
	for i := range c.Len() {
		c.Manager(i).Close()
	}
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	if err := c.Ledger.WaitIdle(ctx); err != nil {
		c.T.Error(err)
	}
	if err := c.Ledger.Check(); err != nil {
		c.T.Errorf("the ledger disagrees with what callers were told: %v", err)
	}
}

// SetPeers gives node i the peers with those numbers.
func (c *Cluster) SetPeers(i int, peers ...int) {
	c.T.Helper()
	var list []core.Node
	for _, p := range peers {
		list = append(list, c.Node(p))
	}
	if err := c.Manager(i).SetPeers(list); err != nil {
		c.T.Fatalf("SetPeers of node %d returned %v", i, err)
	}
}

// Memory returns the network of package inmem that the nodes are on, or nil if
// they are on another.
func (c *Cluster) Memory() *inmem.Network {
	m, _ := c.net.(memoryNetwork)
	return m.n
}

// Transport returns one more transport on the cluster's network, for node i or a
// node beside the cluster, and its address.
func (c *Cluster) Transport(i int, name string) (transport.Transport, string) {
	return c.net.node(i, name)
}
