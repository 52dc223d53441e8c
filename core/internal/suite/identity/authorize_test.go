package identity_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/coretest"
	"github.com/gridmux/gridmux/core/internal/lab"
	"github.com/gridmux/gridmux/core/payload"
	"github.com/gridmux/gridmux/transport/devtls"
	"github.com/gridmux/gridmux/transport/inmem"
)

// kinds are the ways to register a handler and to call it.
var kinds = map[core.HandlerID]struct {
	register func(m *core.Manager, id core.HandlerID, run func(), opt core.HandlerOption) error
	call     func(ctx context.Context, c *core.Connection, id core.HandlerID) error
}{
	"request": {func(m *core.Manager, id core.HandlerID, run func(), opt core.HandlerOption) error {
		return m.Handle(id, func(context.Context, []byte) ([]byte, error) { run(); return nil, nil }, opt)
	}, request},
	"append": {func(m *core.Manager, id core.HandlerID, run func(), opt core.HandlerOption) error {
		return m.HandleAppend(id, func(_ context.Context, _, dst []byte) ([]byte, error) { run(); return dst, nil }, opt)
	}, request},
	"inline": {func(m *core.Manager, id core.HandlerID, run func(), opt core.HandlerOption) error {
		return m.Handle(id, func(context.Context, []byte) ([]byte, error) { run(); return nil, nil }, core.WithInline(), opt)
	}, request},
	"typed": {func(m *core.Manager, id core.HandlerID, run func(), opt core.HandlerOption) error {
		return core.NewUnary[payload.Bytes, payload.Bytes](id, opt).Handle(m, func(_ context.Context, req *payload.Bytes) (*payload.Bytes, error) {
			run()
			return req, nil
		})
	}, func(ctx context.Context, c *core.Connection, id core.HandlerID) error {
		_, err := core.NewUnary[payload.Bytes, payload.Bytes](id).Call(ctx, c, &payload.Bytes{1})
		return err
	}},
	"stream": {func(m *core.Manager, id core.HandlerID, run func(), opt core.HandlerOption) error {
		return m.HandleStreamFunc(id, func(context.Context, []byte, *core.RawStream) error { run(); return nil }, opt)
	}, stream},
	"channels": {func(m *core.Manager, id core.HandlerID, run func(), opt core.HandlerOption) error {
		return m.HandleStream(id, core.StreamHandler{Handle: func(context.Context, []byte, <-chan []byte, chan<- []byte) error { run(); return nil }}, opt)
	}, stream},
	"listener": {func(m *core.Manager, id core.HandlerID, run func(), opt core.HandlerOption) error {
		ln, err := m.Listener(id, opt)
		if err != nil {
			return err
		}
		go func() {
			for {
				nc, err := ln.Accept()
				if err != nil {
					return
				}
				run()
				nc.Close()
			}
		}()
		return nil
	}, func(ctx context.Context, c *core.Connection, id core.HandlerID) error {
		nc, err := c.Dial(ctx, id)
		if err != nil {
			return err
		}
		defer nc.Close()
		return ended(nc)
	}},
}

func request(ctx context.Context, c *core.Connection, id core.HandlerID) error {
	_, err := c.Request(ctx, id, []byte("x"))
	return err
}

