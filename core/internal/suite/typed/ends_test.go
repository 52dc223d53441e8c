package typed_test

import (
	"context"
	"errors"
	"io"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/coretest"
	"github.com/gridmux/gridmux/core/internal/lab"
)

var (
	ticks = core.NewServerStream[Point, Point]("ends.ticks", core.WithCapacity(0, 4))
	talk  = core.NewBidi[Point, Point, Point]("ends.talk")
)

// serveEnds registers handlers that go on until their context ends, and tell then.
func serveEnds(ended chan<- error) coretest.Option {
	return serve(func(m *core.Manager) error {
		return errors.Join(
			ticks.Handle(m, func(ctx context.Context, p *Point, send func(*Point) error) error {
				for {
					if err := send(p); err != nil {
						<-ctx.Done()
						ended <- ctx.Err()
						return err
					}
				}
			}),
			talk.Handle(m, func(ctx context.Context, p *Point, s *core.TypedStream[Point, Point]) error {
				if err := s.Send(p); err != nil {
					return err
				}
				for _, err := range s.All() {
					if err != nil {
						ended <- ctx.Err()
						return err
					}
				}
				<-ctx.Done()
				ended <- ctx.Err()
				return nil
			}),
		)
	})
}

// TestLeaveEarly holds that to leave the loop over the messages of a stream, be it
// by break, by a panic or by the end of the goroutine, cancels its handler.
func TestLeaveEarly(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		ended := make(chan error, 1)
		c := l.Cluster(t, 2, serveEnds(ended))
		loop := func(leave func()) (broken bool) {
			n := 0
			for _, err := range ticks.Call(t.Context(), c.Conn(0, 1), new(Point)) {
				if err != nil {
					t.Errorf("message %d is the error %v", n, err)
				}
				if n++; n == 10 {
					leave()
					break
				}
			}
			return true
		}
		for what, do := range map[string]func(){
			"break": func() { loop(func() {}) },
			"panic": func() {
				defer func() {
					if recover() != errOdd {
						t.Error("the panic of the loop did not come through")
					}
				}()
				loop(func() { panic(errOdd) })
			},
			"Goexit": func() { loop(runtime.Goexit) },
		} {
			done := make(chan struct{})
			go func() {
				defer close(done)
				do()
			}()
			lab.Wait(t, done, what+": the loop ends")
			if err := lab.Wait(t, ended, what+": the handler's context ends"); err != context.Canceled {
				t.Errorf("%s: the handler's context ended with %v", what, err)
			}
		}
	})
}

// TestCloseTyped holds that to close a typed stream, to leave its loop, and the end
// of its context cancel its handler, and that this side learns of it by its own
// error.
func TestCloseTyped(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		ended := make(chan error, 1)
		c := l.Cluster(t, 2, serveEnds(ended))
		for what, end := range map[string]func(s *core.TypedStream[Point, Point], cancel func()){
			"Close": func(s *core.TypedStream[Point, Point], _ func()) {
				if err := s.Close(); err != nil {
					t.Errorf("Close returned %v", err)
				}
			},
			"break": func(s *core.TypedStream[Point, Point], _ func()) {
				for _, err := range s.All() {
					if err != nil {
						t.Errorf("the first message is the error %v", err)
					}
					break
				}
			},
			"context": func(s *core.TypedStream[Point, Point], cancel func()) {
				cancel()
				lab.Wait(t, s.Done(), "the stream ends")
			},
		} {
			ctx, cancel := context.WithCancel(t.Context())
			s, err := talk.Open(ctx, c.Conn(0, 1), new(Point))
			if err != nil {
				t.Fatal(err)
			}
			if what != "break" {
				if _, err := s.Recv(); err != nil {
					t.Errorf("the first message is the error %v", err)
				}
			}
			end(s, cancel)
			if err := lab.Wait(t, ended, what+": the handler's context ends"); err != context.Canceled {
				t.Errorf("%s: the handler's context ended with %v", what, err)
			}
			for _, err := range []error{errOf(s.Recv()), s.Send(new(Point)), s.Err(), s.RecvInto(new(Point)), only(t, what, s.All())} {
				if err == nil || err == io.EOF || errors.Is(err, context.Canceled) != (what == "context") {
					t.Errorf("%s: this side got %v", what, err)
				}
			}
			if err := s.Close(); err != nil {
				t.Errorf("%s: another Close returned %v", what, err)
			}
			cancel()
		}
	})
}

