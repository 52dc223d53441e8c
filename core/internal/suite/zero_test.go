package suite_test

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"reflect"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/internal/lab"
	"github.com/gridmux/gridmux/transport/inmem"
)

// exportedTypes and exportedFuncs are held against the source, so that nothing
// new escapes the tests of zero values. Aliases and interfaces have no values
// of their own.
var (
	exportedTypes = map[string]reflect.Type{
		"AppendFunc":    nil,
		"CallError":     reflect.TypeFor[core.CallError](),
		"CallOption":    nil,
		"Caller":        nil,
		"Code":          reflect.TypeFor[core.Code](),
		"Config":        reflect.TypeFor[core.Config](),
		"Connection":    reflect.TypeFor[core.Connection](),
		"HandlerFunc":   reflect.TypeFor[core.HandlerFunc](),
		"HandlerID":     reflect.TypeFor[core.HandlerID](),
		"HandlerOption": nil,
		"Manager":       reflect.TypeFor[core.Manager](),
		"Node":          reflect.TypeFor[core.Node](),
		"Option":        nil,
		"Outcome":       reflect.TypeFor[core.Outcome](),
		"RemoteError":   reflect.TypeFor[core.RemoteError](),
		"Route":         reflect.TypeFor[core.Route](),
		"State":         reflect.TypeFor[core.State](),
		"StateChange":   reflect.TypeFor[core.StateChange](),
	}
	exportedFuncs = map[string]any{
		"NewManager":        core.NewManager,
		"OutcomeOf":         core.OutcomeOf,
		"PeerFromContext":   core.PeerFromContext,
		"RouteFromContext":  core.RouteFromContext,
		"WaitForConnection": core.WaitForConnection,
		"WithConcurrency":   core.WithConcurrency,
		"WithInline":        core.WithInline,
		"WithRoute":         core.WithRoute,
		"WithTimeout":       core.WithTimeout,
	}
)

// TestZeroListsAreComplete fails when something was exported that the tests of
// zero values do not know.
func TestZeroListsAreComplete(t *testing.T) {
	files := token.NewFileSet()
	names, err := fs.Glob(os.DirFS("."), "*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(files, name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if _, known := exportedFuncs[d.Name.Name]; d.Recv == nil && d.Name.IsExported() && !known {
					t.Errorf("the function %s is exported and not in exportedFuncs", d.Name.Name)
				}
			case *ast.GenDecl:
				for _, s := range d.Specs {
					spec, ok := s.(*ast.TypeSpec)
					if !ok || !spec.Name.IsExported() {
						continue
					}
					if _, known := exportedTypes[spec.Name.Name]; !known {
						t.Errorf("the type %s is exported and not in exportedTypes", spec.Name.Name)
					}
				}
			}
		}
	}
}

// mayReturnNil lists the methods that have nothing to complain about on a value
// that was never used.
var mayReturnNil = map[string]bool{"Close": true, "Unwrap": true}

// TestZeroValues calls every exported function, and every method of every
// exported type on its zero value and on a nil pointer, with nothing for
// arguments. Nothing may panic or hang, and what can return an error does
// (T29, D38).
func TestZeroValues(t *testing.T) {
	contexts := []context.Context{nil, t.Context(), canceledContext()}
	for name, f := range exportedFuncs {
		callWithNothing(t, name, reflect.ValueOf(f), contexts, name == "NewManager")
	}
	for name, typ := range exportedTypes {
		if typ == nil {
			continue
		}
		callMethods(t, name+"{}", reflect.Zero(typ), contexts, true)
		callMethods(t, "(&"+name+"{})", reflect.New(typ), contexts, true)
		callMethods(t, "(*"+name+")(nil)", reflect.Zero(reflect.PointerTo(typ)), contexts, true)
	}
	var none *core.Manager
	for i, m := range []*core.Manager{none, {}} {
		callMethods(t, fmt.Sprintf("connection of no Manager %d", i), reflect.ValueOf(m.Connection("x")), contexts, true)
	}
}

