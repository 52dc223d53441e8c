package core

import (
	"cmp"
	"fmt"
	"strings"
)

// QuorumError is why [Quorum], [First] or [Hedged] failed: too few of their calls
// succeeded. Its text names every peer that failed, and why; errors.Is and
// errors.As find the causes of all of them.
//
// [OutcomeOf] tells what is true for all peers that were asked, those given up
// among them: [OutcomeNotSent] if nothing was sent to any, [OutcomeRefused] if no
// handler has run or will, or those that did have done nothing, [OutcomeRemote] if every handler has run and
// answered, else [OutcomeMaybeRun]. That of one peer is the outcome of its
// [PeerError].
type QuorumError struct {
	// Needed is how many calls had to succeed.
	Needed int
	// Succeeded is how many did.
	Succeeded int
	// Failed are those that did not, in the order of the set.
	Failed []*PeerError
	// GivenUp are the peers, in the order of the set, whose calls were cancelled
	// since enough others had failed, or not made since the context had ended.
	GivenUp []string
	// Err is why the context had ended, if it had, or what was wrong with the
	// arguments, so that nobody was asked; else nil.
	Err error

	op      string
	outcome Outcome
}

func (e *QuorumError) Error() string {
	if e == nil {
		return "<nil>"
	}
	asked := e.Succeeded + len(e.Failed) + len(e.GivenUp)
	op := cmp.Or(e.op, "Quorum")
	if asked == 0 {
		return fmt.Sprintf("gridmux: %s: %v", op, e.Err)
	}
	var text strings.Builder
	fmt.Fprintf(&text, "gridmux: %s: ", op)
	if e.Err != nil {
		fmt.Fprintf(&text, "%v: ", e.Err)
	}
	fmt.Fprintf(&text, "%d of %d peers succeeded, %d needed", e.Succeeded, asked, e.Needed)
	for i, f := range e.Failed {
		text.WriteString([]string{": ", "; "}[min(i, 1)])
		text.WriteString(f.text())
	}
	if len(e.GivenUp) > 0 {
		text.WriteString("; given up: " + strings.Join(e.GivenUp, ", "))
	}
	return text.String()
}

// Unwrap returns Err and all that Failed has.
func (e *QuorumError) Unwrap() []error {
	if e == nil {
		return nil
	}
	var errs []error
	if e.Err != nil {
		errs = append(errs, e.Err)
	}
	for _, f := range e.Failed {
		errs = append(errs, f)
	}
	return errs
}

func (e *QuorumError) reportOutcome() Outcome {
	if e == nil {
		return OutcomeMaybeRun
	}
	return e.outcome
}

// PeerError is why one of the calls of a [QuorumError] failed.
type PeerError struct {
	Peer string
	Err  error // what the function returned
}

func (e *PeerError) Error() string {
	if e == nil {
		return "<nil>"
	}
	return "gridmux: " + e.text()
}

// text names the peer once: the error of a call does so by itself.
func (e *PeerError) text() string {
	named := false
	switch err := e.Err.(type) { //nolint:errorlint // What is wrapped may be the error of another call.
	case *CallError:
		named = err != nil && err.Peer == e.Peer
	case *RemoteError:
		named = err != nil && err.Peer == e.Peer && e.Peer != ""
	}
	text := unprefixed(fmt.Sprint(e.Err))
	if named {
		return text
	}
	return e.Peer + ": " + text
}

func (e *PeerError) Unwrap() error {
	if e == nil {
		return nil
	}
	return e.Err
}
