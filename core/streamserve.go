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
// clean end for the caller any more. An error travels as a [RemoteError]; a panic
// becomes one for this stream alone.
type StreamFunc = func(ctx context.Context, payload []byte, s *RawStream) error

// HandleStreamFunc registers the handler of streams for id, like
// [Manager.Handle]. [WithCapacity] says how many messages are in flight.
func (m *Manager) HandleStreamFunc(id HandlerID, fn func(ctx context.Context, payload []byte, s *RawStream) error, opts ...HandlerOption) error {
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
	r := wire.Request{Handler: o.Handler, Timeout: o.Timeout, Size: o.Size, Decoded: o.Decoded, Metadata: o.Metadata, Payload: o.Payload}
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
	st.in.init(st, c.h.inCapacity, s.m.cfg.StreamWindow, held)
	st.out.init(st, capacity, s.peerWindow)
	st.out.opened = true
	st.ctx = c.ctx
	if l := c.h.listener; l != nil {
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
	st.finish(&CallError{Peer: st.s.peer.name, Handler: st.key.id, Err: err})
	st.discard(err)
}

// answer queues the answer to the stream behind everything that was sent, after
// its handler has returned. release is called when it is on its way, or when it
// never will be.
func (st *RawStream) answer(failed *wire.Status, release func()) {
	st.finish(nil)
	st.discard(errReturned)
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
		tell = st.appendAnswer(failed)
	}
	st.mu.Unlock()
	if tell {
		st.s.w.schedule(st)
	}
}

// appendAnswer queues the answer. st.mu is held.
func (st *RawStream) appendAnswer(failed *wire.Status) (tell bool) {
	st.out.answered, st.out.ended = true, true
	if failed == nil {
		return st.appendLast(wire.HeaderSize, func(dst []byte) []byte { return wire.AppendResponse(dst, st.id, nil) })
	}
	return st.appendLast(wire.StatusSize(*failed), func(dst []byte) []byte {
		return wire.AppendStatus(dst, wire.TypeError, st.id, *failed)
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
	st.ctx.end(context.Canceled, err)
	st.fail(err)
	o := &st.out
	st.mu.Lock()
	tell := false
	if !o.answered && !o.cut {
		if o.large != nil {
			o.large.drop()
			defer st.s.w.forget(o.large)
			o.large = nil
		}
		if o.buf != nil {
			o.buf.put()
		}
		o.buf, o.tail = nil, nil
		tell = st.appendAnswer(&wire.Status{Code: wire.CodeFlowControl, Message: "the caller " + what})
	}
	o.wakeUp()
	st.mu.Unlock()
	if tell {
		st.s.w.schedule(st)
	}
}

// streamFor finds the stream that a frame of the peer is for. It is nil, or over,
// where the call is over.
func (s *session) streamFor(f *wire.Frame) (*RawStream, error) {
	if st := s.in.last; st != nil && st.id == f.ID {
		return st, nil
	}
	st, err := s.findStream(f)
	s.in.last = st
	return st, err
}

func (s *session) findStream(f *wire.Frame) (*RawStream, error) {
	if f.ID.Side() == s.side {
		c, pending := s.calls.peek(f.ID)
		switch {
		case c.stream != nil:
			return c.stream, nil
		case pending:
			return nil, fmt.Errorf("%w: %v for call %v, which is no stream", wire.ErrMalformed, f.Type, f.ID)
		case !s.calls.opened(f.ID):
			return nil, neverOpened(f)
		}
		return nil, nil
	}
	c := s.cellOf(f.ID.Slot())
	if c == nil || f.ID.Generation() > c.generation || f.ID.Generation() == 0 {
		return nil, neverOpened(f)
	}
	if f.ID.Generation() < c.generation {
		return nil, nil
	}
	if c.partial != nil {
		return nil, fmt.Errorf("%w: %v before the whole of what opens call %v", wire.ErrMalformed, f.Type, f.ID)
	}
	ctx := c.ctx.Load()
	if ctx == nil {
		return nil, nil
	}
	if ctx.h.stream == nil {
		return nil, fmt.Errorf("%w: %v for call %v, which is no stream", wire.ErrMalformed, f.Type, f.ID)
	}
	return ctx.stream.Load(), nil
}

func neverOpened(f *wire.Frame) error {
	return fmt.Errorf("%w: %v for call %v, which was never opened", wire.ErrMalformed, f.Type, f.ID)
}

// onData takes a message of a stream, or its first part.
func (s *session) onData(f *wire.Frame) error {
	d, err := wire.ParseData(f)
	if err != nil {
		return err
	}
	if f.Codec != 0 || f.Dict != 0 {
		return fmt.Errorf("%w: DATA with codec %d, which was not agreed on", wire.ErrMalformed, f.Codec)
	}
	st, err := s.streamFor(f)
	if st == nil || err != nil {
		return err
	}
	if f.Flags&wire.FlagFragmented != 0 {
		err = st.deliverFirst(d.Size, d.Payload)
	} else {
		err = st.deliver(d.Payload)
	}
	switch err {
	case errNoCredit: //nolint:errorlint // It is returned as it is.
		st.violated(err.Error())
		return nil
	case errOversize: //nolint:errorlint // It is returned as it is.
		st.violated(fmt.Sprintf("sent a message of %d bytes, limit %d", d.Size, s.m.cfg.MaxMessage))
		return nil
	}
	return err
}

// onEnd notes that the peer sends no more messages.
func (s *session) onEnd(f *wire.Frame) error {
	st, err := s.streamFor(f)
	if st == nil || err != nil {
		return err
	}
	if !st.endInput() {
		return fmt.Errorf("%w: END on stream %v after its end, or in the middle of a message", wire.ErrMalformed, f.ID)
	}
	return nil
}

// onCredit takes credit for a stream.
func (s *session) onCredit(f *wire.Frame) error {
	messages, bytes, err := wire.ParseCredit(f)
	if err != nil {
		return err
	}
	st, err := s.streamFor(f)
	if st != nil && !st.onCredit(messages, bytes) {
		st.violated(fmt.Sprintf("granted %d messages and %d bytes more than there can be", messages, bytes))
	}
	return err
}

// onGrant is told that the peer has memory for a large message.
func (s *session) onGrant(f *wire.Frame) error {
	if s.w.granted(f.ID) {
		return nil
	}
	if f.ID.Side() == s.side {
		_, pending := s.calls.peek(f.ID)
		switch {
		case pending:
			return fmt.Errorf("%w: GRANT for call %v, of which nothing waits for it", wire.ErrMalformed, f.ID)
		case !s.calls.opened(f.ID):
			return neverOpened(f)
		}
		return nil
	}
	c := s.cellOf(f.ID.Slot())
	switch {
	case c == nil || f.ID.Generation() > c.generation || f.ID.Generation() == 0:
		return neverOpened(f)
	case f.ID.Generation() == c.generation && (c.ctx.Load() != nil || c.partial != nil && !c.partial.isDropped()):
		return fmt.Errorf("%w: GRANT for call %v, of which nothing waits for it", wire.ErrMalformed, f.ID)
	}
	return nil
}
