package typed_test

import (
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/coretest"
	"github.com/gridmux/gridmux/core/internal/lab"
)

// only returns the error of an iterator that has to yield that and nothing else.
func only[T any](t *testing.T, what string, messages func(yield func(*T, error) bool)) (only error) {
	t.Helper()
	n := 0
	for m, err := range messages {
		n++
		only = err
		if m != nil {
			t.Errorf("%s: got message %v beside the error %v", what, m, err)
		}
	}
	if n != 1 {
		t.Errorf("%s: the iterator yielded %d pairs, want the error alone", what, n)
	}
	return only
}

// TestNilMessages holds that nil where a message has to be is an error by that name
// that says what is nil, and that nothing was sent.
func TestNilMessages(t *testing.T) {
	lab.InBubbles(t, func(t *testing.T, l *lab.Link) {
		c := l.Cluster(t, 2, serve(registerAll))
		conn := c.Conn(0, 1)
		for what, err := range map[string]error{
			"the request is nil":                       errOf(swap.Call(t.Context(), conn, nil)),
			"request is nil":                           swap.CallInto(t.Context(), conn, nil, new(Point)),
			"the place for the response is nil":        swap.CallInto(t.Context(), conn, new(Point), nil),
			"request is nil: pass a *typed_test.Point": only(t, "a server stream", count.Call(t.Context(), conn, nil)),
			"request is nil: pass a *typed_test.Label": errOf(sum.Open(t.Context(), conn.Route("r"), nil)),
		} {
			lab.WantFailure(t, what, err, core.ErrNilMessage, core.OutcomeNotSent)
			lab.WantText(t, what, err, what, "typed.", c.Node(1).Name)
		}
		name := Label("sum")
		s, err := sum.Open(t.Context(), conn, &name)
		if err != nil {
			t.Fatal(err)
		}
		for what, err := range map[string]error{
			"the message is nil: pass a *typed_test.Point": s.Send(nil),
			"the place for the message is nil":             s.RecvInto(nil),
		} {
			if !errors.Is(err, core.ErrNilMessage) {
				t.Errorf("%s: got %v", what, err)
			}
			lab.WantText(t, what, err, what, "typed.sum", c.Node(1).Name)
		}
		// It goes on as if nothing had been.
		if err := errors.Join(s.Send(&Point{X: 5}), s.CloseSend()); err != nil {
			t.Fatal(err)
		}
		if p, err := s.Recv(); err != nil || p.X != 5 {
			t.Errorf("after the misuse got %v, %v", p, err)
		}
	})
}

