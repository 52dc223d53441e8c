package typed_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/internal/lab"
)

// TestTimeoutOnBothSides holds that WithTimeout of a declaration bounds every typed
// call and, for callers without a deadline, every handler, and that those of Call
// and Handle go before it.
func TestTimeoutOnBothSides(t *testing.T) {
	lab.InBubbles(t, func(t *testing.T, l *lab.Link) {
		served := make(chan time.Duration, 1)
		wait := func(ctx context.Context) error {
			began := time.Now()
			<-ctx.Done()
			served <- time.Since(began)
			return ctx.Err()
		}
		const declared, longer, longest = time.Second, 3 * time.Second, 5 * time.Second
		unary := core.NewUnary[Point, Point]("timed.unary", core.WithTimeout(declared))
		patient := core.NewUnary[Point, Point]("timed.patient", core.WithTimeout(declared))
		server := core.NewServerStream[Point, Point]("timed.server", core.WithTimeout(declared))
		bidi := core.NewBidi[Point, Point, Point]("timed.bidi", core.WithTimeout(declared))
		c := l.Cluster(t, 2, serve(func(m *core.Manager) error {
			fn := func(ctx context.Context, _ *Point) (*Point, error) { return nil, wait(ctx) }
			return errors.Join(
				unary.Handle(m, fn),
				patient.Handle(m, fn, core.WithTimeout(longest)),
				server.Handle(m, func(ctx context.Context, _ *Point, _ func(*Point) error) error { return wait(ctx) }),
				bidi.Handle(m, func(ctx context.Context, _ *Point, _ *core.TypedStream[Point, Point]) error { return wait(ctx) }),
			)
		}))
		conn, ctx := c.Conn(0, 1), t.Context()
		ranged := func(opts ...core.CallOption) error {
			return only(t, "a server stream", server.Call(ctx, conn, new(Point), opts...))
		}
		opened := func(opts ...core.CallOption) error {
			s, err := bidi.Open(ctx, conn, new(Point), opts...)
			if err == nil {
				_, err = s.Recv()
			}
			return err
		}
		raw := func(id core.HandlerID) error { return errOf(conn.Request(ctx, id, encoded(t, new(Point)))) }
		for what, test := range map[string]struct {
			call func() error
			want time.Duration
		}{
			"Call":              {func() error { return errOf(unary.Call(ctx, conn, new(Point))) }, declared},
			"Call on a Route":   {func() error { return errOf(unary.Call(ctx, conn.Route(""), new(Point))) }, declared},
			"Call with another": {func() error { return errOf(unary.Call(ctx, conn, new(Point), core.WithTimeout(longer))) }, longer},
			"Call with another and priority": {func() error {
				return unary.CallInto(ctx, conn, new(Point), new(Point), core.WithPriority(core.PriorityHigh), core.WithTimeout(longer))
			}, longer},
			"the handler for a raw caller": {func() error { return raw(unary.ID()) }, declared},
			"a handler with another":       {func() error { return raw(patient.ID()) }, longest},
			"a server stream":              {func() error { return ranged() }, declared},
			"a server stream with another": {func() error { return ranged(core.WithTimeout(longer)) }, longer},
			"a stream":                     {func() error { return opened() }, declared},
			"a stream with another":        {func() error { return opened(core.WithTimeout(longer)) }, longer},
		} {
			began := time.Now()
			err := test.call()
			if took := time.Since(began); took != test.want || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s ended after %v with %v, want %v", what, took, err, test.want)
			}
			if took := lab.Wait(t, served, what+": the handler ends"); took != test.want {
				t.Errorf("%s: the handler's context ended after %v, want %v", what, took, test.want)
			}
		}
	})
}

// TestManyOptions holds that the options of a call go before those of the
// declaration however many there are.
func TestManyOptions(t *testing.T) {
	lab.InBubbles(t, func(t *testing.T, l *lab.Link) {
		var many []core.HandlerOption
		var opts []core.CallOption
		for i := range 20 {
			many = append(many, core.WithTimeout(time.Duration(i+1)*time.Minute))
			opts = append(opts, core.WithTimeout(time.Duration(i+1)*time.Second))
		}
		g := lab.NewGate(t, 2)
		method := core.NewUnary[Point, Point]("many", many...)
		served := core.NewUnary[Point, Point]("many.served", many...)
		many[19] = core.WithTimeout(time.Nanosecond) // nobody looks at it any more
		c := l.Cluster(t, 2, lab.Handle("many", g.HandleContext), serve(func(m *core.Manager) error {
			return served.Handle(m, func(ctx context.Context, _ *Point) (*Point, error) {
				at, _ := ctx.Deadline()
				return &Point{X: int64(time.Until(at).Round(time.Second))}, nil
			})
		}))
		b, err := c.Conn(0, 1).Request(t.Context(), served.ID(), encoded(t, new(Point)))
		var p Point
		if err == nil {
			_, err = p.UnmarshalMsg(b)
		}
		if err != nil || p.X != int64(20*time.Minute) {
			t.Errorf("the handler has %v, %v, want the last time-out of the declaration", time.Duration(p.X), err)
		}
		began := time.Now()
		_, err = method.Call(t.Context(), c.Conn(0, 1), new(Point), opts...)
		if took := time.Since(began); took != 20*time.Second || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the call ended after %v with %v, want the last of its own time-outs", took, err)
		}
		began = time.Now()
		_, err = method.Call(t.Context(), c.Conn(0, 1), new(Point))
		if took := time.Since(began); took != 20*time.Minute || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the call ended after %v with %v, want the last time-out of the declaration", took, err)
		}
	})
}

