package streams_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/coretest"
	"github.com/gridmux/gridmux/core/internal/lab"
)

var (
	errNoDisk = &core.RemoteError{Code: 1001, Message: "no disk", Detail: []byte("sda")}
	errCause  = errors.New("the user went home")
)

// kinds are the errors that callers compare with.
var kinds = []error{
	context.Canceled, context.DeadlineExceeded, io.EOF, net.ErrClosed, fs.ErrNotExist, os.ErrDeadlineExceeded, errNoDisk, errCause,
	core.ErrDisconnected, core.ErrUnknownPeer, core.ErrUnknownHandler, core.ErrMessageTooLarge, core.ErrOverloaded,
	core.ErrDraining, core.ErrNotStarted, core.ErrClosed,
}

// wantKinds holds an error to be what it shall be, and nothing else.
func wantKinds(t testing.TB, what string, err error, want ...error) {
	t.Helper()
	for _, kind := range kinds {
		if is := errors.Is(err, kind); is != slices.Contains(want, kind) {
			t.Errorf("%s: that error %v is %q: got %v, want %v", what, err, kind, is, !is)
		}
	}
}

// wantCallError holds an error to be a CallError that names handler and peer.
func wantCallError(t testing.TB, what string, err error, h core.HandlerID, outcome core.Outcome) {
	t.Helper()
	call, ok := errors.AsType[*core.CallError](err)
	if !ok || call.Handler != h || call.Peer != "node-1" && call.Peer != "node-0" {
		t.Errorf("%s: error %#v does not name handler %q and its node", what, err, h)
	}
	if got := core.OutcomeOf(err); got != outcome {
		t.Errorf("%s: got outcome %q of error %v, want %q", what, got, err, outcome)
	}
}

// TestHandlerEnds has handlers return without an error, and with errors of every
// kind. The caller gets what was sent before and then the same error, whichever
// method it asks (D37, D15).
func TestHandlerEnds(t *testing.T) {
	table := map[string]struct {
		err  error
		code core.Code
		is   []error
		text string
	}{
		"nil":                       {},
		"plain":                     {err: errors.New("plain"), text: "plain"},
		"code and detail":           {err: errNoDisk, code: 1001, is: []error{errNoDisk}, text: "no disk"},
		"code, wrapped":             {err: fmt.Errorf("list: %w", errNoDisk), code: 1001, is: []error{errNoDisk}, text: "list: no disk"},
		"code, joined":              {err: errors.Join(io.EOF, errNoDisk), code: 1001, is: []error{errNoDisk}, text: "EOF\nno disk"},
		"io.EOF of its own":         {err: io.EOF, text: "EOF"},
		"context.Canceled":          {err: context.Canceled, text: "context canceled"},
		"DeadlineExceeded":          {err: context.DeadlineExceeded, text: "context deadline exceeded"},
		"ErrDisconnected":           {err: fmt.Errorf("its own call: %w", core.ErrDisconnected), text: "its own call: not connected"},
		"forged code":               {err: &core.RemoteError{Code: 11, Message: "forged"}, text: "forged"},
		"a nil RemoteError":         {err: (*core.RemoteError)(nil), text: "<nil>"},
		"an error of another call":  {err: &core.CallError{Outcome: core.OutcomeNotSent, Err: core.ErrOverloaded}, text: "overloaded"},
		"not the caller's, wrapped": {err: fmt.Errorf("open: %w", fs.ErrNotExist), text: "open: file does not exist"},
	}
	overLinks(t, func(t *testing.T, l *lab.Link, f form) {
		c := l.Cluster(t, 2, f.serve("fails", func(_ context.Context, payload []byte, s end) error {
			if err := s.send([]byte("before")); err != nil {
				return err
			}
			return table[string(payload)].err
		}, 1, 1))
		for name, test := range table {
			for _, on := range []core.Caller{c.Conn(0, 1), c.Conn(0, 0)} {
				st := f.mustOpen(t, on, "fails", []byte(name))
				wantMessages(t, name, st, "before")
				_, err := st.recv()
				lab.Wait(t, st.done(), "the stream ends")
				if test.err == nil {
					if err != io.EOF || st.err() != nil {
						t.Errorf("a handler that returned nil: recv returned %v and Err %v", err, st.err())
					}
					continue
				}
				again := err
				if f.name == rawForm.name {
					_, again = st.recv()
				}
				for which, err := range map[string]error{"receiving": err, "receiving again": again, "Err": st.err(), "sending": st.send(nil)} {
					what := name + ", " + which
					wantKinds(t, what, err, test.is...)
					remote := lab.WantRemote(t, what, err)
					if remote.Code != test.code || remote.Handler != "fails" || remote.Peer == "" || core.OutcomeOf(err) != core.OutcomeRemote {
						t.Errorf("%s: got %#v with outcome %q, want code %d, of handler and node, from the handler", what, remote, core.OutcomeOf(err), test.code)
					}
					lab.WantText(t, what, err, test.text)
					if test.code == 1001 && string(remote.Detail) != "sda" {
						t.Errorf("%s: the detail is %q", what, remote.Detail)
					}
				}
			}
		}
	})
}

