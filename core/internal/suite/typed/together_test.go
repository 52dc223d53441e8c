package typed_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"

	"github.com/tinylib/msgp/msgp"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/internal/lab"
	"github.com/gridmux/gridmux/core/payload"
)

// TestOverLimit holds that a message over the limits of its type is refused where
// it arrives, before it can make the node allocate, and where a type refuses it
// itself does not get so far.
func TestOverLimit(t *testing.T) {
	lab.InBubbles(t, func(t *testing.T, l *lab.Link) {
		limited := core.NewUnary[Limited, payload.None]("limited")
		c := l.Cluster(t, 2, serve(func(m *core.Manager) error {
			return limited.Handle(m, func(context.Context, *Limited) (*payload.None, error) { return new(payload.None), nil })
		}))
		if _, err := limited.Call(t.Context(), c.Conn(0, 1), &Limited{Tags: make([]string, 100), Body: make([]byte, 100)}); err != nil {
			t.Errorf("a message within its limits was refused: %v", err)
		}
		_, err := limited.Call(t.Context(), c.Conn(0, 1), &Limited{Tags: make([]string, 101)})
		lab.WantFailure(t, "over a limit where it is made", err, msgp.ErrLimitExceeded, core.OutcomeNotSent)
		field := func(name string) []byte { return msgp.AppendString(msgp.AppendMapHeader(nil, 1), name) }
		for what, payload := range map[string][]byte{
			"elements": msgp.AppendArrayHeader(field("Tags"), 1<<32-1),
			"entries":  msgp.AppendMapHeader(field("Fields"), 1<<32-1),
			"bytes":    append(field("Body"), 0xc6, 0xff, 0xff, 0xff, 0xff),
			"fields":   msgp.AppendMapHeader(nil, 1<<32-1),
			"just one": msgp.AppendArrayHeader(field("Tags"), 101),
		} {
			_, err := c.Conn(0, 1).Request(t.Context(), limited.ID(), payload)
			lab.WantFailure(t, what, err, core.ErrMalformedMessage, core.OutcomeRefused)
		}
	})
}

// TestPayloadTypes holds that the ready-made types go with typed methods of every
// kind, as they are.
func TestPayloadTypes(t *testing.T) {
	type note struct{ Text string }
	type points = payload.Array[Point, *Point]
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		upper := core.NewUnary[payload.Bytes, payload.Bytes]("payload.upper")
		query := core.NewUnary[payload.Strings, payload.Values]("payload.query")
		double := core.NewUnary[points, points]("payload.double")
		nothing := core.NewUnary[payload.None, payload.None]("payload.nothing")
		notes := core.NewServerStream[payload.None, payload.JSON[note]]("payload.notes")
		chat := core.NewBidi[payload.None, payload.Bytes, payload.JSON[note]]("payload.chat")
		c := l.Cluster(t, 2, serve(func(m *core.Manager) error {
			return errors.Join(
				upper.Handle(m, func(_ context.Context, b *payload.Bytes) (*payload.Bytes, error) {
					answer := payload.Bytes(bytes.ToUpper(*b))
					return &answer, nil
				}),
				query.Handle(m, func(_ context.Context, s *payload.Strings) (*payload.Values, error) {
					answer := payload.Values{}
					for k, v := range *s {
						answer[k] = []string{v, v}
					}
					return &answer, nil
				}),
				double.Handle(m, func(_ context.Context, p *points) (*points, error) {
					answer := append(*p, *p...)
					return &answer, nil
				}),
				nothing.Handle(m, func(context.Context, *payload.None) (*payload.None, error) { return new(payload.None), nil }),
				notes.Handle(m, func(_ context.Context, _ *payload.None, send func(*payload.JSON[note]) error) error {
					return errors.Join(send(&payload.JSON[note]{Value: note{"a"}}), send(&payload.JSON[note]{Value: note{"b"}}))
				}),
				chat.Handle(m, func(_ context.Context, _ *payload.None, s *core.TypedStream[payload.JSON[note], payload.Bytes]) error {
					for b, err := range s.All() {
						if err == nil {
							err = s.Send(&payload.JSON[note]{Value: note{string(*b)}})
						}
						if err != nil {
							return err
						}
					}
					return nil
				}),
			)
		}))
		conn, ctx := c.Conn(0, 1), t.Context()
		if b, err := upper.Call(ctx, conn, new(payload.Bytes("text"))); err != nil || string(*b) != "TEXT" {
			t.Errorf("Bytes: got %v, %v", b, err)
		}
		v, err := query.Call(ctx, conn, &payload.Strings{"a": "1", "b": ""})
		if err != nil || !maps.EqualFunc(*v, payload.Values{"a": {"1", "1"}, "b": {"", ""}}, slices.Equal) {
			t.Errorf("Strings and Values: got %v, %v", v, err)
		}
		if p, err := double.Call(ctx, conn, &points{{X: 1}, {X: 2}}); err != nil || !slices.Equal(*p, points{{X: 1}, {X: 2}, {X: 1}, {X: 2}}) {
			t.Errorf("Array: got %v, %v", p, err)
		}
		if _, err := nothing.Call(ctx, conn, new(payload.None)); err != nil {
			t.Errorf("None: %v", err)
		}
		var got []string
		for n, err := range notes.Call(ctx, conn, new(payload.None)) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, n.Value.Text)
		}
		s, err := chat.Open(ctx, conn, new(payload.None))
		if err == nil {
			err = errors.Join(s.Send(new(payload.Bytes("c"))), s.CloseSend())
		}
		if err != nil {
			t.Fatal(err)
		}
		for n, err := range s.All() {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, n.Value.Text)
		}
		if want := []string{"a", "b", "c"}; !slices.Equal(got, want) {
			t.Errorf("the streams brought %q, want %q", got, want)
		}
	})
}

