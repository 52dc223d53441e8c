//go:build linux || darwin

package proctest_test

import (
	"net"
	"sync"
)

// gate is in front of what the connections of a listener write. Closed, it holds
// the writes up.
type gate struct {
	net.Listener
	withheld chan struct{} // capacity 1: a write is held up
	passed   chan struct{} // capacity 1: one that was held up is done

	mu   sync.Mutex
	open chan struct{} // closed: writes pass
}

func newGate(ln net.Listener) *gate {
	g := &gate{Listener: ln, withheld: make(chan struct{}, 1), passed: make(chan struct{}, 1), open: make(chan struct{})}
	close(g.open)
	return g
}

// shut holds up what is written from now on.
func (g *gate) shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.open = make(chan struct{})
}

// lift lets everything pass.
func (g *gate) lift() {
	g.mu.Lock()
	defer g.mu.Unlock()
	close(g.open)
}

func (g *gate) way() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.open
}

func (g *gate) Accept() (net.Conn, error) {
	nc, err := g.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &gatedConn{nc, g}, nil
}

type gatedConn struct {
	net.Conn
	gate *gate
}

func (c *gatedConn) Write(b []byte) (int, error) {
	way := c.gate.way()
	select {
	case <-way:
		return c.Conn.Write(b)
	default:
	}
	poke(c.gate.withheld)
	<-way
	n, err := c.Conn.Write(b)
	poke(c.gate.passed)
	return n, err
}

func poke(ch chan<- struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}
