package suite_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/coretest"
)

// patience is how long a test waits for an event before it fails: virtual time
// in a bubble, real time elsewhere.
const patience = 30 * time.Second

// registerEchoes registers three handlers that return what they get.
func registerEchoes(m *core.Manager) error {
	return errors.Join(
		m.Handle("echo", echo),
		m.HandleAppend("echo.append", echoAppend),
		m.HandleAppend("echo.inline", echoAppend, core.WithInline()),
	)
}

func echo(_ context.Context, req []byte) ([]byte, error) { return req, nil }

func echoAppend(_ context.Context, req, dst []byte) ([]byte, error) { return append(dst, req...), nil }

// handle registers one more handler on all nodes.
func handle(id core.HandlerID, fn core.HandlerFunc, opts ...core.HandlerOption) coretest.Option {
	return coretest.WithHandlers(func(_ int, m *core.Manager) error { return m.Handle(id, fn, opts...) })
}

// configure adjusts the configuration of all nodes.
func configure(f func(cfg *core.Config)) coretest.Option {
	return coretest.WithConfig(func(_ int, cfg *core.Config) { f(cfg) })
}

// wait returns what arrives on ch, and fails the test with the sentence if
// nothing does.
func wait[T any](t testing.TB, ch <-chan T, sentence string) T {
	t.Helper()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case v := <-ch:
		return v
	case <-timer.C:
		t.Fatalf("%s: nothing happened for %v", sentence, patience)
		panic("unreachable")
	}
}

// until waits for what no channel tells of, and fails the test with the sentence
// if it does not come about.
func until(t testing.TB, sentence string, is func() bool) {
	t.Helper()
	began := time.Now()
	for !is() {
		if time.Since(began) > patience {
			t.Fatalf("%s: not so after %v", sentence, patience)
		}
		// In a bubble this lets everything else happen first.
		time.Sleep(time.Microsecond)
	}
}

// start runs f on a goroutine of its own and returns a channel for its result.
func start[T any](f func() T) <-chan T {
	ch := make(chan T, 1)
	go func() { ch <- f() }()
	return ch
}

// reply is what a call returned.
type reply struct {
	resp []byte
	err  error
}

// startCall makes a call on a goroutine of its own.
func startCall(ctx context.Context, c core.Caller, h core.HandlerID, req []byte, opts ...core.CallOption) <-chan reply {
	return start(func() reply {
		resp, err := c.Request(ctx, h, req, opts...)
		return reply{resp, err}
	})
}

// mustCall makes a call that has to succeed.
func mustCall(t testing.TB, c core.Caller, h core.HandlerID, req []byte, opts ...core.CallOption) []byte {
	t.Helper()
	resp, err := c.Request(t.Context(), h, req, opts...)
	if err != nil {
		t.Fatalf("a call of %s failed: %v", h, err)
	}
	return resp
}

// wantFailure holds an error of a call to its kind and outcome.
func wantFailure(t testing.TB, what string, err, kind error, outcome core.Outcome) {
	t.Helper()
	if !errors.Is(err, kind) {
		t.Errorf("%s: got error %v, want one that is %q", what, err, kind)
	}
	if got := core.OutcomeOf(err); err != nil && got != outcome {
		t.Errorf("%s: got outcome %q of error %v, want %q", what, got, err, outcome)
	}
}

// wantText holds an error to a text that a person needs to see.
func wantText(t testing.TB, what string, err error, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%s: got error %v, want it to mention %q", what, err, text)
		}
	}
}

// wantRemote returns the RemoteError in err, or fails the test.
func wantRemote(t testing.TB, what string, err error) *core.RemoteError {
	t.Helper()
	remote, ok := errors.AsType[*core.RemoteError](err)
	if !ok {
		t.Fatalf("%s: got error %v, want an answer of the peer's handler", what, err)
	}
	return remote
}

// gate is a handler that reports when it has begun and waits to be let go, at
// the latest by the end of the test.
type gate struct {
	began chan context.Context
	open  chan struct{}
	once  sync.Once
}

func newGate(t testing.TB, capacity int) *gate {
	g := &gate{began: make(chan context.Context, capacity), open: make(chan struct{})}
	t.Cleanup(g.release)
	return g
}

// release lets all go, those to come too.
func (g *gate) release() { g.once.Do(func() { close(g.open) }) }

// handle ignores its context.
func (g *gate) handle(ctx context.Context, req []byte) ([]byte, error) {
	g.began <- ctx
	<-g.open
	return req, nil
}

// handleCtx returns early when its context ends.
func (g *gate) handleCtx(ctx context.Context, req []byte) ([]byte, error) {
	g.began <- ctx
	select {
	case <-g.open:
		return req, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// pattern returns size bytes that depend on n.
func pattern(n, size int) []byte {
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(n*131 + i + i>>8 + i>>16)
	}
	return b
}