// ending is a way to end a stream other than by its handler.
type ending struct {
	name    string
	context func(ctx context.Context) (context.Context, func()) // of the stream; the function ends it
	opts    []core.CallOption
	handler []core.HandlerOption
	act     func(c *lab.Cluster, st calling)
	remains bool // the stream ends only when the handler returns

	is     []error // what the caller's error is
	ctxErr error   // what the handler's context ends with
	served []error // what the handler's other errors are
}

var endings = []ending{
	{
		name: "Close", act: func(_ *lab.Cluster, st calling) { st.close() },
		is: []error{net.ErrClosed}, ctxErr: context.Canceled, served: []error{context.Canceled},
	},
	{
		name: "cancellation", context: func(ctx context.Context) (context.Context, func()) { return context.WithCancel(ctx) },
		is: []error{context.Canceled}, ctxErr: context.Canceled, served: []error{context.Canceled},
	},
	{
		name: "cancellation with a cause", context: func(ctx context.Context) (context.Context, func()) {
			ctx, cancel := context.WithCancelCause(ctx)
			return ctx, func() { cancel(errCause) }
		},
		is: []error{context.Canceled, errCause}, ctxErr: context.Canceled, served: []error{context.Canceled},
	},
	{
		name: "deadline of the context", context: func(ctx context.Context) (context.Context, func()) {
			ctx, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
			return ctx, func() { <-ctx.Done(); cancel() }
		},
		is: []error{context.DeadlineExceeded}, ctxErr: context.DeadlineExceeded, served: []error{context.DeadlineExceeded},
	},
	{
		name: "WithTimeout of the caller", opts: []core.CallOption{core.WithTimeout(50 * time.Millisecond)},
		is: []error{context.DeadlineExceeded}, ctxErr: context.DeadlineExceeded, served: []error{context.DeadlineExceeded},
	},
	{
		name: "WithTimeout of the handler", handler: []core.HandlerOption{core.WithTimeout(50 * time.Millisecond)}, remains: true,
		is: []error{context.DeadlineExceeded}, ctxErr: context.DeadlineExceeded, served: []error{context.DeadlineExceeded},
	},
	{
		name: "cut", act: func(c *lab.Cluster, _ calling) { c.Cut(0, 1) },
		is: []error{core.ErrDisconnected}, ctxErr: context.Canceled, served: []error{core.ErrDisconnected},
	},
	{
		name: "Close of the serving node", act: func(c *lab.Cluster, _ calling) { c.Manager(1).Close() },
		is: []error{core.ErrDisconnected}, ctxErr: context.Canceled, served: []error{core.ErrDisconnected},
	},
	{
		name: "Close of the calling node", act: func(c *lab.Cluster, _ calling) { c.Manager(0).Close() },
		is: []error{core.ErrDisconnected}, ctxErr: context.Canceled, served: []error{core.ErrDisconnected},
	},
	{
		name: "a Shutdown that is over", act: func(c *lab.Cluster, _ calling) {
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
			defer cancel()
			c.Manager(1).Shutdown(ctx)
		},
		is: []error{core.ErrDisconnected}, ctxErr: context.Canceled, served: []error{core.ErrDisconnected},
	},
}

// serving is what a handler saw of the end of its stream.
type serving struct {
	recv, send, ctx, cause error
}