// TestNilFromHandler holds that a handler that returns neither a response nor an
// error is an answer whose name and text say so, on the caller's side, and that nil
// to send is an error for the handler alone (W33).
func TestNilFromHandler(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		nothing := core.NewUnary[Point, Point]("nil.unary")
		sender := core.NewServerStream[Point, Point]("nil.server")
		both := core.NewUnary[Point, Point]("nil.both")
		passed := core.NewUnary[Point, Point]("nil.passed")
		own := &core.RemoteError{Code: 1001, Message: "beside a response"}
		c := l.Cluster(t, 2, serve(func(m *core.Manager) error {
			return errors.Join(
				nothing.Handle(m, func(context.Context, *Point) (*Point, error) { return nil, nil }),
				both.Handle(m, func(_ context.Context, p *Point) (*Point, error) { return p, own }),
				passed.Handle(m, func(ctx context.Context, _ *Point) (*Point, error) {
					return nothing.Call(ctx, m.Connection(core.PeerFromContext(ctx)), nil)
				}),
				sender.Handle(m, func(_ context.Context, p *Point, send func(*Point) error) error {
					if err := send(nil); !errors.Is(err, core.ErrNilMessage) {
						t.Errorf("to send nil returned %v", err)
					}
					return send(p)
				}))
		}))
		p, err := nothing.Call(t.Context(), c.Conn(0, 1), new(Point))
		if p != nil {
			t.Errorf("got %v beside the error", p)
		}
		lab.WantFailure(t, "neither", err, core.ErrNilMessage, core.OutcomeRemote)
		lab.WantText(t, "neither", lab.WantRemote(t, "neither", err), "nil.unary on "+c.Node(1).Name, "neither a response nor an error")
		if errors.Is(err, core.ErrMalformedMessage) || errors.Is(err, own) {
			t.Errorf("%v is taken for another error", err)
		}
		if _, err = both.Call(t.Context(), c.Conn(0, 1), new(Point)); !errors.Is(err, own) {
			t.Errorf("a handler that returned both gave its caller %v, want its error", err)
		}
		_, err = passed.Call(t.Context(), c.Conn(0, 1), new(Point))
		if remote := lab.WantRemote(t, "a handler's own misuse", err); errors.Is(remote, core.ErrNilMessage) {
			t.Errorf("that the handler itself called with nil is taken for its response: %v", err)
		}
		n := 0
		for p, err := range sender.Call(t.Context(), c.Conn(0, 1), &Point{X: 7}) {
			if n++; err != nil || p.X != 7 {
				t.Errorf("after nil was sent got %v, %v", p, err)
			}
		}
		if n != 1 {
			t.Errorf("got %d messages, want the one that is not nil", n)
		}
	})
}

// TestIteratorUsed holds that the iterator of a call is one call: ranged over again,
// also within itself, it yields an error by that name, and calls nobody.
func TestIteratorUsed(t *testing.T) {
	lab.InBubbles(t, func(t *testing.T, l *lab.Link) {
		var calls int
		method := core.NewServerStream[Point, Point]("used")
		c := l.Cluster(t, 2, serve(func(m *core.Manager) error {
			return method.Handle(m, func(_ context.Context, p *Point, send func(*Point) error) error {
				calls++
				return errors.Join(send(p), send(p))
			})
		}))
		messages, n := method.Call(t.Context(), c.Conn(0, 1), new(Point)), 0
		for _, err := range messages {
			if n++; err != nil {
				t.Errorf("message %d is an error: %v", n, err)
			}
			again := only(t, "within itself", messages)
			lab.WantFailure(t, "within itself", again, core.ErrIteratorUsed, core.OutcomeNotSent)
		}
		again := only(t, "a second time", messages)
		lab.WantFailure(t, "a second time", again, core.ErrIteratorUsed, core.OutcomeNotSent)
		lab.WantText(t, "a second time", again, "used on "+c.Node(1).Name, "call again")
		if n != 2 || calls != 1 {
			t.Errorf("%d messages of %d calls, want 2 of 1", n, calls)
		}
	})
}

// TestLazyIterator holds that an iterator nobody ranges over calls nobody, and that
// one does what the arguments say when the ranging begins.
func TestLazyIterator(t *testing.T) {
	lab.InBubbles(t, func(t *testing.T, l *lab.Link) {
		c := l.Cluster(t, 2, serve(registerAll))
		req := &Point{X: 0, Y: 100}
		messages := count.Call(t.Context(), c.Conn(0, 1), req)
		_ = count.Call(t.Context(), c.Conn(0, 1), req)
		if n := len(c.Manager(0).Stats().Peers[0].Streams); n != 0 {
			t.Errorf("%d streams are open before anybody ranges", n)
		}
		*req = Point{X: 3, Y: 5}
		var got []int64
		for p, err := range messages {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, p.X)
		}
		if len(got) != 2 || got[0] != 3 {
			t.Errorf("got %v, want 3 and 4", got)
		}
	})
}

