package typed_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/internal/lab"
)

var (
	swap   = core.NewUnary[Point, Point]("typed.swap")
	upper  = core.NewUnary[Document, Document]("typed.upper")
	length = core.NewUnary[Label, Point]("typed.length")
	count  = core.NewServerStream[Point, Point]("typed.count")
	split  = core.NewServerStream[Document, Label]("typed.split", core.WithCapacity(0, 2))
	sum    = core.NewBidi[Label, Point, Point]("typed.sum")
	mirror = core.NewBidi[Point, Document, Document]("typed.mirror")
)

// registerAll registers handlers that do what their methods are named after.
func registerAll(m *core.Manager) error {
	for _, err := range []error{
		swap.Handle(m, func(_ context.Context, p *Point) (*Point, error) {
			return &Point{X: p.Y, Y: p.X, Weight: p.Weight, Valid: p.Valid}, nil
		}, core.WithInline()),
		upper.Handle(m, func(_ context.Context, d *Document) (*Document, error) {
			d.Title = strings.ToUpper(d.Title)
			return d, nil
		}),
		length.Handle(m, func(_ context.Context, l *Label) (*Point, error) { return &Point{X: int64(len(*l))}, nil }),
		count.Handle(m, func(_ context.Context, p *Point, send func(*Point) error) error {
			for i := p.X; i < p.Y; i++ {
				if err := send(&Point{X: i}); err != nil {
					return err
				}
			}
			return nil
		}),
		split.Handle(m, func(_ context.Context, d *Document, send func(*Label) error) error {
			for word := range strings.FieldsSeq(d.Title) {
				label := Label(word)
				if err := send(&label); err != nil {
					return err
				}
			}
			return nil
		}),
		sum.Handle(m, func(_ context.Context, name *Label, s *core.TypedStream[Point, Point]) error {
			var total Point
			for p, err := range s.All() {
				if err != nil {
					return err
				}
				total.X += p.X
				total.Y += p.Y
			}
			if *name != "sum" {
				return fmt.Errorf("%s is no sum", *name)
			}
			return s.Send(&total)
		}),
		mirror.Handle(m, func(_ context.Context, _ *Point, s *core.TypedStream[Document, Document]) error {
			for {
				d, err := s.Recv()
				if err == io.EOF {
					return nil
				} else if err != nil {
					return err
				}
				if err := s.Send(d); err != nil {
					return err
				}
			}
		}),
	} {
		if err != nil {
			return err
		}
	}
	return nil
}

func document(i, size int) *Document {
	return &Document{
		Title: fmt.Sprintf("document %d", i), Tags: []string{"a", "", fmt.Sprint(i)},
		Fields: map[string]string{"key": "value", fmt.Sprint(i): ""}, Body: lab.Pattern(i, size),
	}
}

// same reports whether two documents are, for which msgp does not tell empty from
// nil.
func same(a, b *Document) bool {
	return a.Title == b.Title && slices.Equal(a.Tags, b.Tags) && maps.Equal(a.Fields, b.Fields) && bytes.Equal(a.Body, b.Body)
}

// TestUnaryRoundTrip holds that a typed call brings the handler its request and
// the caller its response, whatever their size and kind, by Call and CallInto, over
// every link and to the node itself.
func TestUnaryRoundTrip(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		c := l.Cluster(t, 2, serve(registerAll))
		for _, to := range []int{0, 1} {
			conn := c.Conn(0, to)
			p, err := swap.Call(t.Context(), conn, &Point{X: 1, Y: -2, Weight: 0.5, Valid: true})
			if want := (Point{X: -2, Y: 1, Weight: 0.5, Valid: true}); err != nil || *p != want {
				t.Errorf("swap returned %v, %v, want %v", p, err, want)
			}
			label := Label("four")
			if p, err = length.Call(t.Context(), conn, &label); err != nil || p.X != 4 {
				t.Errorf("length returned %v, %v, want 4", p, err)
			}
			// The same place for all, as a caller that minds its memory has it.
			var into Document
			for i, size := range []int{0, 1, 400, 40 << 10, 1 << 20, 100} {
				req := document(i, size)
				want := document(i, size)
				want.Title = strings.ToUpper(want.Title)
				got, err := upper.Call(t.Context(), conn, req)
				if err != nil || !same(got, want) {
					t.Errorf("a document of %d bytes came back wrong: %v", size, err)
				}
				if err := upper.CallInto(t.Context(), conn, req, &into); err != nil || !same(&into, want) {
					t.Errorf("a document of %d bytes came back wrong into an old one: %v", size, err)
				}
				if !same(req, document(i, size)) {
					t.Errorf("the request of %d bytes was changed by the call", size)
				}
			}
		}
	})
}

