package inmem

import (
	"time"

	"github.com/gridmux/gridmux/transport/internal/linkmodel"
)

// CutAfter breaks a connection abruptly when so many more bytes have been carried
// in the direction from one node to another. The frames wholly inside those
// bytes arrive and can be read; the one that the next byte is in is lost, and so
// is all that is sent after it. Both ends get the error of a [Network.Cut], when
// what was under way in that direction has arrived. After 0 bytes the next frame
// is lost, whatever its length.
//
// Bytes are those of frames, on all lanes and on all connections of that
// direction together, those that are yet to be made included: a CutAfter before
// a dial cuts the new connection in its handshake. The connection that carries
// the last of the bytes, or the frame with the one after it, is the one that
// breaks, and with that the plan is over. A later CutAfter takes its place, and
// a negative number or [Network.Heal] forgets it.
func (n *Network) CutAfter(from, to string, bytes int) {
	n.plan(from, to, func(p *linkmodel.Plan) { p.CutAfter(bytes) })
}

// StallAfter is [Network.Stall] for one connection, when so many more bytes have
// been carried, counted as [Network.CutAfter] counts: frames wholly inside those
// bytes arrive, what comes after is held until [Network.Heal].
func (n *Network) StallAfter(from, to string, bytes int) {
	n.plan(from, to, func(p *linkmodel.Plan) { p.StallAfter(bytes) })
}

// CorruptNext flips one bit of what is sent next in the direction from one node
// to another: bit i%8 of byte i/8, the bytes counted as [Network.CutAfter]
// counts. Ordinarily the connection detects it, as it announces in
// [transport.Info]: the frame is lost and the connection breaks, with an error
// that tells at the receiver and as after a [Network.Cut] at the sender. In a
// network made with [WithoutIntegrity] the frame is delivered as it has become.
// A negative bit, or [Network.Heal], forgets it.
func (n *Network) CorruptNext(from, to string, bit int) {
	n.plan(from, to, func(p *linkmodel.Plan) { p.CorruptNext(bit) })
}

func (n *Network) plan(from, to string, change func(*linkmodel.Plan)) {
	n.changePath(from, to, func(s *pathState) {
		if s.plan == nil {
			s.plan = new(linkmodel.Plan)
		}
		change(s.plan)
	})
}

// RefuseDials makes dials from one node to another fail after a round trip, as
// if nobody listened there; what is connected stays so. With all nodes but one
// refused, that one is behind a firewall. [Network.AllowDials] ends it.
func (n *Network) RefuseDials(from, to string) {
	n.changePath(from, to, func(s *pathState) { s.refused = true })
}

// AllowDials ends [Network.RefuseDials].
func (n *Network) AllowDials(from, to string) {
	n.changePath(from, to, func(s *pathState) { s.refused = false })
}

// SetAcceptDelay makes a node slow to accept: Accept of its listeners returns
// connections d after the dial for them has succeeded, those dialled from now
// on. The dialler can send meanwhile. d below 0 counts as 0.
func (n *Network) SetAcceptDelay(name string, d time.Duration) {
	if !n.lock() {
		return
	}
	defer n.mu.Unlock()
	n.node(name).acceptDelay = min(max(d, 0), linkmodel.MaxTime)
}
