package suite_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/coretest"
	"github.com/gridmux/gridmux/core/internal/lab"
)

// badError panics when somebody asks what it says.
type badError struct{ how string }

func (e *badError) Error() string {
	if e.how == "goexit" {
		runtime.Goexit()
	}
	panic("Error panics: " + e.how)
}

// Is is asked by errors.Is.
func (e *badError) Is(error) bool { panic("Is panics") }

// waysToPanic are handlers that do not return properly.
var waysToPanic = map[string]core.HandlerFunc{
	"an error":                           func(context.Context, []byte) ([]byte, error) { panic(errors.New("secret")) },
	"a string":                           func(context.Context, []byte) ([]byte, error) { panic("secret") },
	"nil":                                func(context.Context, []byte) ([]byte, error) { panic(nil) },
	"a nil dereference":                  func(context.Context, []byte) ([]byte, error) { var p *core.Node; return []byte(p.Name), nil },
	"a value that panics when printed":   func(context.Context, []byte) ([]byte, error) { panic(&badError{"secret"}) },
	"runtime.Goexit":                     func(context.Context, []byte) ([]byte, error) { runtime.Goexit(); return nil, nil },
	"an error whose Error method panics": func(context.Context, []byte) ([]byte, error) { return nil, &badError{"secret"} },
	"an error whose Error method leaves": func(context.Context, []byte) ([]byte, error) { return nil, &badError{"goexit"} },
	"an error whose Is method panics after the deadline": func(ctx context.Context, _ []byte) ([]byte, error) {
		<-ctx.Done()
		return nil, &badError{"secret"}
	},
}

// TestPanics holds that a handler that panics, or leaves its goroutine, ends
// its own call and nothing else (T22, F18).
func TestPanics(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		book := new(lab.LogBook)
		g := lab.NewGate(t, 1)
		c := l.Cluster(t, 2, lab.Handle("block", g.Handle), lab.Configure(func(cfg *core.Config) {
			cfg.Logger = book.Logger()
			cfg.MaxHandlers = 3 // so that places that are not given back are missed
		}), coretest.WithHandlers(func(_ int, m *core.Manager) error {
			var errs []error
			for name, fn := range waysToPanic {
				app := func(ctx context.Context, req, _ []byte) ([]byte, error) { return fn(ctx, req) }
				errs = append(errs,
					m.Handle(core.HandlerID("pool: "+name), fn, core.WithTimeout(1)),
					m.HandleAppend(core.HandlerID("pool, append: "+name), app, core.WithTimeout(1)),
					m.Handle(core.HandlerID("inline: "+name), fn, core.WithInline(), core.WithTimeout(1)),
					m.HandleAppend(core.HandlerID("inline, append: "+name), app, core.WithInline(), core.WithTimeout(1)))
			}
			return errors.Join(errs...)
		}))
		for _, to := range []int{1, 0} {
			conn := c.Conn(0, to)
			other := lab.GoCall(t.Context(), conn, "block", []byte("unaffected"))
			lab.Wait(t, g.Began, "another call is in progress")
			for name := range waysToPanic {
				for _, form := range []string{"pool: ", "pool, append: ", "inline: ", "inline, append: "} {
					checkPanic(t, conn, core.HandlerID(form+name))
				}
			}
			g.Open <- struct{}{}
			if r := lab.Wait(t, other, "the other call ends"); r.Err != nil || string(r.Resp) != "unaffected" {
				t.Errorf("a call beside those that panicked returned %q, %v", r.Resp, r.Err)
			}
		}
		for _, text := range []string{"panic_test.go", "secret", "runtime.Goexit", "node-0"} {
			if !strings.Contains(book.String(), text) {
				t.Errorf("the log of the node does not mention %q", text)
			}
		}
	})
}

// TestPanicsWithoutALogger holds that a panic can be found where nobody has set a Logger,
// and that nothing else is printed there.
func TestPanicsWithoutALogger(t *testing.T) {
	book := new(lab.LogBook)
	defer slog.SetDefault(slog.Default())
	defer log.SetFlags(log.Flags()) // which SetDefault changes, too
	defer log.SetOutput(log.Writer())
	lab.Bubble(t, "", func(t *testing.T) {
		c := coretest.NewCluster(t, 2, lab.Handle("panics", waysToPanic["a string"]), lab.Handle("echo", lab.Echo))
		slog.SetDefault(book.Logger()) // as main does after a package has made its nodes
		checkPanic(t, c.Conn(0, 1), "panics")
		c.Restart(1)
		synctest.Wait() // until the node knows
		lab.MustCall(t, c.Conn(0, 1), "echo", nil, core.WaitForConnection())
	})
	if text := book.String(); !strings.Contains(text, "secret") || !strings.Contains(text, "panic_test.go") {
		t.Errorf("the default logger got %q, want the panics with their stacks", text)
	} else if n := book.Lines(); n != 5 || strings.Count(text, "level=ERROR") != 5 {
		t.Errorf("the default logger got %d lines, want those of the 5 panics: %s", n, text)
	}
}

func checkPanic(t *testing.T, conn *core.Connection, h core.HandlerID) {
	t.Helper()
	for range 5 {
		_, err := conn.Request(t.Context(), h, []byte("x"))
		remote := lab.WantRemote(t, string(h), err)
		if remote.Code != core.CodePanic || core.OutcomeOf(err) != core.OutcomeRemote {
			t.Errorf("%s: got code %d and outcome %q, want those of a panic", h, remote.Code, core.OutcomeOf(err))
		}
		// Neither what it panicked with nor the stack is the caller's business.
		for _, secret := range []string{"secret", ".go:", "goroutine"} {
			if strings.Contains(fmt.Sprintf("%v %s", err, remote.Detail), secret) {
				t.Errorf("%s: the caller learns %q: %v", h, secret, err)
			}
		}
		if resp, err := conn.Request(t.Context(), "echo", []byte("y")); err != nil || string(resp) != "y" {
			t.Fatalf("%s: the call after it returned %q, %v", h, resp, err)
		}
	}
}
