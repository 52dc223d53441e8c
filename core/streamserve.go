package core

import (
	"context"
	"errors"
	"fmt"

	"github.com/gridmux/gridmux/core/internal/wire"
)

// StreamFunc serves a stream. payload belongs to the handler until it returns; s
// ends with it. What it has sent is delivered, then its error, or the end where
// it returns nil.
//
// ctx ends when the caller gives up, its deadline passes or the connection is
// lost, and at the latest when the handler has returned; context.Cause tells
// why. Methods of s then fail, also those that are waiting, and to return nil is no
// clean end for the caller any more. An error travels as a [RemoteError], or by way of
// [Refuse]; a panic becomes one for this stream alone.
type StreamFunc = func(ctx context.Context, payload []byte, s *RawStream) error

// HandleStreamFunc registers the handler of streams for id, like
// [Manager.Handle]. [WithCapacity] says how many messages are in flight.
func (m *Manager) HandleStreamFunc(
	id HandlerID, fn func(ctx context.Context, payload []byte, s *RawStream) error, opts ...HandlerOption,
) error {
	if fn == nil {
		return handleError(id, errors.New("the function is nil: pass one that serves a stream"))
	}
	return m.register(&handler{id: id, stream: fn, inCapacity: defaultCapacity, outCapacity: defaultCapacity}, opts)
}

// onOpen begins a stream, or refuses it.
func (s *session) onOpen(f *wire.Frame) error {
	o, err := wire.ParseOpen(f)
	if err != nil {
		return err
	}
	r := wire.Request{
		Handler: o.Handler, Timeout: o.Timeout, Size: o.Size, Decoded: o.Decoded,
		Accept: o.Accept, Metadata: o.Metadata, Payload: o.Payload,
	}
	return s.onCall(f, &r, int(o.Capacity))
}

// serveStream makes the end of a stream whose OPEN is complete. capacity is how
// many messages the caller takes.
func (s *session) serveStream(c *inCall, capacity int) error {
	held := 0
	if c.h.inCapacity > 0 {
		held = s.m.cfg.StreamWindow
		if err := s.peer.windows.reserve(held); err != nil {
			return err
		}
	}
	st := &RawStream{s: s, id: c.id, key: handlerKey{c.h.id, c.h.route}, prio: c.prio}
	if c.packs() {
		ahead := s.isAhead(c.accept) // asked first, since it may change
		if with := s.responsePacker(c.h, c.accept); with != nil || ahead {
			p := s.m.packerOf(c.h, with)
			if ahead {
				p.ahead = c.accept
			}
			p.window = p.window || s.asksToShare(c.accept)
			st.pack = &p
			st.share()
		}
	}
	if s.m.intercepts(c.h.id) {
		st.sizes = new(callSizes)
	}
	st.in.init(st, c.h.inCapacity, s.m.cfg.StreamWindow, held)
	st.out.init(st, capacity, s.peerWindow)
	st.out.opened = true
	st.ctx = c.ctx
	// Interceptors may turn the caller away: then it is offered behind them.
	if l := c.h.listener; l != nil && st.sizes == nil {
		if err := l.offer(st); err != nil {
			s.peer.windows.release(held)
			return err
		}
	}
	c.stream = st
	c.ctx.stream.Store(st)
	if c.ctx.deadline != 0 {
		c.ctx.Done() // sets the timer
	}
	return nil
}

// fail ends the stream for its handler, whose answer is still sent.
func (st *RawStream) fail(err error) {
	st.finish(&CallError{Peer: st.s.peer.name, Handler: st.key.id, Route: st.key.route, Err: err})
	st.discard(err)
	st.dropLarge()
}

// dropLarge drops a message on its way out in parts, and END behind it: its Send
// fails, instead of waiting for a peer that may never grant it.
func (st *RawStream) dropLarge() {
	o := &st.out
	st.mu.Lock()
	b := o.large
	if b == nil || o.answered {
		st.mu.Unlock()
		return
	}
	b.drop()
	if o.tail != nil {
		o.tail.put()
	}
	o.large, o.tail, o.dropped = nil, nil, b
	o.wakeUp()
	st.mu.Unlock()
	if !b.hasBegun() {
		st.s.w.forget(b)
	}
}

