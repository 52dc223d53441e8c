package suite_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/coretest"
	"github.com/gridmux/gridmux/core/internal/lab"
	"github.com/gridmux/gridmux/core/internal/wire"
)

// TestErrorsOfManyCallers has 64 callers get errors at once, each with a text
// and a detail of its own. Nobody gets those of another, and they are the same
// when they are looked at later (D15).
func TestErrorsOfManyCallers(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		c := l.Cluster(t, 2, lab.Handle("fails", func(_ context.Context, req []byte) ([]byte, error) {
			// req is borrowed: the error must not depend on it afterwards.
			return nil, &core.RemoteError{Code: 1001, Message: "failed with " + string(req), Detail: []byte("detail of " + string(req))}
		}))
		type failure struct {
			id  string
			err error
		}
		failures := make(chan failure, 64*1000)
		var wg sync.WaitGroup
		for caller := range 64 {
			wg.Go(func() {
				for i := range lab.Scale(100, 20, 1000) {
					id := fmt.Sprintf("caller %d call %d %s", caller, i, strings.Repeat("x", i%50))
					_, err := c.Conn(0, 1).Request(t.Context(), "fails", []byte(id))
					failures <- failure{id, err}
				}
			})
		}
		wg.Wait()
		close(failures)
		for f := range failures {
			remote := lab.WantRemote(t, f.id, f.err)
			if remote.Message != "failed with "+f.id || string(remote.Detail) != "detail of "+f.id {
				t.Fatalf("%s got the error %q with %q", f.id, remote.Message, remote.Detail)
			}
		}
	})
}

// TestUnknownHandlerTakesARoundTrip holds that a call to a handler that the peer
// does not have fails at once, whatever its deadline is (D16).
func TestUnknownHandlerTakesARoundTrip(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := coretest.NewCluster(t, 2)
		c.Network().SetLatency(10 * time.Millisecond)
		began := time.Now()
		_, err := c.Conn(0, 1).Request(t.Context(), "nobody", nil, core.WithTimeout(time.Hour))
		lab.WantFailure(t, "a handler that nobody has", err, core.ErrUnknownHandler, core.OutcomeRefused)
		if took := time.Since(began); took != 20*time.Millisecond {
			t.Errorf("it took %v, want one round trip of 20ms", took)
		}
	})
}

