package sim_test

import (
	"runtime"
	"strings"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/core/coretest"
)

// finish ends a run: the faults stop, everybody finds everybody, calls work,
// and nothing is left when all is closed.
func (w *world) finish() {
	w.heal()
	w.checkHealed()
	w.windUp()
	w.checkLost()
	w.takeDown()
	if err := w.ledger.Check(); err != nil {
		for line := range strings.Lines(err.Error()) {
			w.violate("I1-I4", "%s", strings.TrimSpace(line))
		}
	}
}

// heal ends every fault and starts every node that is down.
func (w *world) heal() {
	w.trace.add("faults end")
	w.endFaults()
	for w.inBackground() > 0 {
		time.Sleep(100 * time.Millisecond)
		w.settle()
	}
	for _, n := range w.nodes {
		if n.begin() {
			time.Sleep(time.Millisecond + 3*time.Nanosecond)
		}
	}
	w.sleepUntil(w.now() + w.p.healTime() + time.Millisecond)
}

// inBackground returns how many nodes are on their way down, and the like.
func (w *world) inBackground() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.busy
}

// checkHealed holds that calls between all pairs succeed and that the
// connections last (I10, I11).
func (w *world) checkHealed() {
	for from := range w.nodes {
		for to := range w.nodes {
			if from == to {
				continue
			}
			w.issue(from, &callSpec{to: to, handler: hAppend}, 0)
			time.Sleep(w.patience())
			w.settle()
		}
	}
	l := w.p.limits
	w.sleepUntil(w.now() + 2*l.KeepAlive + l.KeepAliveTimeout + time.Second)
}

// windUp ends the calls that are still in progress, and holds that none is
// left where only the connection's life could end it.
func (w *world) windUp() {
	w.cancel()
	// Handlers that sleep do so for a few seconds at most.
	w.sleepUntil(w.now() + longestJob + w.patience())
	w.mu.Lock()
	open := w.open
	w.mu.Unlock()
	for _, c := range open {
		switch {
		case c.returned == 0:
			w.violate("I1", "%v: it has not returned long after all faults", c)
		case c.started != 0 && c.ended == 0 && c.spec.job.Mode == coretest.Block:
			w.violate("I6", "%v: its handler was never told that it ended at %v", c, c.returned)
		}
	}
}

// takeDown closes everything and holds that it is gone (I9).
func (w *world) takeDown() {
	w.mu.Lock()
	w.stopped = true
	w.mu.Unlock()
	for _, n := range w.nodes {
		n.end("closed at the end", (*incarnation).close)
		w.rest()
		time.Sleep(time.Millisecond)
	}
	// Connections that nobody closed live on in the network until their ends
	// learn of each other.
	time.Sleep(w.p.prompt())
	synctest.Wait()
	if n := w.inBackground(); n > 0 {
		w.violate("I9", "%d ends of nodes do not come to an end", n)
	}
	w.mu.Lock()
	for _, c := range w.open {
		if c.returned == 0 {
			defer w.violate("I1", "%v: it does not return although its node is closed", c)
		}
	}
	w.mu.Unlock()
	if n := runtime.NumGoroutine(); n > w.base {
		stacks := make([]byte, 1<<20)
		stacks = stacks[:runtime.Stack(stacks, true)]
		w.violate("I9", "%d goroutines are left:\n%s", n-w.base, stacks)
	}
}

// rest waits until everybody is at rest.
func (w *world) rest() { synctest.Wait() }

// check is every checker that looks while everybody is at rest.
func (w *world) check() {
	w.checkStates()
	w.checkOpen()
	w.checkDraining()
	w.checkGoroutines()
}
