package core

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"runtime/pprof"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/gridmux/gridmux/core/internal/wire"
)

// CallKind tells single requests and streams apart.
type CallKind uint8

// The kinds of calls.
const (
	KindRequest CallKind = iota // a single request
	KindStream                  // a stream, in any form
)

func (k CallKind) String() string {
	if k == KindStream {
		return "stream"
	}
	return "request"
}

// CallInfo is what an [Interceptor] is told of a call.
type CallInfo struct {
	Peer     string   // the other node
	Caller   Identity // whom the calling node has proved to be; zero on the calling side, and where nothing was proved
	Handler  HandlerID
	Route    string
	Kind     CallKind
	Incoming bool // this node serves the call; else it makes it

	sizes *callSizes
}

// callSizes are the bytes of the messages of a call.
type callSizes struct{ toHandler, fromHandler atomic.Int64 }

// Sizes returns how many bytes of messages went to the handler and came from it
// so far, those of a stream together with its initial payload. They are complete
// once next has returned.
func (i CallInfo) Sizes() (toHandler, fromHandler int64) {
	if i.sizes == nil {
		return 0, 0
	}
	return i.sizes.toHandler.Load(), i.sizes.fromHandler.Load()
}

// Interceptor surrounds calls: those that a node makes, and the handlers of those
// that it serves. It calls next with ctx or one derived from it, on the goroutine
// that it is called on, and returns the error of next, or another one. What is known
// of the outcome [OutcomeOf] tells of that error.
//
// It may return an error without calling next. A call that this node makes is then
// not sent. One that it serves is refused: its handler has not run, and the caller
// gets a [CallError] with [OutcomeRefused], in which errors.Is finds a
// [RemoteError] of the same application code, and [ErrPermissionDenied], [ErrOverloaded]
// and the like if it is one that the interceptor has not got from another call. It cannot turn a failure
// into a success: nil after a next that failed is that failure.
//
// On the calling side of a single request next may be called again, which makes
// the call again; what [OutcomeOf] tells the caller is true of all of them together.
// Everywhere else a second next is an error. The time of a [WithTimeout] of the call
// is that of each next; for the interceptor, which has to return when ctx ends, it
// does not count.
//
// It may be called by several goroutines at once. Around a handler it runs where
// the handler runs, so on the reader with [WithInline]; a panic in it is one of the
// handler. Messages are bytes there: it sees those too that a typed handler cannot
// decode and refuses. Around a call it runs on the caller's goroutine, but for a stream on one
// of its own: there next returns when the stream has ended, with the error of the
// stream, and what the interceptor returns reaches the caller only if the stream
// was not opened. Calls that the library makes for itself are not intercepted.
type Interceptor func(ctx context.Context, info CallInfo, next func(context.Context) error) error

var (
	errNoNext    = errors.New("an interceptor returned nil without calling next")
	errNextAgain = errors.New("an interceptor called next a second time")
	errNextPanic = &codedError{wire.CodePanic, errors.New(
		"an interceptor returned nil and next had not returned: it recovered a panic, or called next on another goroutine")}
	errNextLate   = errors.New("an interceptor called next on another goroutine, and had returned by then")
	errNextNoCtx  = errors.New("an interceptor called next with a nil context: pass the one that it got")
	errChainPanic = errors.New("an interceptor panicked; the log of this node has the stack")
)

// chain is one passage of a call through the interceptors.
type chain struct {
	info  CallInfo
	final func(context.Context) error
	again bool // final may be called again

	mu      sync.Mutex
	called  bool          // final was
	over    bool          // and will not be any more
	running chan struct{} // closed when it returns; nil: it does not run
}

// run calls the interceptors, the first one outermost. called tells whether the
// call went ahead.
func (c *chain) run(ctx context.Context, all []Interceptor) error {
	// What final uses is used again after this: one that calls next on another
	// goroutine, and does not wait, shall corrupt nothing.
	defer c.close()
	return c.step(ctx, all)
}

func (c *chain) close() {
	c.mu.Lock()
	c.over = true
	running := c.running
	c.mu.Unlock()
	if running != nil {
		<-running
	}
}

func (c *chain) step(ctx context.Context, rest []Interceptor) error {
	if len(rest) == 0 {
		return c.finally(ctx)
	}
	// Guarded by c.mu.
	nexts, failed := 0, error(nil) // failed is the last next's
	err := rest[0](ctx, c.info, func(ctx context.Context) error {
		c.mu.Lock()
		nexts++
		if nexts > 1 && !c.again {
			c.mu.Unlock()
			return errNextAgain
		}
		failed = errNextPanic // unless it returns
		c.mu.Unlock()
		err := errNextNoCtx
		if ctx != nil {
			err = c.step(ctx, rest[1:])
		}
		c.mu.Lock()
		failed = err
		c.mu.Unlock()
		return err
	})
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case err != nil:
		return err
	case nexts == 0:
		return errNoNext
	default:
		return failed
	}
}

// finally calls final.
func (c *chain) finally(ctx context.Context) error {
	c.mu.Lock()
	switch {
	case c.over:
		c.mu.Unlock()
		return errNextLate
	case c.running != nil || c.called && !c.again:
		c.mu.Unlock()
		return errNextAgain
	}
	running := make(chan struct{})
	c.called, c.running = true, running
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		c.running = nil
		c.mu.Unlock()
		close(running)
	}()
	return c.final(ctx)
}

// intercepts reports whether calls to h pass through interceptors of this node.
func (m *Manager) intercepts(h HandlerID) bool {
	return m.made() && len(m.cfg.Intercept) > 0 && !strings.HasPrefix(string(h), builtinPrefix)
}