// TestOtherEnds ends streams in every other way. Both sides learn which it was:
// the caller by the error of every method, the handler by those, its context and
// the cause of that (D37, F18).
func TestOtherEnds(t *testing.T) {
	for _, e := range endings {
		t.Run(e.name, func(t *testing.T) {
			overLinks(t, func(t *testing.T, l *lab.Link, f form) {
				seen := make(chan serving, 1)
				c := l.Cluster(t, 2, lab.Impatient(), f.serve("waits", func(ctx context.Context, _ []byte, s end) error {
					// Its arrival may end the stream before the sending returns.
					if err := s.send([]byte("began")); err != nil && ctx.Err() == nil {
						t.Errorf("the first message failed: %v", err)
					}
					_, err := s.recv()
					<-ctx.Done()
					// It says nothing of its end: a clean one is not its to give any more.
					seen <- serving{err, s.send([]byte("late")), ctx.Err(), context.Cause(ctx)}
					return nil
				}, 1, 1, e.handler...))
				ctx, finish := t.Context(), func() {}
				if e.context != nil {
					ctx, finish = e.context(ctx)
				}
				st := f.mustOpenWith(ctx, t, c.Conn(0, 1), "waits", nil, e.opts...)
				wantMessages(t, "the handler begins", st, "began")
				if e.act != nil {
					e.act(c, st)
				}
				finish()
				lab.Wait(t, st.done(), "the stream ends for its caller")
				_, err := st.recv()
				for which, err := range map[string]error{"receiving": err, "Err": st.err(), "sending": st.send([]byte("x"))} {
					wantKinds(t, "the caller, "+which, err, e.is...)
					wantCallError(t, "the caller, "+which, err, "waits", core.OutcomeMaybeRun)
				}
				got := lab.Wait(t, seen, "the stream ends for its handler")
				wantKinds(t, "the handler, receiving", got.recv, e.served...)
				wantKinds(t, "the handler, sending", got.send, e.served...)
				wantKinds(t, "the cause of the handler's context", got.cause, e.served...)
				if got.ctx != e.ctxErr {
					t.Errorf("the handler's context ended with %v, want %v", got.ctx, e.ctxErr)
				}
				// Ending it again, in every way, changes nothing.
				before := st.err()
				st.close()
				st.close()
				if again := st.err(); again == nil || before == nil || again.Error() != before.Error() {
					t.Errorf("after another Close the error is %v, before it was %v", again, before)
				}
			})
		})
	}
}

