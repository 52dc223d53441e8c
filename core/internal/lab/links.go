package lab

import (
	"slices"
	"testing"
	"testing/synctest"

	"github.com/gridmux/gridmux/internal/memnet"
	"github.com/gridmux/gridmux/transport/inmem"
)

// Link is a way to connect nodes. Every test of behaviour runs over each link
// that it can run over.
type Link struct {
	Name string
	// Bubble: it works in a synctest bubble, and tests over it run in one.
	Bubble bool
	// Secure: nodes connect without Config.AllowInsecure.
	Secure bool
	// TLS: certificates prove the names of the nodes.
	TLS  bool
	make func(t testing.TB) network
}

// Links are the links that all tests run over. A test that is about one of them asks
// for it by InmemLink or MemnetLink. With -heavy LanesLink is one of them; with
// -simulated only those in bubbles are.
var Links = []*Link{
	InmemLink(),
	MemnetLink(),
	{Name: "websocket-tcp", make: func(t testing.TB) network { return &socketNetwork{t: t} }},
	{Name: "wss-tcp", Secure: true, TLS: true, make: func(t testing.TB) network { return &socketNetwork{t: t, tls: true} }},
	{Name: "quic-udp", Secure: true, TLS: true, make: func(t testing.TB) network { return newQUICNetwork(t) }},
}

func links() []*Link {
	all := slices.Clone(Links)
	if Heavy() {
		all = append(all, LanesLink())
	}
	if *simulated {
		all = slices.DeleteFunc(all, func(l *Link) bool { return !l.Bubble })
	}
	return all
}

// InmemLink is the simulated network of package inmem, for tests that need
// nothing else or want it to be different.
func InmemLink(opts ...inmem.Option) *Link {
	return &Link{Name: "inmem", Bubble: true, Secure: true, make: func(testing.TB) network {
		return memoryNetwork{inmem.NewNetwork(opts...)}
	}}
}

// LanesLink is the simulated network with lanes of their own for streams and large
// messages.
func LanesLink(opts ...inmem.Option) *Link {
	l := InmemLink(append(opts, inmem.WithLanes())...)
	l.Name = "inmem-lanes"
	return l
}

// MemnetLink is websocket over simulated sockets, on nodes that have to allow
// insecure connections.
func MemnetLink(opts ...memnet.Option) *Link {
	return &Link{Name: "websocket-memnet", Bubble: true, make: func(t testing.TB) network {
		return &socketNetwork{t: t, memory: new(memnet.Network), opts: opts}
	}}
}

// OverLinks runs a test over every link, in a bubble where the link works in
// one. Over the others time is real: a test waits for events, never for time.
func OverLinks(t *testing.T, f func(t *testing.T, l *Link)) {
	for _, l := range links() {
		t.Run(l.Name, func(t *testing.T) {
			if l.Bubble {
				synctest.Test(t, func(t *testing.T) { f(t, l) })
			} else {
				f(t, l)
			}
		})
	}
}

// InBubbles runs a test of times over the links that work in a bubble.
func InBubbles(t *testing.T, f func(t *testing.T, l *Link)) {
	for _, l := range links() {
		if l.Bubble {
			t.Run(l.Name, func(t *testing.T) { synctest.Test(t, func(t *testing.T) { f(t, l) }) })
		}
	}
}

// OverSockets runs a test over the links that are no simulation.
func OverSockets(t *testing.T, f func(t *testing.T, l *Link)) {
	for _, l := range links() {
		if !l.Bubble {
			t.Run(l.Name, func(t *testing.T) { f(t, l) })
		}
	}
}

// Bubble runs a subtest in a bubble.
func Bubble(t *testing.T, name string, test func(t *testing.T)) {
	t.Helper()
	t.Run(name, func(t *testing.T) { synctest.Test(t, test) })
}