// TestUndeclared holds that values of the types that were not made by New… and
// Open, and nil pointers, say so.
func TestUndeclared(t *testing.T) {
	lab.Bubble(t, "inmem", func(t *testing.T) {
		c := lab.InmemLink().Cluster(t, 2, coretest.Unstarted())
		m, conn, ctx := c.Manager(1), c.Conn(0, 1), t.Context()
		for _, u := range []*core.Unary[Point, Point]{nil, {}} {
			fn := func(_ context.Context, p *Point) (*Point, error) { return p, nil }
			for _, err := range []error{u.Handle(m, fn), errOf(u.Call(ctx, conn, new(Point))), u.CallInto(ctx, conn, new(Point), new(Point))} {
				lab.WantFailure(t, "no Unary", err, core.ErrNotStarted, core.OutcomeOf(err))
				lab.WantText(t, "no Unary", err, "declare the method with NewUnary")
			}
			if u.ID() != "" {
				t.Errorf("its id is %q", u.ID())
			}
		}
		for _, s := range []*core.ServerStream[Point, Point]{nil, {}} {
			fn := func(context.Context, *Point, func(*Point) error) error { return nil }
			for _, err := range []error{s.Handle(m, fn), only(t, "no ServerStream", s.Call(ctx, conn, new(Point)))} {
				lab.WantFailure(t, "no ServerStream", err, core.ErrNotStarted, core.OutcomeOf(err))
				lab.WantText(t, "no ServerStream", err, "declare the method with NewServerStream")
			}
		}
		for _, b := range []*core.Bidi[Point, Point, Point]{nil, {}} {
			fn := func(context.Context, *Point, *core.TypedStream[Point, Point]) error { return nil }
			for _, err := range []error{b.Handle(m, fn), errOf(b.Open(ctx, conn, new(Point)))} {
				lab.WantFailure(t, "no Bidi", err, core.ErrNotStarted, core.OutcomeOf(err))
				lab.WantText(t, "no Bidi", err, "declare the method with NewBidi")
			}
		}
		for _, s := range []*core.TypedStream[Point, Point]{nil, {}} {
			for _, err := range []error{
				s.Send(new(Point)), errOf(s.Recv()), s.RecvInto(new(Point)), only(t, "no TypedStream", s.All()), s.CloseSend(), s.Close(), s.Err(),
			} {
				lab.WantFailure(t, "no TypedStream", err, core.ErrNotStarted, core.OutcomeNotSent)
				lab.WantText(t, "no TypedStream", err, "get typed streams from Bidi.Open")
			}
			if s.Done() != nil {
				t.Error("no TypedStream has a Done channel")
			}
		}
	})
}

// wrapped is a Caller of a user's that counts.
type wrapped struct {
	core.Caller

	calls *int
}

func (w wrapped) AppendRequest(ctx context.Context, h core.HandlerID, req, dst []byte, opts ...core.CallOption) ([]byte, error) {
	*w.calls++
	return w.Caller.AppendRequest(ctx, h, req, dst, opts...)
}

func (w wrapped) OpenStream(ctx context.Context, h core.HandlerID, payload []byte, opts ...core.CallOption) (*core.RawStream, error) {
	*w.calls++
	return w.Caller.OpenStream(ctx, h, payload, opts...)
}

