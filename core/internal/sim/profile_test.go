package sim_test

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/internal/wire"
	"github.com/gridmux/gridmux/transport/inmem"
)

// profile is what a seed stands for, apart from the schedule: how many nodes,
// over what kind of network, with what limits, and which operations and faults
// at which rates. Each seed enables a subset, so that rare combinations come
// about which would never stand out among everything at once.
type profile struct {
	seed       uint64
	over       *carrier
	nodes      int
	length     time.Duration // of the schedule
	operations int
	faults     int
	mix        mix

	latency     time.Duration // of a path, about
	paths       [][]time.Duration
	link        inmem.Conditions // of every link that is well, but for the latency
	buffer      int              // of a link in one direction, bytes; 0: the default
	plain       bool             // links do not notice what they corrupt
	lanes       bool             // links have lanes
	abrupt      bool             // and lose what has not been read when they are closed
	compress    compression
	prefers     []bool // nodes that have a second transport, which they prefer; nil: none
	limits      core.Config
	capacity    [2]int        // of streams towards handlers and from them, messages
	handlerTime time.Duration // that some handlers of streams have
	echo        echoes
	auth        authKind
	rogue       bool // a member that does not keep to the protocol
	tight       bool // limits are low enough for calls to be refused
	// apart: all happens between the first two nodes, and others are witnesses.
	apart bool
	// loose: the schedule has instants in which two things happen whose order
	// shows, such as the deadline of a call and its response. It is then the
	// scheduler's choice, so replays of such a seed may differ.
	loose bool
}

// mix is what a seed has enabled.
type mix struct{ operations, faults []weighted }

type weighted struct {
	act    *action
	weight float64
}

// stream returns one of the independent sources of randomness of a seed.
func stream(seed, n uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, n)) }

// between returns a duration from low to high, short ones as often as long ones.
func between(r *rand.Rand, low, high time.Duration) time.Duration {
	l, h := math.Log(float64(low)), math.Log(float64(high))
	return time.Duration(math.Exp(l + r.Float64()*(h-l)))
}

func pick[T any](r *rand.Rand, of ...T) T { return of[r.IntN(len(of))] }

// newProfile draws the profile of a seed, over a carrier.
func newProfile(seed uint64, over *carrier) *profile {
	r := stream(seed, 1)
	p := &profile{
		seed:       seed,
		over:       over,
		nodes:      3 + r.IntN(5)*r.IntN(2), // 3 half of the time
		length:     between(r, 2*time.Second, 40*time.Second),
		operations: 40 + r.IntN(120),
		faults:     r.IntN(12) * (1 + r.IntN(3)),
		latency:    between(r, 20*time.Microsecond, 60*time.Millisecond),
		buffer:     pick(r, 0, 0, 0, 0, 4<<10, 1),
		plain:      r.IntN(3) == 0,
		tight:      r.IntN(3) == 0,
		auth:       authKind(r.IntN(numAuthKinds)),
		loose:      r.IntN(16) == 0,
	}
	p.lanes = stream(seed, 3).IntN(4) == 0 // of its own source, which shifts no other
	p.abrupt = stream(seed, 7).IntN(4) == 0
	p.compress = newCompression(seed)
	p.apart = r.IntN(16) == 0
	p.mix = mix{swarm(r, p.among(operations)), swarm(r, p.among(faults))} // of the same tables whatever the carrier
	p.rogue = slices.ContainsFunc(p.mix.faults, func(w weighted) bool { return w.act.name == "rogue" })
	if p.plain && p.auth == authNone {
		p.auth = authShared // or nothing would find a bit that flips in the handshake
	}
	if p.apart {
		p.buffer, p.tight = 0, false
		// What others send decides which messages are tried, and so how long they take.
		p.compress = compression{}
	}
	p.drawTransports()
	p.drawPaths(r)
	p.drawLink(r)
	over.adapt(p)
	p.drawLimits(r)
	p.drawEchoes()
	return p
}

