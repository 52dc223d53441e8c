package sim_test

import (
	"math/rand/v2"
	"sync"
	"time"

	"github.com/gridmux/gridmux/transport"
	"github.com/gridmux/gridmux/transport/inmem"
)

// network is what lies between the nodes of a run, with the faults that there are:
// those of inmem.Network, by whose names and in whose words, as far as the carrier has
// them. Methods are called by the driver, and concurrently by nodes that end.
type network interface { //nolint:interfacebloat // Of a fault there is a method, as inmem has it.
	// node returns a transport for a process that is somewhere, calls itself by a
	// name and listens at an address. What is there already at that address is gone.
	node(where, name, addr string) (transport.Transport, error)
	// close takes down what outlives the nodes.
	close()

	Cut(a, b string)
	Partition(a, b string)
	PartitionOneWay(from, to string)
	Stall(from, to string)
	Heal(a, b string)
	HealAll()
	SetPathConditions(from, to string, c inmem.Conditions)
	CutAfter(from, to string, n int)
	StallAfter(from, to string, n int)
	CorruptNext(from, to string, n int)
	RefuseDials(from, to string)
	AllowDials(from, to string)
	SetAcceptDelay(where string, d time.Duration)
	Crash(where string)
}

// memory is the network of transport/inmem.
type memory struct{ *inmem.Network }

func (m memory) node(where, _, _ string) (transport.Transport, error) { return m.Node(where), nil }

func (memory) close() {}

func newMemory(p *profile) network {
	opts := []inmem.Option{inmem.WithBuffer(p.buffer), inmem.WithSeed(p.seed)}
	if p.plain {
		opts = append(opts, inmem.WithoutIntegrity())
	}
	if p.lanes {
		opts = append(opts, inmem.WithLanes())
	}
	if p.abrupt {
		opts = append(opts, inmem.WithAbruptClose())
	}
	n := inmem.NewNetwork(opts...)
	n.SetConditions(p.link)
	return memory{n}
}

// newNetwork makes the network of a run, every link of which is well.
func newNetwork(p *profile) network {
	n := p.over.make(p)
	for a := range p.nodes {
		for b := range p.nodes {
			n.SetPathConditions(nameOf(a), nameOf(b), p.conditions(a, b))
		}
	}
	return n
}

// path names a direction between two places of a network.
type path struct{ from, to string }

// route is what becomes of what takes a path.
type route struct {
	conditions inmem.Conditions
	blocked    bool // by a partition
	refused    bool // dials are
	// After how many bytes something happens; 0: it does not.
	cut, stall, corrupt int
}

// routes is what the networks of sockets and of datagrams have in common: the state
// of every path. All methods may be called concurrently.
type routes struct {
	mu      sync.Mutex
	rand    *rand.Rand
	usual   inmem.Conditions // of paths without their own
	paths   map[path]*route
	owners  map[string]string        // where an address is
	accepts map[string]time.Duration // how slow a place is to accept
	changed chan struct{}            // closed, and replaced, when a path is healed
}

func newRoutes(p *profile) routes {
	return routes{
		rand: stream(p.seed, 11), usual: p.link, paths: map[path]*route{}, owners: map[string]string{},
		accepts: map[string]time.Duration{}, changed: make(chan struct{}),
	}
}

// route returns the state of a path. mu is held.
func (r *routes) route(from, to string) *route {
	s := r.paths[path{from, to}]
	if s == nil {
		s = &route{conditions: r.usual}
		r.paths[path{from, to}] = s
	}
	return s
}

// change changes the state of a path.
func (r *routes) change(from, to string, change func(s *route)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change(r.route(from, to))
}

func (r *routes) SetPathConditions(from, to string, c inmem.Conditions) {
	r.change(from, to, func(s *route) { s.conditions = c })
}

func (r *routes) RefuseDials(from, to string) {
	r.change(from, to, func(s *route) { s.refused = true })
}

func (r *routes) AllowDials(from, to string) {
	r.change(from, to, func(s *route) { s.refused = false })
}

func (r *routes) CutAfter(from, to string, n int) {
	r.change(from, to, func(s *route) { s.cut = n })
}

func (r *routes) StallAfter(from, to string, n int) {
	r.change(from, to, func(s *route) { s.stall = n })
}

func (r *routes) CorruptNext(from, to string, n int) {
	r.change(from, to, func(s *route) { s.corrupt = n })
}

func (r *routes) SetAcceptDelay(where string, d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.accepts[where] = d
}

// block begins a partition in one direction, and unblock ends what is wrong with it.
func (r *routes) block(from, to string) {
	r.change(from, to, func(s *route) { s.blocked = true })
}

func (r *routes) unblock(from, to string) {
	r.change(from, to, func(s *route) { *s = route{conditions: s.conditions, refused: s.refused} })
	r.mu.Lock()
	defer r.mu.Unlock()
	close(r.changed)
	r.changed = make(chan struct{})
}

// all returns every path.
func (r *routes) all() (all []path) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for p := range r.paths {
		all = append(all, p)
	}
	return all
}

// own notes where an address is.
func (r *routes) own(addr, where string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.owners[addr] = where
}

// delayOf draws how long something takes under conditions, but for the width of the
// line. mu is held.
func (r *routes) delayOf(c *inmem.Conditions) time.Duration {
	d := c.Latency + time.Duration(r.rand.Float64()*float64(c.Jitter))
	if c.Tail > 0 && r.rand.Float64() < c.Tail {
		d += time.Duration(float64(c.TailLatency) * min(1/(1-r.rand.Float64()), 100))
	}
	return d
}

// acceptDelay is how slow a place is to accept.
func (r *routes) acceptDelay(where string) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.accepts[where]
}