// TestErrorIsLastPair holds that what ends a server stream comes as the last pair,
// behind all that the handler had sent before: its own error, the loss of the link,
// the end of the caller's context.
func TestErrorIsLastPair(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		own := &core.RemoteError{Code: 1002, Message: "enough"}
		method := core.NewServerStream[Point, Point]("ends.last")
		c := l.Cluster(t, 2, serve(func(m *core.Manager) error {
			return method.Handle(m, func(ctx context.Context, p *Point, send func(*Point) error) error {
				for range 3 {
					if err := send(p); err != nil {
						return err
					}
				}
				if p.X == 0 {
					return own
				}
				<-ctx.Done()
				return nil
			})
		}))
		for _, test := range []struct {
			what string
			end  func(cancel func())
			want error
		}{
			{"an error of the handler", nil, own},
			{"the end of the context", func(cancel func()) { cancel() }, context.Canceled},
			{"a cut link", func(func()) { c.Cut(0, 1) }, core.ErrDisconnected},
		} {
			req := new(Point)
			if test.end != nil {
				req.X = 1
			}
			ctx, cancel := context.WithCancel(t.Context())
			n, last := 0, error(nil)
			for p, err := range method.Call(ctx, c.Conn(0, 1), req) {
				if last != nil {
					t.Errorf("%s: the iteration goes on behind the error", test.what)
				}
				if last = err; err != nil {
					if p != nil {
						t.Errorf("%s: got %v beside the error", test.what, p)
					}
					continue
				}
				if n++; n == 3 && test.end != nil {
					test.end(cancel)
				}
			}
			cancel()
			if n != 3 || !errors.Is(last, test.want) {
				t.Errorf("%s: %d messages and then %v, want 3 and %v", test.what, n, last, test.want)
			}
		}
	})
}

// TestKept holds that a request may be kept by its handler, and a response and a
// message by their caller: nothing that later calls do changes them.
func TestKept(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		const calls = 50
		requests := make(chan *Document, calls)
		keep := core.NewUnary[Document, Document]("ends.keep")
		c := l.Cluster(t, 2, serve(registerAll), serve(func(m *core.Manager) error {
			return keep.Handle(m, func(_ context.Context, d *Document) (*Document, error) {
				requests <- d
				return d, nil
			})
		}))
		s, err := mirror.Open(t.Context(), c.Conn(0, 1), new(Point))
		if err != nil {
			t.Fatal(err)
		}
		var responses, messages []*Document
		for i := range calls {
			d, err := keep.Call(t.Context(), c.Conn(0, 1), document(i, i*50))
			if err == nil {
				err = s.Send(document(i, i*50))
			}
			if err != nil {
				t.Fatal(err)
			}
			m, err := s.Recv()
			if err != nil {
				t.Fatal(err)
			}
			responses, messages = append(responses, d), append(messages, m)
		}
		for i := range calls {
			want := document(i, i*50)
			if !same(<-requests, want) || !same(responses[i], want) || !same(messages[i], want) {
				t.Errorf("what was kept of call %d has changed", i)
			}
		}
	})
}

// TestNoGoroutines holds that typed streams need no goroutine on the calling side:
// there are as many as handlers that run, and a reader and a writer at either end
// of a lane.
func TestNoGoroutines(t *testing.T) {
	lab.InBubbles(t, func(t *testing.T, l *lab.Link) {
		const streams = 50
		each := 1
		if l.Name == lab.LanesLink().Name {
			each += 4
		}
		ended := make(chan error, 2*streams)
		c := l.Cluster(t, 2, serveEnds(ended))
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		synctest.Wait()
		before := lab.Goroutines()
		for range streams {
			if _, err := talk.Open(ctx, c.Conn(0, 1), new(Point)); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if more := lab.Goroutines() - before; more > each*streams {
			t.Errorf("%d streams need %d goroutines, want %d for each", streams, more, each)
		}
		// A loop runs in the goroutine that it stands in.
		before = lab.Goroutines()
		n := 0
		for _, err := range ticks.Call(ctx, c.Conn(0, 1), new(Point)) {
			if err != nil {
				t.Fatal(err)
			}
			if n++; n == 20 {
				synctest.Wait()
				if more := lab.Goroutines() - before; more > each {
					t.Errorf("a loop over a stream needs %d goroutines, want %d", more, each)
				}
				break
			}
		}
	})
}

// TestSendAfterTheReturn holds that what a handler has left behind sends nothing when the
// handler has returned, also while an interceptor around it has not.
func TestSendAfterTheReturn(t *testing.T) {
	lab.InBubbles(t, func(t *testing.T, l *lab.Link) {
		late := make(chan error, 1)
		c := l.Cluster(t, 2, coretest.WithConfig(func(_ int, cfg *core.Config) {
			cfg.Intercept = []core.Interceptor{func(ctx context.Context, info core.CallInfo, next func(context.Context) error) error {
				err := next(ctx)
				if info.Incoming {
					time.Sleep(time.Second)
				}
				return err
			}}
		}), serve(func(m *core.Manager) error {
			return ticks.Handle(m, func(_ context.Context, p *Point, send func(*Point) error) error {
				go func() {
					time.Sleep(100 * time.Millisecond)
					late <- send(p)
				}()
				return nil
			})
		}))
		for _, err := range ticks.Call(t.Context(), c.Conn(0, 1), &Point{}) {
			t.Errorf("something came, and %v", err)
		}
		if err := lab.Wait(t, late, "send returns"); err == nil {
			t.Error("send succeeded after the handler had returned")
		}
	})
}
