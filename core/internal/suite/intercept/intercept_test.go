package intercept_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/pprof"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/coretest"
	"github.com/gridmux/gridmux/core/internal/lab"
)

// around makes nodes have the interceptors that f makes for each.
func around(f func(node int) []core.Interceptor) coretest.Option {
	return coretest.WithConfig(func(i int, cfg *core.Config) { cfg.Intercept = f(i) })
}

// handlers answer every kind of call with what they got.
func handlers() coretest.Option {
	return coretest.WithHandlers(func(_ int, m *core.Manager) error {
		value := func(ctx context.Context, req []byte) ([]byte, error) {
			if v, ok := ctx.Value(valueKey{}).(string); ok {
				return []byte(v), nil
			}
			return req, nil
		}
		return errors.Join(
			m.Handle("value", value, core.WithRoute("r")),
			m.Handle("fails", func(context.Context, []byte) ([]byte, error) { return nil, errApplication }),
			m.HandleStreamFunc("stream", func(_ context.Context, payload []byte, s *core.RawStream) error {
				if string(payload) == "fail" {
					return errApplication
				}
				for msg, err := range s.All() {
					if err == nil {
						err = s.Send(append(msg, msg...))
					}
					if err != nil {
						return err
					}
				}
				return nil
			}),
		)
	})
}

type valueKey struct{}

var errApplication = &core.RemoteError{Code: 1234, Message: "no"}

// book notes what interceptors saw.
type book struct {
	mu    sync.Mutex
	lines []string
}

func (b *book) notef(format string, args ...any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lines = append(b.lines, fmt.Sprintf(format, args...))
}

// take returns the lines, sorted: the two sides of a call end in any order.
func (b *book) take() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	lines := b.lines
	b.lines = nil
	slices.Sort(lines)
	return lines
}

// noting notes a call when it is over.
func (b *book) noting(name string) core.Interceptor {
	return func(ctx context.Context, info core.CallInfo, next func(context.Context) error) error {
		err := next(ctx)
		to, from := info.Sizes()
		b.notef("%s %s %s %s/%s incoming=%v %d %d %v", name, info.Peer, info.Kind, info.Handler, info.Route, info.Incoming, to, from, err == nil)
		return err
	}
}

// TestInterceptorsSeeCalls holds that interceptors surround the calls of both sides
// and of every kind, the first outermost, and what they are told.
func TestInterceptorsSeeCalls(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		var b book
		c := l.Cluster(t, 2, handlers(), around(func(node int) []core.Interceptor {
			name := fmt.Sprint("node-", node)
			inner := func(ctx context.Context, info core.CallInfo, next func(context.Context) error) error {
				if info.Incoming {
					ctx = context.WithValue(ctx, valueKey{}, core.PeerFromContext(ctx)+" by way of "+name)
				}
				return next(ctx)
			}
			return []core.Interceptor{b.noting(name), inner}
		}))
		want := func(what string, lines ...string) {
			t.Helper()
			var got []string
			lab.Until(t, what+": both sides are over", func() bool { got = append(got, b.take()...); return len(got) >= len(lines) })
			slices.Sort(got)
			if !slices.Equal(got, lines) {
				t.Errorf("%s: interceptors noted\n%s\nwant\n%s", what, strings.Join(got, "\n"), strings.Join(lines, "\n"))
			}
		}
		got := lab.MustCall(t, c.Conn(0, 1).Route("r"), "value", make([]byte, 100))
		if string(got) != "node-0 by way of node-1" {
			t.Errorf("the handler got the value %q", got)
		}
		want("a request",
			"node-0 node-1 request value/r incoming=false 100 23 true",
			"node-1 node-0 request value/r incoming=true 100 23 true")
		_, err := c.Conn(0, 1).Request(t.Context(), "fails", nil)
		if !errors.Is(err, errApplication) {
			t.Errorf("a handler's error came as %v", err)
		}
		want("a request that fails",
			"node-0 node-1 request fails/ incoming=false 0 0 false",
			"node-1 node-0 request fails/ incoming=true 0 0 false")
		lab.MustCall(t, c.Conn(1, 1).Route("r"), "value", nil)
		self := "node-1 " + c.Node(1).Name + " request value/r "
		want("a request over the loopback", self+"incoming=false 0 23 true", self+"incoming=true 0 23 true")

		st, err := c.Conn(0, 1).OpenStream(t.Context(), "stream", make([]byte, 10))
		if err != nil {
			t.Fatal(err)
		}
		for _, size := range []int{1, 1000, 100_000} {
			if err := st.Send(make([]byte, size)); err != nil {
				t.Fatal(err)
			}
			if msg, err := st.Recv(nil); err != nil || len(msg) != 2*size {
				t.Fatalf("%d bytes, %v", len(msg), err)
			}
		}
		if lines := b.take(); len(lines) > 0 {
			t.Errorf("the stream is open, and interceptors noted %q", lines)
		}
		if err := st.CloseSend(); err != nil {
			t.Fatal(err)
		}
		if _, err := st.Recv(nil); err != io.EOF {
			t.Errorf("the stream ended with %v", err)
		}
		want("a stream",
			"node-0 node-1 stream stream/ incoming=false 101011 202002 true",
			"node-1 node-0 stream stream/ incoming=true 101011 202002 true")
		ch, err := c.Conn(0, 1).NewStream(t.Context(), "stream", []byte("fail"))
		if err != nil {
			t.Fatal(err)
		}
		if r := <-ch.Responses; !errors.Is(r.Err, errApplication) {
			t.Errorf("a stream in the form of channels ended with %v", r.Err)
		}
		want("a stream that fails",
			"node-0 node-1 stream stream/ incoming=false 4 0 false",
			"node-1 node-0 stream stream/ incoming=true 4 0 false")
	})
}

