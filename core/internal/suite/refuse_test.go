package suite_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/coretest"
	"github.com/gridmux/gridmux/core/internal/lab"
)

// TestRefuse has handlers of all kinds answer that they have done nothing: callers
// are told that a repeat is safe, and why it was refused.
func TestRefuse(t *testing.T) {
	errNotLeader := &core.RemoteError{Code: 1010, Message: "not the leader", Detail: []byte("node-7")}
	reasons := map[string]struct {
		err  error
		want error // nil: a plain error
	}{
		"code":           {errNotLeader, errNotLeader},
		"code, wrapped":  {fmt.Errorf("write: %w", errNotLeader), errNotLeader},
		"overloaded":     {fmt.Errorf("%w: ten writes at a time", core.ErrOverloaded), core.ErrOverloaded},
		"malformed":      {core.ErrMalformedMessage, core.ErrMalformedMessage},
		"plain":          {errors.New("still starting"), nil},
		"another call's": {&core.CallError{Peer: "far", Handler: "other", Outcome: core.OutcomeRefused, Err: core.ErrUnknownHandler}, nil},
	}
	refuse := func(req []byte) error { return fmt.Errorf("refused: %w", core.Refuse(reasons[string(req)].err)) }
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		c := l.Cluster(t, 2, coretest.WithHandlers(func(_ int, m *core.Manager) error {
			return errors.Join(
				m.Handle("request", func(_ context.Context, req []byte) ([]byte, error) { return nil, refuse(req) }),
				m.Handle("inline", func(_ context.Context, req []byte) ([]byte, error) { return nil, refuse(req) }, core.WithInline()),
				m.HandleStreamFunc("stream", func(_ context.Context, payload []byte, s *core.RawStream) error {
					if err := s.Send([]byte("void")); err != nil {
						return err
					}
					return refuse(payload)
				}),
				m.HandleStream("channels", core.StreamHandler{
					Handle: func(_ context.Context, payload []byte, _ <-chan []byte, _ chan<- []byte) error {
						return refuse(payload)
					},
				}))
		}))
		for name, reason := range reasons {
			for to := range 2 {
				check := func(what string, err error) {
					t.Helper()
					what = fmt.Sprintf("%s, %s, to node %d", what, name, to)
					call, ok := errors.AsType[*core.CallError](err)
					if !ok || call.Outcome != core.OutcomeRefused || core.OutcomeOf(err) != core.OutcomeRefused {
						t.Errorf("%s: %v (%T), want a CallError of one refused", what, err, err)
						return
					}
					if reason.want != nil && !errors.Is(err, reason.want) || errors.Is(err, core.ErrUnknownHandler) {
						t.Errorf("%s: %v, want %v", what, err, reason.err)
					}
					if remote, ok := errors.AsType[*core.RemoteError](err); reason.want == errNotLeader && (!ok || string(remote.Detail) != "node-7") {
						t.Errorf("%s: the detail is lost in %+v", what, remote)
					}
				}
				_, err := c.Conn(0, to).Request(t.Context(), "request", []byte(name))
				check("a request", err)
				_, err = c.Conn(0, to).Request(t.Context(), "inline", []byte(name))
				check("an inline request", err)
				for _, id := range []core.HandlerID{"stream", "channels"} {
					st, err := c.Conn(0, to).OpenStream(t.Context(), id, []byte(name))
					if err != nil {
						t.Fatal(err)
					}
					var msg []byte
					if msg, err = st.Recv(nil); err == nil && string(msg) == "void" {
						_, err = st.Recv(nil)
					}
					check(string(id), err)
					if errors.Is(err, io.EOF) {
						t.Errorf("%s ended cleanly", id)
					}
				}
			}
		}
	})
	if err := core.Refuse(nil); err != nil {
		t.Errorf("Refuse of nil is %v", err)
	}
	if o := core.OutcomeOf(core.Refuse(io.ErrNoProgress)); o != core.OutcomeRefused {
		t.Errorf("an interceptor sees the outcome %v of a handler that refuses", o)
	}
}

