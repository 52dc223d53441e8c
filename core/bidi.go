package core

import (
	"context"
	"errors"
)

// Bidi is a stream of typed messages in both directions: a Req opens it, then the
// caller sends messages of the type In, and the handler those of the type Out. It
// is declared once, as a package variable that both sides use:
//
//	var Sync = core.NewBidi[SyncRequest, Change, Ack]("storage.sync")
//
// It is immutable and safe for concurrent use, and belongs to no Manager.
type Bidi[Req, In, Out any] struct {
	method

	req codec[Req]
	in  codec[In]
	out codec[Out]
}

// NewBidi declares the handler id as one of streams with a request of the type Req
// and messages of the type In towards the handler and Out from it. Types and
// options are as with [NewUnary]; a [WithTimeout] is for the stream as a whole.
// [WithCapacity] says how many messages are in flight in each direction, 64
// without it.
func NewBidi[Req, In, Out any, PReq message[Req], PIn message[In], POut message[Out]](
	id HandlerID, opts ...HandlerOption,
) *Bidi[Req, In, Out] {
	return &Bidi[Req, In, Out]{
		method: newMethod(id, opts), req: codecOf[Req, PReq](), in: codecOf[In, PIn](), out: codecOf[Out, POut](),
	}
}

// ID returns the id that the method was declared with.
func (b *Bidi[Req, In, Out]) ID() HandlerID {
	if b == nil {
		return ""
	}
	return b.id
}

func (b *Bidi[Req, In, Out]) check() error {
	if b == nil || b.req.of == nil {
		return notMade("NewBidi")
	}
	return nil
}

// Handle registers fn with m as the handler of the method, like
// [Manager.HandleStreamFunc]. req is fn's own and may be kept; s ends when fn
// returns.
//
// A request that is no Req does not reach fn: the stream is refused with
// [ErrMalformedMessage]. A message that is no In ends the stream: s fails with
// that error, ctx ends with it as its cause, and it is what the caller gets, also
// if fn returns nil.
func (b *Bidi[Req, In, Out]) Handle(
	m *Manager, fn func(ctx context.Context, req *Req, s *TypedStream[Out, In]) error, opts ...HandlerOption,
) error {
	if err := b.check(); err != nil {
		return handleError(b.ID(), err)
	}
	if fn == nil {
		return handleError(b.id, errors.New("the function is nil: pass one that serves a stream"))
	}
	return m.HandleStreamFunc(b.id, func(ctx context.Context, payload []byte, st *RawStream) error {
		req := new(Req)
		if err := b.req.decode(req, payload); err != nil {
			return &refusal{err: err}
		}
		return fn(ctx, req, &TypedStream[Out, In]{st, b.out, b.in})
	}, b.options(opts)...)
}

// Open opens a stream to the handler on to with req, which may be changed when it
// returns. It needs no goroutine.
//
// It fails as [Connection.OpenStream] does, and with [ErrNilMessage] if req is nil.
// That the peer refuses the request as none of its type is learned from the stream,
// whose error then matches [ErrMalformedMessage].
func (b *Bidi[Req, In, Out]) Open(ctx context.Context, to Caller, req *Req, opts ...CallOption) (*TypedStream[In, Out], error) {
	if err := b.check(); err != nil {
		return nil, callErrorOf(to, b.ID(), OutcomeNotSent, err)
	}
	st, err := open(ctx, &b.method, b.req, to, req, opts)
	if err != nil {
		return nil, err
	}
	return &TypedStream[In, Out]{st, b.in, b.out}, nil
}
