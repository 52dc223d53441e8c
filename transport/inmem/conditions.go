package inmem

import (
	"time"

	"github.com/gridmux/gridmux/transport/internal/linkmodel"
)

// Conditions is how a direction between two nodes carries what is sent there.
// The zero value is a perfect link: everything arrives at once and undamaged.
// Values below 0 count as 0, and durations over 18 years as that.
//
// Whatever they say, the frames of one direction of a connection, and its end,
// arrive in the order in which they were sent; one that is late holds up those
// behind it. What is drawn by chance comes from the seed of the network, see
// [WithSeed].
type Conditions struct {
	// Latency is how long everything takes at least.
	Latency time.Duration

	// Jitter is added to it: between nothing and Jitter, evenly distributed.
	Jitter time.Duration

	// Tail is the share, 0 to 1, of what is sent that takes very much longer,
	// as a packet does that TCP has to send again. Those take TailLatency more
	// at least; one in n of them takes n times as long, up to 100 times.
	Tail        float64
	TailLatency time.Duration

	// Bandwidth is how many bytes of frames leave in a second, for each
	// connection; 0 is no limit.
	Bandwidth int

	// Corrupt is the share, 0 to 1, of frames in which one bit flips. What
	// follows from that is told at [Network.CorruptNext].
	Corrupt float64

	// Split makes every frame travel by itself, with a delay of its own, if
	// there is any. Else the frames of one WriteFrames arrive together.
	Split bool

	// Merge holds what arrives for so long, for what arrives meanwhile to be
	// handed over with it.
	Merge time.Duration
}

// SetConditions sets the conditions in both directions between all nodes,
// except where [Network.SetPathConditions] says otherwise. They concern what is
// sent from now on, dials included.
func (n *Network) SetConditions(c Conditions) {
	if !n.lock() {
		return
	}
	defer n.mu.Unlock()
	n.conditions = linkmodel.Conditions(c).Sane()
	n.refresh(n.live())
}

// SetPathConditions sets the conditions of the direction from one node to
// another in place of the network's, as [Network.SetConditions] does.
func (n *Network) SetPathConditions(from, to string, c Conditions) {
	n.changePath(from, to, func(s *pathState) {
		s.conditions, s.hasConditions, s.hasLatency = linkmodel.Conditions(c).Sane(), true, false
	})
}

// ResetPathConditions returns the direction from one node to another to the
// conditions of the network, latency included.
func (n *Network) ResetPathConditions(from, to string) {
	n.changePath(from, to, func(s *pathState) {
		s.conditions, s.hasConditions, s.hasLatency = linkmodel.Conditions{}, false, false
	})
}

// SetLatency sets the latency of [Conditions] alone and leaves the rest of what
// [Network.SetConditions] has set: everything arrives d after it was sent, in
// both directions between all nodes, except where [Network.SetPathLatency] or
// [Network.SetPathConditions] says otherwise. It concerns what is sent from now
// on; frames stay in order when d falls. A dial takes a round trip. d below 0
// counts as 0, which is how a network begins.
func (n *Network) SetLatency(d time.Duration) {
	if !n.lock() {
		return
	}
	defer n.mu.Unlock()
	n.conditions.Latency = d
	n.conditions = n.conditions.Sane()
	n.refresh(n.live())
}

// SetPathLatency sets the latency alone of the direction from one node to
// another, as [Network.SetLatency] does. d below 0 returns to that of the
// conditions which hold there.
func (n *Network) SetPathLatency(from, to string, d time.Duration) {
	n.changePath(from, to, func(s *pathState) {
		s.latency, s.hasLatency = d, d >= 0
	})
}

// changePath changes the state of a path and tells its connections.
func (n *Network) changePath(from, to string, change func(*pathState)) {
	if !n.lock() {
		return
	}
	defer n.mu.Unlock()
	p := path{from, to}
	s := n.paths[p]
	change(&s)
	n.paths[p] = s
	n.refresh(n.between(from, to))
}

// conditionsOf is called with mu held.
func (n *Network) conditionsOf(from, to string) linkmodel.Conditions {
	s, c := n.paths[path{from, to}], n.conditions
	if s.hasConditions {
		c = s.conditions
	}
	if s.hasLatency {
		c.Latency = s.latency
		c = c.Sane()
	}
	return c
}

// refresh gives the links of cs their conditions anew. It is called with mu
// held.
func (n *Network) refresh(cs []*connection) {
	for _, c := range cs {
		for i := range c.ends {
			n.configure(&c.ends[i])
		}
	}
}

// configure gives the link on which end sends its conditions. It is called with
// mu held.
func (n *Network) configure(end *conn) {
	p := path{end.node.name, end.peer.node.name}
	end.out.configure(n.conditionsOf(p.from, p.to), n.paths[p].plan, func() *model { return newModel(end, end.both.age) })
}