// info is what interceptors are told of a call that this node makes.
func (c *Connection) info(key handlerKey, kind CallKind) CallInfo {
	return CallInfo{Peer: c.Peer(), Handler: key.id, Route: key.route, Kind: kind, sizes: new(callSizes)}
}

// requestAround is request by way of the interceptors.
func (c *Connection) requestAround(ctx context.Context, key handlerKey, req, dst []byte, opts []CallOption) ([]byte, error) {
	resp, mayRun := dst, false
	// The slice of the caller stays on its stack where there are no interceptors.
	own := slices.Clone(opts)
	around := chain{info: c.info(key, KindRequest), again: true}
	sizes := around.info.sizes
	sizes.toHandler.Store(int64(len(req)))
	around.final = func(ctx context.Context) (err error) {
		resp, err = c.requestDirectly(ctx, key, req, dst, own)
		if err == nil {
			sizes.fromHandler.Store(int64(len(resp) - len(dst)))
		}
		mayRun = mayRun || err == nil || !OutcomeOf(err).unrun()
		return err
	}
	err := around.run(ctx, c.m.cfg.Intercept)
	switch {
	case err == nil:
		return resp, nil
	case mayRun && OutcomeOf(err).unrun():
		return dst, c.callError(key, result{err: fmt.Errorf("an interceptor made the call before, and it may have run: %w", err)})
	default:
		return dst, c.aroundError(&around, err)
	}
}

// aroundError is what the user gets of an interceptor's error.
func (c *Connection) aroundError(around *chain, err error) error {
	switch {
	case !around.called:
		return c.callError(handlerKey{around.info.Handler, around.info.Route}, notSent(err))
	case err == errChainPanic: //nolint:errorlint // It is that very value.
		return c.callError(handlerKey{around.info.Handler, around.info.Route}, result{err: err})
	default:
		return err
	}
}

// startAround is startStream by way of the interceptors, which stay around the
// stream until it ends.
func (c *Connection) startAround(ctx context.Context, key handlerKey, payload []byte, opts []CallOption, lasts bool) (*RawStream, error) {
	type result struct {
		st  *RawStream
		err error
	}
	own, whole := slices.Clone(opts), ctx
	around := chain{info: c.info(key, KindStream)}
	opened := make(chan result, 1)
	var st *RawStream
	around.final = func(ctx context.Context) (err error) {
		if st, err = c.startDirectly(ctx, key, payload, own, lasts, around.info.sizes); err != nil {
			return err
		}
		opened <- result{st, nil}
		<-st.Done()
		if !lasts {
			// An interceptor that ends its own context now shall not drop what has
			// arrived and was not received yet.
			st.watchInstead(whole)
		}
		return st.Err()
	}
	go func() {
		err := errChainPanic
		defer func() {
			if err == errChainPanic { //nolint:errorlint // It is that very value, unless run has returned.
				c.m.log(slog.LevelError, "gridmux: interceptor panicked", "local", c.m.cfg.Local.Name, "peer", c.Peer(),
					"handler", string(key.id), "route", key.route, "panic", fmt.Sprint(recover()), "stack", string(debug.Stack()))
			}
			if st == nil {
				opened <- result{nil, c.aroundError(&around, err)}
			}
		}()
		err = around.run(ctx, c.m.cfg.Intercept)
	}()
	r := <-opened
	return r.st, r.err
}

// serveAround runs the handler of a call by way of the interceptors.
func (c *inCall) serveAround() (result []byte, err error) {
	link := c.s.link
	around := chain{
		info: CallInfo{
			Peer: link.peer.name, Caller: link.identity, Handler: c.h.id, Route: c.h.route, Incoming: true, sizes: new(callSizes),
		},
	}
	if c.stream != nil {
		around.info.Kind, around.info.sizes = KindStream, c.stream.sizes
	}
	around.info.sizes.toHandler.Add(int64(len(c.req)))
	around.final = func(ctx context.Context) (err error) {
		returned := false
		defer func() {
			if !returned {
				c.buf, c.out = nil, nil // as in invoke, which an interceptor may keep from seeing the panic
			}
		}()
		result, err = c.serve(ctx)
		if returned = true; err == nil {
			around.info.sizes.fromHandler.Add(int64(len(result)))
		}
		return err
	}
	if err = around.run(c.ctx, c.s.m.cfg.Intercept); err != nil && !around.called {
		err = &refusal{err: err}
	}
	return result, err
}

// PprofLabels returns an [Interceptor] that marks the goroutines of handlers, for
// the time in which they serve a call, with the labels "handler", "route" and
// "peer", so that a profile tells whom processor time was spent for.
func PprofLabels() Interceptor { return labelGoroutine }

func labelGoroutine(ctx context.Context, info CallInfo, next func(context.Context) error) (err error) {
	if !info.Incoming {
		return next(ctx)
	}
	labels := pprof.Labels("handler", string(info.Handler), "route", info.Route, "peer", info.Peer)
	pprof.Do(ctx, labels, func(ctx context.Context) { err = next(ctx) })
	return err
}

// countIn counts a message that has arrived.
func (st *RawStream) countIn(n int) {
	switch {
	case st.sizes == nil:
	case st.serving():
		st.sizes.toHandler.Add(int64(n))
	default:
		st.sizes.fromHandler.Add(int64(n))
	}
}

// countOut counts a message that was sent.
func (st *RawStream) countOut(n int) {
	switch {
	case st.sizes == nil:
	case st.serving():
		st.sizes.fromHandler.Add(int64(n))
	default:
		st.sizes.toHandler.Add(int64(n))
	}
}
