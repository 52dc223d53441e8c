package sim_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/transport"
)

// node is a place in the cluster, which incarnations hold one after the other.
// It belongs to the driver's goroutine, except where something else is said.
type node struct {
	w     *world
	index int
	name  string       // all through
	count int          // incarnations so far
	run   *incarnation // nil: down; others read it with world.mu held
	twin  *incarnation // another process with the same name; nil: none
	// removed are the peers, by name, that this node does not count as such.
	removed map[string]bool
	// stopping is set while the latest incarnation is on its way down; it is
	// guarded by world.mu.
	stopping bool
}

// incarnation is the life of one Manager.
type incarnation struct {
	w    *world
	node *node // nil for one that claims the name of another
	name string
	m    *core.Manager
	port *port
	// better is the port of the transport that it prefers to that; nil: none.
	better *port
	// dying is set when it is about to be ended, drained when it was without a
	// call being given up.
	dying, drained atomic.Bool
	draining       atomic.Bool // is being shut down

	compress []core.HandlerOption // of its handlers
	windows  []core.HandlerOption // of those of streams, besides

	mu        sync.Mutex
	states    map[string]core.State    // by peer, as OnState was told
	running   map[string]int           // handlers, by calling peer
	connected map[string]time.Duration // since when, by peer
	carried   map[string]int           // bytes of their large requests, by calling peer
	total     int
	limited   int
}

// handlers of the simulation, beside those of the ledger.
const (
	hHandle    core.HandlerID = "sim.handle"
	hAppend    core.HandlerID = "sim.append"
	hInline    core.HandlerID = "sim.inline"
	hLimited   core.HandlerID = "sim.limited"
	hClose     core.HandlerID = "sim.close" // closes the node
	hRogue     core.HandlerID = "sim.rogue" // that only the rogue calls
	hRogueTalk core.HandlerID = "sim.rogue.stream"
	hNobody    core.HandlerID = "sim.nobody" // that no node has
)

// limitedTo is how many instances of hLimited may run.
const limitedTo = 2

// newIncarnation makes a Manager that calls itself name and is reached at addr.
func (w *world) newIncarnation(n *node, name, addr string, peers []core.Node) (*incarnation, error) {
	at := name
	if n == nil {
		at = addr // it is somewhere else in the network
	}
	tr, err := w.net.node(at, name, addr)
	if err != nil {
		return nil, fmt.Errorf("a place in the network for %s: %w", name, err)
	}
	in := &incarnation{
		w: w, node: n, name: name,
		port:    &port{w: w, Transport: tr, name: at},
		states:  map[string]core.State{},
		running: map[string]int{}, carried: map[string]int{}, connected: map[string]time.Duration{},
	}
	tr = in.port
	if w.prefers(n, name) {
		preferred, err := w.better.node(at, name, addr)
		if err != nil {
			return nil, fmt.Errorf("a place in the preferred network for %s: %w", name, err)
		}
		in.better = &port{w: w, Transport: preferred, name: at}
		tr = transport.Fallback(in.better, in.port)
	}
	cfg := w.p.limits
	cfg.Cluster = clusterName
	cfg.Local = core.Node{Name: name, Addr: addr}
	cfg.Peers = peers
	cfg.Transport = tr
	cfg.Auth = w.p.authOf(name)
	cfg.Logger = slog.New(slog.DiscardHandler) // many handlers panic as asked
	cfg.OnState = in.stateChanged
	w.spread(&cfg)
	if n != nil {
		in.compress, in.windows, cfg.Compressors = w.p.compress.of(w.p.seed, n.index, n.count)
	}
	m, err := core.NewManager(cfg)
	if err != nil {
		return nil, fmt.Errorf("making the Manager of %s: %w", name, err)
	}
	in.m = m
	w.mu.Lock()
	w.past = append(w.past, in)
	w.mu.Unlock()
	if err := in.register(); err != nil {
		return nil, fmt.Errorf("registering the handlers of %s: %w", name, err)
	}
	return in, nil
}