func stream(ctx context.Context, c *core.Connection, id core.HandlerID) error {
	st, err := c.OpenStream(ctx, id, []byte("x"))
	if err != nil {
		return err
	}
	if _, err = st.Recv(nil); errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// ended reads until the end.
func ended(nc net.Conn) error {
	_, err := io.Copy(io.Discard, nc)
	return err
}

// wantDenied holds the error of a call that is not permitted.
func wantDenied(t *testing.T, what string, err error, text string) {
	t.Helper()
	call, ok := errors.AsType[*core.CallError](err)
	if !ok || !errors.Is(err, core.ErrPermissionDenied) || call.Outcome != core.OutcomeRefused {
		t.Errorf("%s: %v (%T), want a CallError of ErrPermissionDenied, refused", what, err, err)
		return
	}
	lab.WantText(t, what, err, strings.TrimSuffix("permission denied: "+text, ": "))
	if strings.Count(err.Error(), "permission denied") != 1 {
		t.Errorf("%s: the error says it twice: %v", what, err)
	}
}

// TestWithAuthorization expects a handler of any kind to be called by whom its
// function lets, the local node included; and everybody else to be told so without
// handler or interceptor having seen the call.
func TestWithAuthorization(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		var mu sync.Mutex
		ran, seen, asked := map[core.HandlerID]int{}, 0, map[core.Identity]int{}
		allow := core.WithAuthorization(func(caller core.Identity) error {
			mu.Lock()
			defer mu.Unlock()
			asked[caller]++
			if caller.Name != "node-0" {
				return fmt.Errorf("%s is no console", caller.Name)
			}
			return nil
		})
		c := l.Cluster(t, 3,
			lab.Configure(func(cfg *core.Config) {
				cfg.AllowInsecure, cfg.Auth = false, core.SharedKey([]byte("the key of the whole cluster"))
				cfg.Intercept = []core.Interceptor{func(ctx context.Context, info core.CallInfo, next func(context.Context) error) error {
					if info.Incoming {
						mu.Lock()
						seen++
						mu.Unlock()
					}
					return next(ctx)
				}}
			}),
			coretest.WithHandlers(func(_ int, m *core.Manager) (err error) {
				for id, kind := range kinds {
					run := func() {
						mu.Lock()
						defer mu.Unlock()
						ran[id]++
					}
					err = errors.Join(err, kind.register(m, id, run, allow))
				}
				return err
			}))
		for id, kind := range kinds {
			for from := range 3 {
				err := kind.call(t.Context(), c.Conn(from, 2), id)
				if from == 0 {
					if err != nil {
						t.Errorf("%s: who may call it got %v", id, err)
					}
					continue
				}
				wantDenied(t, string(id), err, fmt.Sprintf("node-%d is no console", from))
			}
		}
		mu.Lock()
		defer mu.Unlock()
		for id := range kinds {
			if ran[id] != 1 {
				t.Errorf("%s ran %d times, want once", id, ran[id])
			}
		}
		if seen != len(kinds) {
			t.Errorf("interceptors saw %d calls that arrived, want %d", seen, len(kinds))
		}
		for caller, n := range asked {
			known := caller.Method == "shared key" && caller.Name != "node-2" || caller == core.Identity{Name: "node-2", Method: "loopback"}
			if !known || n != len(kinds) {
				t.Errorf("the function was asked %d times about %+v", n, caller)
			}
		}
	})
}

// TestAuthorizationByCertificate expects the function to be given what the
// certificate of the peer proves.
func TestAuthorizationByCertificate(t *testing.T) {
	overSecureLinks(t, func(t *testing.T, l secureLink) {
		var asked atomic.Pointer[core.Identity]
		network := l.network(t)
		ca := devtls.New()
		good := newNode(t, network, "good", ca.Config("good"))
		bad := newNode(t, network, "bad", ca.Config("bad"), core.WithAuthorization(func(caller core.Identity) error {
			asked.Store(&caller)
			return nil
		}))
		if err := errors.Join(good.WaitConnected(t.Context()), bad.WaitConnected(t.Context())); err != nil {
			t.Fatal(err)
		}
		lab.MustCall(t, good.Connection("bad"), "guarded", nil)
		if got := asked.Load(); got == nil || *got != (core.Identity{Name: "good", Method: "mutual TLS"}) {
			t.Errorf("the caller is %+v", got)
		}
	})
}

// TestAuthorizationComesFirst expects a large message of who may not send it to be
// refused at its first part, without memory for it.
func TestAuthorizationComesFirst(t *testing.T) {
	lab.InBubbles(t, func(t *testing.T, l *lab.Link) {
		never := core.WithAuthorization(func(core.Identity) error { return core.ErrPermissionDenied })
		c := l.Cluster(t, 2, lab.Handle("never", lab.Echo, never))
		const size = 8 << 20
		_, err := c.Conn(0, 1).Request(t.Context(), "never", make([]byte, size))
		wantDenied(t, "a large request", err, "")
		for _, p := range c.Manager(0).Stats().Peers {
			if p.Sent > size/8 {
				t.Errorf("%d bytes of a message of %d were sent to %s", p.Sent, size, p.Peer)
			}
		}
		for _, p := range c.Manager(1).Stats().Peers {
			if p.Held != 0 || p.Waiting != 0 {
				t.Errorf("%d bytes are reserved, %d messages wait", p.Held, p.Waiting)
			}
		}
		lab.MustCall(t, c.Conn(0, 1), "echo", []byte("hello"))
	})
}

