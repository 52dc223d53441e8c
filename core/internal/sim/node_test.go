package sim_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gridmux/gridmux/core"
)

// node is a place in the cluster, which incarnations hold one after the other.
// It belongs to the driver's goroutine, except where something else is said.
type node struct {
	w     *world
	index int
	name  string
	count int          // incarnations so far
	run   *incarnation // nil: down
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
	// dying is set when it is about to be ended.
	dying atomic.Bool

	mu      sync.Mutex
	states  map[string]core.State // by peer, as OnState was told
	running map[string]int        // handlers, by calling peer
	total   int
	limited int
}

// handlers of the simulation, beside those of the ledger.
const (
	hHandle  core.HandlerID = "sim.handle"
	hAppend  core.HandlerID = "sim.append"
	hInline  core.HandlerID = "sim.inline"
	hLimited core.HandlerID = "sim.limited"
	hNobody  core.HandlerID = "sim.nobody" // that no node has
)

// limitedTo is how many instances of hLimited may run.
const limitedTo = 2

// newIncarnation makes a Manager that calls itself name and is reached at addr.
func (w *world) newIncarnation(n *node, name, addr string) (*incarnation, error) {
	in := &incarnation{
		w: w, node: n, name: name,
		port:    &port{w: w, Transport: w.net.Node(addr), name: addr},
		states:  map[string]core.State{},
		running: map[string]int{},
	}
	cfg := w.p.limits
	cfg.Cluster = "sim"
	cfg.Local = core.Node{Name: name, Addr: addr}
	cfg.Peers = w.all
	cfg.Transport = in.port
	cfg.AllowInsecure = true
	cfg.OnState = in.stateChanged
	w.spread(&cfg)
	m, err := core.NewManager(cfg)
	if err != nil {
		return nil, fmt.Errorf("making the Manager of %s: %w", name, err)
	}
	in.m = m
	handle := func(ctx context.Context, req []byte) ([]byte, error) { return in.serve(ctx, req, nil, false) }
	limited := func(ctx context.Context, req []byte) ([]byte, error) { return in.serve(ctx, req, nil, true) }
	appendTo := func(ctx context.Context, req, dst []byte) ([]byte, error) { return in.serve(ctx, req, dst, false) }
	err = errors.Join(
		m.Handle(hHandle, handle),
		m.Handle(hLimited, limited, core.WithConcurrency(limitedTo)),
		m.HandleAppend(hAppend, appendTo),
		m.HandleAppend(hInline, appendTo, core.WithInline()),
	)
	if err != nil {
		return nil, fmt.Errorf("registering the handlers of %s: %w", name, err)
	}
	return in, nil
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
	in, err := n.w.newIncarnation(n, n.name, n.name)
	if err == nil {
		err = in.m.Start(context.Background())
	}
	if err != nil {
		n.w.violate("I9", "%s cannot be started after what came before it: %v", n.name, err)
		return false
	}
	n.count++
	n.run = in
	n.w.trace.add("%s up, number %d", n.name, n.count)
	n.w.setUp(n.index, true)
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
	n.run = nil
	w.setUp(n.index, false)
	w.mu.Lock()
	n.stopping = true
	w.busy++
	w.mu.Unlock()
	go func() {
		stop(in)
		w.trace.add("%s down, %s", n.name, how)
		w.mu.Lock()
		defer w.mu.Unlock()
		n.stopping = false
		w.busy--
	}()
}

// close closes a Manager and holds that this takes no time (I9).
func (in *incarnation) close() {
	began := in.w.now()
	if err := in.m.Close(); err != nil {
		in.w.violate("I9", "closing %s failed: %v", in.name, err)
	}
	if d := in.w.now() - began; d > 0 {
		in.w.violate("I9", "closing %s took %v, want no time at all", in.name, d)
	}
}

// kill ends a node like a process that dies: its peers learn of it from the
// network alone. The Manager is then cleared away where nobody sees it.
func (in *incarnation) kill() {
	in.port.dead.Store(true)
	in.w.net.Crash(in.port.name)
	in.close()
}

// shutdown closes a Manager when its calls are done, or after a grace (I6, I9).
func (in *incarnation) shutdown(grace time.Duration) {
	began := in.w.now()
	ctx, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	err := in.m.Shutdown(ctx)
	d := in.w.now() - began
	switch {
	case d > grace:
		in.w.violate("I9", "shutting %s down took %v, the grace is %v", in.name, d, grace)
	case err != nil && (d != grace || !errors.Is(err, context.DeadlineExceeded)):
		in.w.violate("I9", "shutting %s down failed after %v of %v: %v", in.name, d, grace, err)
	}
}
