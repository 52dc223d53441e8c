package core

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/gridmux/gridmux/core/internal/wire"
)

// Errors that a call, a method of [Manager] or a wait fails with. They are
// wrapped; compare with errors.Is.
var (
	// ErrDisconnected: there is no connection to the peer, or it was lost while
	// the call was in progress. The error's text says since when and why.
	ErrDisconnected = errors.New("not connected")
	// ErrUnknownPeer: no node of that name or address is among the peers.
	ErrUnknownPeer = errors.New("unknown peer")
	// ErrUnknownHandler: the peer has no handler of that id and route.
	ErrUnknownHandler = errors.New("unknown handler")
	// ErrMessageTooLarge: a request or response is over a limit on message size.
	ErrMessageTooLarge = errors.New("message too large")
	// ErrMalformedMessage: a message cannot be decoded. It is of another type, was
	// cut off, has bytes behind its end, or is over a limit of its type.
	ErrMalformedMessage = errors.New("malformed message")
	// ErrNilMessage: there is no message where one has to be. A request or a
	// message of a stream is nil, or a handler returned neither a response nor an
	// error.
	ErrNilMessage = errors.New("nil message")
	// ErrIteratorUsed: the iterator that [ServerStream.Call] returned has been
	// ranged over. It is one call: for another, call again.
	ErrIteratorUsed = errors.New("iterator used before")
	// ErrOverloaded: a limit on calls in progress or on memory is reached.
	ErrOverloaded = errors.New("overloaded")
	// ErrPermissionDenied: the peer does not let this node call the handler, see
	// [WithAuthorization].
	ErrPermissionDenied = errors.New("permission denied")
	// ErrDraining: the node or its peer is going away, or the connection is
	// being given up, and takes no new calls.
	ErrDraining = errors.New("draining")
	// ErrNotStarted: the Manager has not been started, or was not made by
	// [NewManager].
	ErrNotStarted = errors.New("not started")
	// ErrClosed: the Manager was closed.
	ErrClosed = errors.New("closed")
)

// Outcome says what is known of a call that failed: whether its handler may
// have run. It decides whether the call can be repeated safely.
type Outcome uint8

const (
	// OutcomeMaybeRun: the request may have reached the peer, so the handler
	// may have run, may be running, or may never run. It is the zero value: an
	// error that says nothing says this.
	OutcomeMaybeRun Outcome = iota
	// OutcomeNotSent: nothing of the request was written to the link. The
	// handler has not run and will not. Safe to repeat.
	OutcomeNotSent
	// OutcomeRefused: the peer answered that the handler did not run and will
	// not, and why; or the handler says itself that it has done nothing, see
	// [Refuse]. Safe to repeat, if with a pause.
	OutcomeRefused
	// OutcomeRemote: the handler ran and the error is its answer.
	OutcomeRemote
)

func (o Outcome) String() string {
	switch o {
	case OutcomeNotSent:
		return "not sent"
	case OutcomeRefused:
		return "refused"
	case OutcomeRemote:
		return "remote error"
	default:
		return "may have run"
	}
}

// unrun reports whether the handler has not run and will not, or has done nothing.
func (o Outcome) unrun() bool { return o == OutcomeNotSent || o == OutcomeRefused }

// OutcomeOf returns the outcome that err, or an error that it wraps, reports.
// For nil and for errors that are not from a call it is [OutcomeMaybeRun]. For a
// *[QuorumError] it is what holds for all peers that were asked.
func OutcomeOf(err error) Outcome {
	// The outermost one counts: that of many calls wraps those of single ones.
	if reports, ok := errors.AsType[outcomeReporter](err); ok {
		return reports.reportOutcome()
	}
	return OutcomeMaybeRun
}

type outcomeReporter interface {
	error
	reportOutcome() Outcome
}

// bothOutcomes is what is true of two calls.
func bothOutcomes(a, b Outcome) Outcome {
	switch {
	case a == b:
		return a
	case a.unrun() && b.unrun():
		return OutcomeRefused
	default:
		return OutcomeMaybeRun
	}
}