// forgetDropped ends the waiting of a message that was dropped for its GRANT. For
// the other side it is dropped with the answer, and until then GRANT may come.
func (st *RawStream) forgetDropped() {
	st.mu.Lock()
	b := st.out.dropped
	st.mu.Unlock()
	if b != nil {
		st.s.w.forget(b)
	}
}

// handlerReturned ends the stream for its handler: interceptors, and with them its
// answer, may take longer.
func (st *RawStream) handlerReturned() {
	st.finish(nil)
	st.discard(errReturned)
}

// answer queues the answer to the stream behind everything that was sent, after
// its handler has returned. release is called when it is on its way, or when it
// never will be.
func (st *RawStream) answer(failed *failedAnswer, release func()) {
	st.handlerReturned()
	o := &st.out
	st.mu.Lock()
	if o.cut || o.answered && o.idle() {
		st.mu.Unlock()
		release()
		return
	}
	o.release = release
	tell := false
	if !o.answered {
		if failed == nil && o.dropped != nil {
			// A clean end would stand in the middle of a message, or hide it.
			failed = failure(st.ctx.Err(), st.ctx.Err())
		}
		tell = st.appendAnswer(failed)
	}
	st.mu.Unlock()
	if tell {
		st.s.w.schedule(st)
	}
}

// appendAnswer queues the answer. st.mu is held.
func (st *RawStream) appendAnswer(failed *failedAnswer) (tell bool) {
	st.out.answered, st.out.ended = true, true
	if failed == nil {
		return st.appendLast(wire.HeaderSize, func(dst []byte) []byte { return wire.AppendResponse(dst, st.id, nil) })
	}
	return st.appendLast(wire.StatusSize(failed.Status), func(dst []byte) []byte {
		return wire.AppendStatus(dst, failed.typ, st.id, failed.Status)
	})
}

// violated ends a stream that the peer has sent, or granted, more than there was
// room for (W84).
func (st *RawStream) violated(what string) {
	err := fmt.Errorf("flow control: the peer %s", what)
	if !st.serving() {
		st.giveUp(err, wire.CodeFlowControl)
		return
	}
	o := &st.out
	st.mu.Lock()
	var b *bulkSend
	tell := false
	// Ahead of what the handler answers when its context ends.
	if !o.answered && !o.cut {
		if b = o.large; b != nil {
			b.drop()
			o.large, o.dropped = nil, b
		}
		for _, queued := range []*buffer{o.buf, o.tail} {
			if queued != nil {
				queued.put()
			}
		}
		o.buf, o.tail = nil, nil
		tell = st.appendAnswer(errorAnswer(wire.Status{Code: wire.CodeFlowControl, Message: "the caller " + what}))
	}
	o.wakeUp()
	st.mu.Unlock()
	if b != nil && !b.hasBegun() {
		st.s.w.forget(b)
	}
	st.ctx.end(context.Canceled, err)
	st.fail(err)
	if tell {
		st.s.w.schedule(st)
	}
	// Its handler does not run any more if it has not begun to.
	st.s.dropPartial(st.s.cellOf(st.id.Slot()))
}

// orMalformed returns what the caller gets of a handler that returned err. That a
// message of the caller's could not be decoded goes before success, and before the end
// of the context that it brought about.
func (st *RawStream) orMalformed(err error) error {
	if ended := st.ctx.Err(); err != nil && !errors.Is(err, ErrMalformedMessage) && (ended == nil || !errors.Is(err, ended)) {
		return err
	}
	// Else err may be that of another call, which the handler has made.
	if bad, ok := errors.AsType[*CallError](st.Err()); ok && errors.Is(bad.Err, ErrMalformedMessage) {
		return &codedError{wire.CodeMalformed, bad.Err}
	}
	return err
}
