package core

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// callContext is the context of a handler. It is never reused, since a handler
// may keep it; 32 of them are cut from one allocation.
//
// The done channel, the timer and the state are made when somebody asks, so a
// handler that does not look at its context costs nothing.
type callContext struct {
	link     *linkInfo
	h        *handler
	deadline int64 // nanoseconds of the manager's clock; 0: none
	state    atomic.Pointer[contextState]
	response atomic.Pointer[bulkSend]  // a large result on its way out
	stream   atomic.Pointer[RawStream] // that the handler serves
	meta     *receivedMetadata         // that came with the call
}

// contextState is immutable once published, but for its channel being closed.
// A context goes from nil (alive, nobody asked) by way of a live state (err is
// nil) to an ended one.
type contextState struct {
	done  chan struct{}
	timer *time.Timer
	err   error
	after *afterFuncs     // of a live state
	cause context.Context //nolint:containedctx // Of an ended one, where there is more to tell than err: it has ended too.
	// returned: the handler has. It is set of ended states alone.
	returned bool
}

// afterFuncs are what [context.AfterFunc] and derived contexts want to be called
// when the context ends.
type afterFuncs struct {
	mu    sync.Mutex
	funcs map[*func()]struct{}
	ended bool
}

var _ context.Context = (*callContext)(nil)

// contextKey finds the callContext among the values of a derived context.
type contextKey struct{}

func callContextOf(ctx context.Context) *callContext {
	if ctx == nil {
		return nil
	}
	c, _ := ctx.Value(contextKey{}).(*callContext)
	return c
}

// PeerFromContext returns the name of the node whose call a handler serves, or
// "" outside a handler. ctx may be derived from the handler's.
func PeerFromContext(ctx context.Context) string {
	if c := callContextOf(ctx); c != nil {
		return c.link.peer.name
	}
	return ""
}

// CallerFromContext returns who the node whose call a handler serves has proved
// to be. It is the zero Identity where nothing was proved, as with
// Config.AllowInsecure, and outside a handler. ctx may be derived from the
// handler's.
func CallerFromContext(ctx context.Context) Identity {
	if c := callContextOf(ctx); c != nil {
		return c.link.identity
	}
	return Identity{}
}

// Draining returns a channel that is closed when either side of the call that a
// handler serves is going away, be it by [Manager.Shutdown] or because
// [Manager.SetPeers] took the other out, and when the two have moved to a
// preferred transport, where the next call finds the same peer. The call goes on; a handler that takes
// long can use it to finish early. It is nil outside a handler. ctx may be
// derived from the handler's.
func Draining(ctx context.Context) <-chan struct{} {
	if c := callContextOf(ctx); c != nil {
		return c.link.draining.Done()
	}
	return nil
}

// RouteFromContext returns the route that a handler was called on, or "".
func RouteFromContext(ctx context.Context) string {
	if c := callContextOf(ctx); c != nil {
		return c.h.route
	}
	return ""
}

func (c *callContext) Deadline() (time.Time, bool) {
	if c.deadline == 0 {
		return time.Time{}, false
	}
	return c.link.peer.m.timeOf(c.deadline), true
}

func (c *callContext) Value(key any) any {
	if _, ok := key.(contextKey); ok {
		return c
	}
	// For context.Cause, which asks with a key of its own.
	if st := c.state.Load(); st != nil && st.cause != nil {
		return st.cause.Value(key)
	}
	return nil
}

func (c *callContext) Done() <-chan struct{} {
	for {
		if st := c.state.Load(); st != nil {
			return st.done
		}
		st := &contextState{done: make(chan struct{}), after: new(afterFuncs)}
		if c.deadline != 0 {
			st.timer = time.AfterFunc(time.Duration(c.deadline-c.link.peer.m.now()), c.expire)
		}
		if c.state.CompareAndSwap(nil, st) {
			return st.done
		}
		if st.timer != nil {
			st.timer.Stop()
		}
	}
}

func (c *callContext) Err() error {
	st := c.state.Load()
	if (st == nil || st.err == nil) && c.deadline != 0 && c.link.peer.m.now() >= c.deadline {
		c.expire()
		st = c.state.Load()
	}
	if st == nil {
		return nil
	}
	return st.err
}

func (c *callContext) expire() {
	c.end(context.DeadlineExceeded, nil)
	if st := c.stream.Load(); st != nil {
		st.fail(context.DeadlineExceeded)
	}
}

// end ends the context, if it has not ended yet. cause is what context.Cause
// tells, nil for err.
func (c *callContext) end(err, cause error) { c.conclude(err, cause, false) }

// conclude is end, which returned says is because the handler has returned.
func (c *callContext) conclude(err, cause error, returned bool) {
	var told context.Context
	if cause != nil {
		ctx, cancel := context.WithCancelCause(context.Background())
		cancel(cause)
		told = ctx
	}
	for {
		st := c.state.Load()
		if st != nil && st.err != nil {
			if !returned || st.returned {
				return
			}
			next := *st
			if next.returned = true; c.state.CompareAndSwap(st, &next) {
				return
			}
			continue
		}
		next := &contextState{done: c.link.peer.m.closedChan, err: err, cause: told, returned: returned}
		if st != nil {
			next.done = st.done
		}
		if c.swap(st, next) {
			return
		}
	}
}

// finish ends the context after the handler has returned. Where nobody asked
// for the done channel it uses the manager's ready-made state.
func (c *callContext) finish() {
	if c.state.CompareAndSwap(nil, c.link.peer.m.finished) {
		return
	}
	c.conclude(context.Canceled, nil, true)
}

// runs reports whether the handler has not returned yet.
func (c *callContext) runs() bool {
	st := c.state.Load()
	return st == nil || !st.returned
}

// answered reports whether the handler has returned and a large answer, or what its stream
// has left, is on its way.
func (c *callContext) answered() bool {
	return !c.runs() && (c.response.Load() != nil || c.stream.Load() != nil)
}

func (c *callContext) swap(old, next *contextState) bool {
	if !c.state.CompareAndSwap(old, next) {
		return false
	}
	if old != nil {
		if old.timer != nil {
			old.timer.Stop()
		}
		close(old.done)
		old.after.run()
	}
	return true
}

// AfterFunc arranges for f to be called in its own goroutine after the context
// has ended. It makes contexts that are derived from this one cost no
// goroutine: package context looks for this method.
func (c *callContext) AfterFunc(f func()) (stop func() bool) {
	c.Done()
	a := c.state.Load().after
	if a == nil || !a.add(&f) {
		go f()
		return func() bool { return false }
	}
	return func() bool { return a.remove(&f) }
}

// add reports false if the context has ended.
func (a *afterFuncs) add(f *func()) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ended {
		return false
	}
	if a.funcs == nil {
		a.funcs = map[*func()]struct{}{}
	}
	a.funcs[f] = struct{}{}
	return true
}

func (a *afterFuncs) remove(f *func()) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	_, ok := a.funcs[f]
	delete(a.funcs, f)
	return ok
}

func (a *afterFuncs) run() {
	a.mu.Lock()
	funcs := a.funcs
	a.funcs, a.ended = nil, true
	a.mu.Unlock()
	for f := range funcs {
		go (*f)()
	}
}

// contextSlab is a supply of contexts, all from one allocation.
type contextSlab struct {
	free []callContext
}

const contextsPerSlab = 32

// take returns a fresh context. The slab must not be used by two goroutines.
func (s *contextSlab) take() *callContext {
	if len(s.free) == 0 {
		s.free = make([]callContext, contextsPerSlab)
	}
	c := &s.free[0]
	s.free = s.free[1:]
	return c
}
