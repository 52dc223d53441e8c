package sim_test

import (
	"fmt"
	"slices"
	"time"

	"github.com/gridmux/gridmux/transport/inmem"
)

// carrier is a transport that clusters are simulated over, with all that is
// different there.
type carrier struct {
	name string
	make func(p *profile) network
	// lacks are the faults, by name, that it does not have.
	lacks []string
	// quarters is of how many of four seeds most nodes have a second transport, which
	// they prefer (prefer_test.go): over another network of the same kind, or over one
	// of preferred.
	quarters  int
	preferred *carrier
	// adapt changes what was drawn for inmem, before the limits of the nodes are.
	adapt func(p *profile)

	// The tolerances of the checkers.

	// lag is how long a message may take that is small, on a link that is well or
	// under conditions: so long does it last until nothing is left of what was sent
	// under them.
	lag func(c *inmem.Conditions) time.Duration
	// resend is how much more than the latency of the link nodes allow for where some
	// of what is sent gets lost.
	resend time.Duration
	// rounds is how many latencies 32 KiB of a large message may take.
	rounds int
	// trips is how many latencies an attempt to connect has at least.
	trips int
	// closing is how long closing a Manager may take.
	closing time.Duration
	// apart bounds how much longer or shorter a witness may take because of what
	// others do, and apartShare how much more as a share of what it takes.
	apart      time.Duration
	apartShare float64
}

// carriers are what clusters are simulated over. What a fault of the table faults
// is there:
//
//	fault               inmem    websocket, wss                      quic
//	cut, flap           a reset at both ends at once                 both ends are closed beneath the nodes
//	partition, isolate  nothing arrives until it is over, new connections included
//	partition-one-way   the same in one direction
//	stall               what a connection sends is held              -: a router cannot tell one
//	                    until it is over                             connection from another
//	latency             later arrivals
//	conditions: jitter  later arrivals, in order                     and out of order
//	  tail              few are very much later                      they get lost
//	  bandwidth         a narrow line                                -: as wide as can be
//	  merge             arrive together        later arrivals        some arrive twice
//	  split             by frame               in small pieces       -: as datagrams are
//	  corrupt           a bit of a frame       a bit of a write      a bit of a datagram
//	cut-after           a reset behind the byte                      -: nothing but an end does that
//	stall-after         connection held        connection held       all is lost behind the byte
//	corrupt             a bit flips            a bit flips           a bit flips, in any datagram
//	refuse-dials        an error after a round trip                  an error before a datagram is sent
//	slow-accept         Accept waits
//	crash               its sockets are closed, the peers see that   its socket is silent; a reset
//	                    after a latency                              of the next process tells
//
// The others, which concern the nodes, are the same everywhere, and so are the
// operations.
var carriers = []*carrier{overMemory, overWebsocket, overTLS, overQUIC, overFallback}

var (
	overMemory = &carrier{
		name: "inmem", make: newMemory,
		quarters: 1,
		adapt:    func(*profile) {},
		lag:      lagOf,
		trips:    10,
		rounds:   4,
		// What a node does takes no time, so that only the instants of arrivals can
		// differ, which avoid each other by nanoseconds, and by 10 µs where two writes
		// fall on one instant.
		apart: 100 * time.Microsecond,
	}
	overWebsocket = &carrier{
		name: "websocket", make: newSockets(false),
		adapt: func(p *profile) {
			adaptToSockets(p)
			p.plain = true
			if p.auth == authNone {
				p.auth = authShared // as a link that proves nothing needs
			}
		},
		lag:     lagOf,
		trips:   socketTrips,
		rounds:  4,
		closing: closingSockets,
		apart:   100 * time.Microsecond,
	}
	overTLS = &carrier{
		name: "wss", make: newSockets(true),
		adapt: func(p *profile) {
			adaptToSockets(p)
			p.plain = false
		},
		lag:     lagOf,
		trips:   socketTrips,
		rounds:  4,
		closing: closingSockets,
		apart:   100 * time.Microsecond,
	}
	overQUIC = &carrier{
		name: "quic", make: newDatagrams,
		lacks: []string{"stall", "cut-after"},
		adapt: func(p *profile) {
			p.plain, p.buffer = false, 0
		},
		lag:   lagOfDatagrams,
		trips: 10,
		// A packet that gets lost twice, and is waited for before anything behind it.
		resend: time.Second,
		rounds: 16, // a packet that gets lost halves the window
		// A node that leaves gives 100 ms each to the peers of connections that it has
		// not accepted yet, of those that it had closed, of those that it closes, and
		// of those that it was about to make.
		closing: 400 * time.Millisecond,
		// Packets leave at intervals of a millisecond, with what there is by then, and
		// a larger window lets a message out a round trip earlier.
		apart: 10 * time.Millisecond, apartShare: 0.25,
	}
)

// overFallback is websocket with TLS for those that QUIC does not reach. What happens
// between two nodes happens on both networks, as far as each has it.
var overFallback = &carrier{
	name: "quic-wss", make: newSockets(true),
	quarters: 4, preferred: overQUIC,
	resend: overQUIC.resend, rounds: overQUIC.rounds,
	adapt:   overTLS.adapt,
	lag:     func(c *inmem.Conditions) time.Duration { return max(lagOf(c), lagOfDatagrams(c)) },
	trips:   socketTrips,
	closing: overQUIC.closing + closingSockets,
	apart:   100 * time.Microsecond,
}

const (
	// socketTrips: one round trip each for TCP, TLS and HTTP, and for what the nodes
	// have to say.
	socketTrips = 16
	// closingSockets is how long transport/websocket waits for a write in progress
	// before it closes without a word.
	closingSockets = 10 * time.Millisecond
)

func adaptToSockets(p *profile) {
	if p.buffer != 0 {
		p.buffer = 16 << 10 // as little as a link may take
	}
}

// lagOfDatagrams is lagOf over QUIC. What got lost is sent again, after 25 ms and a
// few round trips, for which there is room in so many lags as checkers wait.
func lagOfDatagrams(c *inmem.Conditions) time.Duration {
	p, corrupt := datagramConditions(c)
	d := p.Latency + p.Jitter
	if p.Loss > 0 || corrupt > 0 {
		d += 3 * time.Millisecond
	}
	return d
}

// carrierOf finds a carrier.
func carrierOf(name string) (*carrier, error) {
	i := slices.IndexFunc(carriers, func(c *carrier) bool { return c.name == name })
	if i < 0 {
		return nil, fmt.Errorf("no transport is called %q", name)
	}
	return carriers[i], nil
}

// has reports whether something can happen over the carrier.
func (c *carrier) has(act *action) bool { return !slices.Contains(c.lacks, act.name) }