// TestNoCaller holds that nil, a Connection of no Manager and that of an unknown
// node are errors where a Caller has to be, and that a user's own type around one is
// used (D38).
func TestNoCaller(t *testing.T) {
	lab.Bubble(t, "inmem", func(t *testing.T) {
		var none *core.Connection
		name, ctx := Label("sum"), t.Context()
		for what, to := range map[string]core.Caller{
			"nil": nil, "a nil Connection": none, "a zero Connection": new(core.Connection), "a zero Route": core.Route{},
		} {
			for _, err := range []error{
				errOf(swap.Call(ctx, to, new(Point))), swap.CallInto(ctx, to, new(Point), new(Point)),
				only(t, what, count.Call(ctx, to, new(Point))), errOf(sum.Open(ctx, to, &name)),
			} {
				lab.WantFailure(t, what, err, core.ErrNotStarted, core.OutcomeNotSent)
				lab.WantText(t, what, err, "Connection")
			}
		}
		c := lab.InmemLink().Cluster(t, 2, serve(registerAll))
		_, err := swap.Call(ctx, c.Manager(0).Connection("stranger"), new(Point))
		lab.WantFailure(t, "an unknown node", err, core.ErrUnknownPeer, core.OutcomeNotSent)
		calls := 0
		to := wrapped{c.Conn(0, 1), &calls}
		if p, err := swap.Call(ctx, to, &Point{X: 3}, core.WithPriority(core.PriorityHigh)); err != nil || p.Y != 3 {
			t.Errorf("a call on a Caller of the user's returned %v, %v", p, err)
		}
		for _, err := range count.Call(ctx, to, &Point{Y: 2}) {
			if err != nil {
				t.Error(err)
			}
		}
		s, err := sum.Open(ctx, to, &name)
		if err == nil {
			err = s.CloseSend()
		}
		if err == nil {
			_, err = s.Recv()
		}
		if err != nil || calls != 3 {
			t.Errorf("%d calls went through a Caller of the user's, %v, want 3", calls, err)
		}
	})
}

// TestHandleMisuse holds that what is wrong with a registration is told there: no
// Manager, no function, an option that is for another kind, a name that is taken,
// a Manager that was started.
func TestHandleMisuse(t *testing.T) {
	lab.Bubble(t, "inmem", func(t *testing.T) {
		c := lab.InmemLink().Cluster(t, 2, coretest.Unstarted())
		m := c.Manager(1)
		point := func(_ context.Context, p *Point) (*Point, error) { return p, nil }
		sends := func(context.Context, *Point, func(*Point) error) error { return nil }
		talks := func(context.Context, *Point, *core.TypedStream[Point, Point]) error { return nil }
		unary := func(opts ...core.HandlerOption) *core.Unary[Point, Point] {
			return core.NewUnary[Point, Point]("x", opts...)
		}
		server := func(opts ...core.HandlerOption) *core.ServerStream[Point, Point] {
			return core.NewServerStream[Point, Point]("x", opts...)
		}
		bidi := func(opts ...core.HandlerOption) *core.Bidi[Point, Point, Point] {
			return core.NewBidi[Point, Point, Point]("x", opts...)
		}
		for what, test := range map[string]struct {
			err  error
			text string
		}{
			"no Manager":                {unary().Handle(nil, point), "NewManager"},
			"no Manager, server":        {server().Handle(nil, sends), "NewManager"},
			"no Manager, bidi":          {bidi().Handle(nil, talks), "NewManager"},
			"a zero Manager":            {unary().Handle(new(core.Manager), point), "NewManager"},
			"no function":               {unary().Handle(m, nil), "the function is nil"},
			"no function, server":       {server().Handle(m, nil), "the function is nil"},
			"no function, bidi":         {bidi().Handle(m, nil), "the function is nil"},
			"a nil option":              {unary(nil).Handle(m, point), "an option is nil"},
			"a nil option of Handle":    {unary().Handle(m, point, nil), "an option is nil"},
			"a nil option, server":      {server(nil).Handle(m, sends), "an option is nil"},
			"a nil option, bidi":        {bidi(nil).Handle(m, talks), "an option is nil"},
			"capacity of a request":     {unary(core.WithCapacity(1, 1)).Handle(m, point), "WithCapacity is for handlers of streams"},
			"an inline stream":          {server(core.WithInline()).Handle(m, sends), "WithInline"},
			"an inline stream, bidi":    {bidi().Handle(m, talks, core.WithInline()), "WithInline"},
			"input of a server stream":  {server(core.WithCapacity(1, 1)).Handle(m, sends), "takes no messages: use WithCapacity(0, n)"},
			"input of one, at Handle":   {server().Handle(m, sends, core.WithCapacity(2, 1)), "takes no messages"},
			"a negative time-out":       {unary(core.WithTimeout(-1)).Handle(m, point), "WithTimeout(-1ns)"},
			"no id":                     {core.NewUnary[Point, Point]("").Handle(m, point), "0 bytes"},
			"an id of the library's":    {core.NewUnary[Point, Point]("gridmux.x").Handle(m, point), "belong to the library"},
			"a negative capacity, bidi": {bidi(core.WithCapacity(-1, 1)).Handle(m, talks), "WithCapacity(-1, 1)"},
		} {
			lab.WantText(t, what, test.err, test.text)
		}
		if err := server(core.WithCapacity(9, 9)).Handle(m, sends, core.WithCapacity(0, 9)); err != nil {
			t.Errorf("a capacity that Handle has overridden was refused: %v", err)
		}
		lab.WantText(t, "a name that is taken", bidi().Handle(m, talks), "registered already")
		for i := range c.Len() {
			c.Start(i)
		}
		lab.WantText(t, "after Start", core.NewUnary[Point, Point]("y").Handle(m, point), "register handlers before Start")
		c.WaitConnected()
		for what, test := range map[string]struct {
			err  error
			text string
		}{
			"a nil option, called": {errOf(unary(nil).Call(t.Context(), c.Conn(0, 1), new(Point))), "an option is nil"},
			"a nil option of Call": {errOf(unary().Call(t.Context(), c.Conn(0, 1), new(Point), nil)), "an option is nil"},
			"a negative time-out, server": {
				only(t, "server", server(core.WithTimeout(-1)).Call(t.Context(), c.Conn(0, 1), new(Point))), "WithTimeout(-1ns)",
			},
			"a nil context": {errOf(bidi().Open(nil, c.Conn(0, 1), new(Point))), "context"}, //nolint:staticcheck // that is the misuse
		} {
			lab.WantText(t, what, test.err, test.text, "not sent")
		}
		_, err := unary().Call(t.Context(), c.Conn(0, 1), new(Point))
		lab.WantFailure(t, "a call of a stream's handler", err, core.ErrUnknownHandler, core.OutcomeRefused)
	})
}

