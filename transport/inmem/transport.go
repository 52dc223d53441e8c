package inmem

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/gridmux/gridmux/transport"
	"github.com/gridmux/gridmux/transport/internal/linkmodel"
)

var (
	errClosed  = fmt.Errorf("inmem: connection closed: %w", net.ErrClosed)
	errReset   = errors.New("inmem: connection reset")
	errNobody  = errors.New("connection refused: nobody listens there")
	errRefused = errors.New("connection refused")
	errCrashed = errors.New("inmem: node crashed")

	errNoNetwork  = errors.New("inmem: the node is in no network: get it from Network.Node")
	errNilContext = errors.New("inmem: the context is nil: pass context.Background() for none")
)

// Addr is an address in a [Network], or the name of a node where that node has
// none.
type Addr string

// Network returns "inmem".
func (Addr) Network() string { return "inmem" }

// String returns the address as it is dialled.
func (a Addr) String() string { return string(a) }

// Transport is one node of a [Network]. It implements [transport.Transport];
// [Network.Node] makes it.
type Transport struct {
	net    *Network
	name   string
	number uint64 // counts the nodes of the network from 0

	// Guarded by net.mu.
	conns       map[*connection]struct{} // with an end here that lives
	crashes     int
	acceptDelay time.Duration
}

// Dial connects to the node that listens on to.Addr, or on to.Name if that is
// empty. It takes the latency of both directions, fails at the end of that time
// if nobody listens or the dial is refused, and waits while a partition lies between the nodes or the
// listener has 128 connections that nobody accepted.
func (t *Transport) Dial(ctx context.Context, to transport.Peer) (transport.Conn, error) {
	c, err := t.dial(ctx, to)
	if err != nil {
		return nil, &transport.DialError{
			Transport: "inmem", Peer: to, Phase: transport.PhaseDial, Err: err,
		}
	}
	return c, nil
}

// check returns what keeps Dial and Listen from working.
func (t *Transport) check(ctx context.Context) error {
	switch {
	case t == nil || t.net == nil:
		return errNoNetwork
	case ctx == nil:
		return errNilContext
	}
	return ctx.Err()
}

func (t *Transport) dial(ctx context.Context, to transport.Peer) (*conn, error) {
	if err := t.check(ctx); err != nil {
		return nil, err
	}
	a := attempt{from: t, name: to.Name, addr: to.Addr}
	if a.addr == "" {
		a.addr = to.Name
	}
	for {
		c, changed, delay, err := a.step()
		if c != nil || err != nil {
			return c, err
		}
		var delayed <-chan time.Time
		if delay > 0 {
			delayed = time.After(delay)
		}
		select {
		case <-changed:
		case <-delayed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// An attempt is a dial between its steps.
type attempt struct {
	from      *Transport
	name      string // as the dialler knows the peer
	addr      string
	begun     bool
	crashes   int  // of from, at the beginning
	travelled bool // the latency has passed
}

// step ends the attempt, with a connection or an error, or says what to wait
// for before the next step: a change of the network or a time.
func (a *attempt) step() (c *conn, changed <-chan struct{}, delay time.Duration, err error) {
	n := a.from.net
	n.mu.Lock()
	defer n.mu.Unlock()
	if !a.begun {
		a.begun, a.crashes = true, a.from.crashes
	} else if a.crashes != a.from.crashes {
		return nil, nil, 0, errCrashed
	}
	l, far := n.listeners[a.addr], a.addr
	if l != nil {
		far = l.node.name
	}
	if !n.open(a.from.name, far) {
		return nil, a.await(), 0, nil
	}
	if !a.travelled {
		if d := a.travel(l, far); d > 0 {
			a.travelled = true
			return nil, nil, d, nil
		}
	}
	if l == nil {
		return nil, nil, 0, errNobody
	}
	if n.paths[path{a.from.name, far}].refused {
		return nil, nil, 0, errRefused
	}
	if l.pending == backlog {
		return nil, a.await(), 0, nil
	}
	c = n.connect(a.from, l)
	l.offer(c.peer)
	return c, nil, 0, nil
}

// await returns the next change of the network. Where no two things may happen
// at one instant, the dials that it wakes travel once more.
func (a *attempt) await() <-chan struct{} {
	n := a.from.net
	if n.instants != nil {
		a.travelled = false
	}
	return n.nextChange()
}

// travel returns how long the dial takes to the node called far and back. l is
// the listener, if there is one.
func (a *attempt) travel(l *listener, far string) time.Duration {
	n, p := a.from.net, path{a.from.name, far}
	out, back := n.conditionsOf(p.from, p.to), n.conditionsOf(p.to, p.from)
	if n.instants == nil && out.Perfect() && back.Perfect() {
		return 0
	}
	s := n.paths[p]
	s.dials++
	n.paths[p] = s
	now := time.Now()
	d := linkmodel.NewDirection(linkmodel.NewKey(n.seed, s.dials, "dial", p.from, p.to))
	at := now.Add(d.Next(&out, now, 0).Delay).Add(d.Next(&back, now, 0).Delay)
	if n.instants != nil {
		at = n.instants.reserve(now, at, slot(a.from, a.target(l), dialSlot))
	}
	return at.Sub(now)
}

// target is the node that the dial is for, as far as one can tell, or else the
// one that dials.
func (a *attempt) target(l *listener) *Transport {
	n := a.from.net
	switch {
	case l != nil:
		return l.node
	case n.nodes[a.name] != nil:
		return n.nodes[a.name]
	case n.nodes[a.addr] != nil:
		return n.nodes[a.addr]
	}
	return a.from
}

// Listen makes the node reachable under addr, which is any string; an empty one
// stands for the node's name, with a number added if that is taken. It fails if
// somebody in the network listens on addr already.
func (t *Transport) Listen(ctx context.Context, addr string) (transport.Listener, error) {
	if err := t.check(ctx); err != nil {
		return nil, err
	}
	n := t.net
	n.mu.Lock()
	defer n.mu.Unlock()
	if addr == "" {
		addr = t.name
		for i := 2; n.listeners[addr] != nil; i++ {
			addr = fmt.Sprintf("%s#%d", t.name, i)
		}
	}
	if l := n.listeners[addr]; l != nil {
		return nil, fmt.Errorf("inmem: listen on %q: node %q listens there already", addr, l.node.name)
	}
	l := &listener{
		node:  t,
		addr:  Addr(addr),
		queue: newQueue[*conn](),
	}
	n.listeners[addr] = l
	return l, nil
}
