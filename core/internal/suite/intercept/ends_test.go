package intercept_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/coretest"
	"github.com/gridmux/gridmux/core/internal/lab"
)

// TestWhatArrivedSurvivesTheInterceptor has an interceptor give a stream a context
// of its own, which ends with the interceptor: what arrived before is received all
// the same, in either form, however large and late. The end of the caller's own context
// drops what is left of an ended stream, if it holds memory for large messages.
func TestWhatArrivedSurvivesTheInterceptor(t *testing.T) {
	lab.InBubbles(t, func(t *testing.T, l *lab.Link) {
		const messages, size = 3, 50_000
		const many, window, patience = 100, 1 << 20, time.Hour
		returned := make(chan struct{}, 1)
		c := l.Cluster(t, 2,
			coretest.WithHandlers(func(_ int, m *core.Manager) error {
				return m.HandleStreamFunc("send", func(_ context.Context, payload []byte, s *core.RawStream) error {
					messages, size := messages, size
					switch string(payload) {
					case "many":
						messages, size = many, 1 // more than the channel holds
					case "large":
						messages, size = 1, 2*window
					}
					for range messages {
						if err := s.Send(make([]byte, size)); err != nil {
							return err
						}
					}
					return nil
				})
			}),
			coretest.WithConfig(func(_ int, cfg *core.Config) { cfg.StreamWindow = window }),
			around(func(int) []core.Interceptor {
				return []core.Interceptor{func(ctx context.Context, info core.CallInfo, next func(context.Context) error) error {
					ctx, cancel := context.WithTimeout(ctx, patience)
					if !info.Incoming {
						defer func() { returned <- struct{}{} }()
					}
					defer cancel()
					return next(ctx)
				}}
			}))
		over := func() {
			t.Helper()
			lab.Wait(t, returned, "the interceptor has returned")
			synctest.Wait()
		}
		st, err := c.Conn(0, 1).OpenStream(t.Context(), "send", nil)
		if err != nil {
			t.Fatal(err)
		}
		over()
		for i := range messages {
			if msg, err := st.Recv(nil); err != nil || len(msg) != size {
				t.Fatalf("message %d: %d bytes, %v", i, len(msg), err)
			}
		}
		if _, err := st.Recv(nil); err != io.EOF {
			t.Errorf("the stream ended with %v", err)
		}

		ch, err := c.Conn(0, 1).NewStream(t.Context(), "send", nil)
		if err != nil {
			t.Fatal(err)
		}
		over()
		n := 0
		if err := ch.Results(func(msg []byte) error { n += len(msg); return nil }); err != nil || n != messages*size {
			t.Errorf("in the form of channels: %d bytes, %v", n, err)
		}
		if ch, err = c.Conn(0, 1).NewStream(t.Context(), "send", []byte("many")); err != nil {
			t.Fatal(err)
		}
		over()
		time.Sleep(2 * patience)
		n = 0
		if err := ch.Results(func(msg []byte) error { n += len(msg); return nil }); err != nil || n != many {
			t.Errorf("in the form of channels, after the time of the interceptor: %d messages, %v", n, err)
		}

		for payload, want := range map[string]error{"": nil, "large": context.Canceled} {
			ctx, cancel := context.WithCancel(t.Context())
			if st, err = c.Conn(0, 1).OpenStream(ctx, "send", []byte(payload)); err != nil {
				t.Fatal(err)
			}
			over()
			cancel()
			synctest.Wait()
			if _, err := st.Recv(nil); !errors.Is(err, want) {
				t.Errorf("the caller's context has ended, and Recv of a message of %q returned %v", payload, err)
			}
			_ = st.Close()
		}
	})
}

