package streams_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/coretest"
	"github.com/gridmux/gridmux/core/internal/lab"
)

// seenBy is everything that a handler learns from its context.
func seenBy(ctx context.Context) string {
	type key struct{}
	derived, cancel := context.WithCancel(context.WithValue(ctx, key{}, 1))
	defer cancel()
	_, hasDeadline := derived.Deadline()
	draining := false
	select {
	case <-core.Draining(derived):
		draining = true
	default:
	}
	return fmt.Sprintf("peer %s, caller %+v, route %q, deadline %v, has draining %v, draining %v, err %v", core.PeerFromContext(derived),
		core.CallerFromContext(derived), core.RouteFromContext(derived), hasDeadline, core.Draining(derived) != nil, draining, derived.Err())
}

// TestContextOfAHandler holds that a handler of streams learns who calls, on which
// route and until when, all at once, and the same as one of single requests (D36).
func TestContextOfAHandler(t *testing.T) {
	routes := []string{"", "disk1", "a/b/c"}
	overLinks(t, func(t *testing.T, l *lab.Link, f form) {
		c := l.Cluster(t, 2, coretest.WithConfig(func(i int, cfg *core.Config) {
			cfg.Auth = core.SharedKey([]byte("a key of sufficient length for this"))
		}), coretest.WithHandlers(func(_ int, m *core.Manager) error {
			var errs []error
			for _, route := range routes {
				errs = append(errs, f.handle(m, "who", func(ctx context.Context, _ []byte, s end) error {
					return s.send([]byte(seenBy(ctx)))
				}, 1, 1, core.WithRoute(route)), m.Handle("who.single", func(ctx context.Context, _ []byte) ([]byte, error) {
					return []byte(seenBy(ctx)), nil
				}, core.WithRoute(route)))
			}
			return errors.Join(errs...)
		}))
		for _, from := range []int{0, 1} {
			for _, to := range []int{0, 1} {
				for _, route := range routes {
					for _, opts := range [][]core.CallOption{nil, {core.WithTimeout(time.Hour)}} {
						on := core.Caller(c.Conn(from, to))
						if route != "" {
							on = c.Conn(from, to).Route(route)
						}
						single := lab.MustCall(t, on, "who.single", nil, opts...)
						st := f.mustOpen(t, on, "who", nil, opts...)
						got, err := st.recv()
						if err != nil || string(got) != string(single) {
							t.Errorf("a handler of streams sees %q (error %v), one of single requests %q", got, err, single)
						}
						method := "shared key"
						if from == to {
							method = "loopback"
						}
						name := fmt.Sprintf("node-%d", from)
						want := fmt.Sprintf("peer %s, caller %+v, route %q, deadline %v, has draining true, draining false, err <nil>", name,
							core.Identity{Name: name, Method: method}, route, len(opts) > 0)
						if string(got) != want {
							t.Errorf("from %d to %d on %q: a handler sees %s, want %s", from, to, route, got, want)
						}
						wantEnd(t, "who", st)
					}
				}
			}
		}
	})
}

// TestPeerOfAStream holds that a stream knows the name of the node at its other
// end, on both sides.
func TestPeerOfAStream(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		c := l.Cluster(t, 2, coretest.WithHandlers(func(_ int, m *core.Manager) error {
			return m.HandleStreamFunc("peer", func(_ context.Context, _ []byte, s *core.RawStream) error {
				return s.Send([]byte(s.Peer()))
			})
		}))
		for from := range 2 {
			for to := range 2 {
				st := rawForm.mustOpen(t, c.Conn(from, to), "peer", nil).(rawEnd)
				wantMessages(t, "the peer of the serving side", st, fmt.Sprintf("node-%d", from))
				if got, want := st.Peer(), fmt.Sprintf("node-%d", to); got != want {
					t.Errorf("the peer of the calling side is %q, want %q", got, want)
				}
				wantEnd(t, "peer", st)
			}
		}
	})
}

// TestDeadlinesTravel holds that the handler's context ends at the earliest of
// the deadlines that there are, and that no handler of a stream has one else.
func TestDeadlinesTravel(t *testing.T) {
	inBubbles(t, func(t *testing.T, f form) {
		type limits struct {
			ctx, call time.Duration
			handler   core.HandlerID
			want      time.Duration
		}
		seen := make(chan time.Duration, 1)
		serve := func(ctx context.Context, _ []byte, s end) error {
			began := time.Now()
			if d, ok := ctx.Deadline(); ok {
				<-ctx.Done()
				if !time.Now().Equal(d) || ctx.Err() != context.DeadlineExceeded {
					t.Errorf("the context ended %v after its deadline with %v", time.Since(d), ctx.Err())
				}
				seen <- time.Since(began)
			} else {
				seen <- 0
			}
			return ctx.Err()
		}
		c := lab.InmemLink().Cluster(t, 2, f.serve("none", serve, 1, 1), f.serve("minute", serve, 1, 1, core.WithTimeout(time.Minute)))
		for _, test := range []limits{
			{0, 0, "none", 0},
			{time.Hour, 0, "none", time.Hour},
			{0, time.Hour, "none", time.Hour},
			{time.Hour, time.Second, "none", time.Second},
			{time.Second, time.Hour, "none", time.Second},
			{0, 0, "minute", time.Minute},
			{0, time.Hour, "minute", time.Hour},
			{time.Second, 0, "minute", time.Second},
		} {
			ctx := t.Context()
			if test.ctx > 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, test.ctx)
				defer cancel()
			}
			var opts []core.CallOption
			if test.call > 0 {
				opts = append(opts, core.WithTimeout(test.call))
			}
			began := time.Now()
			st := f.mustOpenWith(ctx, t, c.Conn(0, 1), test.handler, nil, opts...)
			_, err := st.recv()
			if test.want == 0 && err != io.EOF || test.want > 0 && !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != test.want {
				t.Errorf("%+v: the stream ended after %v with %v", test, time.Since(began), err)
			}
			if got := <-seen; got != test.want {
				t.Errorf("%+v: the handler's context ended after %v", test, got)
			}
		}
	})
}

