package core

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"sync/atomic"
)

// ServerStream is a stream of typed messages in one direction: a Req is sent, and
// any number of Out come back. It is declared once, as a package variable that
// both sides use:
//
//	var List = core.NewServerStream[ListRequest, Entry]("storage.list")
//
// It is immutable and safe for concurrent use, and belongs to no Manager.
type ServerStream[Req, Out any] struct {
	method

	req codec[Req]
	out codec[Out]
}

// NewServerStream declares the handler id as one of streams with a request of the
// type Req and messages of the type Out. Types and options are as with
// [NewUnary]; a [WithTimeout] is for the stream as a whole. [WithCapacity] says how
// many messages are in flight from the handler, 64 without it: WithCapacity(0, n).
func NewServerStream[Req, Out any, PReq message[Req], POut message[Out]](id HandlerID, opts ...HandlerOption) *ServerStream[Req, Out] {
	return &ServerStream[Req, Out]{method: newMethod(id, opts), req: codecOf[Req, PReq](), out: codecOf[Out, POut]()}
}

// ID returns the id that the method was declared with.
func (s *ServerStream[Req, Out]) ID() HandlerID {
	if s == nil {
		return ""
	}
	return s.id
}

func (s *ServerStream[Req, Out]) check() error {
	if s == nil || s.req.of == nil {
		return notMade("NewServerStream")
	}
	return nil
}

// noInputOption comes last: the handler takes no messages.
type noInputOption struct{}

func (noInputOption) applyHandler(h *handler) error {
	if h.inCapacity > 0 {
		return errors.New("the handler of a ServerStream takes no messages: use WithCapacity(0, n)")
	}
	return nil
}

// Handle registers fn with m as the handler of the method, like
// [Manager.HandleStreamFunc].
//
// req is fn's own and may be kept. send sends a message, which may be changed when
// it returns; it waits and fails as [RawStream.Send] does, may be called by several
// goroutines at once, and fails after fn has returned. With nil it fails with
// [ErrNilMessage]. What was sent is delivered before the end, or before the error
// of fn.
//
// A request that is no Req does not reach fn: the stream is refused with
// [ErrMalformedMessage].
func (s *ServerStream[Req, Out]) Handle(
	m *Manager, fn func(ctx context.Context, req *Req, send func(*Out) error) error, opts ...HandlerOption,
) error {
	if err := s.check(); err != nil {
		return handleError(s.ID(), err)
	}
	if fn == nil {
		return handleError(s.id, errors.New("the function is nil: pass one that serves a stream"))
	}
	serve := func(ctx context.Context, payload []byte, st *RawStream) error {
		req := new(Req)
		if err := s.req.decode(req, payload); err != nil {
			return &refusal{err: err}
		}
		return fn(ctx, req, func(m *Out) error { return sendMessage(st, s.out, m) })
	}
	return m.register(&handler{id: s.id, stream: serve, outCapacity: defaultCapacity}, append(s.options(opts), noInputOption{}))
}

// Call returns an iterator over the messages of one stream. The stream is opened
// when the ranging begins, which is when req is encoded; it needs no goroutine.
//
// Each message belongs to the caller. The ranging ends after a clean end, or with
// an error, which comes as the last pair with a nil message: those of
// [Connection.OpenStream] and [RawStream.Recv], [ErrNilMessage] if req is nil, and
// [ErrMalformedMessage] if the peer refuses the request as none of its type, or a
// message is no Out; that ends the stream. To leave the loop early, in whatever
// way, cancels the handler's context.
//
// [iter.Pull2] makes a function of it that returns the next message.
//
// The iterator is one call. Ranged over once more it yields [ErrIteratorUsed].
func (s *ServerStream[Req, Out]) Call(ctx context.Context, to Caller, req *Req, opts ...CallOption) iter.Seq2[*Out, error] {
	var used atomic.Bool
	return func(yield func(*Out, error) bool) {
		if err := s.check(); err != nil {
			yield(nil, callErrorOf(to, s.ID(), OutcomeNotSent, err))
			return
		}
		if !used.CompareAndSwap(false, true) {
			yield(nil, s.notSent(to, fmt.Errorf("%w: it is one call, call again for another", ErrIteratorUsed)))
			return
		}
		st, err := open(ctx, &s.method, s.req, to, req, opts)
		if err != nil {
			yield(nil, err)
			return
		}
		// Also where the body of the loop panics or leaves its goroutine.
		defer func() { _ = st.Close() }()
		for {
			m := new(Out)
			switch err := receiveMessage(st, s.out, m); {
			case err == io.EOF: //nolint:errorlint // It is returned as it is.
				return
			case err != nil:
				yield(nil, err)
				return
			case !yield(m, nil):
				return
			}
		}
	}
}
