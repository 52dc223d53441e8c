package core

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"

	"github.com/gridmux/gridmux/core/internal/wire"
)

// inCall is an inbound call on its way through a worker. It is recycled.
type inCall struct {
	s      *session
	h      *handler
	id     wire.CallID
	cell   *cell
	ctx    *callContext
	req    []byte
	buf    *buffer    // holds req, if it is pooled
	out    *buffer    // the buffer of a HandleAppend, or a copy of the result
	held   int32      // reserved for req
	hinted int32      // reserved for out
	stream *RawStream // if the call is one
	prio   Priority
	over   bool // its places among the handlers of the node, and its instances, are given back
	left   bool // that among those of the peer is too
	ran    bool // the handler did, on the reader, and req is its result, for a worker to compress and send

	accept wire.Accept // how the caller wants the result
	how    packed      // how req is compressed, until it is restored; then how the result is
}

var inCalls = sync.Pool{New: func() any { return new(inCall) }}

// runInline runs a handler on the reader.
func (s *session) runInline(c *inCall) {
	s.inUserCode.Store(true)
	// Close looks at inUserCode after it has ended the session: one of the two
	// sees the other.
	if !s.ending.Load() {
		c.run(true)
	} else {
		c.release()
	}
	s.inUserCode.Store(false)
}

// run runs the handler and answers. inline is set on the reader, which must not
// wait for room.
func (c *inCall) run(inline bool) {
	if c.abandoned() {
		c.release()
		return
	}
	if c.ran {
		c.answer(c.req, false)
		return
	}
	if c.held != 0 { // it may have taken all of its time to arrive, or waited for memory
		if ended := c.ctx.Err(); ended != nil {
			c.decline(endedAnswer(ended))
			return
		}
	}
	if c.how.codec != 0 {
		failed := c.unpackRequest()
		if c.abandoned() { // meanwhile
			c.release()
			return
		}
		if failed != nil {
			c.decline(failed)
			return
		}
	}
	result, failed := c.invoke(inline)
	if c.stream != nil {
		c.answerStream(failed)
		return
	}
	c.ctx.finish()
	if failed == nil && len(result) > c.s.maxSend && c.h.id != catalogueID { // W29
		failed = tooLargeAnswer(len(result), c.s.maxSend)
	}
	switch {
	case c.abandoned():
	case failed == nil && inline && c.packElsewhere(result):
		return
	case failed == nil:
		c.answer(result, inline)
		return
	default:
		c.respond(nil, failed, inline)
	}
	c.release()
}

// answer sends a result. The call must not be used after it.
func (c *inCall) answer(result []byte, inline bool) {
	if c.packs() {
		result = c.packResult(result)
	}
	switch n := c.how.weight(len(result)); {
	case n > maxSmall || c.prio == PriorityLow && n > 0:
		c.respondLarge(c.keep(result))
	default:
		c.respond(result, nil, inline)
		c.release()
	}
}

// answerStream answers a stream whose handler does not run any more. The call must
// not be used after it.
func (c *inCall) answerStream(failed *failedAnswer) {
	ctx := c.ctx
	if ended := ctx.Err(); failed == nil && ended != nil {
		// What was sent since then went nowhere, and the input may have more: that
		// is no clean end, whatever the handler makes of it.
		failed = failure(ended, ended)
	}
	if c.buf != nil {
		c.buf.put() // of the initial payload, for which nothing counts any more
		c.buf = nil
	}
	c.handlerOver()
	c.stream.answer(failed, c.release)
	ctx.finish()
}

// abandoned reports whether nobody waits for the answer any more: the caller
// gave up, or the session has ended.
func (c *inCall) abandoned() bool { return c.cell.ctx.Load() != c.ctx || c.s.ending.Load() }

// respond queues a result in one frame, or why there is none, waiting for room
// unless it is inline.
func (c *inCall) respond(result []byte, failed *failedAnswer, inline bool) {
	var p *place
	for {
		if p = c.s.w.appendAnswer(c, result, failed, inline, p); p == nil {
			return
		}
		if c.abandoned() {
			c.s.w.leave(p)
			return
		}
		if !c.over {
			if len(result) > 0 { // nil and empty are told apart
				// The next instance may use the memory of this one.
				result = c.keep(result)
			}
			if c.buf != nil && !sameMemory(result, c.buf.b) {
				c.buf.put() // of the two messages only the answer waits
				c.req, c.buf = nil, nil
			}
			c.handlerOver()
		}
		select {
		case <-p.wake:
		case <-c.s.done:
		}
	}
}

