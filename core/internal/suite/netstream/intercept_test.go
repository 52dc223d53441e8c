package netstream_test

import (
	"context"
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/coretest"
	"github.com/gridmux/gridmux/core/internal/lab"
)

// TestListenerOffersWhatInterceptorsLetPass expects a connection that interceptors
// turn away to come out of no Accept, also while they have not decided yet, and one
// that they let pass to work.
func TestListenerOffersWhatInterceptorsLetPass(t *testing.T) {
	lab.InBubbles(t, func(t *testing.T, l *lab.Link) {
		errDenied := &core.RemoteError{Code: 4321, Message: "you may not"}
		decide := make(chan error)
		c := listen(t, l, 2, coretest.WithConfig(func(i int, cfg *core.Config) {
			if i != 1 {
				return
			}
			cfg.Intercept = []core.Interceptor{func(ctx context.Context, _ core.CallInfo, next func(context.Context) error) error {
				if err := <-decide; err != nil {
					return err
				}
				return next(ctx)
			}}
		}))
		accepted := lab.Go(func() string {
			conn, err := c.listener(1).Accept()
			if err != nil {
				return err.Error()
			}
			defer conn.Close()
			var b [1]byte
			if _, err := conn.Read(b[:]); err != nil {
				return err.Error()
			}
			return string(b[:])
		})
		denied := c.dial(0, 1)
		write(t, denied, "d")
		synctest.Wait() // Accept has had its chance
		decide <- errDenied
		err := readError(t, denied)
		lab.WantFailure(t, "a connection that is turned away", err, errDenied, core.OutcomeRefused)
		passed := c.dial(0, 1)
		write(t, passed, "p")
		decide <- nil
		if got := lab.Wait(t, accepted, "a connection is accepted"); got != "p" {
			t.Errorf("Accept brought what says %q, want the connection that was let pass", got)
		}
	})
}

// TestListenerBehindInterceptorsIsClosed expects a connection to a Listener that was
// closed to be refused also where interceptors surround it.
func TestListenerBehindInterceptorsIsClosed(t *testing.T) {
	lab.InBubbles(t, func(t *testing.T, l *lab.Link) {
		c := listen(t, l, 2, coretest.WithConfig(func(_ int, cfg *core.Config) {
			cfg.Intercept = []core.Interceptor{func(ctx context.Context, _ core.CallInfo, next func(context.Context) error) error { return next(ctx) }}
		}))
		if err := c.listener(1).Close(); err != nil {
			t.Fatal(err)
		}
		lab.WantFailure(t, "a connection to a closed listener", readError(t, c.dial(0, 1)), core.ErrUnknownHandler, core.OutcomeRefused)
	})
}

// TestCloseBeforeInterceptorsAreThrough holds that Close of an accepted connection ends a
// Write that waits, however long an interceptor takes behind the handler.
func TestCloseBeforeInterceptorsAreThrough(t *testing.T) {
	lab.InBubbles(t, func(t *testing.T, l *lab.Link) {
		c := listen(t, l, 2, coretest.WithConfig(func(_ int, cfg *core.Config) {
			cfg.Intercept = []core.Interceptor{func(ctx context.Context, info core.CallInfo, next func(context.Context) error) error {
				err := next(ctx)
				if info.Incoming {
					time.Sleep(10 * time.Second)
				}
				return err
			}}
		}))
		caller := c.dial(0, 1)
		defer caller.Close()
		conn, err := c.listener(1).Accept()
		if err != nil {
			t.Fatal(err)
		}
		wrote := lab.Go(func() error {
			_, err := conn.Write(make([]byte, 1<<20))
			return err
		})
		time.Sleep(time.Second)
		began := time.Now()
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
		if err := lab.Wait(t, wrote, "Write returns"); !errors.Is(err, net.ErrClosed) || time.Since(began) > 0 {
			t.Errorf("Write returned %v %v after Close", err, time.Since(began))
		}
		time.Sleep(time.Minute) // interceptors that go on
	})
}
