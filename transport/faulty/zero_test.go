package faulty_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"runtime/debug"
	"testing"
	"time"

	"github.com/gridmux/gridmux/transport"
	"github.com/gridmux/gridmux/transport/faulty"
	"github.com/gridmux/gridmux/transport/inmem"
)

// TestZeroValues calls every exported function, and every method on zero values
// and nil pointers, with nothing for arguments. Nothing may panic or hang, and
// what can return an error does.
func TestZeroValues(t *testing.T) {
	for name, f := range map[string]any{
		"Wrap":                     faulty.Wrap,
		"WithSeed":                 faulty.WithSeed,
		"WithSeed applied":         faulty.WithSeed(0),
		"WithoutIntegrity":         faulty.WithoutIntegrity,
		"WithoutIntegrity applied": faulty.WithoutIntegrity(),
	} {
		callWithNothing(t, name, reflect.ValueOf(f), false)
	}
	for what, v := range map[string]any{
		"Transport{}":       &faulty.Transport{},
		"(*Transport)(nil)": (*faulty.Transport)(nil),
		"Wrap(nil)":         faulty.Wrap(nil, nil),
	} {
		callMethods(t, what, v, true)
	}
}

// TestSenselessDirection expects calls that name no direction to do nothing.
func TestSenselessDirection(t *testing.T) {
	inBubble(t, func(b *lab) {
		near, far := b.connect()
		const neither = faulty.In + 1
		b.Stall(neither)
		b.SetDirectionConditions(neither, faulty.Conditions{Latency: time.Second})
		b.CutAfter(neither, 0)
		b.StallAfter(neither, 0)
		b.CorruptNext(neither, 0)
		b.write(near, "passes")
		b.read(far, "passes")
		b.at(0, "a frame")
	})
}

// TestNilArguments calls the methods of a listener and of a connection, closed
// ones included, with nothing for arguments.
func TestNilArguments(t *testing.T) {
	n := inmem.NewNetwork()
	a, b := faulty.Wrap(n.Node("a")), faulty.Wrap(n.Node("b"))
	l, err := a.Listen(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Accept(nil); err == nil { //nolint:staticcheck // It is what is tested.
		t.Error("Accept without a context returned no error")
	}
	c, err := b.Dial(t.Context(), transport.Peer{Addr: "a"})
	if err != nil {
		t.Fatal(err)
	}
	lanes := c.(transport.LaneConn)
	if _, err := lanes.OpenLane(nil); err == nil { //nolint:staticcheck // It is what is tested.
		t.Error("OpenLane without a context returned no error")
	}
	if _, err := lanes.AcceptLane(nil); err == nil { //nolint:staticcheck // It is what is tested.
		t.Error("AcceptLane without a context returned no error")
	}
	callWithNothing(t, "WriteFrames", reflect.ValueOf(c.WriteFrames), false)
	b.SetConditions(faulty.Conditions{Latency: ms})
	callWithNothing(t, "WriteFrames under latency", reflect.ValueOf(c.WriteFrames), false)
	b.SetConditions(faulty.Conditions{})
	callMethods(t, "node", b, false)
	b.Heal()
	_ = c.CloseWithError(0, "")
	_ = l.Close()
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

// callWithNothing calls f with zero values, and with a context that is over
// where it takes one.
func callWithNothing(t *testing.T, what string, f reflect.Value, mustFail bool) {
	t.Helper()
	over, cancel := context.WithCancel(t.Context())
	cancel()
	args := []reflect.Value{}
	for in := range f.Type().Ins() {
		if in == reflect.TypeFor[context.Context]() {
			args = append(args, reflect.ValueOf(over))
		} else {
			args = append(args, reflect.Zero(in))
		}
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
