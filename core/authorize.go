package core

import (
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"

	"github.com/gridmux/gridmux/core/internal/wire"
)

type authorizationOption func(caller Identity) error

// WithAuthorization lets the handler be called by those only for whom allow returns
// nil. Any other call is refused before memory is reserved for its message and before
// interceptors and handler see it: it fails with [ErrPermissionDenied], the text of
// allow's error, and [OutcomeRefused]. It is for handlers of all kinds.
//
// allow is given what [CallerFromContext] tells the handler: whom the calling node
// has proved to be, the zero Identity where nothing was proved, and Method "loopback"
// for calls of the local node. It is called for every call, so it may change its
// answers, and by several goroutines at once, each of which reads a connection: it
// must not block, as a handler with [WithInline] must not. If it panics, the call is
// refused. What depends on more than the caller and the handler is for an
// [Interceptor], or for the handler and [Refuse].
func WithAuthorization(allow func(caller Identity) error) HandlerOption {
	return authorizationOption(allow)
}

func (o authorizationOption) applyHandler(h *handler) error {
	if o == nil {
		return errors.New("WithAuthorization: the function is nil: leave the option out to let everybody call")
	}
	h.allow = o
	return nil
}

// authorize returns why the peer may not make a call of h, or nil.
func (s *session) authorize(id wire.CallID, h *handler) (denied error) {
	if h.allow == nil {
		return nil
	}
	// As in runInline: Close does not wait for the user's code, so that it may be
	// what has called it.
	s.inUserCode.Store(true)
	defer s.inUserCode.Store(false)
	if s.ending.Load() {
		return ErrPermissionDenied // nobody will be told
	}
	returned := false
	defer func() {
		if returned {
			return
		}
		v := recover()
		denied = fmt.Errorf("%w: the function that decides panicked; the log of its node has the stack", ErrPermissionDenied)
		s.m.log(slog.LevelError, "gridmux: function of WithAuthorization panicked", "local", s.m.cfg.Local.Name, "peer", s.peer.name,
			"handler", string(h.id), "route", h.route, "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
		if v == nil {
			// runtime.Goexit: nobody gets what this returns.
			s.refuse(id, denied)
		}
	}()
	if err := h.allow(s.link.identity); err != nil {
		// Its text alone: what it wraps may mean something else where the call is made.
		denied = ErrPermissionDenied
		if text := trimSentinel(err, ErrPermissionDenied); text != "" {
			denied = fmt.Errorf("%w: %s", ErrPermissionDenied, text)
		}
	}
	returned = true
	return denied
}
