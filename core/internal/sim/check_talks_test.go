package sim_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/coretest"
	"github.com/gridmux/gridmux/core/internal/wire"
)

// checkMessage holds a message that was received to the place that it has in its
// direction (I5). It returns how many have been received with it.
func (t *talk) checkMessage(up bool, msg []byte) int {
	p, sizes := t.passage(up), t.lane(up).sizes
	t.mu.Lock()
	seq := p.got
	p.got++
	t.move()
	tried, clean := p.tried, p.clean
	// Who closes the stream in the form of channels may have taken it before.
	left := !up && t.left != 0 && !t.spec.channels && t.spec.leave != leaveCancel
	t.mu.Unlock()
	switch {
	case t.rogue():
	case seq >= len(sizes):
		t.w.violatef("I5", "%v: a message more than the %d that there are: %s", t, len(sizes), describe(msg))
	case !isMessage(msg, t.number, up, seq, sizes[seq]):
		t.w.violatef("I5", "%v: message %d of %d bytes arrives as %s", t, seq, sizes[seq], describe(msg))
	case seq >= tried:
		t.w.violatef("I5", "%v: message %d arrives before it is sent", t, seq)
	case clean:
		t.w.violatef("I5", "%v: message %d arrives behind the end", t, seq)
	case left:
		t.w.violatef("I5", "%v: message %d arrives although the caller has closed the stream", t, seq)
	}
	return seq + 1
}

// checkPayload holds the initial payload to what was sent (I4).
func (t *talk) checkPayload(payload []byte) {
	size := max(t.spec.payload, minPayload)
	if !isMessage(payload, t.number, true, payloadSeq, size) {
		t.w.violatef("I4", "%v: its payload of %d bytes is %s", t, size, describe(payload))
	}
}

// checkEnd holds the end of a direction to what was sent: a clean one, with err
// nil, comes behind the last message and only if the sender has said that it was
// the last; an error of the handler comes behind all that it has sent (I5).
func (t *talk) checkEnd(up bool, err error) {
	p := t.passage(up)
	t.mu.Lock()
	p.clean = err == nil
	now := *p
	ended, left := t.ended != 0, t.left != 0 || t.isOver(t.w.now())
	t.mu.Unlock()
	remote, answered := errors.AsType[*core.RemoteError](err)
	answered = answered && !up && (remote.Code == coretest.LedgerCode || remote.Code == core.CodePanic)
	switch {
	case t.rogue() || errors.Is(err, errEnough):
	case err == nil && !now.last:
		t.w.violatef("I5", "%v: a clean end of direction up=%v, which the sender has not ended", t, up)
	case err == nil && t.lane(up).hasty != 0 && now.got >= now.sent && now.got <= now.tried:
		// The sender may not have been told yet.
	case err == nil && now.got != now.sent:
		t.w.violatef("I5", "%v: a clean end of direction up=%v after %d of %d messages", t, up, now.got, now.sent)
	case answered && !ended:
		t.w.violatef("I5", "%v: the answer of a handler that has not returned: %v", t, err)
	case left && err != nil: // and what had arrived is dropped
	case t.spec.keeps() && (t.spec.timed() || t.spec.down.over):
		// What is handed over after the context has ended goes nowhere, and so
		// does what is over the limit.
	case answered && now.got != now.sent:
		t.w.violatef("I5", "%v: the answer of the handler after %d of its %d messages: %v", t, now.got, now.sent, err)
	}
}

// isOver reports whether the context of the caller has ended. t.mu is held.
func (t *talk) isOver(now time.Duration) bool {
	return t.deadline != 0 && now >= t.deadline || t.cancel != 0 && now >= t.cancel
}

// checkStart holds the deadline that a handler sees to that of its stream (I6).
func (t *talk) checkStart(ctx context.Context) {
	d, ok := ctx.Deadline()
	at := d.Sub(t.w.start)
	onTheWay := t.begun - t.opened + rounding
	switch {
	case t.started > 1:
		t.w.violatef("I3", "%v: its handler is started %d times", t, t.started)
	case t.deadline == 0 && t.spec.timed():
	case ok != (t.deadline != 0):
		t.w.violatef("I6", "%v: its handler has a deadline: %v, the stream: %v", t, ok, t.deadline)
	case ok && (at < t.deadline-rounding || at > t.deadline+onTheWay):
		t.w.violatef("I6", "%v: its handler, started at %v, has the deadline %v, the stream %v", t, t.begun, at, t.deadline)
	}
}