// TestInterceptorsTurnAway has an interceptor return an error without calling
// next, on either side: nothing is sent, or the call is refused, and the caller
// finds the error.
func TestInterceptorsTurnAway(t *testing.T) {
	errDenied := &core.RemoteError{Code: 4321, Message: "you may not", Detail: []byte("why")}
	for side, outcome := range map[string]core.Outcome{"calling": core.OutcomeNotSent, "serving": core.OutcomeRefused} {
		t.Run(side, func(t *testing.T) {
			lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
				var ran atomic.Int32
				counts := func(context.Context, []byte) ([]byte, error) { ran.Add(1); return nil, nil }
				c := l.Cluster(t, 2, lab.Handle("counts", counts), handlers(), around(func(int) []core.Interceptor {
					return []core.Interceptor{func(ctx context.Context, info core.CallInfo, next func(context.Context) error) error {
						if info.Incoming == (side == "serving") {
							return fmt.Errorf("turned away: %w", errDenied)
						}
						return next(ctx)
					}}
				}))
				conn := c.Conn(0, 1)
				request := func(size int) error {
					_, err := conn.Request(t.Context(), "counts", make([]byte, size))
					return err
				}
				open := func(size int) error {
					st, err := conn.OpenStream(t.Context(), "stream", make([]byte, size))
					if err == nil {
						_, err = st.Recv(nil)
					}
					return err
				}
				for what, err := range map[string]error{
					"a request": request(0), "a large request": request(100_000),
					"a stream": open(0), "a stream with a large payload": open(100_000),
				} {
					call, ok := errors.AsType[*core.CallError](err)
					if !ok || call.Outcome != outcome || !errors.Is(err, errDenied) {
						t.Errorf("%s: %v (%v), want the interceptor's error, %v", what, err, core.OutcomeOf(err), outcome)
					}
					lab.WantText(t, what, err, "turned away", "you may not")
					if remote, ok := errors.AsType[*core.RemoteError](err); !ok || string(remote.Detail) != "why" {
						t.Errorf("%s: its detail is lost: %v", what, err)
					}
				}
				if n := ran.Load(); n != 0 {
					t.Errorf("handlers ran %d times", n)
				}
			})
		})
	}
}

// TestInterceptorsThatMisbehave holds what comes of interceptors that break the
// rules, on either side and for every kind of call: an error that says so, and
// never a success of a call that failed.
func TestInterceptorsThatMisbehave(t *testing.T) {
	for name, test := range map[string]struct {
		intercept core.Interceptor
		handler   core.HandlerID // of requests; streams have one of their own
		outgoing  string
		incoming  string
	}{
		"nil without next": {
			func(context.Context, core.CallInfo, func(context.Context) error) error { return nil },
			"echo", "without calling next", "without calling next",
		},
		"a nil context": {
			func(_ context.Context, _ core.CallInfo, next func(context.Context) error) error { return next(nil) },
			"echo", "nil context", "nil context",
		},
		"a second next": {
			func(ctx context.Context, info core.CallInfo, next func(context.Context) error) error {
				if info.Kind == core.KindRequest && !info.Incoming {
					return errors.New("a second time") // it may there: see TestInterceptorRetries
				}
				_ = next(ctx)
				return next(ctx)
			},
			"echo", "a second time", "a second time",
		},
		"nil after a failure": {
			func(ctx context.Context, info core.CallInfo, next func(context.Context) error) error {
				_ = next(core.WithMetadata(ctx, "fail", "1"))
				return nil
			},
			"fails", "no", "no",
		},
	} {
		t.Run(name, func(t *testing.T) {
			lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
				c := l.Cluster(t, 2, handlers(), around(func(node int) []core.Interceptor {
					if node == 0 {
						return []core.Interceptor{test.intercept}
					}
					return nil
				}))
				for text, conn := range map[string]*core.Connection{test.outgoing: c.Conn(0, 1), test.incoming: c.Conn(1, 0)} {
					_, err := conn.Request(t.Context(), test.handler, []byte("x"))
					lab.WantText(t, "a request", err, text)
					st, err := conn.OpenStream(t.Context(), "stream", []byte("fail"))
					if err == nil {
						_, err = st.Recv(nil)
					}
					if name != "a second next" || conn == c.Conn(1, 0) {
						lab.WantText(t, "a stream", err, text)
					}
				}
				lab.MustCall(t, c.Conn(1, 1), "echo", nil)
			})
		})
	}
}

