package sim_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/coretest"
)

// callSpec is a call as a schedule has it.
type callSpec struct {
	to      int
	handler core.HandlerID
	job     coretest.Job
	end     endKind
	after   time.Duration // of end
	wait    bool          // WaitForConnection
	prio    core.Priority
	nested  *callSpec // what the handler calls before it does its job
}

// endKind is how a call is limited in time.
type endKind int

const (
	endNever    endKind = iota
	endTimeout          // WithTimeout
	endDeadline         // the deadline of its context
	endCancel           // its context is cancelled
)

func (k endKind) String() string {
	return [...]string{"never", "timeout", "deadline", "cancel"}[k]
}

func (c *callSpec) String() string {
	if c == nil {
		return "-"
	}
	s := fmt.Sprintf("{to %d %s mode %d for %v, %d/%d bytes", c.to, c.handler, c.job.Mode, c.job.For, c.job.Request, c.job.Response)
	if c.end != endNever {
		s += fmt.Sprintf(", %v %v", c.end, c.after)
	}
	if c.wait {
		s += ", wait"
	}
	if c.prio != core.PriorityNormal {
		s += ", " + c.prio.String()
	}
	if c.nested != nil {
		s += ", then " + c.nested.String()
	}
	return s + "}"
}

// call is a call in progress or done, as the simulation sees it. Apart from
// what is set at the beginning it is guarded by world.mu.
type call struct {
	spec   *callSpec
	from   *incarnation
	target *incarnation // that ran when it was issued; nil: none
	number int
	nested bool
	// wellAtFirst: the two nodes and their link were well when it was issued.
	wellAtFirst bool
	issued      time.Duration
	deadline    time.Duration // by time-out or context; 0: none
	cancel      time.Duration // when its context is cancelled; 0: never

	returned    time.Duration // 0: not yet
	err         error
	server      *incarnation    // that runs or ran the handler
	serving     context.Context // what the handler was given
	untold      bool            // a violation about draining was entered
	started     time.Duration   // 0: not yet
	ended       time.Duration   // 0: not yet
	ctxDeadline time.Duration   // of the handler; 0: none
}

func (c *call) String() string {
	return fmt.Sprintf("call %d from %s, issued at %v, %v", c.number, c.from.name, c.issued, c.spec)
}

// issue makes a call on behalf of a node that runs, on a goroutine of its own.
func (w *world) issue(from int, spec *callSpec, delay time.Duration) {
	in := w.nodes[from].run
	if in == nil {
		return
	}
	go func() {
		if delay > 0 {
			time.Sleep(delay)
		}
		_ = w.perform(w.ctx, in, spec, false)
	}()
}

// perform makes a call and holds its caller's side to what it promises.
func (w *world) perform(ctx context.Context, in *incarnation, spec *callSpec, nested bool) error {
	booked := w.ledger.Begin(in.name, spec.job)
	c := &call{spec: spec, from: in, nested: nested, issued: w.now()}
	opts := []core.CallOption{core.WithPriority(spec.prio)}
	opts = append(opts, w.p.compress.ofCall(spec.job.Request+spec.job.Response)...)
	if spec.wait {
		opts = append(opts, core.WaitForConnection())
	}
	if d, ok := ctx.Deadline(); ok {
		c.deadline = d.Sub(w.start)
	}
	switch at := c.issued + spec.after; spec.end {
	case endNever:
	case endTimeout:
		opts = append(opts, core.WithTimeout(spec.after))
		c.limit(at)
	case endDeadline:
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, w.start.Add(at))
		defer cancel()
		c.limit(at)
	case endCancel:
		var cancel context.CancelFunc
		ctx, cancel = context.WithCancel(ctx)
		timer := time.AfterFunc(spec.after, cancel)
		defer timer.Stop()
		defer cancel()
		c.cancel = at
	}
	w.mu.Lock()
	w.calls[booked] = c
	c.number = len(w.calls)
	c.target = w.nodes[spec.to].run
	from, to := c.ends()
	c.wellAtFirst = w.settledSince(from, to, c.issued)
	w.open = append(w.open, c)
	w.mu.Unlock()
	resp, err := in.m.Connection(nameOf(spec.to)).Request(ctx, spec.handler, booked.Payload(), opts...)
	booked.Return(resp, err)
	w.returned(c, err)
	return err
}

func (c *call) limit(at time.Duration) {
	if c.deadline == 0 || at < c.deadline {
		c.deadline = at
	}
}

// returned enters the end of a call for its caller.
func (w *world) returned(c *call, err error) {
	w.mu.Lock()
	c.returned, c.err = w.now(), err
	if c.from.node != nil && c.from.node.index != c.spec.to {
		w.pairs[keyOf(c.from.node.index, c.spec.to)].progress = c.returned
	}
	w.mu.Unlock()
	switch {
	case err != nil && (c.nested || c.from.dying.Load()):
		// The end of a node or a link ends such a call in more than one way at
		// the same instant.
		w.trace.addf("call %d fails", c.number)
	default:
		w.trace.addf("call %d returns: %s", c.number, verdict(err))
	}
	if err != nil {
		w.trace.notef("call %d: %v", c.number, err)
	}
	w.checkReturn(c)
	w.checkLoss(c)
}

// verdict is what a call's error amounts to.
func verdict(err error) string {
	if err == nil {
		return "ok"
	}
	s := core.OutcomeOf(err).String()
	for _, sentinel := range []error{
		core.ErrDisconnected, core.ErrUnknownPeer, core.ErrUnknownHandler, core.ErrMessageTooLarge, core.ErrOverloaded,
		core.ErrDraining, core.ErrNotStarted, core.ErrClosed, context.Canceled, context.DeadlineExceeded,
	} {
		if errors.Is(err, sentinel) {
			s += ", " + sentinel.Error()
		}
	}
	return s
}

// serve is every handler of the simulation.
func (in *incarnation) serve(ctx context.Context, req, dst []byte, limited bool) ([]byte, error) {
	w := in.w
	peer := core.PeerFromContext(ctx)
	in.enter(peer, limited)
	defer in.leave(peer, limited)
	defer in.carries(peer, len(req))()
	c := w.begun(ctx, in, req)
	defer w.finished(ctx, c, in)
	if c != nil && c.spec.nested != nil {
		// Else the deadline of this call would reach the next node in the same
		// instant as the news that it is over.
		time.Sleep(time.Duration(c.number%900+1) * time.Nanosecond)
		_ = w.perform(ctx, in, c.spec.nested, true)
	}
	return w.ledger.Serve(ctx, req, dst)
}

// begun enters the start of a handler. It returns nil for a call that the
// simulation did not make, such as an adversary's.
func (w *world) begun(ctx context.Context, in *incarnation, req []byte) *call {
	w.mu.Lock()
	c := w.calls[w.ledger.CallOf(req)]
	if c != nil {
		c.server, c.started, c.serving = in, w.now(), ctx
		if d, ok := ctx.Deadline(); ok {
			c.ctxDeadline = d.Sub(w.start)
		}
	}
	w.mu.Unlock()
	if c != nil {
		w.trace.addf("call %d starts on %s", c.number, in.name)
		w.checkStart(c)
	}
	return c
}

// finished enters the end of a handler.
func (w *world) finished(ctx context.Context, c *call, in *incarnation) {
	if c == nil {
		return
	}
	w.mu.Lock()
	c.ended = w.now()
	w.mu.Unlock()
	w.trace.addf("call %d ends on %s", c.number, in.name)
	w.checkEnd(ctx, c)
}
