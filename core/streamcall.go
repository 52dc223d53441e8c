package core

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gridmux/gridmux/core/internal/wire"
)

// OpenStream opens a stream to the handler h of the peer with an initial payload,
// which may be used again when it returns. Messages can be sent and received at
// once; whether the handler runs at all is learned from the first error, as a
// [CallError] whose outcome is [OutcomeRefused]. Without a connection it fails
// at once, unless [WaitForConnection] is given.
//
// The stream ends with ctx, and after a [WithTimeout] of its own.
func (c *Connection) OpenStream(ctx context.Context, h HandlerID, payload []byte, opts ...CallOption) (*RawStream, error) {
	return c.startStream(ctx, handlerKey{id: h}, payload, opts, false)
}

// OpenStream is [Connection.OpenStream] on the route.
func (r Route) OpenStream(ctx context.Context, h HandlerID, payload []byte, opts ...CallOption) (*RawStream, error) {
	return r.c.startStream(ctx, handlerKey{h, r.name}, payload, opts, false)
}

// startStream opens a stream. If it is to last, ctx and a time-out are for the
// opening alone.
func (c *Connection) startStream(ctx context.Context, key handlerKey, payload []byte, opts []CallOption, lasts bool) (*RawStream, error) {
	if c != nil && ctx != nil && c.m.intercepts(key.id) {
		return c.startAround(ctx, key, payload, opts, lasts)
	}
	return c.startDirectly(ctx, key, payload, opts, lasts, nil)
}

// startDirectly is startStream past the interceptors. sizes counts the messages,
// unless it is nil.
func (c *Connection) startDirectly(
	ctx context.Context, key handlerKey, payload []byte, opts []CallOption, lasts bool, sizes *callSizes,
) (*RawStream, error) {
	set, deadline, err := c.prepare(ctx, key, opts)
	if err != nil {
		return nil, c.callError(key, notSent(err))
	}
	for {
		at, s, down := c.pick(ctx, set, deadline)
		if s == nil {
			return nil, c.callError(key, notSent(at.whyNoSession(ctx, down, set.wait, deadline)))
		}
		st, res := s.openStream(ctx, key, payload, set, deadline, lasts, sizes)
		if res.err == nil {
			return st, nil
		}
		if !set.again(ctx, res, s) {
			return nil, c.callError(key, res)
		}
	}
}

// openStream opens a stream over the session.
func (s *session) openStream(
	ctx context.Context, key handlerKey, payload []byte, set callSettings, deadline int64, lasts bool, sizes *callSizes,
) (*RawStream, result) {
	if len(payload) > s.maxSend {
		return nil, notSent(s.payloadTooLarge(len(payload)))
	}
	known, err := s.handlersOf(ctx, deadline)
	if err != nil {
		return nil, notSent(err)
	}
	hash := key.hash()
	entry := known.entries[hash]
	pack, accept := s.requestPacker(key, hash, &set), s.acceptsShared(s.accepts(&set), &set)
	s = s.takeLane()
	s.busy.Add(1)
	if err := s.refuseCall(ctx); err != nil {
		s.release()
		return nil, notSent(err)
	}
	if lasts {
		ctx, deadline = context.WithoutCancel(ctx), 0
	}
	window := s.m.cfg.StreamWindow
	if err := s.peer.windows.reserve(window); err != nil {
		s.release()
		return nil, notSent(err)
	}
	st := &RawStream{s: s, key: key, hash: hash, prio: set.prio, sizes: sizes}
	if pack.with != nil {
		own := pack // a copy, so that streams without one need no memory for it
		st.pack = &own
		st.share()
	}
	// What empty messages cost here is bounded by the window too.
	capacity := min(max(entry.outCapacity, 1), max(window/lengthSize, 1))
	st.in.init(st, capacity, window, window)
	st.out.init(st, entry.inCapacity, s.peerWindow)
	st.out.unlisted = entry.kind != streamHandler
	if _, err := s.calls.get(nil, deadline, st); err != nil {
		s.peer.windows.release(window)
		s.release()
		return nil, notSent(s.tableError(err))
	}
	if deadline != 0 {
		s.watch(deadline)
	}
	st.watch(ctx)
	r := outRequest{handler: hash, payload: payload, meta: set.meta.bytes(), deadline: deadline, accept: accept}
	if err := st.open(ctx, &r); err != nil {
		return nil, streamResult(err)
	}
	return st, result{}
}

// streamResult takes apart the error of a stream that did not get so far.
func streamResult(err error) result {
	if call, ok := errors.AsType[*CallError](err); ok {
		return result{outcome: call.Outcome, err: call.Err}
	}
	return result{outcome: OutcomeOf(err), err: err}
}

// watch ends the stream with ctx.
func (st *RawStream) watch(ctx context.Context) {
	if ctx.Done() == nil {
		return
	}
	stop := context.AfterFunc(ctx, func() { st.contextEnded(ctx) })
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.stop == nil && (!st.over || st.watched) {
		st.stop = stop
		return
	}
	// It ended at once, or is watched already.
	stop()
}

