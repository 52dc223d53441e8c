package suite_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/coretest"
	"github.com/gridmux/gridmux/core/internal/lab"
)

var (
	errNoDisk = &core.RemoteError{Code: 1001, Message: "no disk"}
	errFull   = &core.RemoteError{Code: 1002, Message: "disk full"}
)

// TestErrorIdentity holds what of a handler's error reaches its caller
// (T21, D15).
func TestErrorIdentity(t *testing.T) {
	forge := func(code core.Code) error { return &core.RemoteError{Code: code, Message: "forged"} }
	table := []struct {
		name    string
		err     error
		code    core.Code
		message string
		detail  []byte
		is      error
	}{
		{"plain", errors.New("plain"), 0, "plain", nil, nil},
		{"not the caller's type", fs.ErrNotExist, 0, "file does not exist", nil, nil},
		{"code", errNoDisk, 1001, "no disk", nil, errNoDisk},
		{"code, wrapped", fmt.Errorf("stat: %w", errNoDisk), 1001, "stat: no disk", nil, errNoDisk},
		{"code, joined", errors.Join(errors.New("first"), errNoDisk), 1001, "first\nno disk", nil, errNoDisk},
		{"largest code", &core.RemoteError{Code: 1<<32 - 1}, 1<<32 - 1, "", nil, nil},
		{"first code", &core.RemoteError{Code: core.CodeApplication}, 1000, "", nil, nil},
		{"nil detail", &core.RemoteError{Code: 1003}, 1003, "", nil, nil},
		{"empty detail", &core.RemoteError{Code: 1003, Detail: []byte{}}, 1003, "", []byte{}, nil},
		{"detail", &core.RemoteError{Code: 1003, Detail: []byte("\x00\xff")}, 1003, "", []byte("\x00\xff"), nil},
		{"detail without a code", &core.RemoteError{Message: "m", Detail: []byte("d")}, 0, "m", []byte("d"), nil},
		{"longest detail", &core.RemoteError{Code: 1003, Detail: make([]byte, 16<<10)}, 1003, "", make([]byte, 16<<10), nil},
		{"detail over its limit", &core.RemoteError{Code: 1003, Detail: make([]byte, 16<<10+1)}, 1003, "", nil, nil},
		{"no message", errors.New(""), 0, "", nil, nil},
		{"message over its limit", errors.New(strings.Repeat("é", 4000)), 0, strings.Repeat("é", 2048), nil, nil},
		{"message that is no text", errors.New("a\xffb"), 0, "a\uFFFDb", nil, nil},
		{"a nil RemoteError", (*core.RemoteError)(nil), 0, "<nil>", nil, nil},
		// Codes of the library are the library's.
		{"forged panic", forge(core.CodePanic), 0, "forged", nil, nil},
		{"forged cancellation", forge(2), 0, "forged", nil, nil},
		{"forged deadline", forge(3), 0, "forged", nil, nil},
		{"forged size", forge(4), 0, "forged", nil, nil},
		{"forged refusal", forge(10), 0, "forged", nil, nil},
		{"forged overload", forge(11), 0, "forged", nil, nil},
		{"forged drain", forge(12), 0, "forged", nil, nil},
		{"forged last code", forge(999), 0, "forged", nil, nil},
		{"a failure of a call of its own", &core.CallError{Outcome: core.OutcomeNotSent, Err: core.ErrDisconnected}, 0, "", nil, nil},
	}
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		c := l.Cluster(t, 2, coretest.WithHandlers(func(_ int, m *core.Manager) error {
			var errs []error
			for _, test := range table {
				fn := func(context.Context, []byte) ([]byte, error) { return []byte("ignored"), test.err }
				errs = append(errs, m.Handle(core.HandlerID(test.name), fn), m.Handle(core.HandlerID(test.name), fn, core.WithInline(), core.WithRoute("inline")))
			}
			return errors.Join(errs...)
		}))
		for _, test := range table {
			for _, on := range []core.Caller{c.Conn(0, 1), c.Conn(0, 1).Route("inline"), c.Conn(0, 0)} {
				resp, err := on.Request(t.Context(), core.HandlerID(test.name), nil)
				remote := lab.WantRemote(t, test.name, err)
				if resp != nil || core.OutcomeOf(err) != core.OutcomeRemote {
					t.Errorf("%s: got response %q and outcome %q, want none and %q", test.name, resp, core.OutcomeOf(err), core.OutcomeRemote)
				}
				if remote.Code != test.code || test.message != "" && remote.Message != test.message {
					t.Errorf("%s: got code %d and message %q, want %d and %q", test.name, remote.Code, remote.Message, test.code, test.message)
				}
				if !bytes.Equal(remote.Detail, test.detail) || (remote.Detail == nil) != (test.detail == nil) {
					t.Errorf("%s: got %d bytes of detail %#.20v, want %d of %#.20v", test.name, len(remote.Detail), remote.Detail, len(test.detail), test.detail)
				}
				if want := core.HandlerID(test.name); remote.Handler != want || !strings.HasPrefix(remote.Peer, "node-") {
					t.Errorf("%s: the error names handler %q on %q", test.name, remote.Handler, remote.Peer)
				}
				if test.is != nil && (!errors.Is(err, test.is) || errors.Is(err, errFull)) {
					t.Errorf("%s: errors.Is does not find %v in %v, or finds another", test.name, test.is, err)
				}
				if same := (&core.RemoteError{Code: test.code}); errors.Is(err, same) != (test.code >= core.CodeApplication) {
					t.Errorf("%s: errors.Is compares code %d, want it to compare those of the application only", test.name, test.code)
				}
				if !utf8.ValidString(err.Error()) {
					t.Errorf("%s: the text %q of the error is not valid", test.name, err)
				}
				for _, own := range []error{
					fs.ErrNotExist, core.ErrDisconnected, core.ErrOverloaded, core.ErrDraining, core.ErrUnknownHandler,
					core.ErrMessageTooLarge, context.DeadlineExceeded, context.Canceled,
				} {
					if errors.Is(err, own) {
						t.Errorf("%s: an answer of the handler passes for %q", test.name, own)
					}
				}
			}
		}
	})
}

