package sim_test

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/coretest"
)

// rounding is what the time-out of a call may lose on the wire, which carries
// microseconds.
const rounding = time.Microsecond

// wholeUpTo is the longest payload that travels in one frame. A request over it
// waits for memory.
const wholeUpTo = 32 << 10

// checkReturn holds the end of a call to the time that its caller gave it (I6),
// and the reason to the outcome (I2).
func (w *world) checkReturn(c *call) {
	if errors.Is(c.err, core.ErrUnknownHandler) && (c.spec.handler != hNobody || core.OutcomeOf(c.err) != core.OutcomeRefused) {
		w.violatef("I2", "%v: it returned %q, and %v", c, core.OutcomeOf(c.err), c.err)
	}
	if c.deadline != 0 && c.returned > max(c.deadline, c.issued) {
		w.violatef("I6", "%v: it returned %v after its deadline: %v", c, c.returned-c.deadline, c.err)
	}
	if c.cancel != 0 && c.returned > c.cancel {
		w.violatef("I6", "%v: it returned %v after it was cancelled: %v", c, c.returned-c.cancel, c.err)
	}
	if c.nested {
		return // its context ends with the call that it is part of
	}
	outcome := core.OutcomeOf(c.err)
	if errors.Is(c.err, context.DeadlineExceeded) && outcome != core.OutcomeRemote && c.returned < c.deadline-rounding {
		w.violatef("I6", "%v: it returned %v before its deadline: %v", c, c.deadline-c.returned, c.err)
	}
	if errors.Is(c.err, context.Canceled) && outcome != core.OutcomeRemote && c.returned < c.cancel && !w.over() {
		w.violatef("I6", "%v: it returned %v before it was cancelled: %v", c, c.cancel-c.returned, c.err)
	}
}

// over reports whether the run is being taken down.
func (w *world) over() bool { return w.ctx.Err() != nil }

// checkStart holds the deadline that a handler sees to that of its call (I6).
func (w *world) checkStart(c *call) {
	switch {
	case c.deadline == 0 && c.ctxDeadline != 0:
		w.violatef("I6", "%v: its handler has the deadline %v, the call has none", c, c.ctxDeadline)
	case c.deadline != 0 && c.ctxDeadline == 0:
		w.violatef("I6", "%v: its handler has no deadline, the call has %v", c, c.deadline)
	case c.deadline == 0:
	case c.ctxDeadline < c.deadline-rounding:
		w.violatef("I6", "%v: its handler has the deadline %v, before that of the call, %v", c, c.ctxDeadline, c.deadline)
	case c.ctxDeadline > c.deadline+(c.started-c.issued)+rounding:
		w.violatef("I6", "%v: its handler has the deadline %v; with %v on the way %v would do",
			c, c.ctxDeadline, c.started-c.issued, c.deadline+(c.started-c.issued))
	}
}

// checkEnd holds a handler that waits for the end of its context to that end
// (I6).
func (w *world) checkEnd(ctx context.Context, c *call) {
	if c.spec.job.Mode != coretest.Block || c.spec.nested != nil {
		return
	}
	if c.ctxDeadline != 0 && c.ended > max(c.ctxDeadline, c.started) {
		w.violatef("I6", "%v: its handler's context ended %v after its deadline", c, c.ended-c.ctxDeadline)
	}
	// The news that the caller's time is over may be faster than the timer here.
	if errors.Is(ctx.Err(), context.DeadlineExceeded) && !c.nested && c.ended < c.deadline-rounding {
		w.violatef("I6", "%v: its handler's context ended %v before the deadline", c, c.deadline-c.ended)
	}
}

// checkOpen looks at the calls in progress while everybody is at rest: an end
// reaches the handler in time (I6), and where the link is well something
// completes within a second (I15).
func (w *world) checkOpen() {
	w.mu.Lock()
	now := w.now()
	var late, stuck []*call
	w.open = slices.DeleteFunc(w.open, func(c *call) bool {
		gone := c.returned != 0 && now-c.returned > w.p.healTime()
		return c.returned != 0 && (c.started == 0 && gone || c.ended != 0)
	})
	for _, c := range w.open {
		if w.outlives(c, now) {
			late = append(late, c)
		}
		if w.isStuck(c, now) {
			stuck = append(stuck, c)
		}
	}
	for _, c := range slices.Concat(late, stuck) {
		w.open = slices.DeleteFunc(w.open, func(o *call) bool { return o == c }) // told once
	}
	w.mu.Unlock()
	for _, c := range late {
		w.violatef("I6", "%v: it returned at %v, and its handler, started at %v, has not been told after %v", c, c.returned, c.started, now-c.returned)
	}
	for _, c := range stuck {
		w.violatef("I15", "%v: nothing completes between the two nodes for %v, although the link is well", c, w.patience())
	}
}

