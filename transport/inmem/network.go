package inmem

import (
	"sync"
	"time"

	"github.com/gridmux/gridmux/transport/internal/linkmodel"
)

// DefaultBuffer is how much a sender may have under way in bytes, unless
// [WithBuffer] says otherwise.
const DefaultBuffer = 64 << 10

// Network is a simulated network; the zero value is one that [NewNetwork] made
// without options. Its methods may be called concurrently and at any time. They
// name nodes as [Network.Node] does; a name that is new makes a node.
type Network struct {
	buffer   int
	plain    bool      // connections announce no integrity
	lanes    bool      // connections ask for lanes
	abrupt   bool      // a close loses what has not been read
	seed     uint64    // of all that is drawn by chance
	instants *instants // nil unless the seed was given

	mu sync.Mutex // before every other lock; never held while waiting

	// Guarded by mu.
	nodes     map[string]*Transport
	listeners map[string]*listener // by address
	paths     map[path]pathState

	conditions linkmodel.Conditions
	// connections counts those made so far, pairs those between two nodes, by
	// their names in order; the latter in a network with a seed only.
	connections uint64
	pairs       map[path]uint64
	// changed is closed when a dial that waits has something to look at. It
	// is nil while none does.
	changed chan struct{}
}

// A path is one direction between two nodes.
type path struct{ from, to string }

// pathState is what the network does to a path. The zero value is a path that
// nobody has touched.
type pathState struct {
	conditions    linkmodel.Conditions
	hasConditions bool // conditions take the place of the network's
	latency       time.Duration
	hasLatency    bool // latency takes the place of that of the conditions
	blocked       bool
	refused       bool            // dials are
	dials         uint64          // so far
	plan          *linkmodel.Plan // nil if there never was one
}

// Option changes a [Network] as it is made.
type Option func(*Network)

// WithBuffer sets how many bytes a sender may have under way in one direction
// of a connection or lane: frames that the peer has not read yet, wherever they
// are. A frame counts its length and 64 bytes more; a frame that is longer than
// the buffer passes when nothing else is under way. It plays the part of the
// socket buffers, so with latency it also bounds the throughput to one buffer
// per latency. n less than 1 stands for [DefaultBuffer].
func WithBuffer(n int) Option {
	return func(net *Network) {
		if net != nil && n > 0 {
			net.buffer = n
		}
	}
}

// WithSeed sets the seed of everything that the network draws by chance, and
// makes it repeatable: equal seeds and equal use give equal arrivals, to the
// nanosecond. For that, no two things arrive at the same instant anywhere in
// the network, so that everything takes a few microseconds even where nothing
// else delays it; the documentation of the package tells more. Without this
// option the seed is 0, and what takes no time arrives at once.
func WithSeed(seed uint64) Option {
	return func(net *Network) {
		if net != nil {
			net.seed, net.instants = seed, newInstants()
		}
	}
}

// WithLanes makes connections ask for lanes, as those do that have independent
// ones ([transport.Info.Lanes]): a Manager then gives streams and large messages
// lanes of their own, as it does over QUIC. In memory that gains nothing; it is for
// tests of what else it changes. All lanes of a connection share its link.
func WithLanes() Option {
	return func(net *Network) {
		if net != nil {
			net.lanes = true
		}
	}
}

// WithAbruptClose makes connections that are closed lose what the other side has not read
// yet, the code and the reason of the close among it: it sees them cut, as it may over TCP,
// where a socket that is closed while its peer sends is reset. It is for tests of what has
// to arrive before a connection may be closed, such as the answers of a node that shuts
// down.
func WithAbruptClose() Option {
	return func(net *Network) {
		if net != nil {
			net.abrupt = true
		}
	}
}

// WithoutIntegrity makes connections announce that they do not detect
// corruption, as TCP without TLS, so that a frame in which a bit has flipped is
// delivered.
func WithoutIntegrity() Option {
	return func(net *Network) {
		if net != nil {
			net.plain = true
		}
	}
}

// NewNetwork makes a network without nodes, in which nothing takes time and
// nothing is broken. It needs no closing.
func NewNetwork(opts ...Option) *Network {
	n := new(Network)
	for _, o := range opts {
		if o != nil {
			o(n)
		}
	}
	return n
}

// lock locks mu and prepares a Network that is used for the first time. It
// reports false, and does nothing, if there is no Network at all.
func (n *Network) lock() bool {
	if n == nil {
		return false
	}
	n.mu.Lock()
	if n.nodes == nil {
		n.nodes = make(map[string]*Transport)
		n.listeners = make(map[string]*listener)
		n.paths = make(map[path]pathState)
		n.pairs = make(map[path]uint64)
		if n.buffer == 0 {
			n.buffer = DefaultBuffer
		}
	}
	return true
}

// Node returns the transport of the node called name; the same name gives the
// same transport. A node needs no preparation and can listen on any number of
// addresses.
func (n *Network) Node(name string) *Transport {
	if !n.lock() {
		return nil
	}
	defer n.mu.Unlock()
	return n.node(name)
}

func (n *Network) node(name string) *Transport {
	t := n.nodes[name]
	if t == nil {
		t = &Transport{net: n, name: name, number: uint64(len(n.nodes)), conns: make(map[*connection]struct{})}
		n.nodes[name] = t
	}
	return t
}

// open reports whether both directions between two nodes let dials through. It
// is called with mu held.
func (n *Network) open(a, b string) bool {
	return !n.paths[path{a, b}].blocked && !n.paths[path{b, a}].blocked
}

// nextChange returns a channel that the next announce closes. It is called with
// mu held.
func (n *Network) nextChange() <-chan struct{} {
	if n.changed == nil {
		n.changed = make(chan struct{})
	}
	return n.changed
}

// announce wakes the dials that wait. It is called with mu held.
func (n *Network) announce() {
	if n.changed != nil {
		close(n.changed)
		n.changed = nil
	}
}
