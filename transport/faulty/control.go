package faulty

import (
	"slices"
	"time"

	"github.com/gridmux/gridmux/transport/internal/linkmodel"
)

// Direction is one of the two directions of a connection, seen from the node
// whose transport was wrapped. Calls with any other value do nothing.
type Direction uint8

const (
	// Out is what the node sends.
	Out Direction = iota
	// In is what the node receives.
	In
)

// Conditions is how a direction carries what is sent there. The zero value
// leaves everything to the link below. Values below 0 count as 0, and durations
// over 18 years as that.
//
// Whatever they say, the frames of one direction of a connection or lane, and
// its end, arrive in the order in which they were sent; one that is late holds
// up those behind it.
type Conditions struct {
	// Latency is how long everything takes at least, beside what the link below
	// takes.
	Latency time.Duration

	// Jitter is added to it: between nothing and Jitter, evenly distributed.
	Jitter time.Duration

	// Tail is the share, 0 to 1, of what is sent that takes very much longer,
	// as a packet does that TCP has to send again. Those take TailLatency more
	// at least; one in n of them takes n times as long, up to 100 times.
	Tail        float64
	TailLatency time.Duration

	// Bandwidth is how many bytes of frames leave in a second, for each
	// connection or lane; 0 is no limit.
	Bandwidth int

	// Corrupt is the share, 0 to 1, of frames in which one bit flips. What
	// follows from that is told at [Transport.CorruptNext].
	Corrupt float64

	// Split makes every frame travel by itself, with a delay of its own and in
	// a write of its own. Else the frames of one WriteFrames stay together. In
	// the direction In frames always travel by themselves.
	Split bool

	// Merge holds what arrives for so long, for what arrives meanwhile to be
	// handed over with it.
	Merge time.Duration
}

// SetConditions sets the conditions of both directions. They concern what is
// sent, or received from the link below, from now on.
func (t *Transport) SetConditions(c Conditions) {
	t.configure(linkmodel.Conditions(c), Out, In)
}

// SetDirectionConditions is [Transport.SetConditions] for one direction.
func (t *Transport) SetDirectionConditions(d Direction, c Conditions) {
	if d <= In {
		t.configure(linkmodel.Conditions(c), d)
	}
}

func (t *Transport) configure(c linkmodel.Conditions, directions ...Direction) {
	if t == nil {
		return
	}
	c = c.Sane()
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, d := range directions {
		t.conditions[d] = c
	}
	for _, l := range t.links {
		l.mu.Lock()
		l.conditions = t.conditions
		l.wake()
		l.mu.Unlock()
	}
}

// Stall holds what the connections that exist now carry in a direction, their
// end included: nothing arrives, nothing fails by itself, and writes wait once
// 64 KiB are held. [Transport.Heal] lets it all arrive. New connections are
// well.
func (t *Transport) Stall(d Direction) {
	if t == nil || d > In {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.hold(d)
}

// Partition stalls both directions of the connections that exist and of those
// that are accepted from now on, and makes dials wait, until [Transport.Heal].
func (t *Transport) Partition() {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.partitioned = true
	t.hold(Out)
	t.hold(In)
}

func (t *Transport) hold(d Direction) {
	for _, l := range t.links {
		l.mu.Lock()
		l.hold(d)
		l.mu.Unlock()
	}
}

// Heal ends stalls and partitions, and forgets what [Transport.CutAfter],
// [Transport.StallAfter] and [Transport.CorruptNext] have planned. What was held
// arrives. Conditions stay, as do dials that are refused.
func (t *Transport) Heal() {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.partitioned = false
	for i := range t.plans {
		t.plans[i].Clear()
	}
	for _, l := range t.links {
		l.mu.Lock()
		l.release()
		l.mu.Unlock()
	}
	if t.healed != nil {
		close(t.healed)
		t.healed = nil
	}
}

// Cut ends the connections that exist abruptly. Reads and writes of this node
// fail, frames that it has not read yet and those under way are lost. The peer
// sees the same if its transport is wrapped too; else it sees a close with code
// 999, because a [transport.Conn] can be ended in no other way.
func (t *Transport) Cut() {
	if t == nil {
		return
	}
	t.mu.Lock()
	links := slices.Clone(t.links)
	t.mu.Unlock()
	for _, l := range links {
		l.cut(errReset, true)
	}
}

// CutAfter breaks a connection when n more bytes of frames have been carried in
// a direction. The frames wholly inside those n bytes arrive; the one that byte
// n is in is lost, and so is all that is sent after it. Both ends see what they
// see after a [Transport.Cut], when what was under way in that direction has
// arrived. If n is 0 the next frame is lost, whatever its length.
//
// Bytes are counted without headroom, on all connections together, those that
// are yet to be made included: a CutAfter before a dial cuts the new connection
// in its handshake. The connection that carries byte n is the one that breaks,
// and with that the plan is over. A later CutAfter takes its place, and a
// negative n or [Transport.Heal] forgets it.
func (t *Transport) CutAfter(d Direction, n int) {
	if t != nil && d <= In {
		t.plans[d].CutAfter(n)
	}
}

// StallAfter is [Transport.Stall] for the connection that carries byte n from
// now, counted as [Transport.CutAfter] counts, and from that byte on.
func (t *Transport) StallAfter(d Direction, n int) {
	if t != nil && d <= In {
		t.plans[d].StallAfter(n)
	}
}

// CorruptNext flips one bit of what is carried next in a direction: bit i%8 of
// byte i/8, the bytes counted as [Transport.CutAfter] counts. If the connection
// announces integrity in its [transport.Info], the frame is lost and the
// connection breaks as after a [Transport.Cut], with an error that tells where
// this node is the receiver. Else, as after [WithoutIntegrity], the frame is
// delivered as it has become. A negative bit, or [Transport.Heal], forgets it.
func (t *Transport) CorruptNext(d Direction, bit int) {
	if t != nil && d <= In {
		t.plans[d].CorruptNext(bit)
	}
}

// RefuseDials makes this node's dials fail, until [Transport.AllowDials].
func (t *Transport) RefuseDials() { t.set(func() { t.refused = true }) }

// AllowDials ends [Transport.RefuseDials].
func (t *Transport) AllowDials() { t.set(func() { t.refused = false }) }

// SetDialDelay makes this node's dials take so much longer, from the next one
// on. d below 0 counts as 0.
func (t *Transport) SetDialDelay(d time.Duration) {
	t.set(func() { t.dialDelay = min(max(d, 0), linkmodel.MaxTime) })
}

// SetAcceptDelay makes this node slow to accept: each Accept takes so much
// longer when it has found a connection, from the next one on. d below 0 counts
// as 0.
func (t *Transport) SetAcceptDelay(d time.Duration) {
	t.set(func() { t.acceptDelay = min(max(d, 0), linkmodel.MaxTime) })
}

func (t *Transport) set(change func()) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	change()
}