// TestInterceptorRetries makes a call again until it succeeds.
func TestInterceptorRetries(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		var tries atomic.Int32
		c := l.Cluster(t, 2,
			lab.Handle("third", func(_ context.Context, req []byte) ([]byte, error) {
				if tries.Add(1) < 3 {
					return nil, errApplication
				}
				return req, nil
			}),
			around(func(int) []core.Interceptor {
				return []core.Interceptor{func(ctx context.Context, info core.CallInfo, next func(context.Context) error) (err error) {
					for range 3 {
						if err = next(ctx); err == nil || info.Incoming {
							break
						}
					}
					return err
				}}
			}))
		got, err := c.Conn(0, 1).AppendRequest(t.Context(), "third", []byte("answer"), []byte("the "))
		if err != nil || string(got) != "the answer" || tries.Load() != 3 {
			t.Errorf("after %d tries: %q, %v", tries.Load(), got, err)
		}
	})
}

// TestInterceptorPanics has interceptors panic and leave their goroutine: around a
// handler and around a stream nothing but that call ends.
func TestInterceptorPanics(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		var log lab.LogBook
		c := l.Cluster(t, 2, handlers(), coretest.WithConfig(func(i int, cfg *core.Config) {
			cfg.Logger = log.Logger()
			if i != 0 {
				return
			}
			cfg.Intercept = []core.Interceptor{func(ctx context.Context, info core.CallInfo, next func(context.Context) error) error {
				if info.Handler == "no such stream" {
					defer panic("boom")
					return next(ctx)
				}
				if info.Incoming || info.Kind == core.KindStream {
					panic("boom")
				}
				return next(ctx)
			}}
		}))
		_, err := c.Conn(1, 0).Request(t.Context(), "echo", nil)
		if remote := lab.WantRemote(t, "an interceptor that panics around a handler", err); remote.Code != core.CodePanic {
			t.Errorf("code %v", remote.Code)
		}
		_, err = c.Conn(0, 1).OpenStream(t.Context(), "stream", nil)
		lab.WantText(t, "an interceptor that panics around a stream", err, "an interceptor panicked")
		if core.OutcomeOf(err) != core.OutcomeNotSent {
			t.Errorf("outcome %v", core.OutcomeOf(err))
		}
		_, err = c.Conn(0, 1).OpenStream(t.Context(), "no such stream", make([]byte, 17<<20))
		if call, ok := errors.AsType[*core.CallError](err); !ok || call.Peer != "node-1" {
			t.Errorf("a panic after a stream that was not opened came as %v, want it with the name of the peer", err)
		}
		lab.WantText(t, "it", err, "an interceptor panicked")
		lab.MustCall(t, c.Conn(0, 1), "echo", nil)
		if text := log.String(); strings.Count(text, "boom") < 3 {
			t.Errorf("the log does not tell of both panics:\n%s", text)
		}
	})
}

// TestInterceptorsAndContexts ends the context of a stream that an interceptor
// derived, and of a call that waits: interceptors see it.
func TestInterceptorsAndContexts(t *testing.T) {
	lab.InBubbles(t, func(t *testing.T, l *lab.Link) {
		g := lab.NewGate(t, 10)
		var ends atomic.Int32
		c := l.Cluster(t, 2, handlers(), lab.Handle("gate", g.HandleContext), around(func(node int) []core.Interceptor {
			return []core.Interceptor{func(ctx context.Context, info core.CallInfo, next func(context.Context) error) error {
				if !info.Incoming {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, time.Second)
					defer cancel()
				}
				err := next(ctx)
				if errors.Is(err, context.DeadlineExceeded) {
					ends.Add(1)
				}
				return err
			}}
		}))
		_, err := c.Conn(0, 1).Request(t.Context(), "gate", nil)
		lab.WantFailure(t, "a request", err, context.DeadlineExceeded, core.OutcomeMaybeRun)
		st, err := c.Conn(0, 1).OpenStream(t.Context(), "stream", nil)
		if err != nil {
			t.Fatal(err)
		}
		_, err = st.Recv(nil)
		lab.WantFailure(t, "a stream", err, context.DeadlineExceeded, core.OutcomeMaybeRun)
		lab.Until(t, "both sides of both calls saw the deadline", func() bool { return ends.Load() == 4 })
	})
}

// TestPprofLabels holds that the goroutine of a handler carries its labels, and
// loses them.
func TestPprofLabels(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		labels := func(ctx context.Context, _ []byte) ([]byte, error) {
			var found []string
			pprof.ForLabels(ctx, func(key, value string) bool { found = append(found, key+"="+value); return true })
			return []byte(strings.Join(found, " ")), nil
		}
		c := l.Cluster(t, 2, lab.Handle("labels", labels, core.WithRoute("r")), around(func(int) []core.Interceptor {
			return []core.Interceptor{core.PprofLabels()}
		}))
		if got := string(lab.MustCall(t, c.Conn(0, 1).Route("r"), "labels", nil)); got != "handler=labels peer=node-0 route=r" {
			t.Errorf("the labels were %q", got)
		}
	})
}