// TestInterceptorsHideNoFailure has an interceptor return nil after what it called
// has failed, be it that another interceptor turned the call away or failed it after
// a success, or that the handler panicked and the interceptor recovered: the caller
// gets that failure.
func TestInterceptorsHideNoFailure(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		hides := func(ctx context.Context, _ core.CallInfo, next func(context.Context) error) error {
			defer func() { _ = recover() }()
			_ = next(ctx)
			return nil
		}
		fails := func(ctx context.Context, info core.CallInfo, next func(context.Context) error) error {
			switch info.Handler {
			case "turned":
				return errApplication
			case "spoiled":
				return errors.Join(errApplication, next(ctx))
			default:
				return next(ctx)
			}
		}
		c := l.Cluster(t, 2, lab.Handle("turned", lab.Echo), lab.Handle("spoiled", lab.Echo),
			lab.Handle("panics", func(context.Context, []byte) ([]byte, error) { panic("boom") }),
			coretest.WithHandlers(func(_ int, m *core.Manager) error {
				return m.HandleStreamFunc("panics", func(context.Context, []byte, *core.RawStream) error { panic("boom") }, core.WithRoute("stream"))
			}),
			around(func(node int) []core.Interceptor {
				if node == 0 {
					return []core.Interceptor{hides, fails}
				}
				return nil
			}))
		for what, conn := range map[string]*core.Connection{"calling": c.Conn(0, 1), "serving": c.Conn(1, 0)} {
			for _, id := range []core.HandlerID{"turned", "spoiled"} {
				if _, err := conn.Request(t.Context(), id, []byte("x")); !errors.Is(err, errApplication) {
					t.Errorf("%s side, %s: %v, want the error that was hidden", what, id, err)
				}
			}
		}
		_, err := c.Conn(1, 0).Request(t.Context(), "panics", nil)
		if remote := lab.WantRemote(t, "a panic that was recovered", err); remote.Code != core.CodePanic {
			t.Errorf("a panic that was recovered came as %v", err)
		}
		st, err := c.Conn(1, 0).Route("stream").OpenStream(t.Context(), "panics", nil)
		if err == nil {
			_, err = st.Recv(nil)
		}
		if remote := lab.WantRemote(t, "one of a stream", err); remote.Code != core.CodePanic {
			t.Errorf("a panic of a stream that was recovered came as %v", err)
		}
	})
}

// TestTurnedAwayForTheErrorOfAnotherCall has an interceptor turn calls away because a
// call that it makes has failed: what that failed with is not said of this peer.
func TestTurnedAwayForTheErrorOfAnotherCall(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		c := l.Cluster(t, 2, handlers(), around(func(node int) []core.Interceptor {
			if node == 0 {
				return nil
			}
			return []core.Interceptor{func(ctx context.Context, info core.CallInfo, next func(context.Context) error) error {
				if info.Incoming && info.Handler == "echo" {
					return fmt.Errorf("may it: %w", &core.CallError{Peer: "judge", Handler: "may", Outcome: core.OutcomeRefused, Err: core.ErrUnknownHandler})
				}
				if info.Incoming && info.Handler == "value" {
					return fmt.Errorf("at most ten a second: %w", core.ErrOverloaded)
				}
				return next(ctx)
			}}
		}))
		_, err := c.Conn(0, 1).Request(t.Context(), "echo", nil)
		if core.OutcomeOf(err) != core.OutcomeRefused || errors.Is(err, core.ErrUnknownHandler) {
			t.Errorf("%v (%v): want one refused, and not for an unknown handler", err, core.OutcomeOf(err))
		}
		lab.WantText(t, "the text", err, "may it", "unknown handler")
		_, err = c.Conn(0, 1).Route("r").Request(t.Context(), "value", nil)
		lab.WantFailure(t, "an interceptor's own ErrOverloaded", err, core.ErrOverloaded, core.OutcomeRefused)
	})
}

// TestTurnedAwayWhenTheTimeIsOver has an interceptor wait until the time-out of the
// handler is over: the caller gets the end of its call's time.
func TestTurnedAwayWhenTheTimeIsOver(t *testing.T) {
	lab.InBubbles(t, func(t *testing.T, l *lab.Link) {
		c := l.Cluster(t, 2, lab.Handle("limited", lab.Echo, core.WithTimeout(time.Second)), around(func(node int) []core.Interceptor {
			return []core.Interceptor{func(ctx context.Context, info core.CallInfo, next func(context.Context) error) error {
				if !info.Incoming {
					return next(ctx)
				}
				<-ctx.Done()
				return fmt.Errorf("no turn: %w", ctx.Err())
			}}
		}))
		_, err := c.Conn(0, 1).Request(t.Context(), "limited", nil)
		lab.WantFailure(t, "a call that waited in an interceptor", err, context.DeadlineExceeded, core.OutcomeMaybeRun)
	})
}

