package core

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Caller is what calls can be made on: a [*Connection] or a [Route] of one.
type Caller interface {
	// Request makes a call and returns its answer, which belongs to the caller.
	// See [Connection.Request].
	Request(ctx context.Context, h HandlerID, req []byte, opts ...CallOption) ([]byte, error)
	// AppendRequest makes a call and appends its answer to dst. See
	// [Connection.AppendRequest].
	AppendRequest(ctx context.Context, h HandlerID, req, dst []byte, opts ...CallOption) ([]byte, error)
	// OpenStream opens a stream. See [Connection.OpenStream].
	OpenStream(ctx context.Context, h HandlerID, payload []byte, opts ...CallOption) (*RawStream, error)
	// NewStream opens a stream in the form of channels. See
	// [Connection.NewStream].
	NewStream(ctx context.Context, h HandlerID, payload []byte, opts ...CallOption) (*Stream, error)

	sealed()
}

// maxRoute bounds a route in bytes.
const maxRoute = 255

// Request calls the handler h of the peer with req and returns its result,
// which belongs to the caller; nil and empty are told apart. req may be used
// again when Request has returned.
//
// It returns when the answer is there, when ctx ends, when a [WithTimeout] of
// this call is over, or when the connection is lost, even if the peer does not
// read. There is no other time-out. Without a connection it fails at once,
// unless [WaitForConnection] is given. Where another connection to the same process
// has taken the place of one over which nothing of the call was sent yet, as in a
// move to another transport, the call is made over that.
//
// An error of the handler is a *[RemoteError], unless it has done nothing ([Refuse]);
// every other failure is a *[CallError], of which [OutcomeOf] says whether the handler may have run.
func (c *Connection) Request(ctx context.Context, h HandlerID, req []byte, opts ...CallOption) ([]byte, error) {
	return c.request(ctx, handlerKey{id: h}, req, nil, opts)
}

// AppendRequest is Request with the result appended to dst, which must not be
// used elsewhere until it returns. If dst has room nothing is allocated. On
// failure dst is returned as it was.
func (c *Connection) AppendRequest(ctx context.Context, h HandlerID, req, dst []byte, opts ...CallOption) ([]byte, error) {
	return c.request(ctx, handlerKey{id: h}, req, dst, opts)
}

// Route returns a view of the connection whose calls reach the handlers that
// were registered under that route; see [WithRoute]. Routes nest: a route of a
// route is both joined with "/". At most 255 bytes in all; longer ones fail at
// the call.
func (c *Connection) Route(route string) Route { return Route{c, route} }

func (c *Connection) sealed() {}

// Route is a sub-address of a connection. It is a value, cheap to make and to
// copy, and as safe for concurrent use as its Connection.
type Route struct {
	c    *Connection
	name string
}

// Request is [Connection.Request] on the route.
func (r Route) Request(ctx context.Context, h HandlerID, req []byte, opts ...CallOption) ([]byte, error) {
	return r.c.request(ctx, handlerKey{h, r.name}, req, nil, opts)
}

// AppendRequest is [Connection.AppendRequest] on the route.
func (r Route) AppendRequest(ctx context.Context, h HandlerID, req, dst []byte, opts ...CallOption) ([]byte, error) {
	return r.c.request(ctx, handlerKey{h, r.name}, req, dst, opts)
}

// Route returns the route below this one.
func (r Route) Route(route string) Route {
	if r.name == "" {
		return Route{r.c, route}
	}
	return Route{r.c, r.name + "/" + route}
}

// Name returns the route, without the peer.
func (r Route) Name() string { return r.name }

func (Route) sealed() {}

var (
	_ Caller = (*Connection)(nil)
	_ Caller = Route{}
)

func (c *Connection) request(ctx context.Context, key handlerKey, req, dst []byte, opts []CallOption) ([]byte, error) {
	if c != nil && ctx != nil && c.m.intercepts(key.id) {
		return c.requestAround(ctx, key, req, dst, opts)
	}
	return c.requestDirectly(ctx, key, req, dst, opts)
}

func (c *Connection) requestDirectly(ctx context.Context, key handlerKey, req, dst []byte, opts []CallOption) ([]byte, error) {
	res := c.call(ctx, key, req, dst, opts)
	if res.err == nil {
		return res.resp, nil
	}
	return dst, c.callError(key, res)
}