// TestAuthorizationMisbehaves expects a function that panics, or ends its goroutine,
// to let nobody in and to harm nothing else; one that changes its mind to be asked
// again; and an error to bring nothing with it but its text.
func TestAuthorizationMisbehaves(t *testing.T) {
	lab.InBubbles(t, func(t *testing.T, l *lab.Link) {
		var does atomic.Pointer[func() error]
		book := new(lab.LogBook)
		c := l.Cluster(t, 2, lab.Configure(func(cfg *core.Config) { cfg.Logger = book.Logger() }),
			lab.Handle("guarded", lab.Echo, core.WithAuthorization(func(core.Identity) error { return (*does.Load())() })))
		for _, step := range []struct {
			name   string
			f      func() error
			denied string // what the caller is told; empty: it may
			log    string
		}{
			{"allows", func() error { return nil }, "", ""},
			{"panics", func() error { panic("so it goes") }, "the function that decides panicked", "so it goes"},
			{"ends the goroutine", func() error { runtime.Goexit(); return nil }, "the function that decides panicked", "guarded"},
			{"another error of the library", func() error { return core.ErrOverloaded }, "overloaded", ""},
			{"an error with a code", func() error { return &core.RemoteError{Code: 1001, Message: "no disk"} }, "no disk", ""},
			{"the error itself, with more", func() error { return fmt.Errorf("%w: on Sundays", core.ErrPermissionDenied) }, "on Sundays", ""},
			{"allows again", func() error { return nil }, "", ""},
		} {
			does.Store(&step.f)
			for range 3 {
				resp, err := c.Conn(0, 1).Request(t.Context(), "guarded", []byte("hello"), core.WithTimeout(time.Second))
				if step.denied == "" {
					if err != nil || string(resp) != "hello" {
						t.Errorf("%s: %q, %v", step.name, resp, err)
					}
					continue
				}
				wantDenied(t, step.name, err, step.denied)
				if _, ok := errors.AsType[*core.RemoteError](err); ok || errors.Is(err, core.ErrOverloaded) {
					t.Errorf("%s: the error is more than its text: %v", step.name, err)
				}
				lab.MustCall(t, c.Conn(0, 1), "echo", []byte("hello"))
			}
			synctest.Wait()
			if !strings.Contains(book.String(), step.log) {
				t.Errorf("%s: the log does not mention it", step.name)
			}
		}
		if n := strings.Count(book.String(), "state=connecting error=\""); n != 0 {
			t.Errorf("connections were lost %d times", n)
		}
	})
	m, err := core.NewManager(core.Config{Local: core.Node{Addr: "a"}, Transport: inmem.NewNetwork().Node("a")})
	if err != nil {
		t.Fatal(err)
	}
	lab.WantText(t, "a nil function", m.Handle("x", lab.Echo, core.WithAuthorization(nil)), "leave the option out")
}

// TestDeniedByInterceptor expects an interceptor, or the handler, to be able to say
// the same.
func TestDeniedByInterceptor(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		c := l.Cluster(t, 2,
			lab.Configure(func(cfg *core.Config) {
				cfg.Intercept = []core.Interceptor{func(ctx context.Context, info core.CallInfo, next func(context.Context) error) error {
					if info.Incoming && info.Handler == "echo" {
						return fmt.Errorf("%w: by the table", core.ErrPermissionDenied)
					}
					return next(ctx)
				}}
			}),
			lab.Handle("handler", func(context.Context, []byte) ([]byte, error) { return nil, core.Refuse(core.ErrPermissionDenied) }))
		_, err := c.Conn(0, 1).Request(t.Context(), "echo", nil)
		wantDenied(t, "an interceptor", err, "by the table")
		_, err = c.Conn(0, 1).Request(t.Context(), "handler", nil)
		if !errors.Is(err, core.ErrPermissionDenied) || core.OutcomeOf(err) != core.OutcomeRefused {
			t.Errorf("a handler that refuses: %v", err)
		}
	})
}

// TestCloseInAuthorization expects a function that closes the node to get away with
// it, as any other code of the user's does.
func TestCloseInAuthorization(t *testing.T) {
	lab.InBubbles(t, func(t *testing.T, l *lab.Link) {
		var serves atomic.Pointer[core.Manager]
		c := l.Cluster(t, 2, lab.Handle("last", lab.Echo, core.WithAuthorization(func(core.Identity) error { return serves.Load().Close() })))
		serves.Store(c.Manager(1))
		_, err := c.Conn(0, 1).Request(t.Context(), "last", nil)
		lab.WantFailure(t, "the last call", err, core.ErrDisconnected, core.OutcomeMaybeRun)
	})
}