// Code classifies a [RemoteError]. Codes from [CodeApplication] on belong to
// the application; those below are given by the library.
type Code uint32

const (
	// CodeNone: the handler's error had no code.
	CodeNone = Code(wire.CodeNone)
	// CodePanic: the handler panicked or left its goroutine. Message and stack
	// are in the log of the node that ran it.
	CodePanic = Code(wire.CodePanic)
	// CodeApplication, 1000, is the first code that an application may use. A lower one
	// that a handler returns arrives as CodeNone.
	CodeApplication = Code(wire.CodeApplication)
)

// RemoteError is an answer: the peer's handler ran and returned an error. Within a
// [CallError] with [OutcomeRefused] it is that of a handler, or an [Interceptor] around
// it, that has done nothing: [OutcomeOf] tells.
//
// A handler that wants its callers to tell errors apart returns one, as it is
// or wrapped:
//
//	var ErrNoDisk = &core.RemoteError{Code: 1001, Message: "no disk"}
//
// and callers ask errors.Is(err, ErrNoDisk). Code, Message and Detail travel;
// Peer, Handler and Route are filled in on the calling side. Of an error without a
// RemoteError in it the text alone travels: what a handler's own call to a third
// node failed with, such as ErrDisconnected, is not taken for a failure of the
// call. A RemoteError of that node is passed on with its code.
type RemoteError struct {
	Code    Code
	Message string // at most 4 KiB travel
	Detail  []byte // anything up to 16 KiB, or it is left out; nil and empty are told apart
	Peer    string // who answered; empty where the error was made
	Handler HandlerID
	Route   string // empty: none
}

func (e *RemoteError) Error() string {
	if e == nil {
		return "<nil>"
	}
	if e.Peer == "" {
		return e.Message
	}
	return "gridmux: " + callName(e.Handler, e.Route, e.Peer) + ": " + e.text()
}

// text is the error without who has answered.
func (e *RemoteError) text() string {
	s := unprefixed(e.Message)
	if e.Code != CodeNone {
		s += " (code " + strconv.FormatUint(uint64(e.Code), 10) + ")"
	}
	return s
}

// Is reports whether target is a RemoteError with the same application code, or
// the error of this package that a code of the library stands for:
// [ErrNilMessage], or [ErrMalformedMessage] for a message of a stream.
func (e *RemoteError) Is(target error) bool {
	if e == nil {
		return false
	}
	if t, ok := target.(*RemoteError); ok {
		return t != nil && e.Code >= CodeApplication && e.Code == t.Code
	}
	known := answers[wire.Code(e.Code)]
	return known != nil && known == target
}

func (*RemoteError) reportOutcome() Outcome { return OutcomeRemote }

// CallError is every other failure of a call: it got no answer of its handler, or
// that it has done nothing, or one that is larger than the nodes allow, which is
// [ErrMessageTooLarge] with [OutcomeRemote]: the handler has run.
type CallError struct {
	Peer    string
	Handler HandlerID
	Route   string // empty: none
	Outcome Outcome
	Err     error // why; never nil
}

func (e *CallError) Error() string {
	if e == nil {
		return "<nil>"
	}
	text := unprefixed(fmt.Sprint(e.Err))
	if remote, ok := e.Err.(*RemoteError); ok && remote != nil { //nolint:errorlint // That of this call, not of another one.
		text = remote.text()
	}
	return fmt.Sprintf("gridmux: %s: %v: %s", callName(e.Handler, e.Route, e.Peer), e.Outcome, text)
}

// callName says which call an error is of.
func callName(h HandlerID, route, peer string) string {
	name := named(string(h))
	if route != "" {
		name += fmt.Sprintf(" (route %.*q)", maxNameShown, route)
	}
	return name + " on " + named(peer)
}

// maxNameShown is how many characters of a name stand in the text of an error: some are
// made from data.
const maxNameShown = 100

// named shows also a name that is empty.
func named(s string) string {
	if s == "" {
		return `""`
	}
	return fmt.Sprintf("%.*s", maxNameShown, s)
}