// patience is the time in which something must complete on a link that is well.
func (w *world) patience() time.Duration { return time.Second + w.p.prompt() }

// outlives reports whether the handler of a call waits for an end that should
// have reached it. w.mu is held.
func (w *world) outlives(c *call, now time.Duration) bool {
	if c.returned == 0 || c.started == 0 || c.ended != 0 || c.spec.job.Mode != coretest.Block || c.spec.nested != nil {
		return false
	}
	from, to := c.ends()
	return from >= 0 && w.promptSince(from, to, c.issued) && now-max(c.returned, c.started) > w.p.prompt()
}

// isStuck reports whether a call should have returned, or others before it.
// w.mu is held.
func (w *world) isStuck(c *call, now time.Duration) bool {
	if c.returned != 0 || c.spec.job.Mode == coretest.Block || c.spec.job.Mode == coretest.Slow || c.spec.nested != nil {
		return false
	}
	if c.spec.job.Request > wholeUpTo {
		return false // it may wait for memory that handlers hold
	}
	from, to := c.ends()
	if from < 0 || !w.promptSince(from, to, c.issued) || now-c.issued <= w.patience() {
		return false
	}
	return from == to || now-w.pairs[keyOf(from, to)].progress > w.patience()
}

// checkLoss holds that between two nodes that are well no call is lost, whoever
// else does what (I11, F10).
func (w *world) checkLoss(c *call) {
	if c.err == nil || !c.wellAtFirst || !lossy(c.err) {
		return
	}
	if c.nested && errors.Is(c.err, context.Canceled) {
		return // its error tells why the call ended that it is part of
	}
	from, to := c.ends()
	w.mu.Lock()
	settled := w.settledSince(from, to, c.issued) && !c.from.dying.Load()
	if !settled && core.OutcomeOf(c.err) == core.OutcomeMaybeRun && w.linksWellSince(from, to, c.issued) {
		w.lost = append(w.lost, c)
	}
	w.mu.Unlock()
	if settled {
		w.violatef("I11", "%v: it failed although both nodes and their link are well: %v", c, c.err)
	}
}

// checkLost looks at the calls that were lost although their links were well:
// none may be lost because a node was shut down, or struck off a list (F19). It
// is called at the end, when it is known how nodes came to theirs.
func (w *world) checkLost() {
	for _, c := range w.lost {
		if c.from.gentle() && c.target.gentle() {
			w.violatef("F19", "%v: it was lost at %v by a node that finishes its calls: %v", c, c.returned, c.err)
		}
	}
}

// gentle reports whether an incarnation gave up no call.
func (in *incarnation) gentle() bool { return in != nil && (!in.dying.Load() || in.drained.Load()) }

// checkDraining holds that handlers of a node that shuts down are told, if
// somebody still waits for them.
func (w *world) checkDraining() {
	w.mu.Lock()
	var untold []*call
	for _, c := range w.open {
		if c.started == 0 || c.ended != 0 || !c.server.draining.Load() || c.serving.Err() != nil || c.untold {
			continue
		}
		select {
		case <-core.Draining(c.serving):
		default:
			c.untold = true
			untold = append(untold, c)
		}
	}
	w.mu.Unlock()
	for _, c := range untold {
		w.violatef("F19", "%v: its handler is not told that %s shuts down", c, c.server.name)
	}
}

// lossy reports whether an error is about the connection.
func lossy(err error) bool {
	for _, target := range []error{core.ErrDisconnected, core.ErrDraining, core.ErrClosed, core.ErrUnknownPeer, core.ErrNotStarted} {
		if errors.Is(err, target) {
			return true
		}
	}
	return false
}

// ends returns the two nodes of a call, or -1 if one is no ordinary node.
func (c *call) ends() (from, to int) {
	if c.from.node == nil || c.spec.to >= c.from.w.p.nodes {
		return -1, -1
	}
	return c.from.node.index, c.spec.to
}

// promptSince reports whether two nodes have been connected by a quick link
// since the given instant at the latest. w.mu is held.
func (w *world) promptSince(a, b int, at time.Duration) bool {
	return w.p.prompts() && w.settledSince(a, b, at)
}
