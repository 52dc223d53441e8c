package core

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/gridmux/gridmux/core/internal/wire"
)

// StreamHandler serves streams in the form of channels.
type StreamHandler struct {
	// Handle serves one stream. payload belongs to it until it returns.
	//
	// in brings the messages of the caller; it is closed at their end, and when
	// ctx ends: look at context.Cause(ctx) before you take the input for
	// complete. It is nil if InCapacity is 0. A slice from it belongs to the
	// handler.
	//
	// out takes messages for the caller. A slice that was sent on it belongs to
	// the library. It is drained until Handle returns, so that a plain send never
	// blocks for ever; what was sent is delivered before the end or the error,
	// unless ctx has ended or a message is over the limit: the caller then gets
	// an error, also if Handle returns nil. Handle does not close it.
	//
	// ctx and the error are those of [StreamFunc].
	Handle func(ctx context.Context, payload []byte, in <-chan []byte, out chan<- []byte) error
	// InCapacity is how many messages may be in flight towards the handler; 0:
	// it takes none. At most 1 048 576.
	InCapacity int
	// OutCapacity is how many messages may be in flight from the handler. 0 and
	// less mean 1. At most 1 048 576.
	OutCapacity int
}

// HandleStream registers a handler of streams in the form of channels for id,
// like [Manager.Handle].
func (m *Manager) HandleStream(id HandlerID, h StreamHandler, opts ...HandlerOption) error {
	if h.Handle == nil {
		return handleError(id, errors.New("StreamHandler.Handle is nil: set it to a function that serves a stream"))
	}
	reg := &handler{id: id, stream: h.serve}
	if err := WithCapacity(h.InCapacity, h.OutCapacity).applyHandler(reg); err != nil {
		return handleError(id, fmt.Errorf("StreamHandler.InCapacity and OutCapacity: %w", err))
	}
	return m.register(reg, opts)
}

// channelRoom is how many messages a channel of a stream holds, at most: so that
// the two goroutines at its ends need not alternate.
const channelRoom = 64

// serve turns the handler into one of a RawStream.
func (h StreamHandler) serve(ctx context.Context, payload []byte, s *RawStream) (err error) {
	var in chan []byte
	out := make(chan []byte, min(s.out.capacity, channelRoom))
	returned, sent := make(chan struct{}), make(chan error, 1)
	if s.in.capacity > 0 {
		in = make(chan []byte, min(s.in.capacity, channelRoom))
		go s.feed(in, returned)
	}
	go func() { sent <- s.drain(out, returned) }()
	// Also after a panic: what was sent is delivered.
	defer func() {
		close(returned)
		// What was lost is no clean end.
		if lost := <-sent; err == nil && lost != nil {
			err = &lostOutputError{lost}
		}
	}()
	return h.Handle(ctx, payload, in, out)
}

// lostOutputError is why messages that a handler sent did not get to the caller.
type lostOutputError struct{ err error }

func (e *lostOutputError) Error() string { return e.err.Error() }
func (e *lostOutputError) Unwrap() error { return e.err }

// feed passes messages on to the handler.
func (st *RawStream) feed(in chan<- []byte, returned <-chan struct{}) {
	defer close(in)
	over := st.Done()
	for {
		msg, err := st.Recv(nil)
		if err != nil {
			return
		}
		select {
		case in <- msg:
			continue
		default: // a select of one channel is several times as fast
		}
		select {
		case in <- msg:
		case <-over:
			return
		case <-returned:
			return
		}
	}
}

// drain sends what the handler sends, until it has returned. After the first
// message that cannot be sent, all others go nowhere; it returns why.
func (st *RawStream) drain(out <-chan []byte, returned <-chan struct{}) (err error) {
	send := func(msg []byte) {
		if err == nil {
			err = st.Send(msg)
		}
	}
	for over := false; ; {
		var msg []byte
		var open bool
		select {
		case msg, open = <-out:
		default:
			if over {
				return err
			}
			select {
			case msg, open = <-out:
			case <-returned:
				over = true
				continue
			}
		}
		if !open {
			out = nil // the handler has closed it: nothing comes any more
			continue
		}
		send(msg)
	}
}

// Response is what a [Stream] brings: a message, or the error that it ended with.
type Response struct {
	Msg []byte // belongs to the receiver
	Err error
}

