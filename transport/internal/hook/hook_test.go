package hook_test

import (
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
	if err := hook.Call("X", func() error { return own }); err != own {
		t.Errorf("a function that fails: %v", err)
	}
	if err := hook.Call("X", func() error { return nil }); err != nil {
		t.Errorf("a function that returns: %v", err)
	}
	for want, f := range map[string]func(){
		"X panicked: broken":                          func() { panic("broken") },
		"X panicked: panic called with nil":           func() { panic(nil) }, //nolint:govet // A user may.
		"X did not return, but called runtime.Goexit": runtime.Goexit,
	} {
		err := hook.Call("X", func() error {
			f()
			return nil
		})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}