// TestReceivers holds that a second receiver is an error for that one alone, while
// the first one waits and while it decodes.
func TestReceivers(t *testing.T) {
	lab.InBubbles(t, func(t *testing.T, l *lab.Link) {
		c := l.Cluster(t, 2, serve(registerAll), serve(registerOdd))
		name := Label("sum")
		s, err := sum.Open(t.Context(), c.Conn(0, 1), &name)
		if err != nil {
			t.Fatal(err)
		}
		first := lab.Go(func() error { return errOf(s.Recv()) })
		synctest.Wait()
		lab.WantText(t, "a second receiver", errOf(s.Recv()), "another goroutine receives")
		if err := s.CloseSend(); err != nil {
			t.Error(err)
		}
		if err := lab.Wait(t, first, "the first one gets the sum"); err != nil {
			t.Errorf("the first one got %v", err)
		}
		if _, err := s.Recv(); err != io.EOF {
			t.Errorf("the end is %v", err)
		}

		odd, err := oddBidi.Open(t.Context(), c.Conn(0, 1), &name)
		if err == nil {
			err = errors.Join(odd.Send(&Odd{Mode: "first"}), odd.Send(&Odd{Mode: "second"}))
		}
		if err != nil {
			t.Fatal(err)
		}
		o := &Odd{during: func() {
			lab.WantText(t, "while the first one decodes", errOf(odd.Recv()), "another goroutine receives")
		}}
		if err := odd.RecvInto(o); err != nil || o.Mode != "first" {
			t.Errorf("the first one got %v, %v", o, err)
		}
		if o, err = odd.Recv(); err != nil || o.Mode != "second" {
			t.Errorf("the next one got %v, %v", o, err)
		}
		odd.Close()
	})
}