// Stream is the calling side of a stream in the form of channels, for select
// loops. [Connection.OpenStream] gives the other form, which is several times as
// fast and needs no goroutine.
type Stream struct {
	// Responses brings the messages of the handler in order. After the last one
	// it is closed, if the handler returned without an error; else one Response
	// with the error comes first. When the context ends or the time-out of the
	// stream is over, or Close is called, that one comes next, whether or not
	// anybody has read what came before.
	Responses <-chan Response
	// Requests takes messages for the handler; a slice that was sent on it
	// belongs to the library. It is nil if the handler takes none. Close it to end
	// the input. After the stream has ended a send may block for ever: select on
	// Done too, or use Send.
	Requests chan<- []byte

	raw *RawStream
}

// NewStream opens a stream like [Connection.OpenStream], in the form of channels.
// It has to be read until Responses is closed, or ended by Close or by ctx.
func (c *Connection) NewStream(ctx context.Context, h HandlerID, payload []byte, opts ...CallOption) (*Stream, error) {
	return c.newStream(ctx, handlerKey{id: h}, payload, opts)
}

// NewStream is [Connection.NewStream] on the route.
func (r Route) NewStream(ctx context.Context, h HandlerID, payload []byte, opts ...CallOption) (*Stream, error) {
	return r.c.newStream(ctx, handlerKey{h, r.name}, payload, opts)
}

func (c *Connection) newStream(ctx context.Context, key handlerKey, payload []byte, opts []CallOption) (*Stream, error) {
	raw, err := c.startStream(ctx, key, payload, opts, false)
	if err != nil {
		return nil, err
	}
	deadline := raw.out.deadline
	if raw.sizes != nil {
		// Interceptors may have given it less time. What is left when the handler has
		// answered by then is the caller's all the same, for as long as the call lasts.
		deadline = c.deadlineOf(ctx, opts)
	}
	return raw.channels(ctx, deadline), nil
}

// deadlineOf returns when a call is over that is made with ctx and opts now,
// manager's clock; 0: never.
func (c *Connection) deadlineOf(ctx context.Context, opts []CallOption) (deadline int64) {
	var set callSettings
	for _, o := range opts {
		set = o.applyCall(set)
	}
	if set.timeout > 0 {
		deadline = addClock(c.m.now(), set.timeout)
	}
	if d, ok := ctx.Deadline(); ok && (deadline == 0 || c.m.at(d) < deadline) {
		deadline = c.m.at(d)
	}
	return deadline
}

// channels puts the form with channels around a stream that was opened with ctx.
// At the deadline, manager's clock, it is over with all that it has brought; 0: never.
func (st *RawStream) channels(ctx context.Context, deadline int64) *Stream {
	responses := make(chan Response, min(st.in.capacity, channelRoom))
	s := &Stream{Responses: responses, raw: st}
	st.keepWatching(ctx)
	gone := st.whenDropped()
	var expire *time.Timer
	if deadline != 0 {
		expire = time.AfterFunc(time.Duration(deadline-st.s.m.now()), func() {
			st.giveUp(errTimeout, wire.CodeDeadline)
			st.discard(errTimeout)
		})
	}
	go st.respond(responses, gone, expire)
	if st.out.capacity > 0 {
		requests := make(chan []byte, min(st.out.capacity, channelRoom))
		s.Requests = requests
		go st.request(requests)
	}
	return s
}

// keepWatching makes the stream watch its context also after its end, until
// stopWatching.
func (st *RawStream) keepWatching(ctx context.Context) {
	st.mu.Lock()
	st.watched = true
	again := st.over && st.stop == nil
	st.mu.Unlock()
	if again {
		st.watch(ctx) // it has ended already, and so has the watching
	}
}

// whenDropped returns a channel that is closed when what has arrived is dropped.
func (st *RawStream) whenDropped() <-chan struct{} {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.gone == nil {
		st.gone = make(chan struct{})
		if st.in.dropping {
			close(st.gone)
		}
	}
	return st.gone
}

func (st *RawStream) stopWatching() {
	st.mu.Lock()
	st.watched = false
	stop := st.takeStop()
	st.mu.Unlock()
	if stop != nil {
		stop()
	}
}

