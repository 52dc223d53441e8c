package coretest_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/coretest"
)

// TestLedgerCatchesLies plays a system that lies and holds that the ledger
// sees through it.
func TestLedgerCatchesLies(t *testing.T) {
	refused := &core.CallError{Outcome: core.OutcomeRefused, Err: core.ErrOverloaded}
	notSent := &core.CallError{Outcome: core.OutcomeNotSent, Err: core.ErrDisconnected}
	maybe := &core.CallError{Outcome: core.OutcomeMaybeRun, Err: core.ErrDisconnected}
	serve := func(l *coretest.Ledger, c *coretest.Call) []byte {
		resp, _ := l.Serve(t.Context(), c.Payload(), nil)
		return resp
	}
	for _, test := range []struct {
		name string
		want string // "" for no violation
		play func(l *coretest.Ledger, c *coretest.Call)
	}{
		{"honest success", "", func(l *coretest.Ledger, c *coretest.Call) { c.Return(serve(l, c), nil) }},
		{"honest not sent", "", func(_ *coretest.Ledger, c *coretest.Call) { c.Return(nil, notSent) }},
		{"honest refusal", "", func(_ *coretest.Ledger, c *coretest.Call) { c.Return(nil, refused) }},
		{"maybe run, has run", "", func(l *coretest.Ledger, c *coretest.Call) { serve(l, c); c.Return(nil, maybe) }},
		{"maybe run, has not", "", func(_ *coretest.Ledger, c *coretest.Call) { c.Return(nil, maybe) }},
		{"never returned", "I1: it never returned", func(l *coretest.Ledger, c *coretest.Call) { serve(l, c) }},
		{"returned twice", "I1: it returned 2 times", func(l *coretest.Ledger, c *coretest.Call) {
			resp := serve(l, c)
			c.Return(resp, nil)
			c.Return(resp, nil)
		}},
		{"not sent, but ran", "I2: its handler ran", func(l *coretest.Ledger, c *coretest.Call) { serve(l, c); c.Return(nil, notSent) }},
		{"refused, ran later", "I2: its handler ran", func(l *coretest.Ledger, c *coretest.Call) { c.Return(nil, refused); serve(l, c) }},
		{"success without a handler", "I2: its handler never ran", func(l *coretest.Ledger, c *coretest.Call) {
			other := l.Begin("other", coretest.Job{})
			c.Return(serve(l, other), nil)
			other.Return(nil, maybe)
		}},
		{"remote error without a handler", "I2: its handler never ran", func(_ *coretest.Ledger, c *coretest.Call) { c.Return(nil, &core.RemoteError{}) }},
		{"ran twice", "I3: its handler ran 2 times", func(l *coretest.Ledger, c *coretest.Call) { serve(l, c); c.Return(serve(l, c), nil) }},
		{"the response of another call", "I4: its response is wrong: it answers call 2", func(l *coretest.Ledger, c *coretest.Call) {
			other := l.Begin("alice", coretest.Job{})
			mine, yours := serve(l, c), serve(l, other)
			c.Return(yours, nil)
			other.Return(mine, nil)
		}},
		{"a response that was cut", "its bytes were changed", func(l *coretest.Ledger, c *coretest.Call) {
			resp := serve(l, c)
			c.Return(resp[:len(resp)-1], nil)
		}},
		{"a response with a changed byte", "its bytes were changed", func(l *coretest.Ledger, c *coretest.Call) {
			resp := serve(l, c)
			resp[50] ^= 1
			c.Return(resp, nil)
		}},
		{"no response", "too short", func(l *coretest.Ledger, c *coretest.Call) { serve(l, c); c.Return(nil, nil) }},
		{"a changed request", "I4: a request that arrived is wrong", func(l *coretest.Ledger, c *coretest.Call) {
			req := c.Payload()
			req[0]++
			_, err := l.Serve(t.Context(), req, nil)
			c.Return(nil, err)
		}},
		{"a panic that was none", "I4: it returned a panic", func(l *coretest.Ledger, c *coretest.Call) {
			serve(l, c)
			c.Return(nil, &core.RemoteError{Code: core.CodePanic})
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			l := coretest.NewLedger()
			test.play(l, l.Begin("alice", coretest.Job{Request: 100, Response: 100}))
			err := l.Check()
			switch {
			case test.want == "" && err != nil:
				t.Errorf("the ledger complains about an honest system: %v", err)
			case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
				t.Errorf("the ledger reports %v, want a violation with %q", err, test.want)
			}
		})
	}
}

