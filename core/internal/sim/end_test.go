package sim_test

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/coretest"
	"github.com/gridmux/gridmux/core/internal/lab"
)

// finish ends a run: the faults stop, everybody finds everybody, calls work,
// and nothing is left when all is closed.
func (w *world) finish() {
	w.heal()
	w.checkHealed()
	w.windUp()
	w.checkRestored()
	w.checkNothingHeld()
	w.checkLost()
	w.takeDown()
	if err := w.ledger.Check(); err != nil {
		for line := range strings.Lines(err.Error()) {
			w.violatef("I1-I4", "%s", strings.TrimSpace(line))
		}
	}
}

// heal ends every fault and starts every node that is down.
func (w *world) heal() {
	w.trace.addf("faults end")
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
	w.sleepUntil(w.wellAt() + w.p.healTime() + time.Millisecond)
}

// wellAt returns when the last pair has begun, or will begin, to be well.
func (w *world) wellAt() (at time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range w.pairs {
		at = max(at, p.since)
	}
	return at
}

// inBackground returns how many nodes are on their way down, and the like.
func (w *world) inBackground() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.busy
}

// checkHealed holds that calls between all pairs get through and that the
// connections last (I10, I11). While others are in progress a call may be refused
// because of a limit.
func (w *world) checkHealed() {
	for from := range w.nodes {
		for to := range w.nodes {
			w.checkPair(from, to, coretest.Job{}, w.p.tight)
		}
	}
	l := w.p.limits
	w.sleepUntil(w.now() + 2*l.KeepAlive + l.KeepAliveTimeout + time.Second)
}

// checkPair makes a call that has to succeed, or else be refused.
func (w *world) checkPair(from, to int, job coretest.Job, refusable bool) {
	done := make(chan error, 1)
	patience := w.patience() + time.Duration((job.Request+job.Response)/(32<<10)*w.p.over.rounds)*w.p.maxLatency()
	in, spec := w.nodes[from].run, &callSpec{to: to, handler: hAppend, job: job}
	go func() { done <- w.perform(context.Background(), in, spec, false) }()
	select {
	case err := <-done:
		if err != nil && (!refusable || !errors.Is(err, core.ErrOverloaded)) {
			w.violatef("I10", "all is well, and a call from %s to %s fails: %v", nameOf(from), nameOf(to), err)
		}
	case <-time.After(patience):
		w.violatef("I15", "all is well, and a call from %s to %s does not return in %v", nameOf(from), nameOf(to), patience)
	}
	time.Sleep(time.Millisecond)
	w.settle()
}

// checkRestored holds that everything that calls hold is back when none is in
// progress: places, slots, and memory for large messages (I8).
func (w *world) checkRestored() {
	for from := range w.nodes {
		for to := range w.nodes {
			size := w.p.limits.MaxMessage
			if size > 200<<10 && to != (from+1)%w.p.nodes {
				size = 0 // it would take long
			}
			job := coretest.Job{Request: size, Response: size}
			if from == to {
				job.Response = 0 // both ends of a loopback share one account
			}
			w.checkPair(from, to, job, false)
		}
	}
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
			w.violatef("I1", "%v: it has not returned long after all faults", c)
		case c.started != 0 && c.ended == 0 && c.spec.job.Mode == coretest.Block:
			w.violatef("I6", "%v: its handler was never told that it ended at %v", c, c.returned)
		}
	}
}

// checkNothingHeld holds that all streams have ended, and that nothing is held
// for them or for calls any more.
func (w *world) checkNothingHeld() {
	time.Sleep(w.p.prompt())
	w.settle()
	for _, t := range w.talks {
		t.mu.Lock()
		switch {
		case t.returned == 0:
			w.violatef("I1", "%v: it has not returned long after all faults", t)
		case t.started != 0 && t.ended == 0:
			w.violatef("I6", "%v: its handler has not ended, the caller has at %v", t, t.returned)
		case !t.rogue():
			t.checkOutcome()
		}
		t.mu.Unlock()
	}
	for _, n := range w.nodes {
		w.checkEmpty(n.run, "at the end")
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
	w.net.close()
	synctest.Wait()
	if n := w.inBackground(); n > 0 {
		w.violatef("I9", "%d ends of nodes do not come to an end", n)
	}
	w.mu.Lock()
	for _, c := range w.open {
		if c.returned == 0 {
			defer w.violatef("I1", "%v: it does not return although its node is closed", c)
		}
	}
	w.mu.Unlock()
	w.checkCompression()
	for _, in := range w.past {
		w.checkEmpty(in, "after all is closed")
	}
	if n := lab.Goroutines(); n > w.base {
		stacks := make([]byte, 1<<20)
		stacks = stacks[:runtime.Stack(stacks, true)]
		w.violatef("I9", "%d goroutines are left:\n%s", n-w.base, stacks)
	}
}

// rest waits until everybody is at rest.
func (w *world) rest() { synctest.Wait() }

// check is every checker that looks while everybody is at rest.
func (w *world) check() {
	w.checkStates()
	w.checkOpen()
	w.checkTalks()
	lanes := w.checkBooks()
	w.checkDraining()
	w.checkGoroutines(lanes)
}
