package typed_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/tinylib/msgp/msgp"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/internal/lab"
)

// encoded is m as bytes, or the end of the test.
func encoded(t testing.TB, m msgp.Marshaler) []byte {
	t.Helper()
	b, err := m.MarshalMsg(nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// noDocuments are payloads that are no Document, by what is wrong with them.
func noDocuments(t testing.TB) map[string][]byte {
	whole := encoded(t, document(1, 20))
	label := Label("text")
	bad := map[string][]byte{
		"nil":                   nil,
		"trailing byte":         append(append([]byte{}, whole...), 0),
		"two messages":          append(append([]byte{}, whole...), whole...),
		"another kind":          encoded(t, &label),
		"a number":              {1},
		"no MessagePack":        {0xc1},
		"a field of other type": msgp.AppendInt(msgp.AppendString([]byte{0x81}, "Title"), 5),
		"a map of 4 billion":    {0xdf, 0xff, 0xff, 0xff, 0xff},
		"a large body cut off":  encoded(t, document(2, 100<<10))[:90<<10],
	}
	for n := range whole {
		bad[fmt.Sprintf("cut off at byte %d", n)] = whole[:n]
	}
	return bad
}

// TestMalformedRequest holds that a request of another type, one that is cut off
// and one with bytes behind it do not reach the handler, and that the caller is
// told so by name: it may repeat the call elsewhere (W32).
func TestMalformedRequest(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		unary := core.NewUnary[Document, Point]("bad.unary")
		server := core.NewServerStream[Document, Point]("bad.server")
		bidi := core.NewBidi[Document, Point, Point]("bad.bidi")
		c := l.Cluster(t, 2, serve(func(m *core.Manager) error {
			return errors.Join(
				unary.Handle(m, func(_ context.Context, d *Document) (*Point, error) {
					t.Errorf("the handler ran with %v", d)
					return new(Point), nil
				}),
				server.Handle(m, func(_ context.Context, d *Document, _ func(*Point) error) error {
					t.Errorf("the handler of a server stream ran with %v", d)
					return nil
				}),
				bidi.Handle(m, func(_ context.Context, d *Document, _ *core.TypedStream[Point, Point]) error {
					t.Errorf("the handler of a stream ran with %v", d)
					return nil
				}))
		}))
		for what, payload := range noDocuments(t) {
			_, err := c.Conn(0, 1).Request(t.Context(), unary.ID(), payload)
			lab.WantFailure(t, what, err, core.ErrMalformedMessage, core.OutcomeRefused)
			lab.WantText(t, what, err, "typed_test.Document", "bad.unary", c.Node(1).Name)
			for _, id := range []core.HandlerID{server.ID(), bidi.ID()} {
				s, err := c.Conn(0, 1).OpenStream(t.Context(), id, payload)
				if err == nil {
					_, err = s.Recv(nil)
				}
				lab.WantFailure(t, what+", of a stream", err, core.ErrMalformedMessage, core.OutcomeRefused)
			}
		}
		// As it happens where two nodes were built from different sources.
		other := core.NewUnary[Label, Point](unary.ID())
		label := Label("text")
		_, err := other.Call(t.Context(), c.Conn(0, 1), &label)
		lab.WantFailure(t, "a caller with another type", err, core.ErrMalformedMessage, core.OutcomeRefused)
		lab.WantText(t, "a caller with another type", err, "5 bytes are no typed_test.Document", "use the same type on both nodes")
		for _, err := range core.NewServerStream[Label, Point](server.ID()).Call(t.Context(), c.Conn(0, 1), &label) {
			lab.WantFailure(t, "the caller of a server stream with another type", err, core.ErrMalformedMessage, core.OutcomeRefused)
		}
		s, err := core.NewBidi[Label, Point, Point](bidi.ID()).Open(t.Context(), c.Conn(0, 1), &label)
		if err == nil {
			_, err = s.Recv()
		}
		lab.WantFailure(t, "the caller of a stream with another type", err, core.ErrMalformedMessage, core.OutcomeRefused)
	})
}

