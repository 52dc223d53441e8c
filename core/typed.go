package core

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"

	"github.com/tinylib/msgp/msgp"

	"github.com/gridmux/gridmux/core/internal/msgpack"
)

// message is what the typed edge needs of a type T: that *T has the methods which
// the msgp tool generates. It is inferred from T.
type message[T any] interface {
	*T
	codable
}

type codable interface {
	msgp.Marshaler
	msgp.Unmarshaler
	msgp.Sizer
}

// codec knows the methods of *T where only T is known.
type codec[T any] struct {
	of func(m *T) codable
	// flat is how long a message may be whose structure nobody has to look at before
	// it is decoded; 0: every one has to be looked at.
	flat int
}

// maxFlat bounds codec.flat, and so how deep an unknown field of such a message can
// be nested.
const maxFlat = 1024

func codecOf[T any, P message[T]]() codec[T] {
	c := codec[T]{of: func(m *T) codable { return P(m) }}
	if fixedSize(reflect.TypeFor[T]()) {
		// A decoder has nothing to allocate by what is announced, and what is no
		// longer than an honest message goes no deeper than that has bytes.
		c.flat = min(P(new(T)).Msgsize(), maxFlat)
	}
	return c
}

// fixedSize reports whether values of the type hold no memory but their own.
func fixedSize(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Array:
		return fixedSize(t.Elem())
	case reflect.Struct:
		for f := range t.Fields() {
			if !fixedSize(f.Type) {
				return false
			}
		}
		return true
	default:
		return t.Kind() >= reflect.Bool && t.Kind() <= reflect.Complex128
	}
}

// encode returns m as bytes and the buffer to put back when they are not needed
// any more, with room for so many bytes behind them. They may be in other memory, be
// it that Msgsize was too low or that they belong to the type: so it is never those
// that are recycled. If MarshalMsg panics the buffer is left to the collector, since
// something may use it still.
func (c codec[T]) encode(m *T, room int) (b []byte, buf *buffer, err error) {
	msg := c.of(m)
	buf = getBuffer(max(msg.Msgsize(), 0) + room)
	if b, err = msg.MarshalMsg(buf.b); err != nil {
		buf.put()
		return nil, nil, c.notEncoded(err)
	}
	return b, buf, nil
}

// behind returns the memory of the buffer behind what encode returned, as a slice of
// length 0, or nil where that is not known to be in the buffer.
func (b *buffer) behind(encoded []byte) []byte {
	if sameMemory(encoded, b.b) {
		return encoded[len(encoded):]
	}
	return nil
}

// appendTo appends m to dst.
func (c codec[T]) appendTo(dst []byte, m *T) ([]byte, error) {
	msg := c.of(m)
	if msg.Msgsize() <= cap(dst)-len(dst) {
		b, err := msg.MarshalMsg(dst)
		if err != nil {
			return dst, c.notEncoded(err)
		}
		return b, nil
	}
	// Msgsize is the most that it may be: what is generated would give dst up for
	// memory of its own where the message fits.
	b, buf, err := c.encode(m, 0)
	if err != nil {
		return dst, err
	}
	dst = append(dst, b...)
	buf.put()
	return dst, nil
}

func (codec[T]) notEncoded(err error) error {
	return fmt.Errorf("a %v cannot be encoded: %w", reflect.TypeFor[T](), err)
}

// decode reads m from b, which must hold nothing else. What b announces is checked
// first: no type can be made to allocate for elements that are not there, or to go
// deeper than any honest message does.
func (c codec[T]) decode(m *T, b []byte) error {
	var rest []byte
	var err error
	if len(b) > c.flat {
		_, err = msgpack.Skip(b, msgpack.MaxDepth)
	}
	if err == nil {
		rest, err = c.of(m).UnmarshalMsg(b)
	}
	switch {
	case errors.Is(err, msgp.ErrLimitExceeded):
		return fmt.Errorf("%w: %d bytes are over a limit of %v: %w; send less, or raise its msgp:limit on both nodes",
			ErrMalformedMessage, len(b), reflect.TypeFor[T](), err)
	case err != nil:
		return fmt.Errorf("%w: %d bytes are no %v: %w; use the same type on both nodes",
			ErrMalformedMessage, len(b), reflect.TypeFor[T](), err)
	case len(rest) > 0:
		return fmt.Errorf("%w: %d of %d bytes are behind the end of a %v; use the same type on both nodes",
			ErrMalformedMessage, len(rest), len(b), reflect.TypeFor[T]())
	}
	return nil
}

// noMessage is the error of who has to pass a message and passed nil.
func noMessage[T any](what string) error {
	return fmt.Errorf("%w: %s is nil: pass a %v", ErrNilMessage, what, reflect.TypeFor[*T]())
}

// method is what is declared of a typed method of any kind. It is immutable.
type method struct {
	id      HandlerID
	serving []HandlerOption
	calling []CallOption // those among serving that are for calls too
}

func newMethod(id HandlerID, opts []HandlerOption) method {
	d := method{id: id, serving: slices.Clone(opts)}
	for _, o := range opts {
		// A nil one is kept, for both sides to complain about.
		if call, ok := o.(CallOption); ok || o == nil {
			d.calling = append(d.calling, call)
		}
	}
	return d
}

// options returns those of the declaration, which opts override, and those of a
// registration.
func (d *method) options(opts []HandlerOption) []HandlerOption { return slices.Concat(d.serving, opts) }

// notSent is the error of a call of which nothing was sent.
func (d *method) notSent(to Caller, err error) error {
	return callErrorOf(to, d.id, OutcomeNotSent, err)
}

// callErrorOf is the error of a call to a Caller.
func callErrorOf(to Caller, h HandlerID, outcome Outcome, err error) error {
	e := &CallError{Handler: h, Outcome: outcome, Err: err}
	switch to := to.(type) {
	case *Connection:
		e.Peer = to.Peer()
	case Route:
		e.Peer, e.Route = to.c.Peer(), to.name
	}
	return e
}

var errNilCaller = fmt.Errorf("%w: the Caller is nil: pass a Connection, or a Route of one", ErrNotStarted)

// notMade is the error of a declaration that New… did not make.
func notMade(name string) error {
	return fmt.Errorf("%w: declare the method with %s", ErrNotStarted, name)
}

// request makes a call with the options of the declaration, which opts override.
// It does not let opts escape, so that they cost nothing.
func (d *method) request(ctx context.Context, to Caller, req, dst []byte, opts []CallOption) ([]byte, error) {
	var room [8]CallOption
	all := opts
	if len(d.calling) > 0 {
		all = append(append(room[:0], d.calling...), opts...)
	}
	switch to := to.(type) {
	case *Connection:
		return to.request(ctx, handlerKey{id: d.id}, req, dst, all)
	case Route:
		return to.c.request(ctx, handlerKey{d.id, to.name}, req, dst, all)
	default:
		// A type of the user's around one of them.
		return to.AppendRequest(ctx, d.id, req, dst, slices.Clone(all)...)
	}
}

// open opens a stream, likewise.
func open[Req any](ctx context.Context, d *method, c codec[Req], to Caller, req *Req, opts []CallOption) (*RawStream, error) {
	switch {
	case to == nil:
		return nil, d.notSent(to, errNilCaller)
	case req == nil:
		return nil, d.notSent(to, noMessage[Req]("the request"))
	}
	payload, buf, err := c.encode(req, 0)
	if err != nil {
		return nil, d.notSent(to, err)
	}
	st, err := to.OpenStream(ctx, d.id, payload, slices.Concat(d.calling, opts)...)
	buf.put()
	return st, err
}
