package typed_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/tinylib/msgp/msgp"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/internal/lab"
)

var (
	oddUnary  = core.NewUnary[Odd, Odd]("odd.unary")
	oddMake   = core.NewUnary[Label, Odd]("odd.make") // an Odd of that mode
	oddServer = core.NewServerStream[Label, Odd]("odd.server")
	oddBidi   = core.NewBidi[Label, Odd, Odd]("odd.bidi")
)

func registerOdd(m *core.Manager) error {
	return errors.Join(
		oddUnary.Handle(m, func(_ context.Context, o *Odd) (*Odd, error) { return o, nil }),
		oddMake.Handle(m, func(_ context.Context, mode *Label) (*Odd, error) { return &Odd{Mode: string(*mode)}, nil }),
		oddServer.Handle(m, func(_ context.Context, mode *Label, send func(*Odd) error) error {
			return errors.Join(send(&Odd{Mode: string(*mode)}), send(&Odd{Mode: "after"}))
		}),
		oddBidi.Handle(m, func(_ context.Context, _ *Label, s *core.TypedStream[Odd, Odd]) error {
			for o, err := range s.All() {
				if err == nil {
					err = s.Send(o)
				}
				if err != nil {
					return err
				}
			}
			return nil
		}),
	)
}

// panicOf returns what f panicked with.
func panicOf(f func()) (v any) {
	defer func() { v = recover() }()
	f()
	return nil
}

// soundness calls with messages of all sizes that buffers have, and holds that each
// comes back as it was sent: a buffer that two use would show.
func soundness(t *testing.T, c *lab.Cluster) {
	t.Helper()
	var done []<-chan error
	for caller := range 4 {
		done = append(done, lab.Go(func() error {
			for i := range 30 {
				data := lab.Pattern(caller<<8|i, 1<<(i%13))
				o, err := oddUnary.Call(t.Context(), c.Conn(0, 1), &Odd{Mode: "sound", Data: data})
				if err == nil {
					err = o.want("sound", data)
				}
				if err != nil {
					return fmt.Errorf("caller %d, call %d: %w", caller, i, err)
				}
			}
			return nil
		}))
	}
	for _, ch := range done {
		if err := lab.Wait(t, ch, "calls return"); err != nil {
			t.Error(err)
		}
	}
}

// TestPanicOfCaller holds that a panic in the methods of a message comes through to
// the caller, and that no buffer, call or stream is the worse for it.
func TestPanicOfCaller(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		c := l.Cluster(t, 2, serve(registerOdd))
		conn, ctx := c.Conn(0, 1), t.Context()
		label := Label(unmarshalPanics)
		s, err := oddBidi.Open(ctx, conn, &label)
		if err != nil {
			t.Fatal(err)
		}
		sendsOdd, err := oddServerRaw(ctx, conn)
		if err != nil {
			t.Fatal(err)
		}
		for range 20 {
			for what, f := range map[string]func(){
				"a request":  func() { _, _ = oddUnary.Call(ctx, conn, &Odd{Mode: marshalPanics}) },
				"a response": func() { _, _ = oddMake.Call(ctx, conn, &label) },
				"a message":  func() { _ = s.Send(&Odd{Mode: marshalPanics}) },
				"what is ranged": func() {
					for range oddServer.Call(ctx, conn, &label) {
						t.Error("there is a message")
					}
				},
			} {
				if v := panicOf(f); v != errOdd {
					t.Errorf("%s: the panic of its method came through as %v", what, v)
				}
			}
		}
		if v := panicOf(func() { _, _ = sendsOdd.Recv() }); v != errOdd {
			t.Errorf("a message that is received: the panic of its method came through as %v", v)
		}
		// What stood behind it is there.
		if o, err := sendsOdd.Recv(); err != nil || o.Mode != "after" {
			t.Errorf("after the panic of Recv got %v, %v", o, err)
		}
		if err := errors.Join(s.Send(&Odd{Mode: "alive"}), s.CloseSend()); err != nil {
			t.Errorf("after the panic of Send: %v", err)
		}
		if o, err := s.Recv(); err != nil || o.Mode != "alive" {
			t.Errorf("after the panic of Send got %v, %v", o, err)
		}
		if _, err := s.Recv(); err != io.EOF {
			t.Errorf("the stream ended with %v", err)
		}
		soundness(t, c)
		sendsOdd.Close()
		// The streams of the loops that panicked are over too.
		lab.Until(t, "no stream is left", func() bool { return len(c.Manager(0).Stats().Peers[0].Streams) == 0 })
	})
}

// oddServerRaw opens the stream of messages whose first one is odd as one that is
// received message by message.
func oddServerRaw(ctx context.Context, to core.Caller) (*core.TypedStream[Odd, Odd], error) {
	label := Label(unmarshalPanics)
	return core.NewBidi[Label, Odd, Odd](oddServer.ID()).Open(ctx, to, &label)
}

// TestPanicOfHandler holds that a panic in the methods of a message on the serving
// side is one of the handler: this call fails, with a code for it, and nothing else.
func TestPanicOfHandler(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		c := l.Cluster(t, 2, serve(registerOdd))
		conn, ctx := c.Conn(0, 1), t.Context()
		label := Label(marshalPanics)
		request := encoded(t, &Odd{Mode: unmarshalPanics})
		for range 20 {
			s, err := oddBidi.Open(ctx, conn, &label)
			if err == nil {
				err = s.Send(&Odd{Mode: unmarshalPanics})
			}
			if err != nil {
				t.Fatal(err)
			}
			for what, err := range map[string]error{
				"a request":              errOf(conn.Request(ctx, oddUnary.ID(), request)),
				"a typed request":        errOf(oddUnary.Call(ctx, conn, &Odd{Mode: unmarshalPanics})),
				"a response":             errOf(oddMake.Call(ctx, conn, &label)),
				"a message that is sent": only(t, "a server stream", oddServer.Call(ctx, conn, &label)),
				"a message to a handler": errOf(s.Recv()),
			} {
				if remote := lab.WantRemote(t, what, err); remote.Code != core.CodePanic {
					t.Errorf("%s: got %v, want that the handler panicked", what, err)
				}
			}
		}
		soundness(t, c)
	})
}