// TestRefusalSpeaksForOthers has handlers return an error that is several, of which
// one is a refusal: the caller is not told that nothing was done.
func TestRefusalSpeaksForOthers(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		c := l.Cluster(t, 2, coretest.WithHandlers(func(i int, m *core.Manager) error {
			store := func(context.Context, *core.Connection) ([]byte, error) {
				if i == 1 {
					return nil, core.Refuse(errors.New("this replica is read-only"))
				}
				return nil, errors.New("half written")
			}
			return errors.Join(
				m.Handle("store", func(ctx context.Context, _ []byte) ([]byte, error) { return store(ctx, nil) }),
				m.Handle("both", func(context.Context, []byte) ([]byte, error) {
					return nil, errors.Join(errors.New("disk 1: half written"), core.Refuse(errors.New("disk 2: starting")))
				}),
				m.Handle("quorum", func(ctx context.Context, req []byte) ([]byte, error) {
					all := []*core.Connection{m.Connection("node-0"), m.Connection("node-1")}
					_, err := core.Quorum(ctx, slices.Values(all), 1, func(ctx context.Context, to *core.Connection) ([]byte, error) {
						if to.Peer() == m.Local().Name {
							return store(ctx, to)
						}
						return to.Request(ctx, "store", req)
					})
					return nil, err
				}))
		}))
		for _, id := range []core.HandlerID{"both", "quorum"} {
			_, err := c.Conn(0, 1).Request(t.Context(), id, nil)
			lab.WantText(t, string(id), lab.WantRemote(t, string(id), err), "half written")
		}
	})
}

// TestRefusalIsWhole expects all that a handler says with a refusal to arrive: the
// text around it, who has answered, and the refusal itself also where its time is over.
func TestRefusalIsWhole(t *testing.T) {
	lab.InBubbles(t, func(t *testing.T, l *lab.Link) {
		c := l.Cluster(t, 2, coretest.WithHandlers(func(_ int, m *core.Manager) error {
			return errors.Join(
				m.Handle("wrapped", func(context.Context, []byte) ([]byte, error) {
					return nil, fmt.Errorf("disk 7: %w", core.Refuse(errNoDisk))
				}),
				m.Handle("empty", func(context.Context, []byte) ([]byte, error) {
					return nil, core.Refuse(&core.RemoteError{Detail: []byte("why")})
				}),
				m.Handle("late", func(ctx context.Context, _ []byte) ([]byte, error) {
					<-ctx.Done()
					return nil, core.Refuse(fmt.Errorf("no leader yet: %w", ctx.Err()))
				}, core.WithTimeout(time.Second)))
		}))
		refused := func(id core.HandlerID) (*core.RemoteError, error) {
			_, err := c.Conn(0, 1).Request(t.Context(), id, nil)
			remote, ok := errors.AsType[*core.RemoteError](err)
			if !ok || core.OutcomeOf(err) != core.OutcomeRefused || remote.Peer != "node-1" || remote.Handler != id {
				t.Fatalf("%s: %v (%+v)", id, err, remote)
			}
			return remote, err
		}
		_, err := refused("wrapped")
		if text := err.Error(); text != "gridmux: wrapped on node-1: refused: disk 7: no disk (code 1001)" {
			t.Errorf("the text is %q", text)
		}
		if remote, _ := refused("empty"); string(remote.Detail) != "why" {
			t.Errorf("the detail is %q", remote.Detail)
		}
		_, err = refused("late")
		lab.WantText(t, "a refusal at the end of the time", err, "no leader yet")
	})
}

// TestNestedErrorsNameTheLibraryOnce has a handler pass on the error of its own call:
// that of the caller says once whose it is.
func TestNestedErrorsNameTheLibraryOnce(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		c := l.Cluster(t, 2, coretest.WithHandlers(func(_ int, m *core.Manager) error {
			return m.Handle("relay", func(ctx context.Context, req []byte) ([]byte, error) {
				_, err := m.Connection("nobody").Request(ctx, "echo", req)
				if string(req) == "refuse" {
					err = core.Refuse(err)
				}
				return nil, err
			})
		}))
		for req, want := range map[string]string{
			"":       `gridmux: relay on node-1: echo on nobody: not sent: `,
			"refuse": `gridmux: relay on node-1: refused: echo on nobody: not sent: `,
		} {
			_, err := c.Conn(0, 1).Request(t.Context(), "relay", []byte(req))
			if text := fmt.Sprint(err); len(text) < len(want) || text[:len(want)] != want {
				t.Errorf("%q, want it to begin with %q", text, want)
			}
		}
	})
}