// TestServerStreamRoundTrip holds that the caller gets all that the handler sends,
// in order, and then a clean end, over every link and to the node itself.
func TestServerStreamRoundTrip(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		c := l.Cluster(t, 2, serve(registerAll))
		for _, to := range []int{0, 1} {
			conn := c.Conn(0, to)
			next := int64(-10)
			for p, err := range count.Call(t.Context(), conn, &Point{X: -10, Y: 1000}) {
				if err != nil || *p != (Point{X: next}) {
					t.Fatalf("message %d is %v, %v", next, p, err)
				}
				next++
			}
			if next != 1000 {
				t.Errorf("the stream ended before message %d", next)
			}
			var words []Label
			for l, err := range split.Call(t.Context(), conn, &Document{Title: "one two three four five"}) {
				if err != nil {
					t.Fatalf("the stream ended with %v", err)
				}
				words = append(words, *l)
			}
			if want := []Label{"one", "two", "three", "four", "five"}; !slices.Equal(words, want) {
				t.Errorf("got the words %q, want %q", words, want)
			}
		}
	})
}

// TestBidiRoundTrip holds that both sides get what the other sends, small and large,
// and both kinds of end, over every link and to the node itself.
func TestBidiRoundTrip(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		c := l.Cluster(t, 2, serve(registerAll))
		for _, to := range []int{0, 1} {
			name := Label("sum")
			s, err := sum.Open(t.Context(), c.Conn(0, to), &name)
			if err != nil {
				t.Fatal(err)
			}
			name = "changed" // the request was sent by then
			p := new(Point)
			for i := range 500 {
				*p = Point{X: int64(i), Y: 1}
				if err := s.Send(p); err != nil {
					t.Fatal(err)
				}
			}
			if err := s.CloseSend(); err != nil {
				t.Fatal(err)
			}
			if err := s.RecvInto(p); err != nil || *p != (Point{X: 499 * 250, Y: 500}) {
				t.Errorf("the sum is %v, %v", p, err)
			}
			if p, err := s.Recv(); p != nil || err != io.EOF {
				t.Errorf("behind the last message there is %v, %v, want io.EOF", p, err)
			}
			lab.Wait(t, s.Done(), "the stream ends")
			if err := s.Err(); err != nil {
				t.Errorf("a clean end left the error %v", err)
			}

			other := Label("difference")
			if s, err = sum.Open(t.Context(), c.Conn(0, to), &other); err != nil {
				t.Fatal(err)
			}
			if err := s.CloseSend(); err != nil {
				t.Fatal(err)
			}
			_, err = s.Recv()
			lab.WantText(t, "an error of the handler", lab.WantRemote(t, "an error of the handler", err), "difference is no sum")
		}
	})
}

// TestBidiLarge holds that messages of every size come back as they were, also
// where one end falls behind, and large ones between small ones.
func TestBidiLarge(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		c := l.Cluster(t, 2, serve(registerAll))
		s, err := mirror.Open(t.Context(), c.Conn(0, 1), &Point{})
		if err != nil {
			t.Fatal(err)
		}
		sizes := []int{0, 100, 40 << 10, 1, 1 << 20, 33 << 10, 400, 300 << 10, 7}
		sent := lab.Go(func() error {
			for i := range 3 * len(sizes) {
				if err := s.Send(document(i, sizes[i%len(sizes)])); err != nil {
					return err
				}
			}
			return s.CloseSend()
		})
		i := 0
		for d, err := range s.All() {
			if want := document(i, sizes[i%len(sizes)]); err != nil || !same(d, want) {
				t.Fatalf("message %d is wrong: %v", i, err)
			}
			i++
		}
		if err := lab.Wait(t, sent, "all is sent"); err != nil || i != 3*len(sizes) {
			t.Errorf("%d messages of %d came back; sending them ended with %v", i, 3*len(sizes), err)
		}
	})
}
