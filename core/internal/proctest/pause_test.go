//go:build linux || darwin

package proctest_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gridmux/gridmux/core"
)

// pausedPair is a node in this process and a child that a test stops for a while.
type pausedPair struct {
	t    testing.TB
	h    *host
	c    *child
	conn *core.Connection // of the host to the child

	mu      sync.Mutex
	results []returned // guarded by mu
	calls   sync.WaitGroup
}

// newPausedPair starts both and waits until they are connected. keepAlive and
// its time-out are those of both; 0 is the default.
func newPausedPair(t testing.TB, hostDials bool, keepAlive, timeout time.Duration) *pausedPair {
	const server = "server"
	own := accepting("host", server)
	if hostDials {
		own = dialling("host", server)
	}
	ln := listenAnywhere(t)
	s := spec{
		Node:      core.Node{Name: server, Addr: holdPort(t).addr},
		Peers:     []core.Node{{Name: own, Addr: ln.Addr().String()}},
		Ledger:    filepath.Join(t.TempDir(), "ledger"),
		KeepAlive: keepAlive, KeepAliveTimeout: timeout, MaxBackoff: pauseBackoff,
	}
	p := &pausedPair{t: t}
	p.h = newHost(t, hostSetup{
		name: own, peers: []core.Node{s.Node},
		config: func(cfg *core.Config) {
			cfg.KeepAlive, cfg.KeepAliveTimeout, cfg.MaxBackoff = keepAlive, timeout, pauseBackoff
		},
		register: func(m *core.Manager) error { return m.Handle(workHandler, echo) },
	}, ln)
	p.c = startChild(t, s, nil)
	p.conn = p.h.Connection(server)
	p.h.awaitState(t, server, core.StateConnected)
	return p
}

const (
	pauseBackoff = 500 * time.Millisecond
	// pausePad makes the requests that arrive while a process sleeps more than
	// it reads at once when it wakes: it has started to serve the first when it
	// sees the cancellations that were sent after them.
	pausePad = 4 << 10
	// noticeable is a pause that a process with a keep-alive of a fifth of a
	// second knows from a busy machine.
	noticeable = 2500 * time.Millisecond
)

// begin makes calls on goroutines of their own and keeps what they are told.
func (p *pausedPair) begin(prefix string, n int, opts ...core.CallOption) *sync.WaitGroup {
	var these sync.WaitGroup
	for i := range n {
		these.Add(1)
		p.calls.Go(func() {
			defer these.Done()
			p.call(prefix+strconv.Itoa(i), opts...)
		})
	}
	return &these
}

func (p *pausedPair) call(id string, opts ...core.CallOption) {
	_, err := p.conn.Request(p.t.Context(), workHandler, work{id: id, mode: modeEcho, pad: pausePad}.request(), opts...)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.results = append(p.results, returned{id: id, err: err})
}

// account ends the child in order, so that nothing follows, and holds what
// callers were told against its ledger.
func (p *pausedPair) account() account {
	p.t.Helper()
	p.calls.Wait()
	p.c.terminate()
	a := readAccount(p.t, p.c.spec.Ledger)
	for _, r := range p.results {
		if err := a.check(r.id, r.err); err != nil {
			p.t.Error(err)
		}
	}
	return a
}

