package sim_test

import (
	"github.com/gridmux/gridmux/core/internal/audit"
)

// checkBooks looks into the nodes while everybody is at rest: credits are
// between zero and the window, both ends of a stream agree on them (I7), and
// nothing is over its limit (I8). It returns how many lanes there are.
func (w *world) checkBooks() (lanes int) {
	books := make([]audit.Books, len(w.nodes))
	for i, n := range w.nodes {
		if n.run != nil {
			books[i] = audit.Of(n.run.m)
			lanes += w.checkNode(n.run, &books[i])
		}
		if n.twin != nil {
			b := audit.Of(n.twin.m)
			lanes += w.checkNode(n.twin, &b)
		}
	}
	for a := range w.nodes {
		for b := range a + 1 {
			if w.settled(a, b) && w.nodes[a].run != nil && w.nodes[b].run != nil {
				w.checkAgreement(a, b, books)
			}
		}
	}
	return lanes
}

// checkNode looks at what one node holds, and returns how many lanes it has.
func (w *world) checkNode(in *incarnation, b *audit.Books) (lanes int) {
	held := map[string]int64{}
	for i := range b.Sessions {
		s := &b.Sessions[i]
		for j := range s.Streams {
			st := &s.Streams[j]
			held[s.Peer] += int64(st.Held)
			w.checkCredit(in, s, st)
		}
	}
	limits := w.p.limits
	for i := range b.Usages {
		u := &b.Usages[i]
		if u.Windows != held[u.Peer] {
			w.violatef("I7", "%s has reserved %d bytes for windows of streams with %s, of which %d are in use", in.name, u.Windows, u.Peer, held[u.Peer])
		}
		limit := int64(w.p.streamBuffers())
		if u.Peer == in.m.Local().Name {
			limit *= 2 // for each end of its streams
		}
		if u.Windows < 0 || u.Windows > limit {
			w.violatef("I8", "%s has reserved %d bytes for windows of streams with %s, the limit is %d", in.name, u.Windows, u.Peer, limit)
		}
		for kind, m := range u.Memory {
			if m.Held < 0 || m.Held > int64(limits.MaxReassembly) {
				w.violatef("I8", "%s holds %d bytes of large messages of %s, kind %d, the limit is %d", in.name, m.Held, u.Peer, kind, limits.MaxReassembly)
			}
		}
	}
	return w.checkLanes(in, b)
}

// maxWindow bounds the credit of bytes (W83).
const maxWindow = 1 << 30

func (w *world) checkCredit(in *incarnation, s *audit.Session, st *audit.Stream) {
	i, o := st.In, st.Out
	switch {
	case st.InOpen && (i.Messages < 0 || i.Messages > i.Capacity || i.Bytes < 0 || i.Bytes > i.Window):
		w.violatef("I7", "%s has given %s credit for %d messages and %d bytes on stream %x, the window is %d and %d",
			in.name, s.Peer, i.Messages, i.Bytes, st.ID, i.Capacity, i.Window)
	case st.OutOpen && (o.Messages < 0 || o.Messages > o.Capacity || o.Bytes < 0 || o.Bytes > maxWindow):
		w.violatef("I7", "%s has credit of %s for %d messages and %d bytes on stream %x, at most %d messages",
			in.name, s.Peer, o.Messages, o.Bytes, st.ID, o.Capacity)
	case st.Idle && st.InOpen && i.Capacity > 0 && (2*i.Messages < i.Capacity || i.Bytes < i.First):
		w.violatef("I7", "%s waits for messages of %s with a credit of %d messages and %d bytes on stream %x, of %d and at least %d",
			in.name, s.Peer, i.Messages, i.Bytes, st.ID, i.Capacity, i.First)
	}
}

// checkAgreement compares the two ends of every stream between two nodes that are
// well: what a sender may send its receiver has given.
func (w *world) checkAgreement(a, b int, books []audit.Books) {
	near, far := sessionsWith(&books[a], nameOf(b)), sessionsWith(&books[b], nameOf(a))
	switch {
	case a == b && len(near) == 2:
		near, far = near[:1], near[1:]
	case len(near) != 1 || len(far) != 1:
		return // there is one that is on its way out
	}
	type key struct {
		id      uint64
		serving bool
	}
	ends := map[key]*audit.Stream{}
	for i := range near[0].Streams {
		st := &near[0].Streams[i]
		ends[key{st.ID, st.Serving}] = st
	}
	for i := range far[0].Streams {
		there := &far[0].Streams[i]
		here := ends[key{there.ID, !there.Serving}]
		if here == nil {
			continue // it begins or ends
		}
		w.checkDirection(a, b, here, there)
		w.checkDirection(b, a, there, here)
	}
}

func sessionsWith(b *audit.Books, peer string) (with []*audit.Session) {
	for i := range b.Sessions {
		if b.Sessions[i].Peer == peer {
			with = append(with, &b.Sessions[i])
		}
	}
	return with
}

func (w *world) checkDirection(from, to int, sender, receiver *audit.Stream) {
	if !sender.OutOpen || !receiver.InOpen {
		return
	}
	if o, i := sender.Out, receiver.In; o.Messages > i.Messages || o.Bytes > i.Bytes {
		w.violatef("I7", "%s may send %d messages and %d bytes on stream %x, %s has given credit for %d and %d",
			nameOf(from), o.Messages, o.Bytes, sender.ID, nameOf(to), i.Messages, i.Bytes)
	}
}

// checkEmpty holds that a node on which nothing is in progress holds nothing: no
// slot, no window, no memory, no turn (I7, I8).
func (w *world) checkEmpty(in *incarnation, when string) {
	b := audit.Of(in.m)
	if b.Handlers != 0 {
		w.violatef("I8", "%s: %s counts %d handlers", when, in.name, b.Handlers)
	}
	for i := range b.Usages {
		if u := &b.Usages[i]; !u.Idle() {
			w.violatef("I7", "%s: %s holds for %s: %+v", when, in.name, u.Peer, *u)
		}
	}
	for i := range b.Sessions {
		s := &b.Sessions[i]
		if s.Busy|s.Pending|s.Unsent|s.Ungranted|len(s.Streams) != 0 || s.Turns || s.Control || s.Unacked != 0 {
			w.violatef("I7", "%s: %s is not done with %s: %+v", when, in.name, s.Peer, *s)
		}
	}
}