// among returns the actions of a table that a seed may have.
func (p *profile) among(table []*action) []*action {
	if !p.apart {
		return table
	}
	return slices.DeleteFunc(slices.Clone(table), func(act *action) bool { return !act.pair })
}

// actors is how many nodes take part in what happens.
func (p *profile) actors() int {
	if p.apart {
		return 2
	}
	return p.nodes
}

// swarm enables a part of a table and gives each action a rate.
func swarm(r *rand.Rand, table []*action) (out []weighted) {
	for len(out) == 0 {
		for _, act := range table {
			share := 0.6
			if act.rare {
				share = 0.15
			}
			if rate := between(r, time.Second/4, 4*time.Second).Seconds(); act.weight > 0 && r.Float64() < share {
				out = append(out, weighted{act, float64(act.weight) * rate})
			}
		}
	}
	return out
}

// drawPaths gives every direction between two nodes a latency that no other
// has, so that hardly anything ever happens in the same instant.
func (p *profile) drawPaths(r *rand.Rand) {
	p.paths = make([][]time.Duration, p.nodes)
	for a := range p.paths {
		p.paths[a] = make([]time.Duration, p.nodes)
		for b := range p.paths[a] {
			p.paths[a][b] = p.latency/2 + time.Duration(r.Int64N(int64(p.latency))) + time.Duration(a*p.nodes+b)
		}
	}
}

// drawLink makes links imperfect in most seeds, within what they can be and
// still count as well.
func (p *profile) drawLink(r *rand.Rand) {
	c := &p.link
	c.Latency = p.latency
	if p.apart {
		return // what a witness takes has to be the same twice
	}
	if r.IntN(2) == 0 {
		c.Jitter = between(r, p.latency/10, 2*p.latency)
	}
	if r.IntN(4) == 0 {
		c.Tail, c.TailLatency = 0.05*r.Float64(), between(r, time.Microsecond, min(p.latency, 3*time.Millisecond))
	}
	if r.IntN(4) == 0 {
		c.Bandwidth = 256 << 10 << r.IntN(10)
	}
	if r.IntN(8) == 0 {
		c.Merge = between(r, time.Microsecond, p.latency)
	}
	c.Split = r.IntN(3) == 0
}

// conditions is how a link is while it is well.
func (p *profile) conditions(from, to int) inmem.Conditions {
	c := p.link
	c.Latency = p.paths[from][to]
	return c
}

func (p *profile) drawLimits(r *rand.Rand) {
	c := &p.limits
	c.ConnectTimeout = max(between(r, 100*time.Millisecond, 5*time.Second), time.Duration(p.over.trips)*p.maxLatency())
	c.MaxBackoff = between(r, 50*time.Millisecond, 3*time.Second)
	if p.rogue {
		// It does not listen, and everybody tries all the time.
		c.MaxBackoff = max(c.MaxBackoff, 500*time.Millisecond)
	}
	c.KeepAlive = max(between(r, 50*time.Millisecond, 5*time.Second), 4*p.maxLatency())
	// The core counts whole writes as progress, and with tiny buffers each takes
	// a latency for every frame in it.
	patience := 8 * p.maxLatency()
	if p.buffer != 0 {
		patience = 32 * p.maxLatency()
		c.ConnectTimeout = max(c.ConnectTimeout, 2*patience)
	}
	c.KeepAliveTimeout = max(between(r, 50*time.Millisecond, 5*time.Second), patience)
	if p.link.Tail > 0 {
		c.ConnectTimeout, c.KeepAliveTimeout = c.ConnectTimeout+p.over.resend, c.KeepAliveTimeout+p.over.resend
	}
	c.MaxMessage = pick(r, 40<<10, 200<<10, 1<<20)
	c.MaxReassembly = c.MaxMessage * (1 + r.IntN(4))
	p.drawStreams(r)
	if p.tight {
		c.MaxHandlers = 1 + r.IntN(10)
		c.MaxHandlersTotal = c.MaxHandlers + r.IntN(20)
		c.MaxCalls = 1 + r.IntN(12)
		c.MaxOutput = 500 + r.IntN(100_000)
	}
}