// TestRoute holds that a typed method is served on the routes that it is registered
// on, be it by its declaration or by Handle, and called by Route.
func TestRoute(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		unary := core.NewUnary[Point, Label]("routed", core.WithRoute("disk/0"))
		server := core.NewServerStream[Point, Label]("routed.server", core.WithRoute("disk/0"))
		bidi := core.NewBidi[Point, Point, Label]("routed.bidi", core.WithRoute("disk/0"))
		route := func(ctx context.Context) *Label {
			label := Label(core.RouteFromContext(ctx))
			return &label
		}
		c := l.Cluster(t, 2, serve(func(m *core.Manager) error {
			var errs []error
			for _, opts := range [][]core.HandlerOption{nil, {core.WithRoute("disk/1")}, {core.WithRoute("")}} {
				errs = append(errs,
					unary.Handle(m, func(ctx context.Context, _ *Point) (*Label, error) { return route(ctx), nil }, opts...),
					server.Handle(m, func(ctx context.Context, _ *Point, send func(*Label) error) error { return send(route(ctx)) }, opts...),
					bidi.Handle(m, func(ctx context.Context, _ *Point, s *core.TypedStream[Label, Point]) error {
						return s.Send(route(ctx))
					}, opts...))
			}
			return errors.Join(errs...)
		}))
		conn := c.Conn(0, 1)
		for want, to := range map[Label]core.Caller{"disk/0": conn.Route("disk").Route("0"), "disk/1": conn.Route("disk/1"), "": conn} {
			if got, err := unary.Call(t.Context(), to, new(Point)); err != nil || *got != want {
				t.Errorf("route %q: got %v, %v", want, got, err)
			}
			for got, err := range server.Call(t.Context(), to, new(Point)) {
				if err != nil || *got != want {
					t.Errorf("route %q: a server stream brought %v, %v", want, got, err)
				}
			}
			s, err := bidi.Open(t.Context(), to, new(Point))
			if err != nil {
				t.Fatal(err)
			}
			if got, err := s.Recv(); err != nil || *got != want {
				t.Errorf("route %q: a stream brought %v, %v", want, got, err)
			}
		}
		_, err := unary.Call(t.Context(), conn.Route("disk/2"), new(Point))
		lab.WantFailure(t, "another route", err, core.ErrUnknownHandler, core.OutcomeRefused)
	})
}

// TestCapacity holds that WithCapacity of a declaration bounds what is in flight,
// and that of Handle goes before it.
func TestCapacity(t *testing.T) {
	lab.InBubbles(t, func(t *testing.T, l *lab.Link) {
		for _, test := range []struct {
			declared, handled []core.HandlerOption
			want              int
		}{
			{nil, nil, 64},
			{[]core.HandlerOption{core.WithCapacity(0, 3)}, nil, 3},
			{[]core.HandlerOption{core.WithCapacity(0, 3)}, []core.HandlerOption{core.WithCapacity(0, 7)}, 7},
		} {
			sent := make(chan int, 1000)
			method := core.NewServerStream[Point, Point]("capacity", test.declared...)
			c := l.Cluster(t, 2, serve(func(m *core.Manager) error {
				return method.Handle(m, func(_ context.Context, p *Point, send func(*Point) error) error {
					for i := 0; ; i++ {
						if err := send(p); err != nil {
							return err
						}
						sent <- i
					}
				}, test.handled...)
			}))
			for _, err := range method.Call(t.Context(), c.Conn(0, 1), new(Point)) {
				if err != nil {
					t.Fatal(err)
				}
				// The first message was taken, and its credit may not be back.
				synctest.Wait()
				if n := len(sent); n < test.want || n > test.want+1 {
					t.Errorf("%d messages were sent while one was received, want %d to be in flight", n, test.want)
				}
				break
			}
		}
	})
}