// TestErrorPathsKeepTheConnection goes every way that a call can fail, with a
// route and without. Each time the error is the right one, and the connection is
// the same as before (D17).
func TestErrorPathsKeepTheConnection(t *testing.T) {
	const large = 64 << 10
	var waiting chan struct{}
	handlers := map[core.HandlerID]core.HandlerFunc{
		"plain": func(context.Context, []byte) ([]byte, error) { return nil, errors.New("plain") },
		"coded": func(context.Context, []byte) ([]byte, error) { return []byte("x"), errNoDisk },
		"detail": func(context.Context, []byte) ([]byte, error) {
			return nil, &core.RemoteError{Code: 1009, Detail: make([]byte, 16<<10)}
		},
		"long":   func(context.Context, []byte) ([]byte, error) { return nil, errors.New(strings.Repeat("x", 100_000)) },
		"panics": func(context.Context, []byte) ([]byte, error) { panic("boom") },
		"leaves": func(context.Context, []byte) ([]byte, error) { runtime.Goexit(); return nil, nil },
		"huge":   func(context.Context, []byte) ([]byte, error) { return make([]byte, large+1), nil },
		"waits": func(ctx context.Context, _ []byte) ([]byte, error) {
			waiting <- struct{}{}
			<-ctx.Done()
			return nil, ctx.Err()
		},
		"same": lab.Echo,
	}
	for _, route := range []string{"", "disk1", "a/b/c"} {
		t.Run("route "+route, func(t *testing.T) {
			lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
				waiting = make(chan struct{}, 1) // of the bubble
				changes := make(chan core.StateChange, 1000)
				g := lab.NewGate(t, 1)
				c := l.Cluster(t, 2, lab.Configure(func(cfg *core.Config) { cfg.MaxMessage, cfg.MaxReassembly = large, large }),
					coretest.WithHandlers(func(i int, m *core.Manager) error {
						var errs []error
						for id, h := range handlers {
							errs = append(errs, m.Handle(id, h, core.WithRoute(route)))
						}
						return errors.Join(append(errs, m.Handle("one", g.Handle, core.WithRoute(route), core.WithConcurrency(1)))...)
					}),
					coretest.WithConfig(func(_ int, cfg *core.Config) { cfg.OnState = func(s core.StateChange) { changes <- s } }))
				on := core.Caller(c.Conn(0, 1))
				if route != "" {
					on = c.Conn(0, 1).Route(route)
				}
				busy := lab.GoCall(t.Context(), on, "one", []byte("busy"))
				lab.Wait(t, g.Began, "the one call begins")
				canceled, cancel := context.WithCancel(t.Context())
				cancel()
				for range 3 {
					for _, test := range []struct {
						h       core.HandlerID
						ctx     context.Context
						req     int
						leave   bool // when the handler has begun
						outcome core.Outcome
						is      error
					}{
						{h: "plain", outcome: core.OutcomeRemote},
						{h: "coded", outcome: core.OutcomeRemote, is: errNoDisk},
						{h: "detail", outcome: core.OutcomeRemote, is: &core.RemoteError{Code: 1009}},
						{h: "long", outcome: core.OutcomeRemote},
						{h: "panics", outcome: core.OutcomeRemote},
						{h: "leaves", outcome: core.OutcomeRemote},
						{h: "huge", outcome: core.OutcomeRemote, is: core.ErrMessageTooLarge},
						{h: "same", req: large + 1, outcome: core.OutcomeNotSent, is: core.ErrMessageTooLarge},
						{h: "nobody", outcome: core.OutcomeRefused, is: core.ErrUnknownHandler},
						{h: "nobody", req: large, outcome: core.OutcomeRefused, is: core.ErrUnknownHandler},
						{h: "one", outcome: core.OutcomeRefused, is: core.ErrOverloaded},
						{h: "one", req: large, outcome: core.OutcomeRefused, is: core.ErrOverloaded},
						{h: "waits", leave: true, outcome: core.OutcomeMaybeRun, is: context.Canceled},
						{h: "same", ctx: canceled, outcome: core.OutcomeNotSent, is: context.Canceled},
					} {
						ctx, leave := context.WithCancel(cmp.Or(test.ctx, t.Context()))
						if test.leave {
							go func() {
								select {
								case <-waiting:
								case <-ctx.Done():
								}
								leave()
							}()
						}
						_, err := on.Request(ctx, test.h, make([]byte, test.req))
						leave()
						what := fmt.Sprintf("%s with %d bytes", test.h, test.req)
						if got := core.OutcomeOf(err); err == nil || got != test.outcome {
							t.Errorf("%s: got %v with outcome %q, want outcome %q", what, err, got, test.outcome)
						}
						if test.is != nil && !errors.Is(err, test.is) {
							t.Errorf("%s: got %v, want one that is %q", what, err, test.is)
						}
						if got := lab.MustCall(t, on, "same", []byte("still here")); string(got) != "still here" {
							t.Errorf("%s: the call after it returned %q", what, got)
						}
					}
				}
				g.Release()
				if r := lab.Wait(t, busy, "the one call ends"); r.Err != nil || string(r.Resp) != "busy" {
					t.Errorf("the call beside all errors returned %q, %v", r.Resp, r.Err)
				}
				for len(changes) > 0 {
					if s := <-changes; s.From == core.StateConnected {
						t.Errorf("the connection was lost: %+v", s)
					}
				}
			})
		})
	}
}

// ownErrors are errors that callers compare with, and that no peer can make them
// see by words alone.
var ownErrors = []error{
	context.Canceled, context.DeadlineExceeded, io.EOF, io.ErrUnexpectedEOF, os.ErrDeadlineExceeded, fs.ErrNotExist,
	core.ErrClosed, core.ErrDisconnected, core.ErrDraining, core.ErrMessageTooLarge, core.ErrNotStarted,
	core.ErrOverloaded, core.ErrUnknownHandler, core.ErrUnknownPeer,
}