// TestErrorPassedOn holds that the code of an error survives a handler that
// passes on what another node answered.
func TestErrorPassedOn(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		var c *lab.Cluster
		c = l.Cluster(t, 2,
			lab.Handle("disk", func(context.Context, []byte) ([]byte, error) {
				return nil, &core.RemoteError{Code: 1001, Message: "no disk", Detail: []byte("sda")}
			}),
			lab.Handle("front", func(ctx context.Context, req []byte) ([]byte, error) {
				resp, err := c.Conn(1, 0).Request(ctx, "disk", req)
				if err != nil {
					return nil, fmt.Errorf("front: %w", err)
				}
				return resp, nil
			}))
		_, err := c.Conn(0, 1).Request(t.Context(), "front", nil)
		remote := lab.WantRemote(t, "an error that is passed on", err)
		if !errors.Is(err, errNoDisk) || string(remote.Detail) != "sda" || remote.Peer != "node-1" || remote.Handler != "front" {
			t.Errorf("an error that is passed on arrives as %+v, want code and detail of the first node, name and handler of the second", remote)
		}
	})
}

func TestOutcomeOf(t *testing.T) {
	call := func(o core.Outcome) error { return &core.CallError{Outcome: o, Err: core.ErrDisconnected} }
	for _, test := range []struct {
		err  error
		want core.Outcome
	}{
		{nil, core.OutcomeMaybeRun},
		{errors.New("foreign"), core.OutcomeMaybeRun},
		{context.DeadlineExceeded, core.OutcomeMaybeRun},
		{core.ErrDisconnected, core.OutcomeMaybeRun},
		{call(core.OutcomeNotSent), core.OutcomeNotSent},
		{call(core.OutcomeRefused), core.OutcomeRefused},
		{call(core.OutcomeMaybeRun), core.OutcomeMaybeRun},
		{call(core.OutcomeRemote), core.OutcomeRemote},
		{fmt.Errorf("wrapped: %w", call(core.OutcomeNotSent)), core.OutcomeNotSent},
		{errors.Join(errors.New("x"), call(core.OutcomeRefused)), core.OutcomeRefused},
		{errNoDisk, core.OutcomeRemote},
		{fmt.Errorf("wrapped: %w", errNoDisk), core.OutcomeRemote},
	} {
		if got := core.OutcomeOf(test.err); got != test.want {
			t.Errorf("the outcome of %v is %q, want %q", test.err, got, test.want)
		}
	}
	for o, want := range map[core.Outcome]string{
		core.OutcomeMaybeRun: "may have run", core.OutcomeNotSent: "not sent", core.OutcomeRefused: "refused",
		core.OutcomeRemote: "remote error", 77: "may have run",
	} {
		if o.String() != want {
			t.Errorf("outcome %d is called %q, want %q", o, o, want)
		}
	}
}