// TestNestedStreams has handlers of streams open streams to the next node and call
// back the one before, twenty deep around three nodes, with their own contexts.
// What is sent at one end comes back from the other, and an end of the outermost
// stream ends all of them.
func TestNestedStreams(t *testing.T) {
	overLinks(t, func(t *testing.T, l *lab.Link, f form) {
		depth := byte(lab.Scale(20, 8, 100))
		var c *lab.Cluster
		ended := make(chan error, depth)
		c = l.Cluster(t, 3, coretest.WithHandlers(func(i int, m *core.Manager) error {
			return f.handle(m, "nested", func(ctx context.Context, payload []byte, s end) error {
				resp, err := c.Conn(i, (i+2)%3).Request(ctx, "echo", []byte("back"))
				if err != nil || string(resp) != "back" {
					return fmt.Errorf("calling back: %q, %w", resp, err)
				}
				if payload[0] == 0 {
					err := echo(ctx, nil, s)
					ended <- context.Cause(ctx)
					return err
				}
				inner, err := f.open(ctx, c.Conn(i, (i+1)%3), "nested", []byte{payload[0] - 1})
				if err != nil {
					return err
				}
				go func() {
					for {
						msg, err := s.recv()
						if err != nil {
							if err == io.EOF {
								inner.closeSend()
							}
							return
						}
						if inner.send(msg) != nil {
							return
						}
					}
				}()
				for {
					msg, err := inner.recv()
					switch {
					case err == io.EOF:
						return nil
					case err != nil:
						return err
					}
					if err := s.send(msg); err != nil {
						return err
					}
				}
			}, 2, 2)
		}))
		st := f.mustOpen(t, c.Conn(0, 1), "nested", []byte{depth})
		for i := range 8 {
			msg := string(lab.Pattern(i, i*7000))
			if err := st.send([]byte(msg)); err != nil {
				t.Fatal(err)
			}
			wantMessages(t, "through all of them", st, msg)
		}
		st.closeSend()
		wantEnd(t, "through all of them", st)
		if err := lab.Wait(t, ended, "the innermost handler ends"); err != nil {
			t.Errorf("the innermost context ended with %v", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		st = f.mustOpenWith(ctx, t, c.Conn(0, 1), "nested", []byte{depth})
		if err := st.send([]byte("x")); err != nil {
			t.Fatal(err)
		}
		wantMessages(t, "through all of them", st, "x")
		cancel()
		if err := lab.Wait(t, ended, "the cancellation reaches the innermost handler"); !errors.Is(err, context.Canceled) {
			t.Errorf("the innermost context ended with %v", err)
		}
	})
}

// TestCancellationTakesOneWay holds that a handler learns of the end of its
// stream one way after it, also one that waits in Send or in Recv.
func TestCancellationTakesOneWay(t *testing.T) {
	inBubbles(t, func(t *testing.T, f form) {
		const latency = 50 * time.Millisecond
		ended := make(chan time.Time, 1)
		c := lab.InmemLink().Cluster(t, 2,
			f.serve("receives", func(_ context.Context, _ []byte, s end) error {
				_, err := s.recv()
				ended <- time.Now()
				return err
			}, 1, 1),
			f.serve("sends", func(_ context.Context, _ []byte, s end) error {
				for {
					if err := s.send([]byte("x")); err != nil {
						ended <- time.Now()
						return err
					}
				}
			}, 1, 1))
		c.Memory().SetLatency(latency)
		for _, h := range []core.HandlerID{"receives", "sends"} {
			ctx, cancel := context.WithCancel(t.Context())
			st := f.mustOpenWith(ctx, t, c.Conn(0, 1), h, nil)
			time.Sleep(time.Minute)
			began := time.Now()
			cancel()
			<-st.done()
			if d := time.Since(began); d != 0 {
				t.Errorf("%s: the caller learned of its own cancellation after %v", h, d)
			}
			if d := lab.Wait(t, ended, "the handler learns of it").Sub(began); d != latency {
				t.Errorf("%s: the handler learned of the cancellation after %v, want one way", h, d)
			}
			synctest.Wait()
		}
	})
}
