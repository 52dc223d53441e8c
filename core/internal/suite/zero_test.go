package suite_test

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"reflect"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tinylib/msgp/msgp"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/coretest"
	"github.com/gridmux/gridmux/core/internal/lab"
	"github.com/gridmux/gridmux/transport/inmem"
)

// exportedTypes and exportedFuncs are held against the source, so that nothing
// new escapes the tests of zero values. Aliases and interfaces have no values
// of their own.
var (
	exportedTypes = map[string]reflect.Type{
		"Answer":               reflect.TypeFor[core.Answer[int]](),
		"AppendFunc":           nil,
		"Authenticator":        nil,
		"Bidi":                 reflect.TypeFor[core.Bidi[msgp.Raw, msgp.Raw, msgp.Raw]](),
		"CallError":            reflect.TypeFor[core.CallError](),
		"CallInfo":             reflect.TypeFor[core.CallInfo](),
		"CallKind":             reflect.TypeFor[core.CallKind](),
		"CallOption":           nil,
		"Caller":               nil,
		"CompressionCount":     reflect.TypeFor[core.CompressionCount](),
		"CompressionFlow":      reflect.TypeFor[core.CompressionFlow](),
		"CompressionStats":     reflect.TypeFor[core.CompressionStats](),
		"Compressor":           nil,
		"Code":                 reflect.TypeFor[core.Code](),
		"Config":               reflect.TypeFor[core.Config](),
		"Connection":           reflect.TypeFor[core.Connection](),
		"DictionaryCompressor": nil,
		"WindowCompressor":     nil,
		"HandlerFunc":          reflect.TypeFor[core.HandlerFunc](),
		"HandlerID":            reflect.TypeFor[core.HandlerID](),
		"HandlerOption":        nil,
		"Identity":             reflect.TypeFor[core.Identity](),
		"Interceptor":          nil,
		"Manager":              reflect.TypeFor[core.Manager](),
		"Node":                 reflect.TypeFor[core.Node](),
		"Option":               nil,
		"Outcome":              reflect.TypeFor[core.Outcome](),
		"Priority":             reflect.TypeFor[core.Priority](),
		"PeerError":            reflect.TypeFor[core.PeerError](),
		"PeerStats":            reflect.TypeFor[core.PeerStats](),
		"QuorumError":          reflect.TypeFor[core.QuorumError](),
		"RawStream":            reflect.TypeFor[core.RawStream](),
		"RemoteError":          reflect.TypeFor[core.RemoteError](),
		"Response":             reflect.TypeFor[core.Response](),
		"Route":                reflect.TypeFor[core.Route](),
		"ServerStream":         reflect.TypeFor[core.ServerStream[msgp.Raw, msgp.Raw]](),
		"State":                reflect.TypeFor[core.State](),
		"StateChange":          reflect.TypeFor[core.StateChange](),
		"Stats":                reflect.TypeFor[core.Stats](),
		"Stream":               reflect.TypeFor[core.Stream](),
		"StreamFunc":           nil,
		"StreamHandler":        reflect.TypeFor[core.StreamHandler](),
		"StreamStats":          reflect.TypeFor[core.StreamStats](),
		"StreamWait":           reflect.TypeFor[core.StreamWait](),
		"TypedStream":          reflect.TypeFor[core.TypedStream[msgp.Raw, msgp.Raw]](),
		"Unary":                reflect.TypeFor[core.Unary[msgp.Raw, msgp.Raw]](),
		"WaitReason":           reflect.TypeFor[core.WaitReason](),
	}
	exportedFuncs = map[string]any{
		"CallerFromContext":        core.CallerFromContext,
		"Draining":                 core.Draining,
		"Each":                     core.Each[int],
		"First":                    core.First[int],
		"Hedged":                   core.Hedged[int],
		"MetadataFromContext":      core.MetadataFromContext,
		"NewBidi":                  core.NewBidi[msgp.Raw, msgp.Raw, msgp.Raw],
		"NewManager":               core.NewManager,
		"NewServerStream":          core.NewServerStream[msgp.Raw, msgp.Raw],
		"NewUnary":                 core.NewUnary[msgp.Raw, msgp.Raw],
		"NodeKeys":                 core.NodeKeys,
		"OutcomeOf":                core.OutcomeOf,
		"PeerFromContext":          core.PeerFromContext,
		"PprofLabels":              core.PprofLabels,
		"Quorum":                   core.Quorum[int],
		"Refuse":                   core.Refuse,
		"RouteFromContext":         core.RouteFromContext,
		"SharedKey":                core.SharedKey,
		"TLSFromContext":           core.TLSFromContext,
		"WaitForConnection":        core.WaitForConnection,
		"WithAuthorization":        core.WithAuthorization,
		"WithCapacity":             core.WithCapacity,
		"WithCompression":          core.WithCompression,
		"WithCompressionThreshold": core.WithCompressionThreshold,
		"WithSharedWindow":         core.WithSharedWindow,
		"WithConcurrency":          core.WithConcurrency,
		"WithInline":               core.WithInline,
		"WithMetadata":             core.WithMetadata,
		"WithPriority":             core.WithPriority,
		"WithRequestCompression":   core.WithRequestCompression,
		"WithResponseCompression":  core.WithResponseCompression,
		"WithRoute":                core.WithRoute,
		"WithTimeout":              core.WithTimeout,
	}
)