// TestSentinels takes every error that callers compare with along every path
// that it comes from (D16).
func TestSentinels(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		g := lab.NewGate(t, 10)
		c := l.Cluster(t, 3,
			coretest.Unstarted(),
			coretest.WithHandlers(func(i int, m *core.Manager) error {
				if i == 1 {
					return errors.Join(m.Handle("one", g.Handle, core.WithConcurrency(1)), m.Handle("block", g.Handle))
				}
				return nil
			}))
		fails := func(what string, conn *core.Connection, h core.HandlerID, kind error, outcome core.Outcome, opts ...core.CallOption) {
			t.Helper()
			_, err := conn.Request(t.Context(), h, nil, opts...)
			lab.WantFailure(t, what, err, kind, outcome)
			if callErr, ok := errors.AsType[*core.CallError](err); !ok || callErr.Handler != h || callErr.Peer != conn.Peer() {
				t.Errorf("%s: error %v does not name handler %q on %q", what, err, h, conn.Peer())
			}
		}
		fails("before Start", c.Conn(0, 1), "echo", core.ErrNotStarted, core.OutcomeNotSent)
		fails("before Start, the local node", c.Conn(0, 0), "echo", core.ErrNotStarted, core.OutcomeNotSent)
		fails("before Start, with patience", c.Conn(0, 1), "echo", core.ErrNotStarted, core.OutcomeNotSent, core.WaitForConnection())
		stranger := c.Manager(0).Connection("stranger")
		fails("unknown peer", stranger, "echo", core.ErrUnknownPeer, core.OutcomeNotSent)
		fails("unknown peer, with patience", stranger, "echo", core.ErrUnknownPeer, core.OutcomeNotSent, core.WaitForConnection())
		c.Start(0)
		fails("no connection yet", c.Conn(0, 2), "echo", core.ErrDisconnected, core.OutcomeNotSent)
		c.Start(1)
		c.WaitConnected()
		fails("unknown handler", c.Conn(0, 1), "nobody", core.ErrUnknownHandler, core.OutcomeRefused)
		fails("a handler that another node has", c.Conn(1, 0), "one", core.ErrUnknownHandler, core.OutcomeRefused)
		_, err := c.Conn(0, 1).Route("x").Request(t.Context(), "echo", nil)
		lab.WantFailure(t, "a route that nobody has", err, core.ErrUnknownHandler, core.OutcomeRefused)
		if resp := lab.MustCall(t, c.Conn(0, 1), "echo", []byte("alive")); string(resp) != "alive" {
			t.Error("the connection has not survived a call to an unknown handler")
		}

		first := lab.GoCall(t.Context(), c.Conn(0, 1), "one", []byte("first"))
		lab.Wait(t, g.Began, "the first call begins")
		fails("over WithConcurrency", c.Conn(0, 1), "one", core.ErrOverloaded, core.OutcomeRefused)

		// Draining, on both sides, while the first call keeps the drain from
		// ending.
		drained := lab.Go(func() error { return c.Manager(1).Shutdown(t.Context()) })
		for {
			// The news travels; until it is there the peer refuses.
			_, err := c.Conn(0, 1).Request(t.Context(), "echo", nil)
			if err == nil {
				continue
			}
			if !errors.Is(err, core.ErrDraining) || core.OutcomeOf(err) != core.OutcomeRefused && core.OutcomeOf(err) != core.OutcomeNotSent {
				t.Errorf("a call to a node that drains returned %v, want ErrDraining of one that did not run", err)
			}
			if core.OutcomeOf(err) == core.OutcomeNotSent {
				break
			}
		}
		fails("the local node drains", c.Conn(1, 0), "echo", core.ErrDraining, core.OutcomeNotSent)
		fails("the local node drains, to itself", c.Conn(1, 1), "echo", core.ErrDraining, core.OutcomeNotSent)
		g.Release()
		if r := lab.Wait(t, first, "the call that was accepted before ends"); r.Err != nil || string(r.Resp) != "first" {
			t.Errorf("a call that was accepted before the drain returned %q, %v", r.Resp, r.Err)
		}
		if err := lab.Wait(t, drained, "the drain ends"); err != nil {
			t.Errorf("Shutdown failed: %v", err)
		}
		fails("closed", c.Conn(1, 0), "echo", core.ErrClosed, core.OutcomeNotSent)
		fails("closed, to itself", c.Conn(1, 1), "echo", core.ErrClosed, core.OutcomeNotSent)
		fails("closed, with patience", c.Conn(1, 0), "echo", core.ErrClosed, core.OutcomeNotSent, core.WaitForConnection())
		c.Manager(0).Close()
		fails("closed after the peer was", c.Conn(0, 1), "echo", core.ErrClosed, core.OutcomeNotSent)
	})
}