// respondLarge sends a result in parts. The call keeps its memory, and its place
// among the handlers of the peer, until the last part is on its way; no goroutine
// waits for that.
func (c *inCall) respondLarge(result []byte) {
	c.handlerOver()
	b := &bulkSend{id: c.id, kind: kindResponse, prio: c.prio, release: c.release}
	b.carry(result, c.how, maxSmall)
	s, ctx, cell := c.s, c.ctx, c.cell
	ctx.response.Store(b) // from here on the call may be released
	if cell.ctx.Load() != ctx {
		b.drop()
	}
	s.w.sendLarge(b)
}

// keep returns the result in memory that stays as it is until the call is
// released.
func (c *inCall) keep(result []byte) []byte {
	if c.out != nil && sameMemory(result, c.out.b) || c.buf != nil && sameMemory(result, c.buf.b) {
		return result
	}
	// It may be the handler's own memory, to be used again.
	kept, old := getBuffer(len(result)), c.out
	kept.b = append(kept.b, result...)
	if c.out = kept; old != nil {
		old.put()
	}
	return kept.b
}

// sameMemory reports whether two slices are known to be of one array: they end
// with it, as slices of slices do.
func sameMemory(a, b []byte) bool {
	n, m := cap(a), cap(b)
	return n > 0 && m > 0 && &a[:n][n-1] == &b[:m][m-1]
}

// failedAnswer is the answer to a call that has no result.
type failedAnswer struct {
	typ wire.Type // ERROR, or REFUSED where the handler did not run or has done nothing
	wire.Status
}

func errorAnswer(st wire.Status) *failedAnswer { return &failedAnswer{wire.TypeError, st} }

func refusedAnswer(err error) *failedAnswer {
	return &failedAnswer{wire.TypeRefused, refusedStatus(err)}
}

func tooLargeAnswer(n, limit int) *failedAnswer {
	return errorAnswer(wire.Status{
		Code:    wire.CodeResponseTooLarge,
		Message: fmt.Sprintf("response of %d bytes, limit %d; raise Config.MaxMessage on both nodes", n, limit),
	})
}

// panicAnswer is the answer of a handler that did not return.
var panicAnswer = errorAnswer(wire.Status{Code: wire.CodePanic, Message: "the handler panicked; the log of its node has the stack"})

// refusal is the error of a function around the user's handler that did not call
// it, or of a handler that has done nothing.
type refusal struct {
	err error
	own bool // the handler says it, and holds to it when its time is over
}

func (r *refusal) Error() string        { return r.err.Error() }
func (r *refusal) Unwrap() error        { return r.err }
func (*refusal) reportOutcome() Outcome { return OutcomeRefused }

// Refuse makes err the answer of a handler that has done nothing, and will not, so
// that the call may be repeated, here or elsewhere: one that is not the leader, or is
// still starting. Return it as it is or wrapped, but not joined with other errors,
// for which it would not speak. The caller gets a [CallError] with [OutcomeRefused],
// in which errors.Is finds a [RemoteError] of the same application code, or the error
// of this package that a node itself refuses with, such as [ErrOverloaded],
// [ErrDraining] and [ErrPermissionDenied]. Messages that a stream has sent before are delivered all the same. Of
// nil it makes nil.
func Refuse(err error) error {
	if err == nil {
		return nil
	}
	return &refusal{err, true}
}

// refusalOf returns what says for all of err that nothing was done, or nil: one of
// several errors, as of the calls to a quorum, does not speak for the others.
func refusalOf(err error) *refusal {
	for ; err != nil; err = errors.Unwrap(err) {
		if _, ok := err.(outcomeReporter); ok { //nolint:errorlint // Step by step is meant.
			r, _ := err.(*refusal) //nolint:errorlint // As above.
			return r
		}
	}
	return nil
}

// failure is what the caller is told of the handler's error. ended is what its
// context had ended with by then.
func failure(err, ended error) *failedAnswer {
	// What waited for longer than the call lasts tells of that end, as a handler does.
	if r := refusalOf(err); r != nil && (r.own || ended == nil || !errors.Is(err, ended)) {
		return refusedAnswer(err)
	}
	if lost, ok := errors.AsType[*lostOutputError](err); ok && errors.Is(lost.err, ErrMessageTooLarge) {
		return errorAnswer(wire.Status{Code: wire.CodeResponseTooLarge, Message: trimSentinel(errors.Unwrap(lost.err), ErrMessageTooLarge)})
	}
	if ended == nil || !errors.Is(err, ended) {
		return errorAnswer(errorStatus(err))
	}
	return endedAnswer(ended)
}

