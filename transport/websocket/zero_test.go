package websocket_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"runtime/debug"
	"testing"
	"time"

	"github.com/gridmux/gridmux/transport"
	"github.com/gridmux/gridmux/transport/websocket"
)

// TestZeroValues calls every exported function, and every method on zero values
// and nil pointers, with nothing for arguments. Nothing may panic or hang, and
// what can return an error does.
func TestZeroValues(t *testing.T) {
	callWithNothing(t, "New", reflect.ValueOf(websocket.New), false)
	for what, v := range map[string]any{
		"Transport{}":       &websocket.Transport{},
		"(*Transport)(nil)": (*websocket.Transport)(nil),
		"New":               websocket.New(websocket.Options{}),
		"mounted":           websocket.New(websocket.Options{Mounted: true}),
		"Options{}":         websocket.Options{},
	} {
		callMethods(t, what, v, true)
	}
}

// TestZeroTransportWorks serves and dials with a Transport that New did not
// make.
func TestZeroTransportWorks(t *testing.T) {
	var tr websocket.Transport
	l, err := tr.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatalf("listening with a zero Transport failed: %v", err)
	}
	defer l.Close()
	c, err := tr.Dial(t.Context(), transport.Peer{Addr: l.Addr().String()})
	if err != nil {
		t.Fatalf("dialling with a zero Transport failed: %v", err)
	}
	defer c.CloseWithError(0, "")
	if _, err := l.Accept(nil); err == nil { //nolint:staticcheck // It is what is tested.
		t.Error("Accept without a context returned no error")
	}
	accepted, err := l.Accept(t.Context())
	if err != nil {
		t.Fatalf("an Accept without a context must not take a connection, but then: %v", err)
	}
	callWithNothing(t, "WriteFrames", reflect.ValueOf(c.WriteFrames), false)
	if err := c.WriteFrames([][]byte{nil}); err == nil {
		t.Error("WriteFrames of a nil frame, which has no headroom, returned no error")
	}
	accepted.CloseWithError(0, "")
	c.CloseWithError(0, "")
	l.Close()
	callMethods(t, "closed connection", c, false)
	callMethods(t, "closed listener", l, false)
}

// TestNilRequest serves nobody.
func TestNilRequest(t *testing.T) {
	for _, tr := range []*websocket.Transport{nil, {}, websocket.New(websocket.Options{Mounted: true})} {
		for _, r := range []*http.Request{nil, {}} {
			err := callSafely(func([]reflect.Value) []reflect.Value {
				tr.ServeHTTP(nil, r)
				return nil
			}, nil, false)
			if err != nil {
				t.Errorf("ServeHTTP without a ResponseWriter: %v", err)
			}
		}
	}
}

func callMethods(t *testing.T, what string, value any, mustFail bool) {
	t.Helper()
	v := reflect.ValueOf(value)
	for i := range v.NumMethod() {
		callWithNothing(t, what+"."+v.Type().Method(i).Name, v.Method(i), mustFail)
	}
}

// callWithNothing calls f with zero values, and also with a context that is
// over where it takes one.
func callWithNothing(t *testing.T, what string, f reflect.Value, mustFail bool) {
	t.Helper()
	over, cancel := context.WithCancel(t.Context())
	cancel()
	for _, ctx := range []context.Context{nil, over} {
		args, withContext := []reflect.Value{}, false
		for in := range f.Type().Ins() {
			if in == reflect.TypeFor[context.Context]() && ctx != nil {
				args, withContext = append(args, reflect.ValueOf(ctx)), true
			} else {
				args = append(args, reflect.Zero(in))
			}
		}
		if ctx != nil && !withContext {
			continue
		}
		call := f.Call
		if f.Type().IsVariadic() {
			call = f.CallSlice
		}
		done := make(chan error, 1)
		go func() { done <- callSafely(call, args, mustFail) }()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("%s: %v", what, err)
			}
		case <-time.After(10 * time.Second):
			t.Errorf("%s has not returned after 10 s", what)
		}
	}
}

func callSafely(call func([]reflect.Value) []reflect.Value, args []reflect.Value, mustFail bool) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("it panicked: %v\n%s", v, debug.Stack())
		}
	}()
	results := call(args)
	if !mustFail || len(results) == 0 {
		return nil
	}
	last := results[len(results)-1]
	if last.Type() == reflect.TypeFor[error]() && last.IsNil() {
		return errors.New("it returned no error")
	}
	return nil
}
