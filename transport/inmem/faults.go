package inmem

import (
	"cmp"
	"maps"
	"slices"
)

// Partition silences two nodes for each other. Nothing arrives any more in
// either direction, on connections that exist, the news of their end included,
// and nothing fails by itself: reads wait, writes wait once the buffer is full,
// dials wait for their context. [Network.Heal] lets it all arrive, as TCP would
// send again what was lost.
func (n *Network) Partition(a, b string) {
	if !n.lock() {
		return
	}
	defer n.mu.Unlock()
	n.block(a, b)
	n.block(b, a)
}

// PartitionOneWay is [Network.Partition] for what travels in the direction from
// one node to another. Dials wait in both directions, since each needs an
// answer.
func (n *Network) PartitionOneWay(from, to string) {
	if !n.lock() {
		return
	}
	defer n.mu.Unlock()
	n.block(from, to)
}

func (n *Network) block(from, to string) {
	p := path{from, to}
	s := n.paths[p]
	s.blocked = true
	n.paths[p] = s
	n.stall(from, to)
}

// Stall holds what the connections that exist now carry in the direction from
// one node to another, as [Network.PartitionOneWay] does, but leaves dials and
// the connections that they make alone: a link has gone dead while the network
// is well. [Network.Heal] lets what was held arrive.
func (n *Network) Stall(from, to string) {
	if !n.lock() {
		return
	}
	defer n.mu.Unlock()
	n.stall(from, to)
}

func (n *Network) stall(from, to string) {
	for _, c := range n.between(from, to) {
		for i := range c.ends {
			if c.sends(i, from, to) {
				c.links[i].hold()
			}
		}
	}
}

// Heal ends every partition and stall between two nodes, in both directions,
// and forgets what [Network.CutAfter], [Network.StallAfter] and
// [Network.CorruptNext] have planned there. What was held arrives at once, each
// connection in its order; what was sent within the latency before arrives in
// its time. Dials go on. Conditions stay, as do dials that are refused, and what
// has been cut or has crashed.
func (n *Network) Heal(a, b string) {
	if !n.lock() {
		return
	}
	defer n.mu.Unlock()
	for _, p := range []path{{a, b}, {b, a}} {
		n.heal(p)
	}
	release(n.between(a, b))
	n.announce()
}

// HealAll is [Network.Heal] for all nodes.
func (n *Network) HealAll() {
	if !n.lock() {
		return
	}
	defer n.mu.Unlock()
	for p := range n.paths {
		n.heal(p)
	}
	release(n.live())
	n.announce()
}

func (n *Network) heal(p path) {
	s := n.paths[p]
	s.blocked = false
	s.plan.Clear()
	n.paths[p] = s
}

func release(cs []*connection) {
	for _, c := range cs {
		c.links[0].release()
		c.links[1].release()
	}
}

// Cut ends the connections between two nodes abruptly, at both ends at once,
// even through a partition. Reads and writes fail, and frames that were not
// read yet are lost. The listeners are untouched and new dials work.
func (n *Network) Cut(a, b string) {
	if !n.lock() {
		return
	}
	defer n.mu.Unlock()
	for _, c := range n.between(a, b) {
		for i := range c.ends {
			c.links[i].sever(c.ends[1-i].reset)
		}
	}
}

// Crash ends all connections and listeners of a node abruptly, and its dials
// under way: at once on its own side, for its peers when the news arrives, so
// after the latency, or the end of a partition. Frames that were not read yet
// are lost on both sides. Accept fails. The node's transport can dial and
// listen again directly, as a restarted process would: a Manager on the node goes on,
// dials its peers again, and can be dialled no more. To kill it, Close it as well.
func (n *Network) Crash(name string) {
	if !n.lock() {
		return
	}
	defer n.mu.Unlock()
	t := n.node(name)
	t.crashes++
	for _, addr := range slices.Sorted(maps.Keys(n.listeners)) {
		if l := n.listeners[addr]; l.node == t {
			l.endLocked(errCrashed)
		}
	}
	for _, c := range inOrder(t.conns) {
		for i := range c.ends {
			end, peer := &c.ends[i], &c.ends[1-i]
			if end.node != t {
				continue
			}
			peer.out.sever(end.reset)
			end.out.drop()
			end.out.carryCall(peer.reset)
			end.leaveLocked()
		}
	}
	n.announce()
}

// sends reports whether end i of the connection sends from one node to another.
func (c *connection) sends(i int, from, to string) bool {
	return c.ends[i].node.name == from && c.ends[1-i].node.name == to
}

// between returns the live connections between two nodes.
func (n *Network) between(a, b string) []*connection {
	cs := inOrder(n.node(a).conns)
	return slices.DeleteFunc(cs, func(c *connection) bool {
		return !c.sends(0, a, b) && !c.sends(0, b, a)
	})
}

// live returns all live connections.
func (n *Network) live() []*connection {
	all := make(map[*connection]struct{})
	for _, t := range n.nodes {
		for c := range t.conns {
			all[c] = struct{}{}
		}
	}
	return inOrder(all)
}

// inOrder returns connections in the order in which they were made: a
// simulation must not depend on the order of a map.
func inOrder(set map[*connection]struct{}) []*connection {
	cs := make([]*connection, 0, len(set))
	for c := range set {
		cs = append(cs, c)
	}
	slices.SortFunc(cs, func(a, b *connection) int { return cmp.Compare(a.age, b.age) })
	return cs
}