func (in *incarnation) register() error {
	handle := func(ctx context.Context, req []byte) ([]byte, error) { return in.serve(ctx, req, nil, false) }
	limited := func(ctx context.Context, req []byte) ([]byte, error) { return in.serve(ctx, req, nil, true) }
	appendTo := func(ctx context.Context, req, dst []byte) ([]byte, error) { return in.serve(ctx, req, dst, false) }
	closing := func(context.Context, []byte) ([]byte, error) {
		in.close()
		return nil, nil
	}
	return errors.Join(
		in.m.Handle(hHandle, handle, in.compress...),
		in.m.Handle(hLimited, limited, in.options(core.WithConcurrency(limitedTo))...),
		in.m.HandleAppend(hAppend, appendTo, in.compress...),
		in.m.HandleAppend(hInline, appendTo, in.options(core.WithInline())...),
		in.m.Handle(hClose, closing),
		in.m.Handle(hRogue, in.serveRogue, in.compress...),
		in.registerTalks(),
	)
}

// options returns those of a handler, with those that all have.
func (in *incarnation) options(opts ...core.HandlerOption) []core.HandlerOption {
	return append(opts, in.compress...)
}

// spread makes the times of every incarnation differ by nanoseconds, so that
// the timers of two nodes hardly ever go off together.
func (w *world) spread(cfg *core.Config) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.incarnations++
	d := time.Duration(w.incarnations) * 13
	cfg.ConnectTimeout += d
	cfg.KeepAlive += 3 * d
	cfg.KeepAliveTimeout += 5 * d
}

// begin starts a node that is down. It reports whether it was.
func (n *node) begin() bool {
	if !n.down() {
		return false
	}
	in, err := n.w.newIncarnation(n, n.name, n.w.all[n.index].Addr, n.peersOf())
	if err == nil {
		err = in.m.Start(context.Background())
	}
	if err != nil {
		n.w.violatef("I9", "%s cannot be started after what came before it: %v", n.name, err)
		return false
	}
	n.count++
	n.w.mu.Lock()
	n.run = in
	n.w.mu.Unlock()
	n.w.trace.addf("%s up, number %d", n.name, n.count)
	n.w.changeNode(n.index, func(p *pair, side int) { p.up[side], p.stalled = true, 0 })
	return true
}

// down reports whether the node can be started.
func (n *node) down() bool {
	n.w.mu.Lock()
	defer n.w.mu.Unlock()
	return n.run == nil && !n.stopping
}

// end takes the node down. stop is given the time it needs, on a goroutine of
// its own.
func (n *node) end(how string, stop func(in *incarnation)) {
	in := n.run
	if in == nil {
		return
	}
	w := n.w
	in.dying.Store(true)
	w.mu.Lock()
	n.run = nil
	w.mu.Unlock()
	w.changeNode(n.index, func(p *pair, side int) { p.up[side] = false })
	w.mu.Lock()
	n.stopping = true
	w.mu.Unlock()
	w.background(func() {
		stop(in)
		w.trace.addf("%s down, %s", n.name, how)
		w.mu.Lock()
		defer w.mu.Unlock()
		n.stopping = false
	})
}

// close closes a Manager and holds that this takes no time (I9).
func (in *incarnation) close() {
	began := in.w.now()
	if err := in.m.Close(); err != nil {
		in.w.violatef("I9", "closing %s failed: %v", in.name, err)
	}
	if d, most := in.w.now()-began, in.w.p.over.closing; d > most {
		in.w.violatef("I9", "closing %s took %v, want no more than %v", in.name, d, most)
	}
}

// kill ends a node like a process that dies: its peers learn of it from the
// network alone. The Manager is then cleared away where nobody sees it.
func (in *incarnation) kill() {
	in.port.dead.Store(true)
	if in.better != nil {
		in.better.dead.Store(true)
	}
	in.w.net.Crash(in.port.name)
	in.close()
}

// shutdown closes a Manager when its calls are done, or after a grace (I6, I9).
func (in *incarnation) shutdown(grace time.Duration) {
	began := in.w.now()
	ctx, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	in.draining.Store(true)
	err := in.m.Shutdown(ctx)
	in.drained.Store(err == nil)
	d := in.w.now() - began
	switch {
	case d > grace+in.w.p.over.closing:
		in.w.violatef("I9", "shutting %s down took %v, the grace is %v", in.name, d, grace)
	case err != nil && (d < grace || !errors.Is(err, context.DeadlineExceeded)):
		in.w.violatef("I9", "shutting %s down failed after %v of %v: %v", in.name, d, grace, err)
	}
}

// closeInside closes a Manager from inside one of its handlers, which another
// node calls, or itself.
func (in *incarnation) closeInside(caller *incarnation) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_, _ = caller.m.Connection(in.name).Request(ctx, hClose, nil)
	in.close() // if the call has not got through
}