// TestMalformedResponse holds that an answer that is not of the caller's type is an
// error by name, which does not say that the handler has not run.
func TestMalformedResponse(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		c := l.Cluster(t, 2)
		echo := core.NewUnary[msgp.Raw, Document]("echo")
		for what, payload := range noDocuments(t) {
			if len(payload) == 0 {
				continue // the other type cannot be that
			}
			req := msgp.Raw(payload)
			got, err := echo.Call(t.Context(), c.Conn(0, 1), &req)
			if got != nil {
				t.Errorf("%s: got %v beside the error", what, got)
			}
			lab.WantFailure(t, what, err, core.ErrMalformedMessage, core.OutcomeMaybeRun)
			lab.WantText(t, what, err, "the handler has answered", "typed_test.Document", "echo", c.Node(1).Name)
		}
	})
}

// TestMalformedFromHandler holds that a message of another type ends the stream at
// the caller, behind what was right before it, and that the handler's context is
// cancelled.
func TestMalformedFromHandler(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		const id = "bad.sender"
		ended := make(chan error, 1)
		payload := make(chan []byte, 1)
		c := l.Cluster(t, 2, serve(func(m *core.Manager) error {
			return m.HandleStreamFunc(id, func(ctx context.Context, _ []byte, s *core.RawStream) error {
				if err := s.Send(encoded(t, document(0, 10))); err != nil {
					return err
				}
				if err := s.Send(<-payload); err != nil {
					return err
				}
				<-ctx.Done()
				ended <- ctx.Err()
				return nil
			})
		}))
		server := core.NewServerStream[Point, Document](id)
		bidi := core.NewBidi[Point, Point, Document](id)
		for what, bad := range noDocuments(t) {
			payload <- bad
			n := 0
			for d, err := range server.Call(t.Context(), c.Conn(0, 1), &Point{}) {
				switch n++; n {
				case 1:
					if err != nil || d.Title != "document 0" {
						t.Errorf("%s: the message before it is %v, %v", what, d, err)
					}
				case 2:
					if d != nil {
						t.Errorf("%s: got %v beside the error", what, d)
					}
					lab.WantFailure(t, what, err, core.ErrMalformedMessage, core.OutcomeMaybeRun)
				default:
					t.Errorf("%s: the iteration went on with %v, %v", what, d, err)
				}
			}
			if n != 2 {
				t.Errorf("%s: the iteration ended after %d pairs", what, n)
			}
			if err := lab.Wait(t, ended, "the handler is cancelled"); err != context.Canceled {
				t.Errorf("%s: the handler's context ended with %v", what, err)
			}

			payload <- bad
			s, err := bidi.Open(t.Context(), c.Conn(0, 1), &Point{})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.Recv(); err != nil {
				t.Errorf("%s: the message before it cannot be received: %v", what, err)
			}
			for _, err := range []error{errOf(s.Recv()), errOf(s.Recv()), s.Send(&Point{}), s.Err()} {
				lab.WantFailure(t, what, err, core.ErrMalformedMessage, core.OutcomeMaybeRun)
			}
			lab.Wait(t, s.Done(), "the stream ends")
			lab.Wait(t, ended, "the handler of a stream is cancelled")
		}
	})
}

func errOf[T any](_ T, err error) error { return err }

// TestMalformedAfterEnd holds that a message of another type is an error by name
// also where the handler has returned before it is received.
func TestMalformedAfterEnd(t *testing.T) {
	lab.InBubbles(t, func(t *testing.T, l *lab.Link) {
		c := l.Cluster(t, 2, serve(func(m *core.Manager) error {
			return m.HandleStreamFunc("bad.end", func(_ context.Context, _ []byte, s *core.RawStream) error {
				return errors.Join(s.Send([]byte{1}), s.Send(encoded(t, &Point{})))
			})
		}))
		s, err := core.NewBidi[Point, Point, Point]("bad.end").Open(t.Context(), c.Conn(0, 1), &Point{})
		if err != nil {
			t.Fatal(err)
		}
		lab.Wait(t, s.Done(), "the handler has returned")
		for range 2 {
			p, err := s.Recv()
			if p != nil {
				t.Errorf("a message behind the malformed one was received: %v", p)
			}
			lab.WantFailure(t, "received after the end", err, core.ErrMalformedMessage, core.OutcomeMaybeRun)
		}
	})
}