// TestWordsOfPeersMatchNothing has a peer answer with the texts of all errors
// that callers compare with. None matches, unless the code of the protocol says
// so (T21).
func TestWordsOfPeersMatchNothing(t *testing.T) {
	lab.RawTest(t, "W30 W33", lab.RawSetup{}, func(t *testing.T, r *lab.RawCluster) {
		p := r.Connect()
		mapped := map[wire.Type]map[wire.Code]error{
			wire.TypeError: {2: context.Canceled, 3: context.DeadlineExceeded, 4: core.ErrMessageTooLarge},
			wire.TypeRefused: {
				10: core.ErrUnknownHandler, 11: core.ErrOverloaded, 12: core.ErrDraining, 13: core.ErrMessageTooLarge,
			},
		}
		for _, typ := range []wire.Type{wire.TypeError, wire.TypeRefused} {
			for _, code := range []wire.Code{0, 1, 2, 3, 4, 5, 10, 11, 12, 13, 14, 20, 30, 33, 999, 1000, 1<<32 - 1} {
				for _, own := range ownErrors {
					id, answer := p.Called()
					p.Send(wire.AppendStatus(nil, typ, id, wire.Status{Code: code, Message: own.Error()}))
					err := lab.Wait(t, answer, "the call ends").Err
					if err == nil {
						t.Fatalf("%v with code %d is no error", typ, code)
					}
					for _, other := range ownErrors {
						if want := mapped[typ][code]; errors.Is(err, other) != (other == want) {
							t.Errorf("%v with code %d and the text %q: it matches %q: %v", typ, code, own, other, errors.Is(err, other))
						}
					}
				}
			}
		}
		// The longest text, and one that exceeds it (W31).
		id, answer := p.Called()
		p.Send(wire.AppendStatus(nil, wire.TypeError, id, wire.Status{Code: 1000, Message: strings.Repeat("é", 2048)}))
		if remote := lab.WantRemote(t, "the longest text", lab.Wait(t, answer, "the call ends").Err); len(remote.Message) != 4096 {
			t.Errorf("a text of 4096 bytes arrives with %d", len(remote.Message))
		}
		id, answer = p.Called()
		body := append([]byte{0, 0, 0, 0, 1, 16}, make([]byte, 4097)...)
		p.Send(lab.RawFrame(wire.Frame{Type: wire.TypeError, Flags: wire.FlagNil, ID: id, Body: body}))
		p.WantClosed(wire.CodeProtocol, "a text of 4097 bytes")
		lab.WantFailure(t, "a text of 4097 bytes", lab.Wait(t, answer, "the call ends").Err, core.ErrDisconnected, core.OutcomeMaybeRun)
	})
}

// TestOddNames calls handlers and routes by names that resemble those that there
// are, are empty, or have no end: none reaches a handler, each gets a clear
// error, and the connection lives (T28).
func TestOddNames(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		never := func(context.Context, []byte) ([]byte, error) {
			t.Error("a handler of another name ran")
			return nil, nil
		}
		c := l.Cluster(t, 2, lab.Handle("café", never), lab.Handle("a.b", never), lab.Handle("a", never, core.WithRoute("b/c")), lab.Handle("x", never, core.WithRoute("y")))
		conn := c.Conn(0, 1)
		for _, name := range []string{
			"", "cafe\u0301", "CAFÉ", "café ", " café", "café\n", "a.b.", "a..b", "a/b", "..", ".", "a", "x", "*", "%61.b", "a.b\x7f", "gridmux.", "gridmux.Catalogue",
			"gridmux.x", "a.b\x00", "\x00", "\xff", strings.Repeat("a", 255), strings.Repeat("a", 256), strings.Repeat("a", 64<<10),
		} {
			for _, route := range []string{"", "y ", "Y", "b", "b/c/", "/b/c", "b//c", "b/../b/c", "y\x00", "\x00y", "\xff", strings.Repeat("y", 255), strings.Repeat("y", 64<<10)} {
				if name == "a.b" && route == "" {
					continue
				}
				_, err := conn.Route(route).Request(t.Context(), core.HandlerID(name), nil)
				switch core.OutcomeOf(err) {
				case core.OutcomeRefused:
					lab.WantFailure(t, fmt.Sprintf("%.40q on %.40q", name, route), err, core.ErrUnknownHandler, core.OutcomeRefused)
				case core.OutcomeNotSent:
					if len(err.Error()) > 500 {
						t.Errorf("%.40q on %.40q: an error of %d bytes", name, route, len(err.Error()))
					}
				default:
					t.Errorf("%.40q on %.40q: got %v", name, route, err)
				}
			}
		}
		lab.MustCall(t, conn, "echo", nil)
	})
}

