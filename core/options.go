package core

import (
	"errors"
	"fmt"
	"time"
)

// HandlerOption configures a handler at its registration.
type HandlerOption interface {
	applyHandler(h *handler) error
}

// CallOption configures one call. Build it once and keep it: a call with a
// kept option allocates nothing for it.
type CallOption interface {
	// The settings pass by value so that they stay on the caller's stack.
	applyCall(s callSettings) callSettings
}

// Option is both a [HandlerOption] and a [CallOption].
type Option interface {
	HandlerOption
	CallOption
}

// callSettings are the options of one call.
type callSettings struct {
	timeout time.Duration
	wait    bool
	prio    Priority
	meta    *metadata
	err     error

	compress  [directions]*compressor // nil: nothing is said
	threshold int32                   // of compression; 0: the default
	window    bool                    // messages of a stream share one
}

type timeoutOption time.Duration

// WithTimeout bounds a call. As a [CallOption] it ends this call after d,
// whether or not its context has a deadline too, with an error that matches
// context.DeadlineExceeded; the deadline travels to the handler. It is much
// cheaper than context.WithTimeout around every call. As a [HandlerOption] it
// is the time-out of calls that arrive without a deadline. There is no other
// default: a call without either waits as long as its context lets it. d must
// be positive.
func WithTimeout(d time.Duration) Option { return timeoutOption(d) }

func (o timeoutOption) check() error {
	if o <= 0 {
		return fmt.Errorf("WithTimeout(%v): use a positive duration, or leave the option out", time.Duration(o))
	}
	return nil
}

func (o timeoutOption) applyHandler(h *handler) error {
	h.timeout = time.Duration(o)
	return o.check()
}

func (o timeoutOption) applyCall(s callSettings) callSettings {
	if s.timeout = time.Duration(o); s.timeout <= 0 {
		s.err = o.check()
	}
	return s
}

type routeOption string

// WithRoute registers the handler under a sub-address: callers reach it by
// Connection.Route(route). Several handlers may share an id on different
// routes. At most 255 bytes, compared byte by byte.
func WithRoute(route string) HandlerOption { return routeOption(route) }

func (o routeOption) applyHandler(h *handler) error {
	h.route = string(o)
	if len(o) > maxRoute {
		return fmt.Errorf("WithRoute: the route has %d bytes: use at most %d", len(o), maxRoute)
	}
	return nil
}

type concurrencyOption int

// WithConcurrency bounds how many instances of the handler run at once, counted
// until each has returned. A call over it is refused with [ErrOverloaded], never
// queued: handlers that call each other would deadlock. n must be positive.
func WithConcurrency(n int) HandlerOption { return concurrencyOption(n) }

func (o concurrencyOption) applyHandler(h *handler) error {
	if o <= 0 || o > limitMaxCalls {
		return fmt.Errorf("WithConcurrency(%d): use 1 to %d, or leave the option out", o, limitMaxCalls)
	}
	h.limit = int32(o)
	return nil
}

type capacityOption struct{ in, out int }

const (
	// defaultCapacity is how many messages of a stream are in flight in each
	// direction where WithCapacity says nothing.
	defaultCapacity = 64
	limitCapacity   = 1 << 20
)

// WithCapacity sets how many messages of a stream may be in flight in each
// direction: sent, and not taken yet by whoever receives them. in is towards the
// handler; 0 means that it takes no messages. out is from the handler; less than 1
// counts as 1. Without the option both are 64. It is for [Manager.HandleStreamFunc]; at
// most 1 048 576.
func WithCapacity(in, out int) HandlerOption { return capacityOption{in, out} }

func (o capacityOption) applyHandler(h *handler) error {
	switch {
	case h.stream == nil:
		return errors.New("WithCapacity is for handlers of streams: leave it out")
	case o.in < 0 || o.in > limitCapacity || o.out > limitCapacity:
		return fmt.Errorf("WithCapacity(%d, %d): use 0 to %d, and up to %d", o.in, o.out, limitCapacity, limitCapacity)
	}
	h.inCapacity, h.outCapacity = o.in, max(o.out, 1)
	return nil
}

type inlineOption struct{}

// WithInline runs the handler on the goroutine that reads the connection, which
// saves a hand-over. It is for handlers that never block: no I/O, no lock that
// is held for long, no call to another node. Everything else that arrives from
// the peer waits meanwhile, so that one that blocks for as long as keep-alive waits costs
// the connection; over a transport with lanes, as QUIC, what arrives on the
// same lane, and such handlers may run beside each other for one peer. A request that
// is over 32 KiB or compressed is handed over all the same.
func WithInline() HandlerOption { return inlineOption{} }

func (inlineOption) applyHandler(h *handler) error {
	if h.stream != nil {
		return errors.New("WithInline is for handlers of single requests: a stream has a goroutine of its own")
	}
	h.inline = true
	return nil
}

type waitOption struct{}

// WaitForConnection makes a call wait for a connection, as long as its context
// and time-out let it, where it would fail at once with [ErrDisconnected]. If
// the connection is lost before anything of the call was sent, it waits for the
// next one. A peer that is shutting down counts as not connected: the call waits
// for its successor. When the local node shuts down there is nothing to wait for,
// and the call fails with [ErrDraining], that of a handler too.
func WaitForConnection() CallOption { return waitOption{} }

func (waitOption) applyCall(s callSettings) callSettings {
	s.wait = true
	return s
}
