//go:build linux || darwin

package proctest_test

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gridmux/gridmux/core"
)

// TestTwinProcesses starts a second process with the name of one that lives, as
// after a mistake in a deployment. It is refused and told so, the connection of
// the first does not change hands, and no call of it or to it fails. When the
// first is gone the second takes its place (F10).
func TestTwinProcesses(t *testing.T) {
	const name = "twin"
	for _, hostDials := range []bool{false, true} {
		t.Run(fmt.Sprintf("host dials %v", hostDials), func(t *testing.T) {
			own := accepting("host", name)
			if hostDials {
				own = dialling("host", name)
			}
			ln := listenAnywhere(t)
			self := core.Node{Name: own, Addr: ln.Addr().String()}
			// Nobody else sends to the first one's ledger.
			dir := t.TempDir()
			one := spec{
				Node: core.Node{Name: name, Addr: holdPort(t).addr}, Peers: []core.Node{self},
				Ledger: filepath.Join(dir, "first"), MaxBackoff: pauseBackoff,
			}
			two := one
			two.Node.Addr, two.Ledger = holdPort(t).addr, filepath.Join(dir, "second")
			h := newHost(t, hostSetup{
				name: own, peers: []core.Node{one.Node},
				config:   func(cfg *core.Config) { cfg.MaxBackoff = pauseBackoff },
				register: func(m *core.Manager) error { return m.Handle(workHandler, echo) },
			}, ln)
			first := startChild(t, one, nil)
			h.awaitState(t, name, core.StateConnected)
			if r := first.do(command{Op: opAwait, Peer: own, Timeout: patience}); r.Err != "" {
				t.Fatalf("the first process connects: %s", r.Err)
			}

			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var made, there, back atomic.Int64
			over := make(chan struct{}, 2)
			go func() {
				defer func() { over <- struct{}{} }()
				for n := 0; ctx.Err() == nil; n++ {
					w := work{id: fmt.Sprint("there-", n), mode: modeEcho}
					if _, err := h.Connection(name).Request(t.Context(), workHandler, w.request()); err != nil {
						t.Errorf("a call to the first process failed: %v", err)
						return
					}
					made.Add(1)
					there.Add(1)
				}
			}()
			go func() {
				defer func() { over <- struct{}{} }()
				for ctx.Err() == nil {
					if r := first.do(command{Op: opCall, Peer: own, Request: work{id: "back", mode: modeEcho}.request()}); r.Err != "" {
						t.Errorf("a call of the first process failed: %v", r.Err)
						return
					}
					made.Add(1)
					back.Add(1)
				}
			}()
			second := startChild(t, two, nil)
			r := second.do(command{Op: opAwait, Peer: own, Timeout: time.Second})
			t.Logf("the second process was told: %s", r.Err)
			cancel()
			for range 2 {
				wait(t, over, "calls end")
			}
			if r.Err == "" || !hostDials && !strings.Contains(r.Err, "another process has the same name") {
				t.Errorf("the second process of a name was told: %q", r.Err)
			}
			if there.Load() < 100 || back.Load() < 100 {
				t.Errorf("only %d calls to the first process and %d of it were made meanwhile", there.Load(), back.Load())
			}
			for len(h.states) > 0 {
				if c := <-h.states; c.To == core.StateConnecting {
					t.Errorf("the connection of the first process was lost: %v", c.Err)
				}
			}
			if a := readAccount(t, two.Ledger); len(a) > 0 {
				t.Errorf("the second process served %d calls that were meant for the first", len(a))
			}

			first.kill()
			r = second.do(command{Op: opAwait, Peer: own, Timeout: patience})
			if r.Err != "" {
				t.Errorf("the first process is gone, and the second one is told: %s", r.Err)
			}
			mustCall(t, t.Context(), h.Connection(name), workHandler, work{id: "heir", mode: modeEcho}.request())
			if a := readAccount(t, two.Ledger); a["heir"] != 1 {
				t.Errorf("the call after the change was served %d times by the second process", a["heir"])
			}
		})
	}
}