// TestErrorsNameTheRoute holds that whoever calls a handler that exists, but on another
// route, is told of the route: that it is an unknown handler looks false otherwise.
func TestErrorsNameTheRoute(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		failing := func(context.Context, []byte) ([]byte, error) { return nil, errors.New("no disk") }
		c := l.Cluster(t, 2, lab.Handle("read", failing, core.WithRoute("disk 1")))
		conn := c.Conn(0, 1)
		peer := c.Node(1).Name
		request := func(route string) error {
			_, err := conn.Route(route).Request(t.Context(), "read", nil)
			return err
		}
		open := func(route string) error {
			st, err := conn.Route(route).OpenStream(t.Context(), "read", nil)
			if err == nil {
				_, err = st.Recv(nil)
			}
			return err
		}
		for what, test := range map[string]struct {
			err  error
			want string
		}{
			"another route": {request("disk 2"), `gridmux: read (route "disk 2") on ` + peer + `: refused: unknown handler`},
			"no route":      {request(""), `gridmux: read on ` + peer + `: refused: unknown handler`},
			"its answer":    {request("disk 1"), `gridmux: read (route "disk 1") on ` + peer + `: no disk`},
			"a stream":      {open("disk 2"), `gridmux: read (route "disk 2") on ` + peer + `: refused: unknown handler`},
		} {
			if test.err == nil || !strings.HasPrefix(test.err.Error(), test.want) {
				t.Errorf("%s: %v, want %s", what, test.err, test.want)
			}
		}
		if call, ok := errors.AsType[*core.CallError](request("disk 2")); !ok || call.Route != "disk 2" {
			t.Errorf("a refusal: %+v, want one with the route", call)
		}
		if remote, ok := errors.AsType[*core.RemoteError](request("disk 1")); !ok || remote.Route != "disk 1" {
			t.Errorf("an answer: %+v, want one with the route", remote)
		}
	})
}

// TestManyExpiredWaits waits a thousand times for a peer that is not there, with
// contexts that are over or end soon, and leaves nothing behind (D34).
func TestManyExpiredWaits(t *testing.T) {
	lab.InBubbles(t, func(t *testing.T, l *lab.Link) {
		c := l.Cluster(t, 3, coretest.Unstarted())
		c.Start(0)
		synctest.Wait()
		expired, cancel := context.WithCancel(t.Context())
		cancel()
		before := lab.Goroutines()
		for i := range 1000 {
			soon, cancel := context.WithTimeout(t.Context(), time.Duration(i)*time.Microsecond)
			for _, ctx := range []context.Context{expired, soon} {
				for _, err := range []error{c.Conn(0, 1).WaitConnected(ctx), c.Manager(0).WaitConnected(ctx), c.Manager(0).WaitQuorum(ctx, 2)} {
					if !errors.Is(err, ctx.Err()) {
						t.Fatalf("waiting returned %v, want the end of the context, %v", err, ctx.Err())
					}
				}
			}
			cancel()
		}
		synctest.Wait()
		if after := lab.Goroutines(); after > before+5 {
			t.Errorf("6000 waits that ended left %d goroutines", after-before)
		}
	})
}