// respond passes messages on to who reads Responses.
func (st *RawStream) respond(responses chan Response, gone <-chan struct{}, expire *time.Timer) {
	defer st.stopWatching()
	if expire != nil {
		defer expire.Stop()
	}
	defer close(responses)
	for {
		msg, err := st.Recv(nil)
		if err == io.EOF { //nolint:errorlint // Recv returns it as it is.
			// The handler may have ended its messages and still fail.
			select {
			case <-st.Done():
			case <-gone:
				<-st.Done() // whoever has the call is about to end it
			}
			if err = st.Err(); err == nil {
				return
			}
		}
		if !st.endedHere(err) && pass(responses, Response{Msg: msg, Err: err}, gone) {
			if err != nil {
				return
			}
			continue
		}
		// Nobody may read any more. What is in the channel makes room for why.
		for len(responses) > 0 {
			select {
			case <-responses:
			default:
			}
		}
		if err == nil {
			err = st.whyGone()
		}
		responses <- Response{Err: err}
		return
	}
}

// endedHere reports whether the stream has ended with err because of its context,
// its time-out or Close. What has arrived is about to be dropped then, if it is not
// yet.
func (st *RawStream) endedHere(err error) bool {
	if err == nil || errors.Is(err, ErrDisconnected) ||
		!errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, net.ErrClosed) {
		return false
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	return !st.answered
}

// pass hands on a response unless, or until, what has arrived is dropped.
func pass(responses chan<- Response, r Response, gone <-chan struct{}) bool {
	select {
	case <-gone:
		return false
	default:
	}
	select {
	case responses <- r:
		return true
	default:
	}
	select {
	case responses <- r:
		return true
	case <-gone:
		return false
	}
}

// whyGone is the error of a stream whose messages are dropped.
func (st *RawStream) whyGone() error {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.recvError()
}

// request passes messages on to the handler.
func (st *RawStream) request(requests <-chan []byte) {
	over := st.Done()
	for {
		var msg []byte
		var ok bool
		select {
		case msg, ok = <-requests:
		default:
			select {
			case msg, ok = <-requests:
			case <-over:
				return
			}
		}
		if !ok {
			st.closeSend()
			return
		}
		if err := st.Send(msg); err != nil {
			// Unless it has ended, the message is too large: what comes behind it
			// must not arrive without it.
			st.giveUp(errors.Unwrap(err), wire.CodeCanceled)
			return
		}
	}
}

// Send sends a message on Requests, or returns why the stream has ended. A
// message over the limit fails alone; on Requests it ends the stream. The slice
// belongs to the library. It must not be called after Requests was closed.
func (s *Stream) Send(msg []byte) error {
	switch {
	case s == nil || s.raw == nil:
		return (*RawStream)(nil).misuse()
	case s.Requests == nil:
		return s.raw.send(msg) // which fails
	}
	if err := s.raw.checkSize(msg); err != nil {
		return err
	}
	over := s.raw.Done()
	select {
	case <-over:
	default:
		select {
		case s.Requests <- msg:
			return nil
		default: // a select of one channel is several times as fast
		}
		select {
		case s.Requests <- msg:
			return nil
		case <-over:
		}
	}
	s.raw.mu.Lock()
	defer s.raw.mu.Unlock()
	return s.raw.sendError()
}

var errNoFunction = errors.New("the function is nil: pass one that takes messages")

// Results calls fn for every message until the stream ends, and returns its
// error, nil after a clean end. An error of fn ends the stream, and is returned.
// fn may keep the slice.
func (s *Stream) Results(fn func(msg []byte) error) error {
	if s == nil || s.raw == nil {
		return (*RawStream)(nil).misuse()
	}
	if fn == nil {
		return s.raw.callError(errNoFunction)
	}
	ended := false
	defer func() { // also where fn panics
		if !ended {
			_ = s.Close()
		}
	}()
	for r := range s.Responses {
		if r.Err != nil {
			ended = true
			return r.Err
		}
		if err := fn(r.Msg); err != nil {
			return err
		}
	}
	ended = true
	return nil
}

// Done returns a channel that is closed when the stream has ended. Messages that
// arrived before may still wait in Responses.
func (s *Stream) Done() <-chan struct{} {
	if s == nil {
		return nil
	}
	return s.raw.Done()
}

// Err returns nil as long as the stream has not ended, and if its handler
// returned without an error. Else it is the error that the stream ended with.
func (s *Stream) Err() error {
	if s == nil {
		return (*RawStream)(nil).misuse()
	}
	return s.raw.Err()
}

// Close ends the stream, unless it has ended, whether or not Requests was closed,
// and drops what nobody has read; if everything that the handler has sent is in
// Responses already, and its clean end behind it, there is nothing left to end. It returns
// nil; later calls do nothing.
func (s *Stream) Close() error {
	if s == nil {
		return (*RawStream)(nil).misuse()
	}
	return s.raw.Close()
}
