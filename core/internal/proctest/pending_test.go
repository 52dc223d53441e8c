//go:build linux || darwin

package proctest_test

import (
	"context"
	"errors"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/gridmux/gridmux/core"
)

// TestKillUnderPendingCalls kills a process that has very many calls to answer,
// and starts it again: all the calls fail promptly and say truly whether they
// ran, the connection is back within five seconds, and nothing is left of the old
// one. Once the handlers have all begun; once the process stops reading first, so
// that the output queue is full and callers wait for room (D1, D8, F1).
func TestKillUnderPendingCalls(t *testing.T) {
	const server = "server"
	for _, c := range []struct {
		name   string
		stops  bool
		caller string
	}{
		{"handlers run, caller dialled", false, dialling("caller", server)},
		{"handlers run, server dialled", false, accepting("caller", server)},
		{"full queue, caller dialled", true, dialling("caller", server)},
		{"full queue, server dialled", true, accepting("caller", server)},
	} {
		t.Run(c.name, func(t *testing.T) { killPending(t, c.caller, server, c.stops) })
	}
}

func killPending(t *testing.T, caller, server string, stops bool) {
	n := scale(20_000, 4000, 131_070)
	ownPort := listenAnywhere(t)
	s := spec{
		Node:        core.Node{Name: server, Addr: holdPort(t).addr},
		Peers:       []core.Node{{Name: caller, Addr: ownPort.Addr().String()}},
		Ledger:      filepath.Join(t.TempDir(), "ledger"),
		MaxHandlers: n + 1,
		ReportAt:    int64(n),
		// Nobody is to be declared dead for being slow with so many calls.
		KeepAlive: patience,
	}
	h := newHost(t, hostSetup{
		name: caller, peers: []core.Node{s.Node},
		// At the smaller sizes too, most calls wait for room in the queue.
		config: func(cfg *core.Config) { cfg.KeepAlive, cfg.MaxOutput = patience, 64*n },
	}, ownPort)
	c := startChild(t, s, nil)
	conn := h.Connection(server)
	h.awaitState(t, server, core.StateConnected)
	mustCall(t, t.Context(), conn, "echo", nil)
	goroutines := runtime.NumGoroutine()

	if stops {
		c.pause()
	}
	pad := 512
	if stops {
		// More than the sockets of both processes take by themselves, by far.
		pad = max(pad, 32<<20/n)
	}
	errs := make([]error, n)
	ended := make([]time.Time, n)
	var queued, calls sync.WaitGroup
	queued.Add(n)
	for i := range n {
		calls.Go(func() {
			w := work{id: strconv.Itoa(i), mode: modeBlock, pad: pad}
			ctx := &watchedContext{Context: t.Context(), waited: queued.Done}
			_, errs[i] = conn.Request(ctx, workHandler, w.request())
			ctx.Done() // a call that fails before it waits is not waited for
			ended[i] = time.Now()
		})
	}
	queued.Wait()
	if !stops {
		c.await("all handlers begin", func(e event) bool { return e.Kind == began })
	}

	killed := time.Now()
	c.kill()
	s.ReportAt = 0
	startChild(t, s, nil)
	restarted := time.Now()
	calls.Wait()
	var last time.Time
	for _, at := range ended {
		if at.After(last) {
			last = at
		}
	}
	if d := last.Sub(killed); d > 5*time.Second {
		t.Errorf("the last of %d calls returned %v after the kill", n, d)
	}
	back := h.awaitState(t, server, core.StateConnected).At
	if d := back.Sub(restarted); d > 5*time.Second {
		t.Errorf("connected again %v after the restart, want at most 5s", d)
	}
	mustCall(t, t.Context(), conn, workHandler, work{id: "after", mode: modeEcho}.request())
	until(t, "the goroutines of the calls and of the lost connection end", func() bool { return runtime.NumGoroutine() <= goroutines })

	a := readAccount(t, s.Ledger)
	var got outcomes
	for i, err := range errs {
		got.add(err)
		if err := a.check(strconv.Itoa(i), err); err != nil {
			t.Error(err)
		}
		if !errors.Is(err, core.ErrDisconnected) {
			t.Errorf("call %d beneath which the process was killed: %v", i, err)
		}
	}
	if a["after"] != 1 {
		t.Errorf("the handler of the call after the restart ran %d times", a["after"])
	}
	if stops && (len(a) != 1 || got.notSent < n/3) || !stops && (len(a) != n+1 || got.maybeRun != n) {
		t.Errorf("%d handlers were started; the calls were told %+v", len(a), got)
	}
	t.Logf("%+v; the last call returned %v after the kill; connected %v after the restart", got, last.Sub(killed), back.Sub(restarted))
}

// watchedContext tells when somebody is about to wait for it: a call does when it
// is queued, or waits for room in the queue.
type watchedContext struct {
	context.Context
	once   sync.Once
	waited func()
}

func (w *watchedContext) Done() <-chan struct{} {
	w.once.Do(w.waited)
	return w.Context.Done()
}