// keeps reports whether the handler has the form of channels.
func (s *talkSpec) keeps() bool { return strings.HasSuffix(string(s.handler), "channels") }

// timed reports whether the handler has a time-out of its own.
func (s *talkSpec) timed() bool { return strings.Contains(string(s.handler), "timed") }

// checkReturn holds the end of a talk for its caller to its time (I6), and to
// what the handler did (I2, I4, I5).
func (t *talk) checkReturn() {
	t.mu.Lock()
	defer t.mu.Unlock()
	w, outcome := t.w, core.OutcomeOf(t.err)
	if t.deadline != 0 && t.returned > max(t.deadline, t.opened) {
		w.violatef("I6", "%v: it returned %v after its deadline: %v", t, t.returned-t.deadline, t.err)
	}
	if t.cancel != 0 && t.returned > t.cancel {
		w.violatef("I6", "%v: it returned %v after it was cancelled: %v", t, t.returned-t.cancel, t.err)
	}
	if errors.Is(t.err, context.DeadlineExceeded) && outcome != core.OutcomeRemote && t.returned < t.deadline-rounding &&
		!t.spec.timed() && !t.rogue() {
		w.violatef("I6", "%v: it returned %v before its deadline: %v", t, t.deadline-t.returned, t.err)
	}
	if t.rogue() {
		return
	}
	remote, _ := errors.AsType[*core.RemoteError](t.err)
	switch {
	case remote != nil && wire.Code(remote.Code) == wire.CodeFlowControl, t.err != nil && strings.Contains(t.err.Error(), "flow control"):
		w.violatef("I7", "%v: it ended because of flow control: %v", t, t.err)
	case errors.Is(t.err, core.ErrUnknownHandler) && (t.spec.to != t.from.w.p.nodes && isTalkHandler(t.spec.handler) || outcome != core.OutcomeRefused):
		w.violatef("I2", "%v: it ended with %q, and %v", t, outcome, t.err)
	case t.err == nil && (t.spec.finish != finishWell || t.ended == 0):
		w.violatef("I5", "%v: it ended well, and its handler with %v at %v", t, t.result, t.ended)
	case t.err == nil && t.down.clean && t.left == 0 && t.down.got != t.down.sent:
		w.violatef("I5", "%v: it ended well after %d of %d messages", t, t.down.got, t.down.sent)
	case remote == nil:
	case remote.Code == core.CodePanic && t.spec.finish != finishPanic:
		w.violatef("I4", "%v: its handler is said to have panicked", t)
	case remote.Code == coretest.LedgerCode && !isMessage(remote.Detail, t.number, false, payloadSeq, minPayload):
		w.violatef("I4", "%v: its error is not its own: %s", t, describe(remote.Detail))
	}
	t.checkOutcome()
}

// isTalkHandler reports whether nodes have a handler of that name for streams.
func isTalkHandler(id core.HandlerID) bool {
	return slices.ContainsFunc(talkHandlers, func(h talkHandler) bool { return h.id == id })
}

// checkOutcome holds the outcome to whether the handler ran (I2). It is called
// when the talk has returned, and again at the end. t.mu is held.
func (t *talk) checkOutcome() {
	outcome := core.OutcomeOf(t.err)
	notRun := t.err != nil && (outcome == core.OutcomeNotSent || outcome == core.OutcomeRefused)
	ran := t.err == nil || outcome == core.OutcomeRemote
	if notRun && t.started > 0 || ran && t.started == 0 {
		t.w.violatef("I2", "%v: its handler ran %d times, and it ended with %q: %v", t, t.started, outcome, t.err)
	}
}