func TestLedgerLimitsItsReport(t *testing.T) {
	l := coretest.NewLedger()
	for range 100 {
		l.Begin("alice", coretest.Job{})
	}
	err := l.Check()
	if err == nil || !strings.Contains(err.Error(), "80 more violations") {
		t.Errorf("100 calls that never returned: got %v, want 20 in full and the number of the others", err)
	}
}

func TestLedgerModes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := coretest.NewLedger()
		cluster := coretest.NewCluster(t, 2, coretest.WithHandlers(func(_ int, m *core.Manager) error { return l.Register(m) }))
		conn := cluster.Conn(0, 1)
		call := func(h core.HandlerID, job coretest.Job, opts ...core.CallOption) error {
			return l.Call(t.Context(), conn, "node-0", h, job, opts...)
		}
		for _, h := range []core.HandlerID{coretest.LedgerHandle, coretest.LedgerAppend, coretest.LedgerInline} {
			if err := call(h, coretest.Job{Request: 1000, Response: 100_000}); err != nil {
				t.Errorf("%s: an echo failed: %v", h, err)
			}
			if err, ok := errors.AsType[*core.RemoteError](call(h, coretest.Job{Mode: coretest.Fail})); !ok || err.Code != coretest.LedgerCode {
				t.Errorf("%s: a call that fails returned %v, want its own error", h, err)
			}
			if err, ok := errors.AsType[*core.RemoteError](call(h, coretest.Job{Mode: coretest.Panic})); !ok || err.Code != core.CodePanic {
				t.Errorf("%s: a call that panics returned %v, want an error that says so", h, err)
			}
		}
		start := time.Now()
		if err := call(coretest.LedgerHandle, coretest.Job{Mode: coretest.Slow, For: time.Hour}); err != nil || time.Since(start) != time.Hour {
			t.Errorf("a slow call returned %v after %v, want success after 1h", err, time.Since(start))
		}
		if err := call(coretest.LedgerHandle, coretest.Job{Mode: coretest.Block}, core.WithTimeout(time.Minute)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a call that blocks returned %v, want the end of its time", err)
		}
		if err := call("nobody", coretest.Job{}); core.OutcomeOf(err) != core.OutcomeRefused {
			t.Errorf("a call to no handler returned %v, want a refusal", err)
		}
		if err := l.WaitIdle(t.Context()); err != nil {
			t.Errorf("the handlers did not end: %v", err)
		}
		if err := l.Check(); err != nil {
			t.Errorf("the ledger found violations: %v", err)
		}
		want := coretest.Counts{Calls: 12, Started: 11, OK: 4, Refused: 1, MaybeRun: 1, Remote: 6}
		if got := l.Counts(); got != want {
			t.Errorf("the ledger counts %+v, want %+v", got, want)
		}
	})
}

func TestLedgerWaitIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := coretest.NewLedger()
		c := l.Begin("alice", coretest.Job{Mode: coretest.Slow, For: time.Minute})
		go l.Serve(t.Context(), c.Payload(), nil)
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := l.WaitIdle(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("waiting for a handler that runs returned %v, want the end of the context", err)
		}
		if err := l.WaitIdle(t.Context()); err != nil {
			t.Errorf("waiting for the handler's end returned %v", err)
		}
	})
}

func TestLedgerCallOf(t *testing.T) {
	l := coretest.NewLedger()
	first, second := l.Begin("alice", coretest.Job{}), l.Begin("bob", coretest.Job{Request: 100})
	for _, c := range []*coretest.Call{first, second} {
		if got := l.CallOf(c.Payload()); got != c {
			t.Errorf("the request of %v belongs to %v", c, got)
		}
	}
	stranger := coretest.NewLedger()
	for range 3 {
		stranger.Begin("carol", coretest.Job{})
	}
	unknown := stranger.Begin("carol", coretest.Job{}).Payload()
	for _, req := range [][]byte{nil, []byte("short"), make([]byte, 100), unknown} {
		if got := l.CallOf(req); got != nil {
			t.Errorf("a request of %d bytes that is not in the books belongs to %v", len(req), got)
		}
	}
}