// watchInstead makes a stream that has ended, and still watches the context that it
// was opened with, watch ctx.
func (st *RawStream) watchInstead(ctx context.Context) {
	st.mu.Lock()
	old := st.stop
	st.stop = nil
	st.mu.Unlock()
	if old == nil {
		return
	}
	old()
	stop := context.AfterFunc(ctx, func() { st.contextEnded(ctx) })
	st.mu.Lock()
	if st.stop == nil {
		st.stop, stop = stop, nil
	}
	over := st.takeStop() // what there was to drop may be taken meanwhile
	st.mu.Unlock()
	for _, stop := range []func() bool{stop, over} {
		if stop != nil {
			stop()
		}
	}
}

// open queues OPEN. A payload over maxSmall goes out in parts; then it waits for
// the last one.
func (st *RawStream) open(ctx context.Context, r *outRequest) error {
	if d, ok := ctx.Deadline(); ok {
		if at := st.s.m.at(d); r.deadline == 0 || at < r.deadline {
			r.deadline = at
		}
	}
	n := len(r.payload)
	if st.pack != nil {
		var own *buffer
		if own, r.packed = st.s.pack(st.pack, r.payload, patience{over: st.Done}); own != nil {
			r.payload = own.b
			defer own.put()
		}
	}
	capacity := uint32(st.in.capacity)
	o := &st.out
	st.mu.Lock()
	for st.ending() { // else nobody would look after a payload in parts
		st.waitOut()
	}
	if st.over {
		defer st.mu.Unlock()
		return st.err
	}
	o.deadline = r.deadline
	if n > maxSmall {
		b := &bulkSend{
			id: st.id, kind: kindRequest, prio: st.prio, stream: st, open: true, capacity: capacity,
			handler: r.handler, deadline: r.deadline, meta: r.meta, accept: r.accept,
		}
		b.carry(r.payload, r.packed, 0)
		return st.sendLarge(b)
	}
	o.buf = getBuffer(wire.OpenOverhead + wire.MetadataSize(r.meta) + len(r.payload))
	o.buf.b = wire.AppendOpen(o.buf.b, st.id, r.handler, 0, capacity, st.prio.flag(), r.payload)
	r.mark(o.buf.b, 0)
	o.buf.b = wire.InsertAccept(o.buf.b, 0, r.accept)
	o.buf.b = wire.InsertMetadata(o.buf.b, 0, r.meta)
	o.scheduled = true
	st.mu.Unlock()
	if !st.s.w.scheduleOpen(st) {
		st.giveUp(st.s.whyShut(), wire.CodeCanceled)
		return st.Err()
	}
	st.countOut(n) // not before: what is not sent is sent by another session
	return nil
}

func (s *session) payloadTooLarge(n int) error {
	return fmt.Errorf("%w: request of %d bytes, limit %d; raise Config.MaxMessage on both nodes", ErrMessageTooLarge, n, s.maxSend)
}

// giveUp ends a stream on the calling side, whose call nobody else has ended.
func (st *RawStream) giveUp(err error, code wire.Code) {
	if st.s.calls.take(st.id) != nil {
		st.s.abandon(st.slot, err, code)
	}
}

// contextEnded is called when the context of the calling side has ended.
func (st *RawStream) contextEnded(ctx context.Context) {
	code, err := contextEnd(ctx)
	st.giveUp(err, code)
	st.discard(err)
}

// abandonStream ends the claimed call of a stream without an answer.
func (s *session) abandonStream(sl *slot, err error, code wire.Code) {
	st := sl.stream
	outcome := OutcomeMaybeRun
	if st.cutOut() {
		outcome = OutcomeNotSent
	} else {
		s.w.reset(st.id, code)
	}
	s.endStream(sl, &CallError{Peer: s.peer.name, Handler: st.key.id, Route: st.key.route, Outcome: outcome, Err: err})
}

// endStream ends the claimed call of a stream, and gives its slot back. With err
// nil the handler has returned without an error.
func (s *session) endStream(sl *slot, err error) {
	st := sl.stream
	st.cutOut()
	if st.sentLarge() {
		// What was sent whole waits for the peer's memory no longer (W46).
		s.w.forgetCall(st.id)
	}
	// Before anybody can learn of the end: who opens one stream after the other
	// never finds its place taken.
	s.calls.put(sl)
	st.finish(err)
	s.release()
}

// answerStream ends the claimed call of a stream with an answer.
func (s *session) answerStream(sl *slot, outcome Outcome, err error) {
	st := sl.stream
	st.mu.Lock()
	st.answered = true
	st.watchLarge(sl.deadline)
	st.mu.Unlock()
	if err != nil {
		err = s.peer.callError(st.key, result{outcome: outcome, err: err})
	}
	s.endStream(sl, err)
}

// watchLarge ends, at the deadline of the time-out option, the wait of large
// messages for memory: that of an ended stream is over no other way. st.mu is
// held.
func (st *RawStream) watchLarge(deadline int64) {
	if deadline == 0 || !st.in.awaitsMemory() {
		return
	}
	st.patience = time.AfterFunc(time.Duration(deadline-st.s.m.now()), func() { st.discard(errTimeout) })
}