// checkLoss holds that between two nodes that are well no stream is lost (I11).
func (t *talk) checkLoss() {
	if t.err == nil || !t.wellAtFirst || !lossy(t.err) || errors.Is(t.err, context.Canceled) {
		return
	}
	from, to := t.nodes()
	t.w.mu.Lock()
	settled := t.w.settledSince(from, to, t.opened) && !t.from.dying.Load()
	t.w.mu.Unlock()
	if settled {
		t.w.violatef("I11", "%v: it failed although both nodes and their link are well: %v", t, t.err)
	}
}

// checkTalks looks at the talks in progress while everybody is at rest: an end
// reaches the handler in time (I6), and where the link is well and nobody rests
// something happens within a second (I15).
func (w *world) checkTalks() {
	w.mu.Lock()
	now := w.now()
	var late, stuck []*talk
	w.openTalks = slices.DeleteFunc(w.openTalks, func(t *talk) bool { return t.isDone(now) })
	for _, t := range w.openTalks {
		switch {
		case t.outlives(now):
			late = append(late, t)
		case t.isStuck(now):
			stuck = append(stuck, t)
		}
	}
	for _, t := range slices.Concat(late, stuck) {
		t.told = true
	}
	w.mu.Unlock()
	for _, t := range late {
		w.violatef("I6", "%v: it returned at %v, and its handler, started at %v, has not ended after %v", t, t.returned, t.begun, now-t.returned)
	}
	for _, t := range stuck {
		w.violatef("I15", "%v: nothing happens on it since %v, although the link is well; sent %d and %d, received %d and %d",
			t, t.moved, t.up.sent, t.down.sent, t.up.got, t.down.got)
	}
}

// isDone reports whether nothing more can happen to the talk.
func (t *talk) isDone(now time.Duration) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	gone := t.returned != 0 && now-t.returned > t.w.p.healTime()
	return t.returned != 0 && (t.started == 0 && gone || t.ended != 0)
}

// outlives reports whether the handler of a talk goes on that has been over for
// long. w.mu is held.
func (t *talk) outlives(now time.Duration) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.told || t.returned == 0 || t.started == 0 || t.ended != 0 {
		return false
	}
	from, to := t.nodes()
	return from >= 0 && t.w.promptSince(from, to, t.opened) && now-max(t.returned, t.begun) > t.w.p.prompt()
}

// isStuck reports whether something should have happened on the talk. w.mu is
// held.
func (t *talk) isStuck(now time.Duration) bool {
	w := t.w
	from, to := t.nodes()
	if from < 0 || t.told || !w.promptSince(from, to, t.opened) || t.blocks() {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.returned != 0 || t.resting > 0 || now-t.moved <= w.patience() {
		return false
	}
	return from == to || now-w.moved(from, to, t) > w.patience()
}

// blocks reports whether the talk may come to a standstill by itself, or wait for
// memory that others hold.
func (t *talk) blocks() bool {
	s := t.spec
	largest := 0
	if len(s.up.sizes)+len(s.down.sizes) > 0 {
		largest = slices.Max(slices.Concat(s.up.sizes, s.down.sizes))
	}
	// Both ends of a loopback share the memory for large messages.
	from, to := t.nodes()
	return s.first && (s.order != orderBoth || from == to) || s.payload > wholeUpTo || s.order == orderSendOnly || s.up.over || s.down.over ||
		largest > t.w.p.window() && t.w.othersRest(t)
}

// moved is when something last happened between two nodes, but for the talk t.
// w.mu is held.
func (w *world) moved(a, b int, t *talk) time.Duration {
	at := w.pairs[keyOf(a, b)].progress
	for _, o := range w.openTalks {
		if from, to := o.nodes(); o != t && from >= 0 && from != to && keyOf(from, to) == keyOf(a, b) {
			o.mu.Lock()
			at = max(at, o.moved)
			o.mu.Unlock()
		}
	}
	return at
}

// othersRest reports whether on some other talk between the two nodes somebody
// does nothing on purpose. w.mu is held.
func (w *world) othersRest(t *talk) bool {
	a, b := t.nodes()
	return slices.ContainsFunc(w.openTalks, func(o *talk) bool {
		if from, to := o.nodes(); o == t || from < 0 || keyOf(from, to) != keyOf(a, b) {
			return false
		}
		o.mu.Lock()
		defer o.mu.Unlock()
		return o.resting > 0
	})
}
