package proctest_test

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/internal/memnet"
	"github.com/gridmux/gridmux/transport/websocket"
)

// TestServerTimeoutsDoNotReachTheConnection mounts a node in an HTTP server that
// allows one second for everything. The connection is idle for longer, several
// times, and answers calls from both ends each time; so does a handler that takes
// longer than that (D12).
func TestServerTimeoutsDoNotReachTheConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit = time.Second
		network := new(memnet.Network)
		const acceptor = "mounted"
		dialler := dialling("dialler", acceptor)
		nodes := []core.Node{{Name: dialler, Addr: dialler + ":80"}, {Name: acceptor, Addr: acceptor + ":80"}}
		var conns [2]*core.Connection
		lost := make(chan core.StateChange, 1)
		for i, n := range nodes {
			ln, err := network.Listen(n.Addr)
			if err != nil {
				t.Fatalf("listening failed: %v", err)
			}
			opts := websocket.Options{DialContext: network.DialContext, Listener: ln}
			if n.Name == acceptor {
				opts.Listener, opts.Mounted = nil, true
			}
			tr := websocket.New(opts)
			m, err := core.NewManager(core.Config{
				Local: n, Peers: nodes, Transport: tr, AllowInsecure: true,
				// Nothing of the library's own may keep the connection busy.
				KeepAlive: time.Hour,
				OnState: func(c core.StateChange) {
					if c.From == core.StateConnected && c.To == core.StateConnecting {
						lost <- c
					}
				},
			})
			if err != nil {
				t.Fatalf("making a node failed: %v", err)
			}
			t.Cleanup(func() { m.Close() })
			m.Handle("echo", echo)
			m.Handle("slow", slowEcho(5*limit))
			if err := m.Start(t.Context()); err != nil {
				t.Fatalf("starting a node failed: %v", err)
			}
			if n.Name == acceptor {
				server := &http.Server{Handler: tr, ReadTimeout: limit, ReadHeaderTimeout: limit, WriteTimeout: limit, IdleTimeout: limit}
				done := make(chan struct{})
				go func() {
					defer close(done)
					server.Serve(ln)
				}()
				t.Cleanup(func() {
					server.Close()
					<-done
				})
			}
			conns[i] = m.Connection(nodes[1-i].Name)
		}
		for _, c := range conns {
			mustCall(t, t.Context(), c, "echo", nil)
		}
		for range 3 {
			pass(10 * limit)
			for _, c := range conns {
				for _, h := range []core.HandlerID{"echo", "slow"} {
					req := pattern(1, 100_000)
					if resp, err := c.Request(t.Context(), h, req); err != nil || len(resp) != len(req) {
						t.Errorf("a call of %s to %s after idling: %d bytes, %v", h, c.Peer(), len(resp), err)
					}
				}
			}
		}
		select {
		case c := <-lost:
			t.Errorf("the connection to %s was lost: %v", c.Peer, c.Err)
		default:
		}
	})
}