// TestEncodingFails holds that a message that cannot be encoded is an error that has
// the cause: a request is not sent, a response is an error of the handler, and one
// on a stream leaves that as it is.
func TestEncodingFails(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		told := make(chan error, 1)
		tries := core.NewServerStream[Label, Odd]("odd.tries")
		opens := core.NewBidi[Odd, Odd, Odd](oddBidi.ID())
		ranges := core.NewServerStream[Odd, Odd](oddServer.ID())
		c := l.Cluster(t, 2, serve(registerOdd), serve(func(m *core.Manager) error {
			return tries.Handle(m, func(_ context.Context, _ *Label, send func(*Odd) error) error {
				told <- send(&Odd{Mode: marshalFails})
				return send(&Odd{Mode: "after"})
			})
		}))
		conn, ctx := c.Conn(0, 1), t.Context()
		bad, label := &Odd{Mode: marshalFails}, Label(marshalFails)
		for what, err := range map[string]error{
			"a unary request":                errOf(oddUnary.Call(ctx, conn, bad)),
			"the request of a server stream": only(t, "a server stream", ranges.Call(ctx, conn, bad)),
			"the request of a stream":        errOf(opens.Open(ctx, conn, bad)),
		} {
			lab.WantFailure(t, what, err, errOdd, core.OutcomeNotSent)
			lab.WantText(t, what, err, "a typed_test.Odd cannot be encoded", "odd.", c.Node(1).Name)
		}
		_, err := oddMake.Call(ctx, conn, &label)
		lab.WantText(t, "a response", lab.WantRemote(t, "a response", err), "a typed_test.Odd cannot be encoded: odd on purpose")
		s, err := oddBidi.Open(ctx, conn, &label)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Send(bad); !errors.Is(err, errOdd) {
			t.Errorf("Send returned %v", err)
		}
		if err := s.Send(&Odd{Mode: "after"}); err != nil {
			t.Errorf("after a message that cannot be encoded: %v", err)
		}
		if o, err := s.Recv(); err != nil || o.Mode != "after" {
			t.Errorf("after a message that cannot be encoded got %v, %v", o, err)
		}
		s.Close()
		n := 0
		for o, err := range tries.Call(ctx, conn, &label) {
			if n++; err != nil || o.Mode != "after" {
				t.Errorf("after a message of the handler that cannot be encoded got %v, %v", o, err)
			}
		}
		if err := lab.Wait(t, told, "the handler is told"); !errors.Is(err, errOdd) || n != 1 {
			t.Errorf("the handler's send returned %v; %d messages arrived", err, n)
		}
		// What decoding fails with is there for who wants to know more.
		_, err = oddMake.Call(ctx, conn, new(Label(unmarshalFails)))
		lab.WantFailure(t, "a response that its type refuses", err, core.ErrMalformedMessage, core.OutcomeMaybeRun)
		lab.WantFailure(t, "a response that its type refuses", err, errOdd, core.OutcomeMaybeRun)
		soundness(t, c)
	})
}

// TestMemoryOfTypes holds that a type may say a wrong size, and may return memory of
// its own from MarshalMsg, on both sides: what is its own is not recycled.
func TestMemoryOfTypes(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		const size = 8 << 10 // as some buffers of the library
		own := make([]byte, 0, size)
		own = msgp.AppendBytes(msgp.AppendString(own, "own"), lab.Pattern(9, size/2))
		kept := bytes.Clone(own[:size])
		made := core.NewUnary[Label, Odd]("odd.own")
		c := l.Cluster(t, 2, serve(registerOdd), serve(func(m *core.Manager) error {
			return made.Handle(m, func(context.Context, *Label) (*Odd, error) { return &Odd{own: own}, nil })
		}))
		s, err := oddBidi.Open(t.Context(), c.Conn(0, 1), new(Label("")))
		if err != nil {
			t.Fatal(err)
		}
		for i := range 200 {
			for _, mode := range []string{sizeTooLow, sizeNegative} {
				data := lab.Pattern(i, 100*i)
				o, err := oddUnary.Call(t.Context(), c.Conn(0, 1), &Odd{Mode: mode, Data: data})
				if err == nil {
					err = o.want(mode, data)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			for what, call := range map[string]func() (*Odd, error){
				"a request":  func() (*Odd, error) { return oddUnary.Call(t.Context(), c.Conn(0, 1), &Odd{own: own}) },
				"a response": func() (*Odd, error) { return made.Call(t.Context(), c.Conn(0, 1), new(Label(""))) },
				"a message": func() (*Odd, error) {
					if err := s.Send(&Odd{own: own}); err != nil {
						return nil, err
					}
					return s.Recv()
				},
			} {
				o, err := call()
				if err == nil {
					err = o.want("own", lab.Pattern(9, size/2))
				}
				if err != nil {
					t.Fatalf("%s: %v", what, err)
				}
			}
		}
		if !bytes.Equal(own[:size], kept) {
			t.Error("memory of the type was written to")
		}
	})
}