// TestIntercepted holds that typed calls pass through the interceptors of both nodes,
// which see their sizes and how they ended, and that what an interceptor does to the
// error of next changes neither refusals nor codes.
func TestIntercepted(t *testing.T) {
	lab.InBubbles(t, func(t *testing.T, l *lab.Link) {
		var mu sync.Mutex
		seen := map[string]error{}
		empty := core.NewUnary[Point, Point]("intercepted.empty")
		c := l.Cluster(t, 2, serve(registerAll), serve(func(m *core.Manager) error {
			return empty.Handle(m, func(context.Context, *Point) (*Point, error) { return nil, nil })
		}), lab.Configure(func(cfg *core.Config) {
			cfg.Intercept = []core.Interceptor{func(ctx context.Context, info core.CallInfo, next func(context.Context) error) error {
				err := next(ctx)
				to, from := info.Sizes()
				mu.Lock()
				seen[fmt.Sprintf("%s, incoming %v, %d and %d bytes", info.Handler, info.Incoming, to, from)] = err
				mu.Unlock()
				if err != nil {
					return fmt.Errorf("intercepted: %w", err)
				}
				return nil
			}}
		}))
		conn, ctx := c.Conn(0, 1), t.Context()
		want := func(handler core.HandlerID, to, from int, kind error) {
			t.Helper()
			lab.Until(t, "interceptors return", func() bool {
				mu.Lock()
				defer mu.Unlock()
				return len(seen) == 2
			})
			for _, incoming := range []bool{false, true} {
				what := fmt.Sprintf("%s, incoming %v, %d and %d bytes", handler, incoming, to, from)
				if err, ok := seen[what]; !ok || !errors.Is(err, kind) {
					t.Errorf("interceptors saw %v, want a call of %s that ended with %v", seen, what, kind)
				}
			}
			clear(seen)
		}
		p := &Point{X: 1 << 40}
		size := len(encoded(t, p))
		if _, err := swap.Call(ctx, conn, p); err != nil {
			t.Errorf("swap returned %v", err)
		}
		want(swap.ID(), size, size, nil)

		label := Label("text")
		_, err := core.NewUnary[Label, Point](swap.ID()).Call(ctx, conn, &label)
		lab.WantFailure(t, "a refused request", err, core.ErrMalformedMessage, core.OutcomeRefused)
		want(swap.ID(), len(encoded(t, &label)), 0, core.ErrMalformedMessage)

		_, err = empty.Call(ctx, conn, p)
		lab.WantFailure(t, "neither response nor error", err, core.ErrNilMessage, core.OutcomeRemote)
		want(empty.ID(), size, 0, core.ErrNilMessage)

		req, sent := &Point{X: 3, Y: 6}, 0
		for p, err := range count.Call(ctx, conn, req) {
			if err != nil {
				t.Error(err)
			}
			sent += len(encoded(t, p))
		}
		want(count.ID(), len(encoded(t, req)), sent, nil)
	})
}

// TestRepeated holds that an interceptor that makes a call again sends the same
// request again, although there was a response already.
func TestRepeated(t *testing.T) {
	lab.InBubbles(t, func(t *testing.T, l *lab.Link) {
		var mu sync.Mutex
		var got []Document
		repeated := core.NewUnary[Document, Document]("repeated")
		c := l.Cluster(t, 2, serve(func(m *core.Manager) error {
			return repeated.Handle(m, func(_ context.Context, d *Document) (*Document, error) {
				mu.Lock()
				defer mu.Unlock()
				got = append(got, *d)
				return document(len(got), 300), nil
			})
		}), lab.Configure(func(cfg *core.Config) {
			cfg.Intercept = []core.Interceptor{func(ctx context.Context, info core.CallInfo, next func(context.Context) error) error {
				if err := next(ctx); err != nil || info.Incoming {
					return err
				}
				return next(ctx)
			}}
		}))
		// The first call learns how large responses are.
		for range 2 {
			d, err := repeated.Call(t.Context(), c.Conn(0, 1), document(99, 150))
			if err != nil || !same(d, document(len(got), 300)) {
				t.Errorf("got %v, %v, want the response to the second request", d, err)
			}
		}
		if len(got) != 4 {
			t.Fatalf("the handler ran %d times, want twice for each call", len(got))
		}
		for i := range got {
			if !same(&got[i], document(99, 150)) {
				t.Errorf("request %d was changed", i)
			}
		}
	})
}
