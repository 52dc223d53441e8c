package inmem_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"runtime/debug"
	"testing"
	"time"

	"github.com/gridmux/gridmux/transport"
	"github.com/gridmux/gridmux/transport/inmem"
)

// TestZeroValues calls every exported function, and every method on zero values
// and nil pointers, with nothing for arguments. Nothing may panic or hang, and
// what can return an error does.
func TestZeroValues(t *testing.T) {
	for name, f := range map[string]any{
		"NewNetwork":                  inmem.NewNetwork,
		"WithBuffer":                  inmem.WithBuffer,
		"WithBuffer applied":          inmem.WithBuffer(0),
		"WithBuffer on nothing at it": inmem.WithBuffer(1),
		"WithSeed":                    inmem.WithSeed,
		"WithSeed applied":            inmem.WithSeed(0),
		"WithoutIntegrity":            inmem.WithoutIntegrity,
		"WithoutIntegrity applied":    inmem.WithoutIntegrity(),
	} {
		callWithNothing(t, name, reflect.ValueOf(f), false)
	}
	for what, v := range map[string]any{
		"Addr":                 inmem.Addr(""),
		"Network{}":            &inmem.Network{},
		"(*Network)(nil)":      (*inmem.Network)(nil),
		"NewNetwork(nil)":      inmem.NewNetwork(nil),
		"Transport{}":          &inmem.Transport{},
		"(*Transport)(nil)":    (*inmem.Transport)(nil),
		"(*Network)(nil).Node": (*inmem.Network)(nil).Node("x"),
	} {
		callMethods(t, what, v, true)
	}
}

// TestZeroNetworkWorks uses a Network that NewNetwork did not make.
func TestZeroNetworkWorks(t *testing.T) {
	var n inmem.Network
	n.Cut("a", "b")
	n.SetPathLatency("a", "b", 0)
	n.SetConditions(inmem.Conditions{})
	n.CutAfter("a", "b", 0)
	l, err := n.Node("a").Listen(t.Context(), "a")
	if err != nil {
		t.Fatalf("listening in a zero Network failed: %v", err)
	}
	defer l.Close()
	n.Heal("a", "b")
	c, err := n.Node("b").Dial(t.Context(), transport.Peer{Addr: "a"})
	if err != nil {
		t.Fatalf("dialling in a zero Network failed: %v", err)
	}
	defer c.CloseWithError(0, "")
	if err := c.WriteFrames([][]byte{[]byte("x")}); err != nil {
		t.Errorf("a connection of a zero Network takes no frame: %v", err)
	}
}

// TestNilArguments calls the methods of a listener and of a connection, closed
// ones included, with nothing for arguments.
func TestNilArguments(t *testing.T) {
	n := inmem.NewNetwork()
	l, err := n.Node("a").Listen(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Accept(nil); err == nil { //nolint:staticcheck // It is what is tested.
		t.Error("Accept without a context returned no error")
	}
	c, err := n.Node("b").Dial(t.Context(), transport.Peer{Addr: "a"})
	if err != nil {
		t.Fatal(err)
	}
	lanes := c.(transport.LaneConn)
	callWithNothing(t, "AcceptLane", reflect.ValueOf(lanes.AcceptLane), true)
	if _, err := lanes.OpenLane(nil); err == nil { //nolint:staticcheck // It is what is tested.
		t.Error("OpenLane without a context returned no error")
	}
	callWithNothing(t, "WriteFrames", reflect.ValueOf(c.WriteFrames), false)
	callMethods(t, "node", n.Node("b"), true)
	c.CloseWithError(0, "")
	l.Close()
	callMethods(t, "closed connection", c, false)
	callMethods(t, "closed listener", l, false)
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
