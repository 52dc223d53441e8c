package proctest_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/coretest"
)

// cutter knows the connections of one node, beneath the websocket.
type cutter struct {
	net.Listener

	mu    sync.Mutex
	conns []*net.TCPConn // since the last cut
}

func (c *cutter) note(nc net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.conns = append(c.conns, nc.(*net.TCPConn))
}

func (c *cutter) Accept() (net.Conn, error) {
	nc, err := c.Listener.Accept()
	if err == nil {
		c.note(nc)
	}
	return nc, err
}

func (c *cutter) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	nc, err := new(net.Dialer).DialContext(ctx, network, addr)
	if err == nil {
		c.note(nc)
	}
	return nc, err
}

// cut closes the node's sockets: in order, or so that the other ends are reset.
func (c *cutter) cut(reset bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, nc := range c.conns {
		if reset {
			nc.SetLinger(0)
		}
		nc.Close()
	}
	c.conns = nil
}

// TestCutFromBothEnds closes the connection of two nodes again and again, now
// beneath the one, now beneath the other, in order and with a reset, while both
// call each other. It always comes back, and the ledger agrees with what all
// callers were told (D5, D23, D24).
func TestCutFromBothEnds(t *testing.T) {
	cuts := scale(500, 500, 2000)
	ledger := coretest.NewLedger()
	const acceptor = "acceptor"
	dialler := dialling("dialler", acceptor)
	ends := []*cutter{{Listener: listenAnywhere(t)}, {Listener: listenAnywhere(t)}}
	setup := hostSetup{
		config: func(cfg *core.Config) { cfg.MaxBackoff = time.Millisecond },
		register: func(m *core.Manager) error {
			return errors.Join(ledger.Register(m), m.Handle("echo", echo))
		},
	}
	a := setup
	a.name, a.peers = dialler, []core.Node{{Name: acceptor, Addr: ends[1].Addr().String()}}
	a.options.DialContext = ends[0].dial
	b := setup
	b.name, b.peers = acceptor, []core.Node{{Name: dialler, Addr: ends[0].Addr().String()}}
	b.options.DialContext = ends[1].dial
	one, other := newHost(t, a, ends[0]), newHost(t, b, ends[1])

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var traffic sync.WaitGroup
	call := func(conn *core.Connection, caller string) {
		waits := true
		for ctx.Err() == nil {
			var opts []core.CallOption
			if waits {
				opts = append(opts, core.WaitForConnection())
			}
			err := ledger.Call(ctx, conn, caller, coretest.LedgerHandle, coretest.Job{Request: 300, Response: 300}, opts...)
			waits = errors.Is(err, core.ErrDisconnected)
		}
	}
	for i := range 4 {
		traffic.Go(func() { call(one.Connection(acceptor), fmt.Sprint("there-", i)) })
		traffic.Go(func() { call(other.Connection(dialler), fmt.Sprint("back-", i)) })
	}
	for i := range cuts {
		callThrough(t, one.Connection(acceptor))
		callThrough(t, other.Connection(dialler))
		ends[i%2].cut(i%4 >= 2)
	}
	cancel()
	traffic.Wait()
	callThrough(t, one.Connection(acceptor))
	callThrough(t, other.Connection(dialler))
	one.Close()
	other.Close()
	idle, stop := context.WithTimeout(t.Context(), patience)
	defer stop()
	if err := errors.Join(ledger.WaitIdle(idle), ledger.Check()); err != nil {
		t.Error(err)
	}
	t.Logf("%+v", ledger.Counts())
}

// callThrough makes a call until it gets through: a connection that was cut may
// not have noticed it yet.
func callThrough(t testing.TB, conn *core.Connection) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		_, err := conn.Request(ctx, "echo", nil, core.WaitForConnection())
		if err == nil {
			return
		}
		if !errors.Is(err, core.ErrDisconnected) || ctx.Err() != nil {
			t.Fatalf("the connection to %s does not come back: %v", conn.Peer(), err)
		}
	}
}