// drawStreams makes the windows of streams small in most seeds.
func (p *profile) drawStreams(r *rand.Rand) {
	c := &p.limits
	for i := range p.capacity {
		p.capacity[i] = pick(r, 1, 1, 2, 3, 8, 64, 1000)
	}
	p.handlerTime = between(r, time.Millisecond, 2*time.Second)
	c.StreamWindow = pick(r, 0, 0, 1, 10, 100, 1000, 4<<10, 40_000)
	if p.tight && r.IntN(2) == 0 {
		c.MaxStreamBuffers = p.window() * (1 + r.IntN(6))
	}
}

// window is the size of the window of a stream.
func (p *profile) window() int { return cmp.Or(p.limits.StreamWindow, wire.DefaultWindow) }

// streamBuffers is the limit on the windows of the streams with one peer.
func (p *profile) streamBuffers() int { return cmp.Or(p.limits.MaxStreamBuffers, 64<<20) }

// volume is how much a stream carries at most one way, about.
func (p *profile) volume() int {
	if p.buffer != 0 {
		return 32 << 10
	}
	return 400 << 10
}

// maxLatency is the longest time that a frame takes on a link that is well: the
// worst of its tail, behind a full buffer.
func (p *profile) maxLatency() time.Duration {
	return p.latency/2 + p.over.lag(&p.link) + 100*time.Microsecond
}

// healTime is how long after the last fault every pair has to be connected
// (I10): the longest pause between attempts, a handshake, and a second. An
// attempt that began under the fault may have to run out first.
func (p *profile) healTime() time.Duration {
	d := p.limits.ConnectTimeout + p.limits.MaxBackoff + 16*p.maxLatency() + time.Second
	if p.prefers != nil {
		// Where the preferred transport is blocked it has a head start in that attempt
		// and in the next, and the one that failed before gets another.
		d += p.limits.ConnectTimeout + 2*headStart
	}
	return d
}

// prompt is how long a frame takes at most from being queued to its arrival on
// a link that is well: there may be other writes before it, each in several
// buffers.
func (p *profile) prompt() time.Duration { return 40*p.maxLatency() + time.Millisecond }

// prompts reports whether prompt can be promised: not with tiny buffers, of
// which each costs a latency.
func (p *profile) prompts() bool { return p.buffer == 0 }

func (p *profile) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "seed %d over %s: %d nodes, %v, link %+v, buffer %d, plain %v, auth %v, tight %v, loose %v, apart %v, prefers %v\n",
		p.seed, p.over.name, p.nodes, p.length, p.link, p.buffer, p.plain, p.auth, p.tight, p.loose, p.apart, p.prefers)
	if c := &p.compress; c.codecs != nil {
		fmt.Fprintf(&b, "  compression:")
		for _, codec := range c.codecs {
			fmt.Fprintf(&b, " %s", codec.Name())
		}
		fmt.Fprintf(&b, ", one in %d off, threshold %d, by calls %v, windows %v\n", c.off, c.threshold, c.calls, c.windows)
	}
	fmt.Fprintf(&b, "  echoes: %v\n", p.echo)
	c := &p.limits
	fmt.Fprintf(&b, "  connect %v, back-off %v, keep-alive %v + %v, message %d, reassembly %d, handlers %d/%d, calls %d, output %d\n",
		c.ConnectTimeout, c.MaxBackoff, c.KeepAlive, c.KeepAliveTimeout, c.MaxMessage, c.MaxReassembly,
		c.MaxHandlers, c.MaxHandlersTotal, c.MaxCalls, c.MaxOutput)
	fmt.Fprintf(&b, "  streams: window %d, capacities %v, windows of a peer %d, time of a handler %v\n",
		c.StreamWindow, p.capacity, c.MaxStreamBuffers, p.handlerTime)
	for _, table := range [][]weighted{p.mix.operations, p.mix.faults} {
		b.WriteString(" ")
		for _, w := range table {
			fmt.Fprintf(&b, " %s:%.1f", w.act.name, w.weight)
		}
		b.WriteString("\n")
	}
	return b.String()
}
