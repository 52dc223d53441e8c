package core_test

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/gridmux/gridmux/core"
)

type traceKey struct{}

// A trace goes with the calls: the interceptor of the calling node writes the
// traceparent of the W3C recommendation Trace Context into the metadata, that of
// the serving node puts it into the context of the handler. With a library for
// tracing both would begin a span there, and end it when next has returned.
func ExampleInterceptor_tracing() {
	trace := func(ctx context.Context, info core.CallInfo, next func(context.Context) error) error {
		if info.Incoming {
			return next(context.WithValue(ctx, traceKey{}, core.MetadataFromContext(ctx, "traceparent")))
		}
		if parent, ok := ctx.Value(traceKey{}).(string); ok {
			ctx = core.WithMetadata(ctx, "traceparent", parent)
		}
		return next(ctx)
	}
	conn, stop := interceptedNodes([]core.Interceptor{trace}, func(m *core.Manager) error {
		return m.Handle("who", func(ctx context.Context, _ []byte) ([]byte, error) {
			return fmt.Append(nil, ctx.Value(traceKey{})), nil
		})
	})
	defer stop()

	ctx := context.WithValue(context.Background(), traceKey{}, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	answer, err := conn.Request(ctx, "who", nil)
	fmt.Println(string(answer), err)
	// Output: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01 <nil>
}

// A node refuses callers by who they have proved to be and by what goes with the
// call. Their calls fail without the handler having run, with an error that they can
// compare with. Where the caller alone decides, WithAuthorization is simpler, and
// spares the node the message.
func ExampleInterceptor_authorization() {
	errDenied := &core.RemoteError{Code: 1403, Message: "not allowed"}
	authorize := func(ctx context.Context, info core.CallInfo, next func(context.Context) error) error {
		if info.Incoming && info.Handler == "admin.erase" && (info.Caller.Name != "a" || core.MetadataFromContext(ctx, "ticket") == "") {
			return errDenied
		}
		return next(ctx)
	}
	conn, stop := interceptedNodes([]core.Interceptor{authorize}, func(m *core.Manager) error {
		return m.Handle("admin.erase", func(context.Context, []byte) ([]byte, error) { return nil, nil })
	})
	defer stop()

	_, err := conn.Request(context.Background(), "admin.erase", nil)
	fmt.Println(errors.Is(err, errDenied), core.OutcomeOf(err))
	// Output: true refused
}

// A node counts the calls that it makes and serves, by handler and outcome.
func ExampleInterceptor_metrics() {
	var mu sync.Mutex
	counts := map[string]int{}
	count := func(ctx context.Context, info core.CallInfo, next func(context.Context) error) error {
		err := next(ctx)
		if !info.Incoming {
			key := fmt.Sprint(info.Handler, " ok")
			if err != nil {
				key = fmt.Sprint(info.Handler, " ", core.OutcomeOf(err))
			}
			to, from := info.Sizes()
			mu.Lock()
			defer mu.Unlock()
			counts[key]++
			counts["bytes"] += int(to + from)
		}
		return err
	}
	conn, stop := interceptedNodes([]core.Interceptor{count, core.PprofLabels()}, func(m *core.Manager) error {
		return m.Handle("echo", func(_ context.Context, req []byte) ([]byte, error) { return req, nil })
	})
	defer stop()

	for _, h := range []core.HandlerID{"echo", "echo", "missing"} {
		_, _ = conn.Request(context.Background(), h, []byte("hello"))
	}
	fmt.Println(counts)
	// Output: map[bytes:25 echo ok:2 missing refused:1]
}

// interceptedNodes starts nodes a and b that prove who they are with a common key,
// with interceptors on both, and returns a's connection to b.
func interceptedNodes(intercept []core.Interceptor, register func(m *core.Manager) error) (toB *core.Connection, stop func()) {
	managers, stop := startNodes([]string{"a", "b"}, func(cfg *core.Config) {
		cfg.Auth, cfg.Intercept = core.SharedKey([]byte("a key of 32 bytes for this test!")), intercept
	}, register)
	return managers[0].Connection("b"), stop
}