// TestRefusals holds that a stream that the peer does not take says so, and which
// of the reasons it is: as the error of its methods, of Send too before the refusal is
// there, or when it is opened if nothing was sent (D16).
func TestRefusals(t *testing.T) {
	overLinks(t, func(t *testing.T, l *lab.Link, f form) {
		g := lab.NewGate(t, 1)
		c := l.Cluster(t, 3, f.serve("one", func(ctx context.Context, _ []byte, _ end) error {
			_, err := g.Handle(ctx, nil)
			return err
		}, 1, 1, core.WithConcurrency(1)), f.serve("back", echo, 1, 1),
			lab.Configure(func(cfg *core.Config) { cfg.MaxCalls, cfg.MaxStreamBuffers = 6, 4*64<<10 }))
		refused := func(what string, on core.Caller, h core.HandlerID, kind error, opts ...core.CallOption) {
			t.Helper()
			for _, payload := range [][]byte{nil, make([]byte, 100<<10)} {
				st, err := f.open(t.Context(), on, h, payload, opts...)
				if err != nil {
					// A large payload waits, and may learn it there.
					wantKinds(t, what, err, kind)
					wantCallError(t, what, err, h, core.OutcomeRefused)
					continue
				}
				if kind == core.ErrUnknownHandler {
					// Nothing is known that speaks against it before the refusal is here.
					err := st.send([]byte("x"))
					wantKinds(t, what+", sending", err, kind)
					wantCallError(t, what+", sending", err, h, core.OutcomeRefused)
				}
				_, err = st.recv()
				lab.Wait(t, st.done(), "the stream ends")
				for which, err := range map[string]error{"receiving": err, "Err": st.err()} {
					wantKinds(t, what+", "+which, err, kind)
					wantCallError(t, what+", "+which, err, h, core.OutcomeRefused)
				}
			}
		}
		refused("a handler that nobody has", c.Conn(0, 1), "nobody", core.ErrUnknownHandler)
		refused("a route that nobody has", c.Conn(0, 1).Route("r"), "back", core.ErrUnknownHandler)
		refused("a handler of single requests", c.Conn(0, 1), "echo", core.ErrUnknownHandler)
		_, err := c.Conn(0, 1).Request(t.Context(), "back", nil)
		lab.WantFailure(t, "a request of a stream", err, core.ErrUnknownHandler, core.OutcomeRefused)
		lab.WantText(t, "a request of a stream", err, "use OpenStream or NewStream")
		st := f.mustOpen(t, c.Conn(0, 1), "one", nil)
		lab.Wait(t, g.Began, "the one stream begins")
		refused("over WithConcurrency", c.Conn(0, 1), "one", core.ErrOverloaded)
		g.Release()
		wantEnd(t, "the one stream", st)

		var open []calling
		for {
			st, err := f.open(t.Context(), c.Conn(0, 1), "back", nil)
			if err != nil {
				wantKinds(t, "over MaxStreamBuffers", err, core.ErrOverloaded)
				wantCallError(t, "over MaxStreamBuffers", err, "back", core.OutcomeNotSent)
				lab.WantText(t, "over MaxStreamBuffers", err, "MaxStreamBuffers")
				break
			}
			open = append(open, st)
		}
		if len(open) != 4 {
			t.Errorf("%d streams were opened with room for 4 windows", len(open))
		}
		for _, st := range open {
			st.closeSend()
			wantEnd(t, "a stream beside those that were refused", st)
		}
		_, err = f.open(t.Context(), c.Manager(0).Connection("stranger"), "x", nil)
		wantKinds(t, "an unknown peer", err, core.ErrUnknownPeer)
		canceled, cancel := context.WithCancel(t.Context())
		cancel()
		_, err = f.open(canceled, c.Conn(0, 1), "back", nil)
		wantKinds(t, "a context that has ended", err, context.Canceled)
		wantCallError(t, "a context that has ended", err, "back", core.OutcomeNotSent)
		c.Manager(2).Close()
		_, err = f.open(t.Context(), c.Conn(2, 1), "back", nil)
		wantKinds(t, "a node that was closed", err, core.ErrClosed)
		wantCallError(t, "a node that was closed", err, "back", core.OutcomeNotSent)
	})
}

// TestDrain shuts down the serving, then the calling node while a stream runs.
// Its handler sees it coming, the stream goes on to its own end, and new ones are
// told apart from those that broke.
func TestDrain(t *testing.T) {
	for _, drains := range []int{1, 0} {
		t.Run(fmt.Sprintf("node %d", drains), func(t *testing.T) {
			overLinks(t, func(t *testing.T, l *lab.Link, f form) {
				draining := make(chan struct{})
				c := l.Cluster(t, 2, f.serve("patient", func(ctx context.Context, _ []byte, s end) error {
					wantMessages(t, "before the drain", s, "before")
					select {
					case <-core.Draining(ctx):
						t.Error("Draining is closed before anybody drains")
					default:
					}
					if err := s.send([]byte("ready")); err != nil {
						return err
					}
					lab.Wait(t, core.Draining(ctx), "Draining is closed")
					close(draining)
					wantMessages(t, "during the drain", s, "during")
					wantEnd(t, "during the drain", s)
					if ctx.Err() != nil {
						return fmt.Errorf("the context ended with the drain: %w", ctx.Err())
					}
					return s.send([]byte("last"))
				}, 1, 1))
				st := f.mustOpen(t, c.Conn(0, 1), "patient", nil)
				if err := st.send([]byte("before")); err != nil {
					t.Fatal(err)
				}
				wantMessages(t, "before the drain", st, "ready")
				drained := lab.Go(func() error { return c.Manager(drains).Shutdown(t.Context()) })
				lab.Wait(t, draining, "the handler learns of the drain")
				for {
					other, err := f.open(t.Context(), c.Conn(0, 1), "patient", nil)
					if err == nil {
						// The news is on its way: it is refused, or taken back before it was sent.
						_, err = other.recv()
						outcome := core.OutcomeRefused
						if core.OutcomeOf(err) == core.OutcomeNotSent {
							outcome = core.OutcomeNotSent
						}
						wantCallError(t, "a stream during the drain", err, "patient", outcome)
						wantKinds(t, "a stream during the drain", err, core.ErrDraining)
						continue
					}
					if drains == 1 && errors.Is(err, core.ErrDisconnected) {
						wantCallError(t, "a stream during the drain", err, "patient", core.OutcomeNotSent)
						break
					}
					wantKinds(t, "a stream during the drain", err, core.ErrDraining)
					wantCallError(t, "a stream during the drain", err, "patient", core.OutcomeNotSent)
					break
				}
				if err := st.send([]byte("during")); err != nil {
					t.Errorf("sending during the drain failed: %v", err)
				}
				st.closeSend()
				wantMessages(t, "during the drain", st, "last")
				wantEnd(t, "during the drain", st)
				if err := lab.Wait(t, drained, "the drain ends with the stream"); err != nil {
					t.Errorf("Shutdown returned %v", err)
				}
				if st.err() != nil {
					t.Errorf("after the drain Err returned %v", st.err())
				}
			})
		})
	}
}