// TestPausedPeerIsWaitedFor stops a peer for less time than it takes to be
// declared dead: no call fails but those whose own time is over, the others only
// take longer. What was given up while it slept does not run when it wakes, since
// it sees that its keep-alive is late (F33).
func TestPausedPeerIsWaitedFor(t *testing.T) {
	p := newPausedPair(t, true, time.Second, 2*patience)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for i := range 4 {
		p.calls.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				p.call(fmt.Sprintf("steady-%d-%d", i, n))
				pass(time.Millisecond)
			}
		})
	}
	mustCall(t, t.Context(), p.conn, "echo", nil)
	asleep := p.c.pause()
	const given = 200
	p.begin("impatient-", given, core.WithTimeout(200*time.Millisecond)).Wait()
	patient := p.begin("patient-", given)
	pass(3*time.Second - time.Since(asleep))
	p.c.wake()
	patient.Wait()
	cancel()
	for len(p.h.states) > 0 {
		if c := <-p.h.states; c.To == core.StateConnecting {
			t.Errorf("a peer that was stopped for 3s was declared dead: %v", c.Err)
		}
	}
	a := p.account()
	for _, r := range p.results {
		impatient := strings.HasPrefix(r.id, "impatient")
		if impatient != errors.Is(r.err, context.DeadlineExceeded) || !impatient && r.err != nil {
			t.Errorf("call %s to a peer that was stopped for 3s returned %v", r.id, r.err)
		}
	}
	wantNotRun(t, a, "impatient-", given)
}

func wantNotRun(t testing.TB, a account, prefix string, n int) {
	t.Helper()
	ran := 0
	for i := range n {
		ran += a[prefix+strconv.Itoa(i)]
	}
	if ran > 0 {
		t.Errorf("of %d calls %s* whose time was over before the process woke, it ran %d", n, prefix, ran)
	}
}

// TestPausedPeerIsDeclaredDead stops a peer for good, at several times after it
// connected: the other notices within the documented time. When it wakes, both
// are connected again within the longest pause between attempts, and nothing is
// run that was sent to it meanwhile and is over (D9, F33).
//
//nolint:tparallel // Its cases wait side by side; beside other tests they would disturb each other.
func TestPausedPeerIsDeclaredDead(t *testing.T) {
	const interval, timeout = 200 * time.Millisecond, 200 * time.Millisecond
	const bound = 2*interval + timeout
	for _, hostDials := range []bool{true, false} {
		for _, after := range []time.Duration{0, time.Second, time.Duration(scale(3, 3, 15)) * time.Second} {
			t.Run(fmt.Sprintf("%v after connecting, dials %v", after, hostDials), func(t *testing.T) {
				t.Parallel()
				p := newPausedPair(t, hostDials, interval, timeout)
				pass(after)
				// Without this the peer may be stopped before it has a session.
				mustCall(t, t.Context(), p.conn, "echo", nil)
				asleep := p.c.pause()
				const n = 200
				p.begin("expired-", n, core.WithTimeout(timeout/4))
				p.begin("lost-", n)
				lost := p.h.awaitState(t, p.conn.Peer(), core.StateConnecting)
				if d := lost.At.Sub(asleep); d > bound+slack {
					t.Errorf("a peer that stands still was declared dead after %v, want at most %v", d, bound)
				}
				p.calls.Wait()
				for _, r := range p.results {
					kind := core.ErrDisconnected
					if strings.HasPrefix(r.id, "expired") {
						kind = context.DeadlineExceeded
					}
					if !errors.Is(r.err, kind) {
						t.Errorf("call %s to a peer that stands still returned %v, want %q", r.id, r.err, kind)
					}
				}
				pass(noticeable - time.Since(asleep))
				awake := p.c.wake()
				back := p.h.awaitState(t, p.conn.Peer(), core.StateConnected)
				if d := back.At.Sub(awake); d > pauseBackoff+slack {
					t.Errorf("connected %v after the peer woke, want at most %v", d, pauseBackoff)
				}
				// The host may see it first, by the time that a message takes.
				if r := p.c.do(command{Op: opAwait, Peer: p.h.self.Name, Timeout: slack}); r.Err != "" {
					t.Errorf("the peer that woke: %s", r.Err)
				}
				if r := p.c.do(command{Op: opCall, Peer: p.h.self.Name}); r.Err != "" {
					t.Errorf("a call of the peer that woke: %s", r.Err)
				}
				mustCall(t, t.Context(), p.conn, workHandler, work{id: "after", mode: modeEcho}.request())
				t.Logf("noticed after %v, connected again after %v", lost.At.Sub(asleep), back.At.Sub(awake))
				wantNotRun(t, p.account(), "expired-", n)
			})
		}
	}
}