// unprefixed is the text of an error that stands within that of another one, which
// says already whose they are.
func unprefixed(text string) string { return strings.TrimPrefix(text, "gridmux: ") }

func (e *CallError) Unwrap() error {
	if e == nil {
		return nil
	}
	return e.Err
}

func (e *CallError) reportOutcome() Outcome {
	if e == nil {
		return OutcomeMaybeRun
	}
	return e.Outcome
}

// refusals are the reasons that a peer refuses a call with, and the errors that
// callers compare with. The first one counts of an error that is several.
var refusals = []struct {
	code wire.Code
	err  error
}{
	{wire.CodeUnknownHandler, ErrUnknownHandler},
	{wire.CodeOverloaded, ErrOverloaded},
	{wire.CodeDraining, ErrDraining},
	{wire.CodeMessageTooLarge, ErrMessageTooLarge},
	{wire.CodeMalformed, ErrMalformedMessage},
	{wire.CodePermissionDenied, ErrPermissionDenied},
}

// answers maps the codes that the library gives to errors of handlers onto the
// errors that callers compare with.
var answers = map[wire.Code]error{
	wire.CodeNilMessage: ErrNilMessage,
	wire.CodeMalformed:  ErrMalformedMessage,
}

// codedError is the error of a function around the user's handler, which ran, and
// the code of it in answers.
type codedError struct {
	code wire.Code
	err  error
}

func (e *codedError) Error() string { return e.err.Error() }
func (e *codedError) Unwrap() error { return e.err }

// refusedStatus is what the caller is told of why its handler does not run. The
// error of another call, which an interceptor has made, tells nothing of this node.
func refusedStatus(err error) wire.Status {
	if _, ok := errors.AsType[*CallError](err); ok {
		return errorStatus(err)
	}
	for _, r := range refusals {
		if errors.Is(err, r.err) {
			return wire.Status{Code: r.code, Message: trimSentinel(err, r.err)}
		}
	}
	if errors.Is(err, errUnsupported) {
		return wire.Status{Code: wire.CodeUnsupported, Message: err.Error()}
	}
	return errorStatus(err)
}

// refusedError turns the status of a REFUSED frame into the caller's error.
func refusedError(st wire.Status) error {
	for _, r := range refusals {
		switch {
		case r.code != st.Code:
		case st.Message == "":
			return r.err
		default:
			return fmt.Errorf("%w: %s", r.err, printable(st.Message))
		}
	}
	if st.Code >= wire.CodeApplication || st.Code == wire.CodeNone {
		return &RemoteError{Code: Code(st.Code), Message: st.Message, Detail: st.Detail}
	}
	return fmt.Errorf("refused with code %d: %s", st.Code, printable(st.Message))
}

// answerError turns the status of an ERROR frame into the caller's error and
// the outcome that goes with it.
func answerError(st wire.Status) (Outcome, error) {
	switch st.Code {
	case wire.CodeDeadline:
		return OutcomeMaybeRun, fmt.Errorf("%w on the serving side", context.DeadlineExceeded)
	case wire.CodeCanceled:
		return OutcomeMaybeRun, fmt.Errorf("%w on the serving side", context.Canceled)
	case wire.CodeResponseTooLarge:
		return OutcomeRemote, fmt.Errorf("%w: %s", ErrMessageTooLarge, printable(st.Message))
	}
	return OutcomeRemote, &RemoteError{Code: Code(st.Code), Message: st.Message, Detail: st.Detail}
}

// errorStatus turns a handler's error into the status of an ERROR frame. Only
// what the handler meant for its caller travels: the code and detail of a
// RemoteError of its own or passed on, and the text. What the library says of a
// handler has a code of its own.
func errorStatus(err error) wire.Status {
	st := wire.Status{Message: err.Error()}
	if coded, ok := errors.AsType[*codedError](err); ok {
		st.Code = coded.code
		return st
	}
	if remote, ok := errors.AsType[*RemoteError](err); ok && remote != nil {
		if remote.Code >= CodeApplication {
			st.Code = wire.Code(remote.Code)
		}
		st.Detail = bytes.Clone(remote.Detail) // the answer may have to wait
	}
	return st
}