// TestHandlerOpensDuringDrain holds that a handler that its node waits for may
// still open streams with its own context.
func TestHandlerOpensDuringDrain(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		var c *lab.Cluster
		began := make(chan struct{})
		c = l.Cluster(t, 3, rawForm.serve("back", echo, 1, 1), rawForm.serve("front", func(ctx context.Context, _ []byte, s end) error {
			close(began)
			lab.Wait(t, core.Draining(ctx), "the node drains")
			st, err := c.Conn(1, 2).OpenStream(ctx, "back", nil)
			if err != nil {
				return err
			}
			if err := errors.Join(st.Send([]byte("from behind")), st.CloseSend()); err != nil {
				return err
			}
			msg, err := st.Recv(nil)
			if err != nil {
				return err
			}
			if _, err := st.Recv(nil); err != io.EOF {
				return err
			}
			return s.send(msg)
		}, 1, 1))
		st := rawForm.mustOpen(t, c.Conn(0, 1), "front", nil)
		lab.Wait(t, began, "the handler begins")
		drained := lab.Go(func() error { return c.Manager(1).Shutdown(t.Context()) })
		wantMessages(t, "a handler that opens a stream while its node drains", st, "from behind")
		wantEnd(t, "a handler that opens a stream while its node drains", st)
		if err := lab.Wait(t, drained, "the drain ends"); err != nil {
			t.Errorf("Shutdown returned %v", err)
		}
	})
}

// TestLoopsThatPanicEndTheStream holds that a loop over messages ends the stream however
// it is left: by a panic that somebody recovers, as net/http does, and by runtime.Goexit.
func TestLoopsThatPanicEndTheStream(t *testing.T) {
	ways := map[string]func(){"panic": func() { panic("in the loop") }, "Goexit": runtime.Goexit}
	for how, leave := range ways {
		for form, loop := range map[string]func(ctx context.Context, to *core.Connection) error{
			"All": func(ctx context.Context, to *core.Connection) error {
				st, err := to.OpenStream(ctx, "flood", nil)
				if err != nil {
					return err
				}
				for range st.All() {
					leave()
				}
				return nil
			},
			"Results": func(ctx context.Context, to *core.Connection) error {
				st, err := to.NewStream(ctx, "flood", nil)
				if err != nil {
					return err
				}
				return st.Results(func([]byte) error {
					leave()
					return nil
				})
			},
		} {
			t.Run(how+" in "+form, func(t *testing.T) {
				lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
					ended := make(chan error, 1)
					c := l.Cluster(t, 2, coretest.WithHandlers(func(_ int, m *core.Manager) error {
						return m.HandleStreamFunc("flood", func(_ context.Context, _ []byte, s *core.RawStream) error {
							for {
								if err := s.Send([]byte("x")); err != nil {
									ended <- err
									return err
								}
							}
						})
					}))
					ctx, cancel := context.WithCancel(t.Context())
					defer cancel()
					go func() {
						defer func() { _ = recover() }()
						t.Errorf("the loop returned %v", loop(ctx, c.Conn(0, 1)))
					}()
					if err := lab.Wait(t, ended, "the handler learns of it"); !errors.Is(err, context.Canceled) {
						t.Errorf("Send of the handler returned %v", err)
					}
				})
			})
		}
	}
}