// TestNilArguments calls every method of Manager, Connection and Route, in every
// state that they can be in, with nothing for arguments (T29, D38).
func TestNilArguments(t *testing.T) {
	made := func() *core.Manager {
		m, err := core.NewManager(core.Config{
			Local: core.Node{Name: "a", Addr: "a"}, Peers: []core.Node{{Name: "b", Addr: "b"}},
			Transport: inmem.NewNetwork().Node("a"),
		})
		if err != nil {
			t.Fatalf("a sound configuration was refused: %v", err)
		}
		return m
	}
	states := map[string]func() *core.Manager{
		"made": made,
		"started": func() *core.Manager {
			m := made()
			if err := m.Start(t.Context()); err != nil {
				t.Fatalf("Start failed: %v", err)
			}
			return m
		},
		"closed": func() *core.Manager {
			m := made()
			m.Close()
			return m
		},
	}
	// To wait for ever with a context that never ends is nobody's fault.
	contexts := []context.Context{nil, canceledContext()}
	for state, manager := range states {
		for i := range reflect.TypeFor[*core.Manager]().NumMethod() {
			m := manager()
			name := reflect.TypeFor[*core.Manager]().Method(i).Name
			callWithNothing(t, state+" Manager."+name, reflect.ValueOf(m).Method(i), contexts, false)
			m.Close()
		}
		m := manager()
		for _, host := range []string{"a", "b", "stranger", ""} {
			c := m.Connection(host)
			what := fmt.Sprintf("%s Connection(%q)", state, host)
			callMethods(t, what, reflect.ValueOf(c), contexts, false)
			callMethods(t, what+".Route", reflect.ValueOf(c.Route("r")), contexts, false)
		}
		m.Close()
	}
}

func canceledContext() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// callMethods calls all methods of v. A nil pointer has only those that take a
// pointer: to call the others through it is a panic of the language's making.
func callMethods(t *testing.T, what string, v reflect.Value, contexts []context.Context, mustFail bool) {
	t.Helper()
	typ := v.Type()
	for i := range typ.NumMethod() {
		name := typ.Method(i).Name
		if typ.Kind() == reflect.Pointer && v.IsNil() {
			if _, byValue := typ.Elem().MethodByName(name); byValue {
				continue
			}
		}
		callWithNothing(t, what+"."+name, v.Method(i), contexts, mustFail && !mayReturnNil[name])
	}
}

// callWithNothing calls f with every one of the contexts and zero values for all
// other arguments, with and without a nil for the variadic ones.
func callWithNothing(t *testing.T, what string, f reflect.Value, contexts []context.Context, mustFail bool) {
	t.Helper()
	typ := f.Type()
	for _, ctx := range contexts {
		var args []reflect.Value
		withContext := false
		for in := range typ.Ins() {
			if in == reflect.TypeFor[context.Context]() && ctx != nil {
				args = append(args, reflect.ValueOf(ctx))
				withContext = true
			} else {
				args = append(args, reflect.Zero(in))
			}
		}
		if !withContext && ctx != nil {
			continue
		}
		if !typ.IsVariadic() {
			callSafely(t, what, mustFail, func() []reflect.Value { return f.Call(args) })
			continue
		}
		callSafely(t, what, mustFail, func() []reflect.Value { return f.CallSlice(args) })
		last := len(args) - 1
		args[last] = reflect.MakeSlice(typ.In(last), 1, 1)
		callSafely(t, what+" with a nil option", mustFail, func() []reflect.Value { return f.CallSlice(args) })
	}
}

// callSafely makes a call that must neither panic nor hang. Where mustFail is
// set and the last result is an error there has to be one.
func callSafely(t *testing.T, what string, mustFail bool, f func() []reflect.Value) {
	t.Helper()
	done := lab.Go(func() error {
		var failure error
		func() {
			defer func() {
				if v := recover(); v != nil {
					failure = fmt.Errorf("it panicked: %v\n%s", v, debug.Stack())
				}
			}()
			failure = judgeResults(f(), mustFail)
		}()
		return failure
	})
	select {
	case err := <-done:
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	case <-time.After(10 * time.Second):
		t.Errorf("%s has not returned after 10 s", what)
	}
}

func judgeResults(results []reflect.Value, mustFail bool) error {
	for i, r := range results {
		err, isError := reflect.TypeAssert[error](r)
		switch {
		case r.Type() == reflect.TypeFor[error]():
			if mustFail && err == nil && i == len(results)-1 {
				return errors.New("it returned no error")
			}
			if isError {
				_ = err.Error()
			}
		case r.Kind() == reflect.Func && !r.IsNil() && r.Type().NumIn() == 1 && r.Type().In(0).Kind() == reflect.Func:
			// An iterator: its loop must end too.
			yield := reflect.MakeFunc(r.Type().In(0), func([]reflect.Value) []reflect.Value {
				return []reflect.Value{reflect.ValueOf(true)}
			})
			r.Call([]reflect.Value{yield})
		}
	}
	return nil
}
