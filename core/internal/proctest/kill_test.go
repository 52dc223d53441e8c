//go:build linux || darwin

package proctest_test

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gridmux/gridmux/core"
)

// TestKillServingProcess kills a serving process again and again in the middle of
// what it does for 32 callers, and starts it again with the same name and
// address. Every call returns once, nothing runs twice, and what was told not to
// have run is not in the ledger of the process. Once the restarted process has
// to bind its port anew, so that dials are refused while it is away; once its
// supervisor holds the listening socket, so that they wait (D23, D24, F1, F9).
func TestKillServingProcess(t *testing.T) {
	const server = "server"
	kills := scale(15, 8, 500)
	for _, c := range []struct {
		name      string
		inherited bool
	}{
		{"own port", false},
		{"inherited listener", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			// Either side dials in one of the two.
			caller := dialling("caller", server)
			if c.inherited {
				caller = accepting("caller", server)
			}
			killOften(t, caller, server, c.inherited, kills)
		})
	}
}

func killOften(t *testing.T, caller, server string, inherited bool, kills int) {
	ownPort := listenAnywhere(t)
	s := spec{
		Node:      core.Node{Name: server},
		Peers:     []core.Node{{Name: caller, Addr: ownPort.Addr().String()}},
		Ledger:    filepath.Join(t.TempDir(), "ledger"),
		Inherited: inherited,
		// Below the number of callers now and then, so that some are refused.
		MaxHandlers: 24,
		MaxBackoff:  20 * time.Millisecond,
	}
	var listener *net.TCPListener
	if inherited {
		listener = listenAnywhere(t).(*net.TCPListener)
		s.Node.Addr = listener.Addr().String()
	} else {
		s.Node.Addr = holdPort(t).addr
	}
	h := newHost(t, hostSetup{
		name: caller, peers: []core.Node{s.Node},
		config: func(cfg *core.Config) { cfg.MaxBackoff = s.MaxBackoff },
	}, ownPort)

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	callers := startCallers(ctx, h.Connection(server), 32)
	for range kills {
		c := startChild(t, s, listener)
		// Any phase: while they connect, at the first calls, in full swing.
		if n := rand.N(400); n > 40 {
			wait(t, callers.succeeded(n-40), "calls succeed")
		}
		c.kill()
	}
	c := startChild(t, s, listener)
	began := time.Now()
	wait(t, callers.succeeded(1000), "calls succeed after the last kill")
	if d := time.Since(began); d > 5*time.Second {
		t.Errorf("after the last restart it took %v to make 1000 calls", d)
	}
	cancel()
	callers.wait(t)
	c.terminate()
	callers.check(t, readAccount(t, s.Ledger))
}

// callers make calls one after the other until their context ends.
type callers struct {
	wg      sync.WaitGroup
	next    atomic.Int64
	ok      atomic.Int64
	mu      sync.Mutex
	marks   []mark
	results []returned // guarded by mu; of all callers
}

// mark is closed when so many calls have succeeded.
type mark struct {
	at   int64
	done chan struct{}
}

// returned is what a call was told.
type returned struct {
	id    string
	err   error
	wrong bool          // it got another answer than its own
	late  time.Duration // after its time-out
}

func startCallers(ctx context.Context, conn *core.Connection, n int) *callers {
	c := new(callers)
	for i := range n {
		c.wg.Go(func() { c.run(ctx, conn, rand.New(rand.NewPCG(uint64(i), 1))) })
	}
	return c
}

func (c *callers) run(ctx context.Context, conn *core.Connection, rnd *rand.Rand) {
	var results []returned
	waits := true
	for ctx.Err() == nil {
		w := work{id: strconv.FormatInt(c.next.Add(1), 10), mode: modeEcho, pad: rnd.IntN(200)}
		switch rnd.IntN(8) {
		case 0:
			w.pad = 100_000 // travels in parts
		case 1, 2, 3:
			w.mode, w.d = modeSleep, time.Duration(rnd.Int64N(int64(2*time.Millisecond)))
		}
		timeout := time.Duration(1+rnd.Int64N(500)) * time.Millisecond
		opts := []core.CallOption{core.WithTimeout(timeout)}
		if waits {
			opts = append(opts, core.WaitForConnection())
		}
		req := w.request()
		began := time.Now()
		resp, err := conn.Request(ctx, workHandler, req, opts...)
		results = append(results, returned{
			id: w.id, err: err,
			wrong: err == nil && !bytes.Equal(resp, req),
			late:  time.Since(began) - timeout,
		})
		if err == nil {
			c.succeed()
		}
		// Without a connection calls fail at once: the next one waits for it.
		waits = errors.Is(err, core.ErrDisconnected) || rnd.IntN(2) == 0
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.results = append(c.results, results...)
}

func (c *callers) succeed() {
	n := c.ok.Add(1)
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.marks) > 0 && c.marks[0].at <= n {
		close(c.marks[0].done)
		c.marks = c.marks[1:]
	}
}

// succeeded is closed when so many more calls have succeeded.
func (c *callers) succeeded(n int) <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	m := mark{c.ok.Load() + int64(n), make(chan struct{})}
	c.marks = append(c.marks, m)
	return m.done
}

func (c *callers) wait(t testing.TB) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.wg.Wait()
	}()
	wait(t, done, "all calls return")
}

// check compares what the callers, which have ended, were told with the account.
func (c *callers) check(t testing.TB, a account) {
	t.Helper()
	var n outcomes
	seen := make(map[string]bool, len(c.results))
	for _, r := range c.results {
		if seen[r.id] {
			t.Errorf("call %s returned twice", r.id)
		}
		seen[r.id] = true
		n.add(r.err)
		if err := a.check(r.id, r.err); err != nil {
			t.Error(err)
		}
		if core.OutcomeOf(r.err) == core.OutcomeRemote || r.wrong {
			t.Errorf("call %s got an answer that is not its own (error %v)", r.id, r.err)
		}
		if r.late > slack {
			t.Errorf("call %s returned %v after its time-out: %v", r.id, r.late, r.err)
		}
	}
	for id := range a {
		if !seen[id] {
			t.Errorf("a handler ran for call %q, which nobody made", id)
		}
	}
	if made := c.next.Load(); int64(len(seen)) != made {
		t.Errorf("%d calls were made and %d returned", made, len(seen))
	}
	if n.ok == 0 || n.maybeRun == 0 || n.notSent == 0 || n.refused == 0 {
		t.Errorf("the calls do not show every outcome: %+v", n)
	}
	t.Logf("%+v; %d handlers were started", n, len(a))
}