// TestNextOnAnotherGoroutine has an interceptor not wait for next, which it calls on
// another goroutine: the call is over when both have ended, with the error of the
// interceptor and never as one refused, and a next after that fails.
func TestNextOnAnotherGoroutine(t *testing.T) {
	lab.InBubbles(t, func(t *testing.T, l *lab.Link) {
		const patience, work = time.Second, 3 * time.Second
		late := make(chan error, 1)
		impatient := func(ctx context.Context, info core.CallInfo, next func(context.Context) error) error {
			if info.Handler == "late" {
				go func() {
					time.Sleep(patience)
					late <- next(ctx)
				}()
				return errApplication
			}
			done := make(chan error, 1)
			go func() { done <- next(ctx) }()
			select {
			case err := <-done:
				return err
			case <-time.After(patience):
				return errApplication
			}
		}
		works := func(ctx context.Context, req []byte) ([]byte, error) { time.Sleep(work); return req, nil }
		c := l.Cluster(t, 2, lab.Handle("works", works), lab.Handle("late", lab.Echo), around(func(node int) []core.Interceptor {
			if node == 0 {
				return []core.Interceptor{impatient}
			}
			return nil
		}))
		for side, conn := range map[string]*core.Connection{"calling": c.Conn(0, 1), "serving": c.Conn(1, 0)} {
			begun := time.Now()
			_, err := conn.Request(t.Context(), "works", []byte("x"))
			if took := time.Since(begun); !errors.Is(err, errApplication) || core.OutcomeOf(err) != core.OutcomeRemote || took < work {
				t.Errorf("%s side: after %v %v (%v), want the interceptor's error when the handler has returned", side, took, err, core.OutcomeOf(err))
			}
			if _, err := conn.Request(t.Context(), "late", nil); !errors.Is(err, errApplication) {
				t.Errorf("%s side: %v", side, err)
			}
			if err := lab.Wait(t, late, "next returns"); err == nil {
				t.Errorf("%s side: a next after the call was over returned nil", side)
			}
		}
	})
}

// TestOutcomeOfRepeatedCalls has an interceptor make a call again whose handler has
// run, and the second one not be sent, or refused: the caller is not told that it is
// safe to repeat. It is told so of one that was never taken.
func TestOutcomeOfRepeatedCalls(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		again := func(ctx context.Context, info core.CallInfo, next func(context.Context) error) error {
			if info.Incoming || info.Handler == "echo" {
				return next(ctx)
			}
			if err := next(ctx); core.OutcomeOf(err) == core.OutcomeRefused {
				return next(ctx)
			}
			ended, cancel := context.WithCancel(ctx)
			cancel()
			return next(ended)
		}
		c := l.Cluster(t, 2, handlers(), around(func(int) []core.Interceptor { return []core.Interceptor{again} }))
		_, err := c.Conn(0, 1).Request(t.Context(), "fails", nil)
		lab.WantFailure(t, "not sent after it has run", err, context.Canceled, core.OutcomeMaybeRun)
		_, err = c.Conn(0, 1).Route("r").Request(t.Context(), "value", nil)
		lab.WantFailure(t, "not sent after it has succeeded", err, context.Canceled, core.OutcomeMaybeRun)
		_, err = c.Conn(0, 1).Request(t.Context(), "missing", nil)
		lab.WantFailure(t, "refused twice", err, core.ErrUnknownHandler, core.OutcomeRefused)
	})
}

// TestPanicAfterTheStream has an interceptor panic when the stream has ended: what
// has arrived is received all the same.
func TestPanicAfterTheStream(t *testing.T) {
	lab.InBubbles(t, func(t *testing.T, l *lab.Link) {
		var log lab.LogBook
		c := l.Cluster(t, 2, coretest.WithHandlers(func(_ int, m *core.Manager) error {
			return m.HandleStreamFunc("two", func(_ context.Context, _ []byte, s *core.RawStream) error {
				return errors.Join(s.Send([]byte("a")), s.Send([]byte("b")))
			})
		}), coretest.WithConfig(func(_ int, cfg *core.Config) {
			cfg.Logger = log.Logger()
			cfg.Intercept = []core.Interceptor{func(ctx context.Context, info core.CallInfo, next func(context.Context) error) error {
				err := next(ctx)
				if !info.Incoming {
					panic("too late")
				}
				return err
			}}
		}))
		st, err := c.Conn(0, 1).OpenStream(t.Context(), "two", nil)
		if err != nil {
			t.Fatal(err)
		}
		lab.Wait(t, st.Done(), "the stream ends")
		synctest.Wait()
		if !strings.Contains(log.String(), "too late") {
			t.Errorf("the log does not tell of the panic:\n%s", log.String())
		}
		var got string
		for msg, err := range st.All() {
			if err != nil {
				t.Fatal(err)
			}
			got += string(msg)
		}
		if got != "ab" {
			t.Errorf("got %q of a stream whose interceptor panicked when it had ended", got)
		}
	})
}
