package intercept_test

import (
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/coretest"
	"github.com/gridmux/gridmux/core/internal/lab"
)

// TestWhatArrivedSurvivesTheInterceptor has an interceptor give a stream a context
// of its own, which ends with the interceptor: what arrived before is received all
// the same, in either form and however large, and the end of the caller's own
// context still drops what is left.
func TestWhatArrivedSurvivesTheInterceptor(t *testing.T) {
	lab.InBubbles(t, func(t *testing.T, l *lab.Link) {
		const messages, size = 3, 50_000
		returned := make(chan struct{}, 1)
		c := l.Cluster(t, 2,
			coretest.WithHandlers(func(_ int, m *core.Manager) error {
				return m.HandleStreamFunc("send", func(_ context.Context, _ []byte, s *core.RawStream) error {
					for range messages {
						if err := s.Send(make([]byte, size)); err != nil {
							return err
						}
					}
					return nil
				})
			}),
			coretest.WithConfig(func(_ int, cfg *core.Config) { cfg.StreamWindow = 1 << 20 }),
			around(func(int) []core.Interceptor {
				return []core.Interceptor{func(ctx context.Context, info core.CallInfo, next func(context.Context) error) error {
					ctx, cancel := context.WithTimeout(ctx, time.Hour)
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

		ctx, cancel := context.WithCancel(t.Context())
		if st, err = c.Conn(0, 1).OpenStream(ctx, "send", nil); err != nil {
			t.Fatal(err)
		}
		over()
		cancel()
		synctest.Wait()
		if _, err := st.Recv(nil); !errors.Is(err, context.Canceled) {
			t.Errorf("the caller's context has ended, and Recv returned %v", err)
		}
	})
}