// TestZeroListsAreComplete fails when something was exported that the tests of
// zero values do not know.
func TestZeroListsAreComplete(t *testing.T) {
	files := token.NewFileSet()
	source := os.DirFS("../..")
	names, err := fs.Glob(source, "*.go")
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		text, err := fs.ReadFile(source, name)
		if err != nil {
			t.Fatal(err)
		}
		file, err := parser.ParseFile(files, name, text, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if d.Recv != nil || !d.Name.IsExported() {
					continue
				}
				found[d.Name.Name] = true
				if _, known := exportedFuncs[d.Name.Name]; !known {
					t.Errorf("the function %s is exported and not in exportedFuncs", d.Name.Name)
				}
			case *ast.GenDecl:
				for _, s := range d.Specs {
					spec, ok := s.(*ast.TypeSpec)
					if !ok || !spec.Name.IsExported() {
						continue
					}
					found[spec.Name.Name] = true
					if _, known := exportedTypes[spec.Name.Name]; !known {
						t.Errorf("the type %s is exported and not in exportedTypes", spec.Name.Name)
					}
				}
			}
		}
	}
	for _, name := range slices.Concat(slices.Collect(maps.Keys(exportedTypes)), slices.Collect(maps.Keys(exportedFuncs))) {
		if !found[name] {
			t.Errorf("%s is in the lists of this test and not in the source", name)
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

// TestNilArgumentsOfStreams calls every method of a stream in both forms, on the
// calling and on the serving side, with nothing for arguments, while it is open
// and after its end (T29, D38).
func TestNilArgumentsOfStreams(t *testing.T) {
	lab.Bubble(t, "inmem", func(t *testing.T) {
		served := make(chan *core.RawStream, 1)
		c := lab.InmemLink().Cluster(t, 2, coretest.WithHandlers(func(_ int, m *core.Manager) error {
			return m.HandleStreamFunc("waits", func(ctx context.Context, _ []byte, s *core.RawStream) error {
				served <- s
				<-ctx.Done()
				return nil
			})
		}))
		for i := range reflect.TypeFor[*core.RawStream]().NumMethod() {
			name := reflect.TypeFor[*core.RawStream]().Method(i).Name
			for _, serving := range []bool{false, true} {
				st, err := c.Conn(0, 1).OpenStream(t.Context(), "waits", nil)
				if err != nil {
					t.Fatalf("OpenStream failed: %v", err)
				}
				end, what := lab.Wait(t, served, "the handler begins"), "serving "+name
				if !serving {
					end, what = st, "calling "+name
				}
				// What waits for messages is let go by the end of the stream.
				closed := time.AfterFunc(time.Second, func() { st.Close() })
				callWithNothing(t, what, reflect.ValueOf(end).Method(i), []context.Context{nil}, false)
				closed.Stop()
				st.Close()
				synctest.Wait()
				callWithNothing(t, what+" after the end", reflect.ValueOf(end).Method(i), []context.Context{nil}, false)
			}
		}
		for i := range reflect.TypeFor[*core.Stream]().NumMethod() {
			name := reflect.TypeFor[*core.Stream]().Method(i).Name
			st, err := c.Conn(0, 1).NewStream(t.Context(), "waits", nil)
			if err != nil {
				t.Fatalf("NewStream failed: %v", err)
			}
			lab.Wait(t, served, "the handler begins")
			callWithNothing(t, "Stream."+name, reflect.ValueOf(st).Method(i), []context.Context{nil}, false)
			st.Close()
			callWithNothing(t, "Stream."+name+" after the end", reflect.ValueOf(st).Method(i), []context.Context{nil}, false)
		}
	})
}

// TestStreamMisuse holds that whoever registers or opens a stream wrongly is told
// what is wrong, and that nothing has happened then (D38).
func TestStreamMisuse(t *testing.T) {
	lab.Bubble(t, "inmem", func(t *testing.T) {
		c := lab.InmemLink().Cluster(t, 2, coretest.Unstarted())
		m := c.Manager(1)
		raw := func(context.Context, []byte, *core.RawStream) error { return nil }
		channels := func(context.Context, []byte, <-chan []byte, chan<- []byte) error { return nil }
		for what, test := range map[string]struct {
			err  error
			text string
		}{
			"a nil function":           {m.HandleStreamFunc("x", nil), "nil"},
			"a nil Handle":             {m.HandleStream("x", core.StreamHandler{}), "StreamHandler.Handle is nil"},
			"a nil option":             {m.HandleStreamFunc("x", raw, nil), "nil"},
			"a nil option, channels":   {m.HandleStream("x", core.StreamHandler{Handle: channels}, nil), "nil"},
			"no id":                    {m.HandleStreamFunc("", raw), "0 bytes"},
			"an inline stream":         {m.HandleStreamFunc("x", raw, core.WithInline()), "WithInline"},
			"a negative capacity":      {m.HandleStreamFunc("x", raw, core.WithCapacity(-1, 1)), "WithCapacity(-1, 1)"},
			"too large an input":       {m.HandleStreamFunc("x", raw, core.WithCapacity(1<<20+1, 1)), "WithCapacity(1048577, 1)"},
			"too large an output":      {m.HandleStreamFunc("x", raw, core.WithCapacity(1, 1<<20+1)), "WithCapacity(1, 1048577)"},
			"a negative InCapacity":    {m.HandleStream("x", core.StreamHandler{Handle: channels, InCapacity: -1}), "InCapacity"},
			"too large an OutCapacity": {m.HandleStream("x", core.StreamHandler{Handle: channels, OutCapacity: 1<<20 + 1}), "OutCapacity"},
			"capacity of a request":    {m.Handle("x", lab.Echo, core.WithCapacity(1, 1)), "WithCapacity is for handlers of streams"},
		} {
			lab.WantText(t, what, test.err, test.text)
		}
		// None of them has taken the name.
		if err := m.HandleStreamFunc("x", raw, core.WithCapacity(0, -5)); err != nil {
			t.Errorf("a handler without input was refused: %v", err)
		}
		lab.WantText(t, "the id of another stream", m.HandleStream("x", core.StreamHandler{Handle: channels}), "registered")
		_, err := c.Conn(0, 1).OpenStream(t.Context(), "x", nil)
		lab.WantFailure(t, "a stream before Start", err, core.ErrNotStarted, core.OutcomeNotSent)
		c.Start(0)
		c.Start(1)
		c.WaitConnected()
		for what, test := range map[string]struct {
			ctx  context.Context
			id   core.HandlerID
			opt  core.CallOption
			text string
		}{
			"a nil context":       {nil, "x", nil, "context"},
			"no handler id":       {t.Context(), "", nil, "0 bytes"},
			"an unknown priority": {t.Context(), "x", core.WithPriority(77), "WithPriority(Priority(77))"},
			"a time-out of 0":     {t.Context(), "x", core.WithTimeout(0), "WithTimeout(0s)"},
		} {
			var opts []core.CallOption
			if test.opt != nil {
				opts = append(opts, test.opt)
			}
			_, err := c.Conn(0, 1).OpenStream(test.ctx, test.id, nil, opts...)
			lab.WantText(t, what+", OpenStream", err, test.text)
			_, err2 := c.Conn(0, 1).NewStream(test.ctx, test.id, nil, opts...)
			lab.WantText(t, what+", NewStream", err2, test.text)
			if core.OutcomeOf(err) != core.OutcomeNotSent || core.OutcomeOf(err2) != core.OutcomeNotSent {
				t.Errorf("%s: got outcomes %q and %q, want that nothing was sent", what, core.OutcomeOf(err), core.OutcomeOf(err2))
			}
		}
	})
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