// TestMalformedToHandler holds that a message of another type ends the stream at the
// handler, whose context ends with it, and that the caller gets the error, unless
// the handler returned another one (W33).
func TestMalformedToHandler(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		bidi := core.NewBidi[Label, Document, Label]("bad.receiver")
		c := l.Cluster(t, 2, serve(func(m *core.Manager) error {
			return bidi.Handle(m, func(ctx context.Context, how *Label, s *core.TypedStream[Label, Document]) error {
				if err := s.Send(how); err != nil {
					return err
				}
				if _, err := s.Recv(); err != nil {
					t.Errorf("the message before it cannot be received: %v", err)
				}
				_, err := s.Recv()
				for _, err := range []error{err, errOf(s.Recv()), s.Send(how), s.Err(), context.Cause(ctx)} {
					if !errors.Is(err, core.ErrMalformedMessage) {
						t.Errorf("the handler's stream and its context ended with %v", err)
					}
				}
				switch *how {
				case "as it is":
					return err
				case "wrapped":
					return fmt.Errorf("no document: %w", err)
				case "ignored":
					return nil
				case "of its context":
					return ctx.Err()
				}
				return &core.RemoteError{Code: 1234, Message: "something else"}
			})
		}))
		for what, bad := range noDocuments(t) {
			for _, how := range []Label{"as it is", "wrapped", "ignored", "of its context", "something else"} {
				s, err := c.Conn(0, 1).OpenStream(t.Context(), bidi.ID(), encoded(t, &how))
				if err != nil {
					t.Fatal(err)
				}
				if err := errors.Join(s.Send(encoded(t, document(3, 3))), s.Send(bad)); err != nil {
					t.Errorf("%s: Send failed: %v", what, err)
				}
				// What the handler has sent before is delivered.
				if msg, err := s.Recv(nil); err != nil || string(msg) != string(encoded(t, &how)) {
					t.Errorf("%s, %s: got message %q, %v", what, how, msg, err)
				}
				_, err = s.Recv(nil)
				remote := lab.WantRemote(t, what+", "+string(how), err)
				if how == "something else" {
					if remote.Code != 1234 || errors.Is(err, core.ErrMalformedMessage) {
						t.Errorf("%s: got %v, want the handler's own error", what, err)
					}
					continue
				}
				lab.WantFailure(t, what+", "+string(how), err, core.ErrMalformedMessage, core.OutcomeRemote)
				lab.WantText(t, what+", "+string(how), err, "typed_test.Document", "bad.receiver on "+c.Node(1).Name)
			}
		}
	})
}

// TestMalformedElsewhere holds that the error of a handler whose own call to another
// node failed by a malformed message is not taken for one of its stream.
func TestMalformedElsewhere(t *testing.T) {
	lab.InBubbles(t, func(t *testing.T, l *lab.Link) {
		bidi := core.NewBidi[Point, Point, Point]("bad.nested")
		c := l.Cluster(t, 2, serve(func(m *core.Manager) error {
			return bidi.Handle(m, func(ctx context.Context, _ *Point, s *core.TypedStream[Point, Point]) error {
				if _, err := s.Recv(); err != io.EOF {
					t.Errorf("the stream ended with %v", err)
				}
				echo := core.NewUnary[Point, Label]("echo")
				_, err := echo.Call(ctx, m.Connection(core.PeerFromContext(ctx)), &Point{})
				if !errors.Is(err, core.ErrMalformedMessage) {
					t.Errorf("the nested call returned %v", err)
				}
				return err
			})
		}))
		s, err := bidi.Open(t.Context(), c.Conn(0, 1), &Point{})
		if err == nil {
			err = s.CloseSend()
		}
		if err != nil {
			t.Fatal(err)
		}
		_, err = s.Recv()
		if remote := lab.WantRemote(t, "a nested call", err); remote.Code != core.CodeNone || errors.Is(err, core.ErrMalformedMessage) {
			t.Errorf("got %v, want an error of the handler", err)
		}
	})
}
