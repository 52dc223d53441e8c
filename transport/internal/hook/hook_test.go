package hook_test

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"testing"

	"github.com/gridmux/gridmux/transport/internal/hook"
)

// TestCall expects what a function returns, and an error that names it where it does
// not.
func TestCall(t *testing.T) {
	t.Parallel()
	own := errors.New("its own")
	call := func(f func() (int, error)) (int, error) { return hook.Call(t.Context(), "X", f, nil) }
	if _, err := call(func() (int, error) { return 0, own }); err != own {
		t.Errorf("a function that fails: %v", err)
	}
	if v, err := call(func() (int, error) { return 7, nil }); v != 7 || err != nil {
		t.Errorf("a function that returns 7: %v, %v", v, err)
	}
	for want, f := range map[string]func(){
		"X panicked: broken":                          func() { panic("broken") },
		"X panicked: panic called with nil":           func() { panic(nil) }, //nolint:govet // A user may.
		"X did not return, but called runtime.Goexit": runtime.Goexit,
	} {
		_, err := call(func() (int, error) {
			f()
			return 0, nil
		})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

// TestCallThatOutlivesItsContext expects the cause of the end of a context that a
// function ignores, and to be given what it returns later, unless that is an error.
func TestCallThatOutlivesItsContext(t *testing.T) {
	t.Parallel()
	cause := errors.New("over")
	for _, fails := range []error{nil, errors.New("its own")} {
		ctx, cancel := context.WithCancelCause(t.Context())
		release, late := make(chan struct{}), make(chan int, 1)
		v, err := hook.Call(ctx, "X", func() (int, error) {
			cancel(cause)
			<-release
			return 7, fails
		}, func(v int) { late <- v })
		if v != 0 || !errors.Is(err, cause) || !strings.Contains(err.Error(), "X") {
			t.Errorf("got %d, %v; want the cause, of X", v, err)
		}
		close(release)
		if fails == nil {
			if v := <-late; v != 7 {
				t.Errorf("%d came late, want 7", v)
			}
		}
	}
}
