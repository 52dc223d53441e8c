package sessions_test

import (
	"context"
	"net"
	"net/netip"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/coretest"
	"github.com/gridmux/gridmux/core/internal/lab"
	"github.com/gridmux/gridmux/transport"
	"github.com/gridmux/gridmux/transport/devtls"
	"github.com/gridmux/gridmux/transport/quic"
	"github.com/gridmux/gridmux/transport/websocket"
)

// TestCloseFromDial closes a Manager from the functions of the user's that its
// transports call to dial: they are user code, for which Close does not wait.
func TestCloseFromDial(t *testing.T) {
	for name, with := range map[string]func(hook func()) transport.Transport{
		"websocket.DialContext": func(hook func()) transport.Transport {
			return websocket.New(websocket.Options{DialContext: func(context.Context, string, string) (net.Conn, error) {
				hook()
				return nil, net.ErrClosed
			}})
		},
		"websocket.ServerName": func(hook func()) transport.Transport {
			return websocket.New(websocket.Options{TLS: devtls.Config("a"), ServerName: func(transport.Peer) string {
				hook()
				return "b"
			}})
		},
		"quic.Resolve": func(hook func()) transport.Transport {
			return quic.New(quic.Options{TLS: devtls.Config("a"), Resolve: func(context.Context, string) ([]netip.AddrPort, error) {
				hook()
				return nil, net.ErrClosed
			}})
		},
	} {
		t.Run(name, func(t *testing.T) {
			made, closed := make(chan *core.Manager, 1), make(chan error, 1)
			m, err := core.NewManager(core.Config{
				Cluster: "c", Local: core.Node{Name: "a", Addr: "127.0.0.1:0"}, Peers: []core.Node{{Name: "b", Addr: "127.0.0.1:1"}},
				AllowInsecure: true, Transport: with(func() {
					m := <-made
					closed <- m.Close()
				}),
			})
			if err != nil {
				t.Fatal(err)
			}
			made <- m
			if err := m.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := lab.Wait(t, closed, "Close returns"); err != nil {
				t.Errorf("Close: %v", err)
			}
		})
	}
}

// leaving is a transport whose first dials do not return, but end their goroutine.
type leaving struct {
	transport.Transport
	dials *atomic.Int32
}

func (l leaving) Dial(ctx context.Context, to transport.Peer) (transport.Conn, error) {
	if l.dials.Add(1) <= 4 {
		runtime.Goexit()
	}
	return l.Transport.Dial(ctx, to)
}

// TestDialThatEndsItsGoroutine holds that a transport which calls runtime.Goexit has
// failed to dial, and is dialled again.
func TestDialThatEndsItsGoroutine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var dials atomic.Int32
		c := coretest.NewCluster(t, 2, coretest.Unstarted(), coretest.WithConfig(func(_ int, cfg *core.Config) {
			cfg.Transport = leaving{cfg.Transport, &dials}
		}))
		c.Start(0)
		c.Start(1)
		c.WaitConnected()
		if n := dials.Load(); n <= 4 {
			t.Errorf("connected after %d dials, of which 4 failed", n)
		}
	})
}
