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
	"github.com/gridmux/gridmux/transport/websocket"
)

// cutter knows the latest connection of one side, beneath the websocket.
type cutter struct {
	net.Listener // of the side that accepts; else nil

	mu   sync.Mutex
	last *net.TCPConn
}

func (c *cutter) note(nc net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last = nc.(*net.TCPConn)
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

// cut closes the socket: in order, or so that the other end is reset.
func (c *cutter) cut(reset bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if reset {
		c.last.SetLinger(0)
	}
	c.last.Close()
}

// TestCutFromBothEnds closes the connection of two nodes again and again, now
// beneath the one, now beneath the other, in order and with a reset, while both
// call each other. It always comes back, and the ledger agrees with what all
// callers were told (D5, D23, D24).
func TestCutFromBothEnds(t *testing.T) {
	cuts := scale(500, 500, 2000)
	ledger := coretest.NewLedger()
	dialler, acceptor := names("dialler", "acceptor")
	dialling, accepting := new(cutter), &cutter{Listener: listenAnywhere(t)}
	dialPort := listenAnywhere(t)
	setup := hostSetup{
		config: func(cfg *core.Config) { cfg.MaxBackoff = time.Millisecond },
		register: func(m *core.Manager) error {
			return errors.Join(ledger.Register(m), m.Handle("echo", echo))
		},
	}
	a := setup
	a.name, a.peers = dialler, []core.Node{{Name: acceptor, Addr: accepting.Addr().String()}}
	a.options = websocket.Options{DialContext: dialling.dial}
	b := setup
	b.name, b.peers = acceptor, []core.Node{{Name: dialler, Addr: dialPort.Addr().String()}}
	one, other := newHost(t, a, dialPort), newHost(t, b, accepting)

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
	one.awaitState(t, acceptor, core.StateConnected)
	for i := range cuts {
		// The acceptor knows of the connection once it serves calls over it.
		mustCall(t, t.Context(), one.Connection(acceptor), "echo", nil)
		end := dialling
		if i%2 == 1 {
			end = accepting
		}
		end.cut(i%4 >= 2)
		one.awaitState(t, acceptor, core.StateConnecting)
		one.awaitState(t, acceptor, core.StateConnected)
	}
	cancel()
	traffic.Wait()
	mustCall(t, t.Context(), one.Connection(acceptor), "echo", nil)
	one.Close()
	other.Close()
	idle, stop := context.WithTimeout(t.Context(), patience)
	defer stop()
	if err := errors.Join(ledger.WaitIdle(idle), ledger.Check()); err != nil {
		t.Error(err)
	}
	t.Logf("%+v", ledger.Counts())
}