// prepare checks what a call was given.
func (c *Connection) prepare(ctx context.Context, key handlerKey, opts []CallOption) (set callSettings, deadline int64, err error) {
	for _, o := range opts {
		if o == nil {
			return set, 0, errors.New("an option is nil: leave it out")
		}
		set = o.applyCall(set)
	}
	switch {
	case set.err != nil:
		return set, 0, set.err
	case ctx == nil:
		return set, 0, errNilContext
	case len(key.id) == 0 || len(key.id) > maxHandlerID:
		return set, 0, fmt.Errorf("the handler id has %d bytes: use 1 to %d", len(key.id), maxHandlerID)
	case hasZero(key.id):
		return set, 0, errZeroByte
	case len(key.route) > maxRoute:
		return set, 0, fmt.Errorf("the route has %d bytes: use at most %d", len(key.route), maxRoute)
	}
	if ctx.Err() != nil {
		_, err := contextEnd(ctx)
		return set, 0, err
	}
	if c == nil || !c.m.made() {
		return set, 0, c.whyDown()
	}
	if err := c.m.refuseCall(ctx); err != nil {
		return set, 0, err
	}
	set.meta = metadataOf(ctx)
	if err := set.meta.check(); err != nil {
		return set, 0, err
	}
	if set.timeout > 0 {
		deadline = addClock(c.m.now(), set.timeout)
	}
	return set, deadline, nil
}

// pick finds the session that a call goes over, or the connection that has none. Where it
// has waited for one, down is why there was none in the end.
func (c *Connection) pick(ctx context.Context, set callSettings, deadline int64) (at *Connection, s *session, down error) {
	if s := c.current.Load(); s != nil {
		return c, s, nil
	}
	c = c.resolve()
	s, down = c.findSession(ctx, set.wait, deadline)
	return c, s, down
}

// again reports whether a call that s did not send is to be made again: where it
// is to wait for the next connection, or where one to the same process is there
// already. The context of one that it ended may tell of another connection, as that
// of a handler does whose caller was lost.
func (set callSettings) again(ctx context.Context, res result, s *session) bool {
	return res.outcome == OutcomeNotSent && (set.wait || s.replaced()) && ctx.Err() == nil &&
		(errors.Is(res.err, ErrDisconnected) || errors.Is(res.err, errNoNewCalls))
}

// call makes the call on the current session.
func (c *Connection) call(ctx context.Context, key handlerKey, req, dst []byte, opts []CallOption) result {
	set, deadline, err := c.prepare(ctx, key, opts)
	if err != nil {
		return notSent(err)
	}
	hash := c.m.hashes.hash(key)
	for {
		at, s, down := c.pick(ctx, set, deadline)
		if s == nil {
			return notSent(at.whyNoSession(ctx, down, set.wait, deadline))
		}
		res := s.roundTrip(ctx, key, hash, req, dst, deadline, set)
		if !set.again(ctx, res, s) {
			return res
		}
	}
}

// findSession returns a session where there is none at first sight: the
// loopback, or after waiting for one.
func (c *Connection) findSession(ctx context.Context, wait bool, deadline int64) (s *session, down error) {
	if c == c.m.local {
		return c.m.loopback(), nil
	}
	if s := c.current.Load(); s != nil || !wait {
		return s, nil
	}
	if deadline != 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(deadline-c.m.now()))
		defer cancel()
	}
	for {
		err := c.resolve().await(ctx)
		// It may be another one by now: the peer was removed and added again.
		now := c.resolve()
		if err == nil {
			if s := now.current.Load(); s != nil {
				return s, nil
			}
			continue
		}
		if down := now.whyDown(); ctx.Err() != nil || c.m.draining.Load() || !errors.Is(down, ErrDisconnected) {
			return nil, down
		}
	}
}

// whyNoSession explains why findSession found none.
func (c *Connection) whyNoSession(ctx context.Context, down error, wait bool, deadline int64) error {
	if down == nil {
		down = c.resolve().whyDown()
	}
	switch {
	case ctx.Err() != nil:
		_, err := contextEnd(ctx)
		return fmt.Errorf("%w: %w", err, down)
	case wait && deadline != 0 && c.m.now() >= deadline && !errors.Is(down, ErrClosed):
		return fmt.Errorf("%w: %w", errTimeout, down)
	}
	return down
}

// callError is what the user gets for a call that failed.
func (c *Connection) callError(key handlerKey, res result) error {
	remote, ok := res.err.(*RemoteError) //nolint:errorlint // It is as it was made from the answer.
	if ok {
		remote.Peer, remote.Handler, remote.Route = c.Peer(), key.id, key.route
	}
	if ok && res.outcome == OutcomeRemote {
		return remote
	}
	return &CallError{Peer: c.Peer(), Handler: key.id, Route: key.route, Outcome: res.outcome, Err: res.err}
}