// endedAnswer tells what the context of a call has ended with.
func endedAnswer(ended error) *failedAnswer {
	if ended == context.DeadlineExceeded { //nolint:errorlint // A callContext's error is one of two values.
		return errorAnswer(wire.Status{Code: wire.CodeDeadline})
	}
	return errorAnswer(wire.Status{Code: wire.CodeCanceled})
}

// invoke calls the handler, and the methods of the error that it returns. A
// panic, or runtime.Goexit, ends this call alone.
func (c *inCall) invoke(inline bool) (result []byte, failed *failedAnswer) {
	returned := false
	defer func() {
		if returned {
			return
		}
		v := recover()
		c.s.m.logPanic(c, v, debug.Stack())
		// Something may still use the buffers of a handler that did not return.
		c.buf, c.out = nil, nil
		result, failed = nil, panicAnswer
		if v == nil {
			// runtime.Goexit: deferred calls are all that still runs here.
			if c.stream != nil {
				c.answerStream(failed)
				return
			}
			c.ctx.finish()
			c.respond(nil, failed, inline)
			c.release()
		}
	}()
	var err error
	if c.s.m.intercepts(c.h.id) {
		result, err = c.serveAround()
	} else {
		result, err = c.serve(c.ctx)
	}
	if c.stream != nil {
		err = c.stream.orMalformed(err)
	}
	if err != nil {
		failed = failure(err, c.ctx.Err())
	}
	returned = true
	return result, failed
}

// reserve returns how large the buffer may be that a handler is given for a result
// of about n bytes.
func (c *inCall) reserve(n int) int {
	if n <= freeHint {
		return n
	}
	hinted := &c.s.peer.hinted
	if hinted.Add(int64(n)) > int64(c.s.m.cfg.MaxReassembly) {
		hinted.Add(-int64(n))
		return freeHint
	}
	c.hinted = int32(n)
	return n
}

// serve runs the handler itself.
func (c *inCall) serve(ctx context.Context) (result []byte, err error) {
	switch {
	case c.stream != nil:
		defer c.stream.handlerReturned()
		return nil, c.h.stream(ctx, c.req, c.stream)
	case c.h.app != nil:
		hint := c.h.hint(len(c.req))
		c.out = getBuffer(c.reserve(int(hint.bytes.Load())))
		result, err = c.h.app(ctx, c.req, c.out.b)
		hint.note(len(result))
		return result, err
	default:
		return c.h.fn(ctx, c.req)
	}
}

// leave gives back the call's place among the handlers, before the answer can
// reach the caller: who calls one after the other never finds a place taken.
func (c *inCall) leave() {
	c.handlerOver()
	if !c.left {
		c.left = true
		c.s.peer.handlers.Add(-1)
	}
}

// handlerOver gives back the places that other peers may want. What a peer does
// not read keeps none of those.
func (c *inCall) handlerOver() {
	if !c.over {
		c.over = true
		c.s.m.handlersRunning.Add(-1)
		c.h.running.Add(-1)
	}
}

// neverRan is why the handler did not run. It is that of the context if the caller
// gave up.
func (c *inCall) neverRan() error {
	if err := c.ctx.Err(); err != nil {
		return err
	}
	return errNeverRan
}

// errNeverRan is the end of a stream whose handler never ran, for who has accepted
// it from a Listener already.
var errNeverRan = fmt.Errorf("%w: the stream was given up before it began", ErrDisconnected)

// release gives back what the call holds. The call must not be used after it.
func (c *inCall) release() {
	s := c.s
	if c.stream != nil {
		err := c.neverRan() // nothing comes of it if the handler ran
		c.stream.finish(err)
		c.stream.discard(err)
	}
	c.cell.ctx.CompareAndSwap(c.ctx, nil)
	if c.stream != nil {
		c.stream.forgetDropped()
		c.ctx.stream.Store(nil)
	}
	if c.buf != nil {
		c.buf.put()
	}
	if c.out != nil {
		c.out.put()
	}
	if c.held != 0 {
		s.peer.memory[kindRequest].release(int64(c.held))
	}
	if c.hinted != 0 {
		s.peer.hinted.Add(-int64(c.hinted))
	}
	c.leave()
	*c = inCall{}
	inCalls.Put(c)
	s.release()
}
