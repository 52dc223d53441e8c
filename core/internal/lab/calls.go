package lab

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/gridmux/gridmux/core"
)

// Reply is what a call returned.
type Reply struct {
	Resp []byte
	Err  error
}

// GoCall makes a call on a goroutine of its own.
func GoCall(ctx context.Context, c core.Caller, h core.HandlerID, req []byte, opts ...core.CallOption) <-chan Reply {
	return Go(func() Reply {
		resp, err := c.Request(ctx, h, req, opts...)
		return Reply{resp, err}
	})
}

// MustCall makes a call that has to succeed.
func MustCall(t testing.TB, c core.Caller, h core.HandlerID, req []byte, opts ...core.CallOption) []byte {
	t.Helper()
	resp, err := c.Request(t.Context(), h, req, opts...)
	if err != nil {
		t.Fatalf("a call of %s failed: %v", h, err)
	}
	return resp
}

// WantFailure holds an error of a call to its kind and outcome.
func WantFailure(t testing.TB, what string, err, kind error, outcome core.Outcome) {
	t.Helper()
	if !errors.Is(err, kind) {
		t.Errorf("%s: got error %v, want one that is %q", what, err, kind)
	}
	if got := core.OutcomeOf(err); err != nil && got != outcome {
		t.Errorf("%s: got outcome %q of error %v, want %q", what, got, err, outcome)
	}
}

// WantText holds an error to a text that a person needs to see.
func WantText(t testing.TB, what string, err error, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if !Mentions(err, text) {
			t.Errorf("%s: got error %v, want it to mention %q", what, err, text)
		}
	}
}

// WantRemote returns the RemoteError in err, or fails the test.
func WantRemote(t testing.TB, what string, err error) *core.RemoteError {
	t.Helper()
	remote, ok := errors.AsType[*core.RemoteError](err)
	if !ok {
		t.Fatalf("%s: got error %v, want an answer of the peer's handler", what, err)
	}
	return remote
}

// Mentions reports whether there is an error and its text contains another.
func Mentions(err error, text string) bool {
	return err != nil && strings.Contains(err.Error(), text)
}