// TestConnectionLost holds what callers are told when the link breaks beneath
// their calls.
func TestConnectionLost(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		g := lab.NewGate(t, 1)
		c := l.Cluster(t, 2, lab.Impatient(), lab.Handle("block", g.HandleContext))
		for range lab.Scale(5, 3, 50) {
			called := lab.GoCall(t.Context(), c.Conn(0, 1), "block", nil)
			inside := lab.Wait(t, g.Began, "the handler begins")
			c.Cut(0, 1)
			r := lab.Wait(t, called, "a call ends with its connection")
			lab.WantFailure(t, "a call whose connection broke", r.Err, core.ErrDisconnected, core.OutcomeMaybeRun)
			lab.Wait(t, inside.Done(), "the context of the handler ends with the connection")
			if err := inside.Err(); err != context.Canceled {
				t.Errorf("the handler's context ended with %v, want context.Canceled", err)
			}
			if resp := lab.MustCall(t, c.Conn(0, 1), "echo", []byte("again"), core.WaitForConnection(), core.WithTimeout(lab.Patience)); string(resp) != "again" {
				t.Error("the call after the reconnect failed")
			}
		}
	})
}

// TestWaitForConnection holds that the option turns a failure into a wait, and
// that the wait ends.
func TestWaitForConnection(t *testing.T) {
	lab.InBubbles(t, func(t *testing.T, l *lab.Link) {
		c := l.Cluster(t, 2, coretest.Unstarted())
		c.Start(0)
		began := time.Now()
		_, err := c.Conn(0, 1).Request(t.Context(), "echo", nil, core.WaitForConnection(), core.WithTimeout(time.Second))
		lab.WantFailure(t, "waiting with WithTimeout", err, context.DeadlineExceeded, core.OutcomeNotSent)
		if !errors.Is(err, core.ErrDisconnected) || time.Since(began) != time.Second {
			t.Errorf("after %v the wait returned %v, want ErrDisconnected beside the end of the time, after 1s", time.Since(began), err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		began = time.Now()
		_, err = c.Conn(0, 1).Request(ctx, "echo", nil, core.WaitForConnection())
		lab.WantFailure(t, "waiting with a context", err, context.DeadlineExceeded, core.OutcomeNotSent)
		if time.Since(began) != time.Minute {
			t.Errorf("the wait ended after %v, want 1m", time.Since(began))
		}
		lab.WantText(t, "waiting with a context", err, "1m1s")

		called := lab.GoCall(t.Context(), c.Conn(0, 1), "echo", []byte("patient"), core.WaitForConnection())
		onRoute := lab.Go(func() error {
			_, err := c.Conn(0, 1).Route("x").Request(t.Context(), "nobody", nil, core.WaitForConnection())
			return err
		})
		time.Sleep(time.Hour)
		c.Start(1)
		if r := lab.Wait(t, called, "a patient call returns"); r.Err != nil || string(r.Resp) != "patient" {
			t.Errorf("a patient call returned %q, %v", r.Resp, r.Err)
		}
		lab.WantFailure(t, "a patient call on a route", lab.Wait(t, onRoute, "it returns"), core.ErrUnknownHandler, core.OutcomeRefused)

		c.Stop(1)
		synctest.Wait()
		called = lab.GoCall(t.Context(), c.Conn(0, 1), "echo", nil, core.WaitForConnection())
		time.Sleep(time.Hour)
		c.Stop(0)
		r := lab.Wait(t, called, "Close ends the wait")
		lab.WantFailure(t, "a patient call on a node that is closed", r.Err, core.ErrClosed, core.OutcomeNotSent)
	})
}
