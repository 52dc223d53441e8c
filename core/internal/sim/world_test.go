package sim_test

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/coretest"
)

// world is one run: real Managers over a simulated network, and what the
// checkers know of them. It lives in a bubble of testing/synctest.
type world struct {
	p *profile
	// verbose: the trace is going to be read.
	verbose bool
	// tell is given every violation at once: the process may not live to tell
	// them at the end.
	tell   func(v violation)
	start  time.Time
	net    network // the faults of its methods are for all networks
	better network // of the transport that some nodes prefer; nil: none does
	ledger *coretest.Ledger
	trace  *trace
	nodes  []*node
	pairs  map[pairKey]*pair
	all    []core.Node // what is configured as peers
	moves  int         // nodes that got a new address
	base   int         // goroutines before anything was started

	// Ends the calls of the run.
	ctx    context.Context
	cancel context.CancelFunc

	mu           sync.Mutex
	calls        map[*coretest.Call]*call
	open         []*call // not returned, or with a handler that runs
	talks        []*talk
	openTalks    []*talk // not returned, or with a handler that runs
	past         []*incarnation
	witnesses    map[int]time.Duration // how long each took, by its event
	lost         []*call               // with their connection, while the links were well
	busy         int                   // in the background
	incarnations int
	peak         int  // most calls that were open at once
	peakTalks    int  // and streams
	violations   int  // so far
	stopped      bool // the run is being taken down
}

// violation is an invariant that did not hold.
type violation struct {
	at        time.Duration
	invariant string
	text      string
}

func (v violation) String() string { return fmt.Sprintf("%s %s: %s", stamp(v.at), v.invariant, v.text) }

// maxViolations bounds what a run tells.
const maxViolations = 20

func newWorld(p *profile, verbose bool, tell func(violation)) *world {
	// Which may set the clock.
	net, better := newNetwork(p), network(nil)
	if p.prefers != nil {
		better = newPreferred(p)
		net = &bothNetworks{network: net, better: better}
	}
	w := &world{
		p:         p,
		verbose:   verbose,
		tell:      tell,
		start:     time.Now(),
		net:       net,
		better:    better,
		ledger:    coretest.NewLedger(),
		pairs:     map[pairKey]*pair{},
		calls:     map[*coretest.Call]*call{},
		witnesses: map[int]time.Duration{},
		base:      runtime.NumGoroutine(),
	}
	w.trace = &trace{start: w.start}
	w.ctx, w.cancel = context.WithCancel(context.Background())
	for i := range p.nodes {
		n := &node{w: w, index: i, name: nameOf(i), removed: map[string]bool{}}
		w.nodes = append(w.nodes, n)
		w.all = append(w.all, core.Node{Name: n.name, Addr: n.name})
	}
	if p.rogue {
		w.all = append(w.all, core.Node{Name: rogueName, Addr: rogueName})
	}
	for a := range p.nodes {
		for b := range a {
			w.pairs[keyOf(a, b)] = &pair{}
		}
	}
	return w
}

func (w *world) now() time.Duration { return time.Since(w.start) }

// violatef enters that an invariant did not hold.
func (w *world) violatef(invariant, format string, args ...any) {
	v := violation{w.now(), invariant, fmt.Sprintf(format, args...)}
	w.trace.notef("VIOLATION %s: %s", v.invariant, v.text)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.violations++; w.violations <= maxViolations {
		w.tell(v)
	}
}

// play carries out a schedule, one event at a time, each in an instant of its
// own and with everybody at rest before the next.
func (w *world) play(events []*event) {
	for _, n := range w.nodes {
		time.Sleep(time.Millisecond + 7*time.Nanosecond)
		n.begin()
	}
	for _, e := range events {
		w.sleepUntil(e.at)
		w.trace.addf("do %s #%d", e.act.name, e.index)
		e.act.do(w, e)
		w.settle()
	}
	w.sleepUntil(w.p.length)
}

// sleepUntil lets time pass, and has the checkers look from time to time.
func (w *world) sleepUntil(at time.Duration) {
	for {
		d := at - w.now()
		if d <= 0 {
			return
		}
		time.Sleep(min(d, 500*time.Millisecond))
		w.settle()
	}
}

// settle waits until everybody is at rest and has the checkers look.
func (w *world) settle() {
	synctest.Wait()
	w.check()
	inPhase()
}

// nameOf is the name and the address of a node.
func nameOf(i int) string { return fmt.Sprintf("node-%d", i) }

// background runs what the end of the run has to wait for.
func (w *world) background(f func()) {
	w.mu.Lock()
	w.busy++
	w.mu.Unlock()
	go func() {
		f()
		w.mu.Lock()
		defer w.mu.Unlock()
		w.busy--
	}()
}
